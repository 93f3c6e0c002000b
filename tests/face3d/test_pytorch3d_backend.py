"""PyTorch3D as a backend: against PyTorch3D where it is installed, against its recorded output, and by a stand-in that
follows its documented conventions and is itself held to that recorded output.
"""

import sys
import types
from typing import NamedTuple

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import pytorch3d_backend, rasterizer
from metatalk_lib.face3d.differentiable_renderer import (
    choose_backend,
    render_coefficients_differentiably,
    render_differentiably,
)
from tests.reference import REFERENCE_DIR
from tests.synthetic import make_coefficients, make_face_model

GOLDEN = REFERENCE_DIR / "front_pytorch3d_raster.npz"


class _Meshes(NamedTuple):
    """As `pytorch3d.structures.Meshes`: one mesh a frame, triangles counted through the batch."""

    verts: list[torch.Tensor]
    faces: list[torch.Tensor]


def _rasterize_meshes(meshes: _Meshes, image_size, blur_radius, faces_per_pixel, perspective_correct, **_):
    """As PyTorch3D's function for square pictures: +x left, +y up, single precision, one triangle a pixel."""
    assert (faces_per_pixel, perspective_correct, image_size[0]) == (1, True, image_size[1])
    size, first, frames = image_size[0], 0, []
    for vertices, faces in zip(meshes.verts, meshes.faces, strict=True):
        frames.append(_draw_stand_in(vertices.numpy(), faces.numpy(), size, first, np.sqrt(blur_radius)))
        first += len(faces)
    face_id, z, weights = (torch.from_numpy(np.stack(part))[:, :, :, None] for part in zip(*frames, strict=True))
    return face_id, z, weights, torch.zeros_like(z)


def _draw_stand_in(vertices: np.ndarray, faces: np.ndarray, size: int, first: int, reach: float):
    centre = 1 - (2 * np.arange(size, dtype=np.float32) + 1) / size
    face_id, z = np.full((size, size), -1), np.full((size, size), -1, dtype=np.float32)
    weights = np.full((size, size, 3), -1, dtype=np.float32)
    for number, corners in enumerate(vertices[faces]):
        a, b, c = corners[:, :2]
        columns, rows = (
            np.flatnonzero((centre >= corners[:, axis].min() - reach) & (centre <= corners[:, axis].max() + reach))
            for axis in (0, 1)
        )
        x, y = centre[columns][None, :], centre[rows][:, None]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0 or not columns.size or not rows.size:
            continue
        flat = np.stack([_edge(*edge, x, y) / area for edge in ((b, c), (c, a), (a, b))], axis=-1)
        # distance from an edge's line; good enough for what lies within a ten-thousandth of a pixel
        length = np.array([np.hypot(*(q - p)) for p, q in ((b, c), (c, a), (a, b))])
        inside = (flat * abs(area) / np.maximum(length, 1e-12) > -reach).all(axis=-1)
        flat = np.clip(flat, 0, None)
        corrected = flat / corners[:, 2]
        corrected /= corrected.sum(axis=-1, keepdims=True)
        depth = (corrected * corners[:, 2]).sum(axis=-1)
        place = np.ix_(rows, columns)
        nearer = inside & ((face_id[place] < 0) | (depth < z[place]))
        face_id[place] = np.where(nearer, number + first, face_id[place])
        z[place] = np.where(nearer, depth, z[place])
        weights[place] = np.where(nearer[..., None], corrected, weights[place])
    return face_id, z, weights


