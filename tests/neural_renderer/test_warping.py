"""Warping: fields extrapolated outwards, and a picture moved with the points of its surface."""

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.rasterizer import rasterize
from metatalk_lib.neural_renderer.warping import fill_outwards, locate_pixels, sample_pixels, trusted_surface

QUAD = np.array([(8.0, 6.0), (40.0, 6.0), (8.0, 30.0), (40.0, 30.0)], np.float32)
TRIANGLES = np.array([(0, 2, 1), (1, 2, 3)], np.int32)
WINDOW = (0, 0, 48, 40)


def test_known_values_stay_and_a_constant_is_continued():
    known = np.zeros((37, 50), bool)
    known[10:20, 12:30] = True
    field = np.random.default_rng(0).normal(size=(37, 50, 2)).astype(np.float32)
    filled = fill_outwards(field, known)
    assert np.array_equal(filled[known], field[known])
    assert np.isfinite(filled).all()
    assert filled.min() >= field[known].min() - 1e-5
    assert filled.max() <= field[known].max() + 1e-5
    flat = fill_outwards(np.where(known[..., None], np.float32(3), np.float32(99)), known)
    np.testing.assert_allclose(flat, 3, atol=1e-5)


def test_a_single_known_pixel_fills_everything_and_none_is_refused():
    known = np.zeros((5, 9), bool)
    known[4, 8] = True
    np.testing.assert_allclose(fill_outwards(np.full((5, 9, 1), 7, np.float32), known), 7, atol=1e-5)
    with pytest.raises(ParameterError, match="no value is known"):
        fill_outwards(np.zeros((5, 9, 1), np.float32), np.zeros((5, 9), bool))


def locate(other: np.ndarray) -> np.ndarray:
    raster = rasterize(QUAD, np.ones(4), TRIANGLES, WINDOW)
    return locate_pixels(raster, TRIANGLES, QUAD, other.astype(np.float32)[None], raster.face_id >= 0)[0]


def test_a_shifted_surface_is_found_where_it_went():
    places = locate(QUAD + np.array([3.0, -2.0]))
    columns, rows = np.meshgrid(np.arange(48), np.arange(40))
    np.testing.assert_allclose(places[..., 0], columns + 3, atol=1e-4)
    np.testing.assert_allclose(places[..., 1], rows - 2, atol=1e-4)


def test_without_a_face_nothing_moves():
    raster = rasterize(QUAD + np.float32(500), np.ones(4), TRIANGLES, WINDOW)
    (places,) = locate_pixels(raster, TRIANGLES, QUAD, QUAD[None] + np.float32(7), raster.face_id >= 0)
    assert places[5, 9].tolist() == [9, 5]


def test_several_frames_are_located_as_each_alone():
    raster = rasterize(QUAD, np.ones(4), TRIANGLES, WINDOW)
    others = np.stack([QUAD * (1.1, 0.8), QUAD + np.array([3.0, -2.0]), QUAD]).astype(np.float32)
    together = locate_pixels(raster, TRIANGLES, QUAD, others, raster.face_id >= 0)
    for places, other in zip(together, others, strict=True):
        np.testing.assert_allclose(places, locate(other), atol=1e-4)


def draw_two_sheets(distance: float):
    """A sheet from column 5 to 24, before another one that shows beside it."""
    points = np.concatenate([QUAD * (0.6, 1), QUAD]).astype(np.float32)
    triangles = np.concatenate([TRIANGLES, TRIANGLES + 4])
    depth = np.repeat([10.0, 10.0 + distance], 4)
    return points, triangles, rasterize(points, depth, triangles, WINDOW)


def test_what_shows_beside_an_edge_follows_the_nearer_surface():
    points, triangles, raster = draw_two_sheets(1.0)
    trusted = trusted_surface(raster, 256)
    assert trusted[20, 20]
    assert not trusted[20, 25:29].any()
    assert trusted[20, 29:41].all()
    moved = points + np.repeat(np.float32([(3, 0), (-5, 0)]), 4, axis=0)
    (places,) = locate_pixels(raster, triangles, points, moved[None], trusted)
    shift = places[20, :, 0] - np.arange(48)
    np.testing.assert_allclose(shift[[12, 23, 29, 38]], [3, 3, -5, -5], atol=1e-4)
    assert shift[25] > 0, "just behind the edge the motion goes on as the nearer surface's"


def test_a_slope_is_trusted_and_empty_pixels_are_not():
    _, _, raster = draw_two_sheets(0.1)
    assert np.array_equal(trusted_surface(raster, 256), raster.face_id >= 0)
    _, _, raster = draw_two_sheets(1.0)
    assert not trusted_surface(raster, 256)[raster.face_id < 0].any()


def test_a_stretched_surface_brings_its_picture_back():
    ys, xs = np.mgrid[:40, :48]
    stretched = np.stack([5 * xs, 6 * ys, xs + ys], axis=2).astype(np.uint8)
    other = QUAD * (1.1, 0.8) + (1.0, 4.0)
    moved = sample_pixels(stretched, locate(other)).astype(float)
    inside = np.s_[8:28, 10:38]
    np.testing.assert_allclose(moved[..., 0][inside], 5 * (xs * 1.1 + 1.0)[inside], atol=1)
    np.testing.assert_allclose(moved[..., 1][inside], 6 * (ys * 0.8 + 4.0)[inside], atol=1)
