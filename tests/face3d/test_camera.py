import math

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import camera, illumination
from tests.reference import REFERENCE_DIR

GOLDEN = REFERENCE_DIR / "front_deep3d_geometry.npz"


@pytest.fixture(scope="module")
def golden():
    generator = torch.Generator().manual_seed(7)
    inputs = {
        "angles": torch.randn(2, 3, generator=generator) * 0.3,
        "translation": torch.randn(2, 3, generator=generator) * 0.2,
        "vertices": torch.randn(2, 6, 3, generator=generator) * 0.5,
        "normals": torch.nn.functional.normalize(torch.randn(2, 6, 3, generator=generator), dim=-1),
        "texture": torch.rand(2, 6, 3, generator=generator),
        "gamma": torch.randn(2, 27, generator=generator) * 0.2,
    }
    with np.load(GOLDEN, allow_pickle=False) as file:
        return inputs, {
            name: torch.from_numpy(file[name]) for name in ("vertices_camera", "projection", "color", "rotation")
        }


def test_pose_and_depth_equal_the_official_camera(golden):
    inputs, expected = golden
    moved = camera.transform(inputs["vertices"], inputs["angles"], inputs["translation"])
    official = torch.cat((moved[..., :2], camera.depth(moved)[..., None]), dim=-1)
    torch.testing.assert_close(official, expected["vertices_camera"], atol=1e-5, rtol=0)
    # the official code keeps the transpose
    torch.testing.assert_close(
        camera.euler_to_matrix(inputs["angles"]).transpose(1, 2), expected["rotation"], atol=1e-6, rtol=0
    )


def test_projection_equals_the_official_one_with_rows_down_and_integer_centres(golden):
    inputs, expected = golden
    points = camera.project(camera.transform(inputs["vertices"], inputs["angles"], inputs["translation"]), 224)
    official = torch.stack((expected["projection"][..., 0] - 0.5, 223.5 - expected["projection"][..., 1]), dim=-1)
    torch.testing.assert_close(points, official, atol=1e-3, rtol=0)


def test_colours_equal_the_official_ones(golden):
    inputs, expected = golden
    colors = illumination.compute_colors(
        inputs["texture"], camera.rotate(inputs["normals"], inputs["angles"]), inputs["gamma"]
    )
    torch.testing.assert_close(colors, expected["color"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("angles", "vector", "expected"),
    [
        ((math.pi / 2, 0, 0), (0, 1, 0), (0, 0, 1)),  # nod: the crown comes to the camera
        ((0, math.pi / 2, 0), (0, 0, 1), (1, 0, 0)),  # turn: the nose goes to the picture's right
        ((0, 0, math.pi / 2), (1, 0, 0), (0, 1, 0)),  # tilt: counter-clockwise in the picture
    ],
)
def test_directions_of_the_angles(angles, vector, expected):
    turned = camera.rotate(torch.tensor([[vector]], dtype=torch.float32), torch.tensor([angles], dtype=torch.float32))
    torch.testing.assert_close(turned[0, 0], torch.tensor(expected, dtype=torch.float32), atol=1e-6, rtol=0)


def test_order_of_the_rotations():
    a, b, c = 0.3, -0.5, 0.7
    single = [camera.euler_to_matrix(torch.tensor([row])) for row in ([a, 0, 0], [0, b, 0], [0, 0, c])]
    torch.testing.assert_close(camera.euler_to_matrix(torch.tensor([[a, b, c]])), single[2] @ single[1] @ single[0])


def test_the_optical_axis_hits_the_middle_and_axes_point_right_and_up():
    points = camera.project(torch.tensor([[[0.0, 0.0, 0.3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]]]), 256)[0]
    torch.testing.assert_close(points[0], torch.tensor([127.5, 127.5]))
    assert points[1, 0] > 127.5
    assert points[2, 1] < 127.5
    assert float(points[1, 0] - 127.5) == pytest.approx(1015 / 224 * 256 * 0.1 / 10, rel=1e-5)


def test_coefficients_do_not_depend_on_the_size():
    vertices = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1))
    small, large = camera.project(vertices, 256), camera.project(vertices, 768)
    torch.testing.assert_close((small + 0.5) * 3 - 0.5, large, atol=1e-3, rtol=0)


def test_camera_is_differentiable():
    vertices = torch.randn(1, 3, 3, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v, r, t: camera.project(camera.transform(v, r, t), 64), (vertices, angles, shift)
    )


def test_bad_size():
    with pytest.raises(ParameterError, match="size must be a positive number"):
        camera.project(torch.zeros(1, 1, 3), 0)
