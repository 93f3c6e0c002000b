import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.rasterizer import interpolate, rasterize
from tests.reference import REFERENCE_DIR

GOLDEN = REFERENCE_DIR / "front_pytorch3d_raster.npz"
SQUARE = np.array([(2.0, 1.0), (8.0, 1.0), (8.0, 6.0), (2.0, 6.0)])
# counter-clockwise to the viewer, y down
SQUARE_TRIANGLES = np.array([(0, 3, 1), (1, 3, 2)])


@pytest.mark.parametrize("size", [64, 97])
def test_equals_pytorch3d(size):
    with np.load(GOLDEN, allow_pickle=False) as file:
        vertices, faces = file["verts_ndc"].astype(np.float64), file["faces"]
        face_id, depth, barycentric = (file[f"{name}_{size}"] for name in ("pix_to_face", "zbuf", "bary"))
    points = ((1 - vertices[:, :2]) * size - 1) / 2
    raster = rasterize(points, vertices[:, 2], faces, (0, 0, size, size))
    np.testing.assert_array_equal(raster.face_id, face_id)
    seen = face_id >= 0
    assert seen.sum() > 500
    np.testing.assert_allclose(raster.depth[seen], depth[seen], atol=1e-5)
    np.testing.assert_allclose(raster.barycentric[seen], barycentric[seen], atol=2e-4)
    assert np.isinf(raster.depth[~seen]).all()


def test_a_square_covers_exactly_its_pixel_centres():
    raster = rasterize(SQUARE, np.ones(4), SQUARE_TRIANGLES, (0, 0, 12, 9))
    expected = np.zeros((9, 12), dtype=bool)
    expected[1:7, 2:9] = True  # centres on the border count
    np.testing.assert_array_equal(raster.face_id >= 0, expected)


def test_shared_edges_are_watertight():
    generator = np.random.default_rng(3)
    size, cells = 128, 23
    x, y = np.meshgrid(np.linspace(-5, size + 5, cells), np.linspace(-5, size + 5, cells))
    points = np.stack((x, y), axis=-1) + generator.uniform(-1.5, 1.5, (cells, cells, 2))
    ids = np.arange(cells * cells).reshape(cells, cells)
    a, b, c, d = ids[:-1, :-1].ravel(), ids[:-1, 1:].ravel(), ids[1:, :-1].ravel(), ids[1:, 1:].ravel()
    triangles = np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1)))
    depth = generator.uniform(5, 15, cells * cells)
    raster = rasterize(points.reshape(-1, 2), depth, triangles, (0, 0, size, size))
    assert (raster.face_id >= 0).all()
    np.testing.assert_allclose(raster.barycentric.sum(axis=-1), 1, atol=1e-5)


def test_edges_through_pixel_centres_leave_no_gap():
    # vertices on exact pixel centres: every edge runs through centres
    x, y = np.meshgrid(np.arange(0.0, 33.0, 4.0), np.arange(0.0, 33.0, 4.0))
    ids = np.arange(81).reshape(9, 9)
    a, b, c, d = ids[:-1, :-1].ravel(), ids[:-1, 1:].ravel(), ids[1:, :-1].ravel(), ids[1:, 1:].ravel()
    triangles = np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1)))
    raster = rasterize(np.stack((x, y), axis=-1).reshape(-1, 2), np.full(81, 7.3), triangles, (0, 0, 33, 33))
    assert (raster.face_id >= 0).all()


def test_the_nearer_triangle_wins_and_ties_go_to_the_lower_number():
    points = np.concatenate((SQUARE, SQUARE, SQUARE))
    triangles = np.concatenate((SQUARE_TRIANGLES, SQUARE_TRIANGLES + 4, SQUARE_TRIANGLES + 8))
    depth = np.repeat((9.0, 5.0, 5.0), 4)
    raster = rasterize(points, depth, triangles, (3, 2, 7, 5))
    assert set(np.unique(raster.face_id)) <= {2, 3}


