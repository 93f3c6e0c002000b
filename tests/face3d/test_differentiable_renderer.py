import dataclasses
import inspect

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import camera
from metatalk_lib.face3d.coefficients import SLICES
from metatalk_lib.face3d.differentiable_renderer import (
    choose_backend,
    find_coverage,
    interpolate_covered,
    render_coefficients_differentiably,
    render_differentiably,
)
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.face3d.rasterizer import interpolate, rasterize
from tests.synthetic import make_coefficients, make_face_model

SIZE = 14
# five vertices, camera space: a tilted fan, counter-clockwise to the camera; depths between 8 and 11
VERTICES = torch.tensor(
    [[(0.05, 0.02, 1.6), (1.0, 0.1, -0.5), (0.1, 0.9, 0.7), (-1.0, -0.05, -1.0), (-0.1, -1.0, 1.2)]],
    dtype=torch.float64,
)
TRIANGLES = torch.tensor([(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 1)])


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames of vertices and of two-channel values."""
    generator = torch.Generator().manual_seed(0)
    vertices = torch.cat((VERTICES, VERTICES * 0.8 + 0.05))
    return vertices, torch.rand(2, 5, 2, dtype=torch.float64, generator=generator)


def _coverage(vertices: torch.Tensor, window=(0, 0, SIZE, SIZE), triangles=TRIANGLES):
    return find_coverage(camera.project(vertices, SIZE), camera.depth(vertices), triangles, window)


def test_gradients_against_numerical_differences():
    vertices, values = (tensor.requires_grad_() for tensor in _batch())
    coverage = _coverage(vertices)
    assert len(coverage.frame) > 40

    def draw(vertices, values):
        return render_differentiably(vertices, values, TRIANGLES, SIZE, coverage=coverage).image

    assert torch.autograd.gradcheck(draw, (vertices, values))


def test_gradients_reach_pose_light_and_shape():
    """The whole way from the 257 coefficients, pixel set free: no visible triangle changes within the differences."""
    model = make_face_model().double()
    frames = make_coefficients(2, scale=0.1)
    rows = torch.from_numpy(frames.pack()).double()
    weight = torch.rand(2, 24, 24, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(rows):
        return (render_coefficients_differentiably(model, rows, 24).image * weight).sum()

    (gradient,) = torch.autograd.grad(loss(rows.requires_grad_()), rows)
    rows = rows.detach()
    for name, part in SLICES.items():
        assert gradient[:, part].abs().max() > 1e-4, name
        for column in range(part.start, min(part.stop, part.start + 3)):
            step = torch.zeros_like(rows)
            step[:, column] = 1e-6
            numerical = (loss(rows + step) - loss(rows - step)) / 2e-6
            torch.testing.assert_close(gradient[:, column].sum(), numerical, rtol=1e-4, atol=1e-5)


def _where_the_ray_hits(corners: np.ndarray, column: int, row: int) -> np.ndarray:
    """Weights of the point of a triangle in space that a pixel sees; no projection formula, no division by depth.

    The ray is (0, 0, DISTANCE) + s direction and meets the triangle where corners.T @ weights = that.
    """
    centre = (SIZE - 1) / 2
    direction = np.array([(column - centre) / (camera.FOCAL * SIZE), (centre - row) / (camera.FOCAL * SIZE), -1.0])
    system = np.zeros((4, 4))
    system[:3, :3], system[:3, 3], system[3, :3] = corners.T, -direction, 1
    return np.linalg.solve(system, (0, 0, camera.DISTANCE, 1))[:3]


def test_value_and_depth_gradient_equal_the_ray_through_the_pixel():
    vertices, values = _batch()
    vertices.requires_grad_()
    coverage = _coverage(vertices)
    points, depth = camera.project(vertices, SIZE), camera.depth(vertices)
    drawn = interpolate_covered(coverage, points, depth, values)
    for pixel in range(0, len(drawn), 5):
        frame, row, column = (int(part[pixel]) for part in (coverage.frame, coverage.row, coverage.column))
        corners = coverage.corners[pixel].numpy()

        def value(z_step, corner, frame=frame, row=row, column=column, corners=corners):
            moved = vertices[frame].detach().numpy()[corners].copy()
            moved[corner, 2] += z_step
            return _where_the_ray_hits(moved, column, row) @ values[frame].numpy()[corners, 0]

        assert drawn[pixel, 0].item() == pytest.approx(value(0.0, 0), abs=1e-9)
        (gradient,) = torch.autograd.grad(drawn[pixel, 0], vertices, retain_graph=True)
        for corner in range(3):
            numerical = (value(1e-5, corner) - value(-1e-5, corner)) / 2e-5
            assert gradient[frame, corners[corner], 2].item() == pytest.approx(numerical, abs=1e-7)
            assert abs(numerical) > 1e-9


def test_depth_alone_changes_the_weights():
    """A corner drawn at the same place but farther away counts less: d value / d depth follows the closed form."""
    vertices, values = _batch()
    points, depth = camera.project(vertices, SIZE), camera.depth(vertices).requires_grad_()
    coverage = _coverage(vertices)
    drawn = interpolate_covered(coverage, points, depth, values)
    (gradient,) = torch.autograd.grad(drawn[7, 0], depth)
    frame, corners = int(coverage.frame[7]), coverage.corners[7]
    p = points[frame, corners] - torch.stack((coverage.column[7], coverage.row[7]))
    edge = torch.stack(
        [p[(i + 1) % 3, 0] * p[(i + 2) % 3, 1] - p[(i + 1) % 3, 1] * p[(i + 2) % 3, 0] for i in range(3)]
    )
    share = edge / depth[frame, corners]
    share = share / share.sum()
    expected = -share / depth[frame, corners] * (values[frame, corners, 0] - drawn[7, 0])
    torch.testing.assert_close(gradient[frame, corners], expected)
    assert expected.abs().min() > 1e-6


@pytest.mark.parametrize("window", [(0, 0, 96, 96), (20, 31, 70, 60), (-9, 40, 30, 120)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forward_equals_the_compiled_interpolation(window, dtype):
    generator = np.random.default_rng(1)
    vertices = torch.from_numpy(generator.uniform(-1, 1, (3, 200, 3))).to(dtype)
    values = torch.from_numpy(generator.uniform(0, 1, (3, 200, 4))).to(dtype)
    triangles = torch.from_numpy(generator.integers(0, 200, (300, 3)))
    drawn = render_differentiably(vertices, values, triangles, 96, window=window, cull_backfaces=False)
    points, depth = camera.project(vertices, 96).numpy(), camera.depth(vertices).numpy()
    for frame in range(3):
        raster = rasterize(points[frame], depth[frame], triangles.numpy(), window)
        expected = interpolate(raster, triangles.numpy(), values[frame].numpy())
        np.testing.assert_array_equal(drawn.mask[frame].numpy(), raster.face_id >= 0)
        np.testing.assert_allclose(drawn.image[frame].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("region", ["face", "lower"])
def test_the_face_equals_the_renderer(region):
    model, frames = load_face_model(), make_coefficients(2, scale=0.4)
    drawn = render_coefficients_differentiably(
        model, torch.from_numpy(frames.pack()), 128, region=region, window=(10, 20, 120, 128)
    )
    for index in range(2):
        render = render_face(model, frames, index, 128, region=region, window=(10, 20, 120, 128))
        # the two sum the vertices in another order: a centre on an edge may go to the other neighbour
        assert (drawn.mask[index].numpy() != render.mask).mean() < 1e-3
        levels = np.abs(drawn.image[index].numpy() * 255 - render.image)
        assert np.quantile(levels, 0.999) <= 1
        assert levels.mean() < 0.3


def test_a_photometric_loss_finds_the_pose_back():
    """Thirty steps towards a picture of another pose and a speaking mouth; only the gradient leads there."""
    model, frames = load_face_model(), make_coefficients(1, scale=0.3)
    truth = torch.from_numpy(frames.pack())
    target = render_coefficients_differentiably(model, truth, 64)
    moved = dataclasses.replace(frames, translation=frames.translation + np.float32(0.05))
    rows = torch.from_numpy(moved.with_expression(0 * frames.expression).pack()).requires_grad_()
    optimizer = torch.optim.Adam([rows], lr=0.01)
    losses, distances = [], []
    for _ in range(30):
        drawn = render_coefficients_differentiably(model, rows, 64)
        loss = (drawn.image - target.image)[drawn.mask & target.mask].square().mean()
        losses.append(loss.item())
        distances.append((rows - truth)[:, SLICES["translation"]].detach().norm().item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.15 * losses[0]
    assert distances[-1] < 0.5 * distances[0]


def test_only_covered_pixels_carry_gradients():
    vertices, values = _batch()
    vertices.requires_grad_()
    drawn = render_differentiably(vertices, values, TRIANGLES, SIZE)
    assert (drawn.image[~drawn.mask] == 0).all()
    (gradient,) = torch.autograd.grad(drawn.image[~drawn.mask].sum(), vertices)
    assert (gradient == 0).all()


def test_nothing_in_the_window_draws_nothing():
    vertices, values = _batch()
    drawn = render_differentiably(vertices, values.requires_grad_(), TRIANGLES, SIZE, window=(100, 100, 104, 103))
    assert drawn.image.shape == (2, 3, 4, 2)
    assert not drawn.mask.any()
    drawn.image.sum().backward()
    assert (values.grad == 0).all()


def test_drawing_twice_gives_equal_gradients():
    def gradient() -> torch.Tensor:
        rows = torch.from_numpy(make_coefficients(2, scale=0.3).pack()).requires_grad_()
        render_coefficients_differentiably(make_face_model(), rows, 40).image.square().sum().backward()
        return rows.grad

    assert torch.equal(gradient(), gradient())


def test_the_backend_is_pytorch3d_only_on_cuda_where_it_imports(monkeypatch):
    installed = "metatalk_lib.face3d.pytorch3d_backend.is_installed"
    for is_installed, device, expected in ((True, "cuda", "pytorch3d"), (True, "cpu", "cpu"), (False, "cuda", "cpu")):
        monkeypatch.setattr(installed, lambda answer=is_installed: answer)
        assert choose_backend("auto", device) == expected
    assert choose_backend("cpu", "cuda") == "cpu"


def test_bad_input():
    vertices, values = _batch()
    with pytest.raises(ParameterError, match="backend must be 'auto', 'cpu' or 'pytorch3d', got 'gpu'"):
        inspect.unwrap(choose_backend)("gpu", "cpu")
    with pytest.raises(ParameterError, match="window .* is empty"):
        render_differentiably(vertices, values, TRIANGLES, SIZE, window=(3, 3, 3, 9))
    with pytest.raises(ParameterError, match="size must be a positive number"):
        render_differentiably(vertices, values, TRIANGLES, 0)
    with pytest.raises(ParameterError, match="triangles name vertices 0 to 5, but there are 5 points"):
        render_differentiably(vertices, values, TRIANGLES + (TRIANGLES == 4), SIZE)
    with pytest.raises(ParameterError, match="coverage is of 2 frames, but there are 1"):
        render_differentiably(vertices[:1], values[:1], TRIANGLES, SIZE, coverage=_coverage(vertices))
    with pytest.raises(ParameterError, match="region must be"):
        inspect.unwrap(render_coefficients_differentiably)(make_face_model(), torch.zeros(1, 257), 32, region="eyes")
