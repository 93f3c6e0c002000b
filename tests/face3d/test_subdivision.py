import numpy as np

from metatalk_lib.face3d.subdivision import subdivide

CUBE = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
CUBE_QUADS = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])


def test_a_cube_by_the_textbook_rules():
    fine = subdivide(CUBE_QUADS, 8)
    points = fine.operator @ CUBE
    assert fine.operator.shape == (26, 8)
    assert fine.quads.shape == (24, 4)
    # corner: (mean of 3 quad points + 2 mean of 3 edge midpoints) / 3 = (1/3 + 4/3) / 3 of the corner's coordinate
    np.testing.assert_allclose(points[:8], CUBE * 5 / 9, atol=1e-12)
    # edge point: mean of two ends and two quad points
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), np.tile((0, 0.75, 0.75), (12, 1)), atol=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(points[20:]), axis=1), np.tile((0, 0, 1), (6, 1)), atol=1e-12)


def test_rows_sum_to_one_so_affine_maps_commute():
    fine = subdivide(CUBE_QUADS, 8)
    np.testing.assert_allclose(np.asarray(fine.operator.sum(axis=1)).ravel(), 1, atol=1e-12)


def test_orientation_is_kept():
    fine = subdivide(CUBE_QUADS, 8)
    for quads, points in ((CUBE_QUADS, CUBE), (fine.quads, fine.operator @ CUBE)):
        corner = points[quads]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 3] - corner[:, 0])
        outward = np.einsum("qc,qc->q", normal, corner.mean(axis=1))
        assert (outward > 0).all() or (outward < 0).all()


def test_borders_follow_the_curve_rule_and_a_flat_sheet_stays_flat():
    x, y = np.meshgrid(np.arange(4.0), np.arange(4.0))
    sheet = np.stack((x, y, np.zeros_like(x)), axis=-1).reshape(-1, 3)
    ids = np.arange(16).reshape(4, 4)
    quads = np.stack((ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]), axis=-1).reshape(-1, 4)
    fine = subdivide(quads, 16)
    points = fine.operator @ sheet
    np.testing.assert_allclose(points[:, 2], 0, atol=1e-12)
    np.testing.assert_allclose(points[1], sheet[1], atol=1e-12)  # middle of a straight border
    np.testing.assert_allclose(points[5], sheet[5], atol=1e-12)  # inner vertex of a regular grid
    np.testing.assert_allclose(points[0], (1 / 8, 1 / 8, 0), atol=1e-12)  # the corner is rounded by the curve rule


def test_bilinear_keeps_the_old_vertices():
    fine = subdivide(CUBE_QUADS, 8, smooth=False)
    points = fine.operator @ CUBE
    np.testing.assert_allclose(points[:8], CUBE)
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), np.tile((0, 1, 1), (12, 1)))


def test_vertices_without_a_quad_stay():
    fine = subdivide(CUBE_QUADS, 10)
    extended = np.concatenate((CUBE, [(5, 6, 7), (8, 9, 10)]))
    np.testing.assert_allclose((fine.operator @ extended)[8:10], extended[8:])
