"""Inspection of the neural renderer: painting, measures, close-ups and figures."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.neural_renderer.generator import NeuralRenderer, build_generator
from metatalk_lib.neural_renderer.inspection import (
    blur_pairs,
    cut_mouths,
    error_maps,
    landmarks_in_roi,
    measure_pairs,
    paint_pairs,
    read_stills,
    withhold,
)
from metatalk_lib.neural_renderer.lower_face_region import Roi
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import LandmarkTrack
from metatalk_lib.visualization import curves, pictures
from tests.neural_renderer.test_generator import MODEL, make_pairs


@pytest.fixture(scope="module")
def pairs():
    return make_pairs()


def test_painting_changes_the_mask_only(pairs):
    painted = paint_pairs(NeuralRenderer(build_generator(MODEL, 2), MODEL), pairs)
    assert np.array_equal(painted[~pairs.masks], pairs.targets[~pairs.masks])
    assert not np.array_equal(painted, pairs.targets)


def test_real_images_score_one_and_wrong_ones_less(pairs):
    noisy = np.random.default_rng(0).integers(0, 256, pairs.targets.shape).astype(np.uint8)
    textured = dataclasses.replace(pairs, targets=noisy)
    blurred, swapped = blur_pairs(textured), noisy[::-1]
    scores = measure_pairs(blurred, textured)
    assert scores.sharpness_ratio_mask < 0.9
    assert measure_pairs(swapped, textured).ssim_mask < scores.ssim_mask < 1
    with pytest.raises(ParameterError, match="got 2 images for 6 pairs"):
        measure_pairs(noisy[:2], pairs)


def test_withheld_pixels_are_grey(pairs):
    seen = withhold(pairs.targets, pairs.masks)
    assert (seen[pairs.masks] == 128).all()
    assert np.array_equal(seen[~pairs.masks], pairs.targets[~pairs.masks])


def test_error_maps_by_hand():
    one, other = np.full((1, 1, 2, 3), 10, np.uint8), np.array([[[[13] * 3, [200] * 3]]], np.uint8)
    assert error_maps(one, other)[0, 0, :, 0].tolist() == [12, 255]


def test_close_ups_follow_the_mouth_without_resampling():
    images = np.random.default_rng(0).integers(0, 256, (2, 90, 120, 3)).astype(np.uint8)
    landmarks = np.zeros((2, 68, 2), np.float32)
    landmarks[0, 48:], landmarks[1, 48:] = (60, 45), (0, 0)
    mouths = cut_mouths(images, landmarks, width=40)
    assert np.array_equal(mouths[0], images[0, 30:60, 40:80])
    assert np.array_equal(mouths[1], images[1, :30, :40])


def test_landmarks_join_on_frame_id():
    points = np.arange(3 * 68 * 2, dtype=np.float32).reshape(3, 68, 2)
    track = LandmarkTrack(np.array([4, 5, 7]), points, points, np.zeros((3, 4), np.float32), np.ones(3, bool))
    moved = landmarks_in_roi(track, np.array([7]), CropTransform(10, 20, 64, 64), Roi(3, 4, 35, 36))
    assert np.allclose(moved, points[[2]] - (13, 24))


def test_stills_are_spread_over_the_video(tmp_path: Path):
    frames = [np.full((32, 32, 3), 20 * number, np.uint8) for number in range(10)]
    write_video(tmp_path / "v.mp4", frames, fps=Fraction(25))
    stills, numbers = read_stills(tmp_path / "v.mp4", 4)
    assert numbers.tolist() == [0, 3, 6, 9]
    assert np.abs(stills[:, 0, 0, 0].astype(int) - 20 * numbers).max() < 6


def test_figures_show_what_they_are_given(pairs):
    rows = {"real": np.asarray(pairs.targets[:3]), "drawn": np.asarray(pairs.renders[:3])}
    figure = pictures.plot_picture_rows(rows, [0, 1, 2])
    assert [ax.get_title() for ax in figure.axes[:3]] == ["frame 0", "frame 1", "frame 2"]
    scaled = pictures.plot_pictures_at_scale(rows, [0, 1, 2], scale=2)
    assert (scaled.get_size_inches() * 100).round().astype(int).tolist() == [2 * 3 * 40, 2 * 2 * 32]
    region = pictures.plot_painted_region(np.zeros((64, 64, 3), np.uint8), pairs.masks[0], pairs.roi, frame_id=0)
    assert "40 x 32 px" in region.axes[1].get_title()
    history = {"step": [25, 50], "reconstruction": [0.2, 0.1], "adversarial": [0.0, 1.0], "discriminator": [0.0, 0.7]}
    ax = curves.plot_renderer_history(history).axes[0]
    assert ax.lines[0].get_ydata().tolist() == [25.5, 12.75]
    assert ax.get_ylim() == pytest.approx((0, 1.05 * 25.5))
