"""No pixel inside a closed surface stays empty, whatever its triangles look like."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import ConvexHull, Delaunay

from metatalk_lib.face3d.rasterizer import rasterize

SIZE = 48
WINDOW = (0, 0, SIZE, SIZE)
SEEDS = range(200)
Mesh = tuple[np.ndarray, np.ndarray]  # points (N, 2) px and triangles (F, 3)


def _area(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]


def _triangulate(points: np.ndarray) -> Mesh:
    """Delaunay triangles, counter-clockwise to the viewer."""
    points = np.unique(points, axis=0)
    triangles = Delaunay(points).simplices.astype(np.int64)
    turned = _area(points, triangles) > 0
    triangles[turned] = triangles[turned][:, ::-1]
    return points, triangles


def _square(generator: np.random.Generator, *, count: int = 120, step: float = 0.0) -> Mesh:
    """A square that reaches beyond the window; with a step, its vertices lie on multiples of it."""
    points = generator.uniform(-5, SIZE + 5, (count, 2))
    points = np.round(points / step) * step if step else points
    low, high = -8.0, SIZE + 8.0
    return _triangulate(np.concatenate((points, [(low, low), (low, high), (high, low), (high, high)])))


def _far(generator: np.random.Generator, reach: float) -> Mesh:
    """Large triangles through the window beside small ones, coordinates up to `reach`."""
    near, far = generator.uniform(-5, SIZE + 5, (20, 2)), generator.uniform(-reach, reach, (40, 2))
    corners = 2 * reach * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
    return _triangulate(np.concatenate((np.round(near), far, corners)))


def _split(generator: np.random.Generator, mesh: Mesh, thinness: float, rounds: int = 2) -> Mesh:
    """Put a vertex into every triangle, `thinness` of its height from an edge, so that one part is a sliver; repeat."""
    points, triangles = mesh
    for _ in range(rounds):
        weight = generator.uniform(0.1, 1, (len(triangles), 3))
        weight[np.arange(len(triangles)), generator.integers(0, 3, len(triangles))] *= thinness
        inner = (points[triangles] * (weight / weight.sum(1, keepdims=True))[..., None]).sum(1)
        ids = len(points) + np.arange(len(triangles))
        points = np.concatenate((points, inner))
        a, b, c = triangles.T
        triangles = np.concatenate([np.stack((*edge, ids), axis=1) for edge in ((a, b), (b, c), (c, a))])
    return points, triangles


def _lines(generator: np.random.Generator) -> Mesh:
    """Every vertex on a pixel centre, and edges of slopes that pass through further centres on their way."""
    columns = np.arange(-8, SIZE + 9, 8)
    grid = np.stack(np.meshgrid(columns, columns), axis=-1).reshape(-1, 2)
    shift = np.where((grid > -8) & (grid < SIZE + 8), generator.choice((-2, 0, 2), grid.shape), 0)
    return _triangulate((grid + shift).astype(np.float64))


MESHES: dict[str, Callable[[np.random.Generator], Mesh]] = {
    "random": _square,
    "vertices on pixel centres": lambda generator: _square(generator, count=250, step=1.0),
    "vertices on centres and halfway": lambda generator: _square(generator, count=250, step=0.5),
    "edges through pixel centres": _lines,
    "slivers 1e-3": lambda generator: _split(generator, _square(generator, count=40), 1e-3),
    "slivers 1e-4 on centres": lambda generator: _split(generator, _square(generator, count=40, step=1.0), 1e-4),
    "slivers 1e-6 on centres": lambda generator: _split(generator, _square(generator, count=40, step=1.0), 1e-6),
    "slivers 1e-9 on centres": lambda generator: _split(generator, _square(generator, count=40, step=1.0), 1e-9),
    "slivers 1e-13 on centres": lambda generator: _split(generator, _square(generator, count=40, step=1.0), 1e-13),
    "slivers without width": lambda generator: _split(generator, _square(generator, count=40, step=1.0), 0.0),
    "large coordinates": lambda generator: _far(generator, 1e4),
    "huge coordinates": lambda generator: _far(generator, 1e7),
    "large slivers": lambda generator: _split(generator, _far(generator, 1e4), 1e-9),
    "huge slivers": lambda generator: _split(generator, _far(generator, 1e7), 1e-9),
}


def _holes(mesh: Mesh, *, cull_backfaces: bool = False, seed: int = 0) -> int:
    points, triangles = mesh
    depth = np.random.default_rng(seed).uniform(5, 15, len(points))
    raster = rasterize(points, depth, triangles, WINDOW, cull_backfaces=cull_backfaces)
    seen = raster.face_id >= 0
    assert raster.barycentric.min() >= 0
    np.testing.assert_allclose(raster.barycentric[seen].sum(axis=-1), 1, atol=1e-5)
    assert np.isfinite(raster.depth[seen]).all()
    return int((~seen).sum())


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("cull_backfaces", [False, True])
def test_a_filled_square_has_no_hole(kind, cull_backfaces):
    holes = {}
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        count = _holes(MESHES[kind](generator), cull_backfaces=cull_backfaces, seed=seed)
        if count:
            holes[seed] = count
    assert not holes


@pytest.mark.parametrize("seed", range(30))
def test_a_sphere_has_no_hole(seed):
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    triangles = ConvexHull(points).simplices.astype(np.int64)
    normal = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    inward = (normal * points[triangles[:, 0]]).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    depth = 4 - points[:, 2]
    projected = SIZE / 2 + SIZE * 1.5 * points[:, :2] * (1, -1) / depth[:, None]
    outline = Delaunay(projected[ConvexHull(projected).vertices])
    pixel = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1)
    inside = outline.find_simplex(pixel) >= 0
    assert inside.sum() > 800
    for cull_backfaces in (False, True):
        raster = rasterize(projected, depth, triangles, WINDOW, cull_backfaces=cull_backfaces)
        assert ((raster.face_id >= 0) | ~inside).all()
        # the near half hides the far one
        assert (raster.depth[inside] < 4.001).all()


@pytest.mark.parametrize("shrink", [1e-3, 1e-6])
def test_cheat_shrunk_triangles_leave_holes(shrink):
    points, triangles = _square(np.random.default_rng(0), count=250, step=1.0)
    corners = points[triangles]
    corners += shrink * (corners.mean(axis=1, keepdims=True) - corners)
    loose = np.arange(corners.size // 2).reshape(-1, 3)
    assert _holes((points, triangles)) == 0
    assert _holes((corners.reshape(-1, 2), loose)) > 100


def _empty_with_a_fixed_margin(mesh: Mesh, margin: float, dtype: type) -> int:
    """The plain way: one triangle at a time, weights divided by its area, inside from -margin on."""
    points, triangles = mesh[0].astype(dtype), mesh[1]
    x, y = np.meshgrid(np.arange(SIZE, dtype=dtype), np.arange(SIZE, dtype=dtype))
    empty = np.ones((SIZE, SIZE), dtype=bool)
    for (ax, ay), (bx, by), (cx, cy) in points[triangles]:
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area != 0:
            first = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
            second = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
            empty &= ~((first >= -margin) & (second >= -margin) & (1 - first - second >= -margin))
    return int(empty.sum())


@pytest.mark.parametrize(("margin", "dtype", "seed"), [(1e-5, np.float32, 37), (1e-9, np.float64, 21)])
def test_cheat_a_fixed_margin_leaves_holes(margin, dtype, seed):
    """1e-5 in single precision is as in AudioDVP, whose black pixels are known; double precision alone is no cure."""
    generator = np.random.default_rng(seed)
    mesh = _split(generator, _square(generator, count=40, step=1.0), 1e-4)
    assert _empty_with_a_fixed_margin(mesh, margin, dtype) > 0
    assert _holes(mesh) == 0