def test_back_faces_can_be_left_out():
    seen = rasterize(SQUARE, np.ones(4), SQUARE_TRIANGLES, (0, 0, 12, 9), cull_backfaces=True)
    hidden = rasterize(SQUARE, np.ones(4), SQUARE_TRIANGLES[:, ::-1], (0, 0, 12, 9), cull_backfaces=True)
    assert (seen.face_id >= 0).any()
    assert (hidden.face_id < 0).all()


def test_a_triangle_reaching_behind_the_camera_is_left_out():
    raster = rasterize(SQUARE, np.array((1.0, 1.0, -0.5, 1.0)), SQUARE_TRIANGLES, (0, 0, 12, 9))
    assert set(np.unique(raster.face_id)) == {-1, 0}
    raster = rasterize(SQUARE, np.array((1.0, 1.0, 0.0, 1.0)), SQUARE_TRIANGLES, (0, 0, 12, 9))
    assert set(np.unique(raster.face_id)) == {-1, 0}


def test_interpolation_is_perspective_correct():
    # a plane tilted in depth: 1/depth is linear on the screen, the plane's own coordinate is not
    points, depth = np.array([(0.0, 0.0), (0.0, 8.0), (16.0, 0.0), (16.0, 8.0)]), np.array((1.0, 1.0, 4.0, 4.0))
    triangles = np.array([(0, 1, 2), (2, 1, 3)])
    raster = rasterize(points, depth, triangles, (0, 0, 17, 9))
    along = interpolate(raster, triangles, np.array([[0.0], [0.0], [1.0], [1.0]], dtype=np.float32))[4, :, 0]
    t = np.arange(17) / 16
    np.testing.assert_allclose(along, (t / 4) / ((1 - t) + t / 4), atol=1e-5)


def test_a_window_equals_the_same_part_of_the_whole():
    generator = np.random.default_rng(0)
    points, depth = generator.uniform(-10, 60, (40, 2)), generator.uniform(1, 3, 40)
    triangles = generator.integers(0, 40, (60, 3))
    whole = rasterize(points, depth, triangles, (0, 0, 50, 50))
    part = rasterize(points, depth, triangles, (10, 20, 45, 60))
    np.testing.assert_array_equal(part.face_id[:30], whole.face_id[20:50, 10:45])
    np.testing.assert_array_equal(part.depth[:30], whole.depth[20:50, 10:45])


def test_bad_input():
    with pytest.raises(ParameterError, match="window .* is empty"):
        rasterize(SQUARE, np.ones(4), SQUARE_TRIANGLES, (3, 3, 3, 9))
    with pytest.raises(ParameterError, match="triangles name vertices 0 to 4"):
        rasterize(SQUARE, np.ones(4), np.array([(0, 1, 4)]), (0, 0, 5, 5))


def test_no_triangles_draw_nothing():
    raster = rasterize(SQUARE, np.ones(4), np.zeros((0, 3), dtype=np.int64), (0, 0, 5, 5))
    assert (raster.face_id == -1).all()


def test_points_that_are_not_finite_or_huge_are_left_out():
    for odd in (np.nan, np.inf, -np.inf, 1e300):
        points = SQUARE.copy()
        points[2] = odd, 3.0
        raster = rasterize(points, np.ones(4), SQUARE_TRIANGLES, (0, 0, 12, 9))
        assert set(np.unique(raster.face_id)) <= {-1, 0, 1}
        assert (raster.face_id == 0).any()
        assert np.isfinite(raster.barycentric).all()


def test_a_triangle_without_area_shows_its_longest_edge():
    points, depth = np.array([(1.0, 1.0), (9.0, 5.0), (5.0, 3.0)]), np.array((1.0, 1.0, 1.0))
    raster = rasterize(points, depth, np.array([(0, 1, 2)]), (0, 0, 12, 9), cull_backfaces=True)
    assert list(zip(*np.nonzero(raster.face_id == 0), strict=True)) == [(1, 1), (2, 3), (3, 5), (4, 7), (5, 9)]
    np.testing.assert_allclose(raster.barycentric[2, 3], (0.75, 0.25, 0), atol=1e-6)
