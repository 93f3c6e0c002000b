"""Compositing: nothing outside the mask changes, and the crop's transform is undone exactly."""

import cv2
import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.neural_renderer.compositing import blend, limit_mask, sew
from metatalk_lib.neural_renderer.lower_face_region import Roi
from metatalk_lib.tracking.crop import CropTransform


def make_mask(height: int, width: int) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width]
    return ((xs - width / 2) / (0.4 * width)) ** 2 + ((ys - height / 2) / (0.4 * height)) ** 2 <= 1


def make_source(height: int = 200, width: int = 240) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_blend_by_hand():
    background, paint = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 200, np.uint8)
    assert blend(background, paint, np.array([[0.0, 0.25, 1.0]], np.float32))[0, :, 0].tolist() == [100, 125, 200]


def test_a_mask_ends_a_rim_beyond_the_faces():
    mask, face = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    mask[8:56, 8:56], face[20:30, 20:30] = True, True
    limited = limit_mask(mask, face, 128)
    assert not (limited & ~mask).any()
    assert limited[16:34, 20:30].all()
    assert not limited[35:].any()
    assert not limited[16, 16], "the rim is round"
    assert (limit_mask(mask, np.zeros_like(face), 128) == mask).all()


@pytest.mark.parametrize(
    "transform", [CropTransform(30, 20, 128, 128), CropTransform(10, 15, 160, 128), CropTransform(40, 30, 96, 128)]
)
def test_nothing_outside_the_mask_changes(transform: CropTransform):
    source, roi = make_source(), Roi(16, 32, 112, 128)
    mask = make_mask(roi.height, roi.width)
    sewn = sew(source, np.full((roi.height, roi.width, 3), 255, np.uint8), mask, transform, roi)
    assert sewn.count_changed_outside(source) == 0
    whole = np.zeros(source.shape[:2], bool)
    whole[sewn.rows, sewn.columns] = sewn.mask
    assert np.array_equal(sewn.image[~whole], source[~whole])
    assert not np.array_equal(sewn.image, source)
    spoilt = sewn.image.copy()
    spoilt[sewn.rows.start, sewn.columns] ^= 1
    changed = sewn.mask.shape[1] - sewn.mask[0].sum()
    assert sewn._replace(image=spoilt).count_changed_outside(source) == changed > 0
    expected = mask.sum() * (transform.side / transform.size) ** 2
    assert sewn.mask.sum() == pytest.approx(expected, rel=0.02)
    centre = (transform.side / transform.size) * np.array([64, 80]) + (transform.left, transform.top)
    assert (sewn.image[round(centre[1]), round(centre[0])] == 255).all()


def test_without_resampling_the_crop_sewn_back_is_the_source():
    source, transform, roi = make_source(), CropTransform(30, 20, 128, 128), Roi(16, 32, 112, 128)
    crop = source[20:148, 30:158]
    sewn = sew(source, roi.cut(crop), make_mask(roi.height, roi.width), transform, roi)
    assert np.array_equal(sewn.image, source)


@pytest.mark.parametrize("side", [96, 160])
def test_with_resampling_a_smooth_picture_comes_back_in_place(side: int):
    ys, xs = np.mgrid[:200, :240]
    source = np.stack([xs, ys, (xs + ys) / 2], axis=2).astype(np.uint8)
    transform, roi = CropTransform(24, 18, side, 128), Roi(16, 32, 112, 128)
    square = source[18 : 18 + side, 24 : 24 + side]
    crop = cv2.resize(square, (128, 128), interpolation=cv2.INTER_LINEAR)
    sewn = sew(source, roi.cut(crop), make_mask(roi.height, roi.width), transform, roi)
    assert np.abs(sewn.image.astype(int) - source).max() <= 1


def test_a_crop_that_leaves_the_frame_is_cut():
    source, roi = make_source(), Roi(0, 0, 128, 128)
    paint, mask = np.full((128, 128, 3), 7, np.uint8), np.ones((128, 128), bool)
    sewn = sew(source, paint, mask, CropTransform(-28, 150, 128, 128), roi)
    assert (sewn.image[150:, :100] == 7).all()
    assert np.array_equal(sewn.image[:150], source[:150])
    assert sewn.mask.sum() == 50 * 100


def test_sizes_that_disagree_are_refused():
    with pytest.raises(ParameterError, match="sew got paint"):
        sew(
            make_source(),
            np.zeros((8, 8, 3), np.uint8),
            np.ones((8, 9), bool),
            CropTransform(0, 0, 64, 64),
            Roi(0, 0, 8, 8),
        )


@pytest.mark.parametrize("side", [90, 150, 233])
def test_the_crop_is_undone_to_a_fraction_of_a_pixel(side: int):
    """A ramp shows a shift of the grid: one pixel of x is four grey levels."""
    ys, xs = np.mgrid[:260, :260]
    source = np.stack([xs % 64 * 4, ys % 64 * 4, (xs + ys) % 64 * 4], axis=2).astype(np.uint8)
    source = cv2.GaussianBlur(source, (0, 0), 3)
    transform, roi = CropTransform(13, 11, side, 128), Roi(16, 32, 112, 128)
    crop = transform.crop_image(source)
    sewn = sew(source, np.ascontiguousarray(roi.cut(crop)), make_mask(roi.height, roi.width), transform, roi)
    error = sewn.image.astype(float) - source
    assert np.abs(error).max() <= 5
    assert np.abs(error[sewn.rows, sewn.columns][sewn.mask].mean()) < 0.1
