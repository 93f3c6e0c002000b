import numpy as np
import pytest
import torch

from metatalk_lib.face3d import illumination


def _independent_harmonics(normal: np.ndarray) -> np.ndarray:
    """The nine numbers with the constants as printed in the public description."""
    x, y, z = normal
    return np.array(
        [
            0.886227,
            -1.772454 * y,
            1.772454 * z,
            -1.772454 * x,
            2.427032 * x * y,
            -2.427032 * y * z,
            0.700624 * (3 * z * z - 1),
            -2.427032 * x * z,
            1.213516 * (x * x - y * y),
        ]
    )


def test_harmonics_against_the_printed_constants():
    normals = np.random.default_rng(0).standard_normal((20, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    computed = illumination.compute_harmonics(torch.from_numpy(normals)[None])[0].numpy()
    np.testing.assert_allclose(computed, [_independent_harmonics(normal) for normal in normals], atol=2e-6)


def test_no_coefficients_are_plain_white_light():
    normals = torch.nn.functional.normalize(torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    shading = illumination.compute_shading(normals, torch.zeros(1, 27))
    torch.testing.assert_close(shading, torch.full((1, 9, 3), 0.8 * 0.886227), atol=1e-5, rtol=0)


@pytest.mark.parametrize("colour", [0, 1, 2])
def test_coefficients_are_colour_major(colour):
    light = torch.zeros(1, 27)
    light[0, 9 * colour + 2] = 1.0  # the z term of one colour
    facing = illumination.compute_shading(torch.tensor([[[0.0, 0.0, 1.0]]]), light)[0, 0]
    plain = 0.8 * 0.886227
    expected = [plain + (1.772454 if channel == colour else 0.0) for channel in range(3)]
    torch.testing.assert_close(facing, torch.tensor(expected), atol=1e-4, rtol=0)


def test_light_from_above_makes_upward_normals_brighter():
    light = torch.zeros(1, 27)
    light[0, [1, 10, 19]] = -0.2
    shading = illumination.compute_shading(torch.tensor([[[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]]), light)[0]
    assert (shading[0] > shading[1]).all()


def test_colours_are_linear_in_texture_and_light():
    normals = torch.nn.functional.normalize(torch.randn(1, 4, 3, dtype=torch.float64), dim=-1).requires_grad_()
    texture = torch.rand(1, 4, 3, dtype=torch.float64, requires_grad=True)
    light = torch.randn(1, 27, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(illumination.compute_colors, (texture, normals, light))
    torch.testing.assert_close(
        illumination.compute_colors(2 * texture, normals, light),
        2 * illumination.compute_colors(texture, normals, light),
    )


def test_compiled_shading_equals_the_differentiable_one():
    generator = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(1, 500, 3, generator=generator), dim=-1)
    texture, light = torch.rand(1, 500, 3, generator=generator), 0.3 * torch.randn(1, 27, generator=generator)
    shaded = illumination.shade_vertices(texture[0].numpy(), normals[0].numpy(), light[0].numpy())
    expected = illumination.compute_colors(texture, normals, light)[0]
    assert (expected.min() < 0, expected.max() > 1) == (True, True)
    np.testing.assert_allclose(shaded.colors, expected.clamp(0, 1).numpy(), atol=2e-6)
    shading = illumination.compute_shading(normals, light)[0]
    np.testing.assert_allclose(shaded.mean_shading, shading.mean(dim=0).numpy(), atol=2e-6)