def _edge(p: np.ndarray, q: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (p[0] - x) * (q[1] - y) - (p[1] - y) * (q[0] - x)


@pytest.fixture
def stand_in(monkeypatch):
    """A module in PyTorch3D's place."""
    names = ("pytorch3d", "pytorch3d.structures", "pytorch3d.renderer", "pytorch3d.renderer.mesh")
    for name in (*names, "pytorch3d.renderer.mesh.rasterize_meshes"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["pytorch3d.structures"].Meshes = _Meshes
    sys.modules["pytorch3d.renderer.mesh.rasterize_meshes"].rasterize_meshes = _rasterize_meshes


@pytest.fixture
def absent(monkeypatch):
    """As if PyTorch3D were not installed."""
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    monkeypatch.setitem(sys.modules, "pytorch3d.structures", None)


def _compare(raster, reference) -> None:
    np.testing.assert_array_equal(raster.face_id, reference.face_id)
    seen = reference.face_id >= 0
    assert seen.sum() > 300
    assert (raster.face_id.dtype, raster.barycentric.dtype, raster.depth.dtype) == (np.int32, np.float32, np.float32)
    np.testing.assert_allclose(raster.barycentric, reference.barycentric, atol=3e-4)
    np.testing.assert_allclose(raster.depth[seen], reference.depth[seen], rtol=1e-5)
    assert np.isinf(raster.depth[~seen]).all()


def _sheet(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavy sheets, one before the other, in pixels of a crop of 64; the last vertex is behind the camera."""
    generator = np.random.default_rng(seed)
    cells = 9
    x, y = np.meshgrid(np.linspace(3, 60, cells), np.linspace(4, 57, cells))
    front = np.stack((x, y), axis=-1).reshape(-1, 2) + generator.uniform(-2, 2, (cells**2, 2))
    points = np.concatenate((front, front * 0.7 + 13))
    depth = np.concatenate((generator.uniform(9, 10, cells**2), generator.uniform(7, 8, cells**2)))
    ids = np.arange(cells**2).reshape(cells, cells)
    a, b, c, d = ids[:-1, :-1].ravel(), ids[:-1, 1:].ravel(), ids[1:, :-1].ravel(), ids[1:, 1:].ravel()
    sheet = np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1)))
    depth[-1] = -1.0
    # every third triangle of the near sheet shows its back
    near = sheet + cells**2
    near[::3] = near[::3, ::-1]
    return points, depth, np.concatenate((sheet, near))


@pytest.mark.parametrize("size", [64, 97])
def test_the_stand_in_draws_what_pytorch3d_drew(size):
    with np.load(GOLDEN, allow_pickle=False) as file:
        vertices, faces = file["verts_ndc"], file["faces"]
        expected = [file[f"{name}_{size}"] for name in ("pix_to_face", "zbuf", "bary")]
    face_id, z, weights = _draw_stand_in(vertices, faces, size, 0, 0.0)
    np.testing.assert_array_equal(face_id, expected[0])
    np.testing.assert_allclose(z, expected[1], atol=1e-5)
    np.testing.assert_allclose(weights, expected[2], atol=3e-4)


@pytest.mark.parametrize("window", [(0, 0, 64, 64), (11, 5, 51, 30), (-6, 20, 24, 70)])
@pytest.mark.parametrize("cull_backfaces", [False, True])
def test_it_draws_what_the_compiled_rasterizer_draws(stand_in, window, cull_backfaces):
    for seed in range(3):
        points, depth, triangles = _sheet(seed)
        arguments = (points, depth, triangles, window)
        _compare(
            pytorch3d_backend.rasterize_pytorch3d(*arguments, cull_backfaces=cull_backfaces),
            rasterizer.rasterize(*arguments, cull_backfaces=cull_backfaces),
        )


def test_a_batch_counts_triangles_frame_by_frame(stand_in):
    points, depth, triangles = _sheet(0)
    other, other_depth, _ = _sheet(1)
    other_depth[:20] = -1  # the frames leave out different triangles
    fragments = pytorch3d_backend.rasterize_batch(
        torch.from_numpy(np.stack((points, other))),
        torch.from_numpy(np.stack((depth, other_depth))),
        torch.from_numpy(triangles),
        (0, 0, 64, 64),
    )
    for frame, arguments in enumerate(((points, depth), (other, other_depth))):
        expected = rasterizer.rasterize(*arguments, triangles, (0, 0, 64, 64))
        np.testing.assert_array_equal(fragments.face_id[frame].numpy(), expected.face_id)


def test_the_differentiable_renderer_draws_the_same_with_it(stand_in):
    model, rows = make_face_model(), torch.from_numpy(make_coefficients(2, scale=0.1).pack())
    images, gradients = [], []
    for backend in ("cpu", "pytorch3d"):
        leaf = rows.clone().requires_grad_()
        drawn = render_coefficients_differentiably(model, leaf, 40, backend=backend)
        drawn.image.square().sum().backward()
        images.append(drawn.image.detach())
        gradients.append(leaf.grad)
    torch.testing.assert_close(images[0], images[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert choose_backend("auto", "cuda") == "pytorch3d"
    assert choose_backend("auto", "cpu") == "cpu"


def test_where_it_is_absent_the_message_says_how_to_install_it(absent):
    assert not pytorch3d_backend.is_installed()
    assert choose_backend("auto", "cuda") == "cpu"
    with pytest.raises(ParameterError, match="does not import here.*conda.*--no-build-isolation.*backend 'cpu'"):
        choose_backend("pytorch3d", "cpu")
    vertices, values = torch.zeros(1, 3, 3), torch.zeros(1, 3, 1)
    with pytest.raises(ParameterError, match="backend 'pytorch3d' needs PyTorch3D"):
        render_differentiably(vertices, values, torch.tensor([(0, 1, 2)]), 8, backend="pytorch3d")


def test_bad_input(stand_in):
    points, depth, triangles = _sheet(0)
    with pytest.raises(ParameterError, match="window .* is empty"):
        pytorch3d_backend.rasterize_pytorch3d(points, depth, triangles, (3, 3, 3, 9))
    with pytest.raises(ParameterError, match="triangles name vertices 0 to 162, but there are 162 points"):
        pytorch3d_backend.rasterize_pytorch3d(points, depth, np.array([(0, 1, 162)]), (0, 0, 8, 8))


@pytest.mark.parametrize("window", [(0, 0, 64, 64), (11, 5, 51, 30)])
def test_pytorch3d_itself_draws_what_the_compiled_rasterizer_draws(window):
    pytest.importorskip("pytorch3d", reason="PyTorch3D is optional")
    points, depth, triangles = _sheet(0)
    for cull_backfaces in (False, True):
        _compare(
            pytorch3d_backend.rasterize_pytorch3d(points, depth, triangles, window, cull_backfaces=cull_backfaces),
            rasterizer.rasterize(points, depth, triangles, window, cull_backfaces=cull_backfaces),
        )
