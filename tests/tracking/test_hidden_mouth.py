"""hidden_mouth: what covers a mouth is noticed and bridged; speech, grins and turns are not."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.hidden_mouth import (
    find_occlusions,
    look_at_mouth,
    measure_redness,
    measure_unlikeness,
    to_lab,
)
from tests.face_clips import FPS, drawn_face, moving_face, real_clip


def speaking(count: int, seed: int = 0) -> np.ndarray:
    """Views of a lower face with red lips that open and close, with grain."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:24, :32]
    views = np.empty((count, 24, 32, 3), np.float32)
    for frame in range(count):
        half = 2.5 + 2.0 * np.sin(2 * np.pi * 2.3 * frame / 25)
        ellipse = ((columns - 15.5) / 8) ** 2 + ((rows - 11.5) / (half + 2)) ** 2
        hole = ((columns - 15.5) / 6) ** 2 + ((rows - 11.5) / max(half, 0.5)) ** 2
        views[frame] = np.where(ellipse[..., None] < 1, (50, 35, 15), (65, 15, 18))
        views[frame][hole < 1] = (20, 10, 5)
    return (views + generator.normal(0, 1.0, views.shape)).astype(np.float32)


def to_rgb(views: np.ndarray) -> np.ndarray:
    """Pictures in CIELAB as 8-bit RGB."""
    rgb = cv2.cvtColor(views.reshape(-1, 32, 3).astype(np.float32), cv2.COLOR_LAB2RGB).reshape(views.shape)
    return np.rint(255 * np.clip(rgb, 0, 1)).astype(np.uint8)


def test_speech_is_like_itself():
    views = speaking(200)
    assert not find_occlusions(to_rgb(views), FPS).any()
    np.testing.assert_allclose(to_lab(to_rgb(views)), views, atol=2.5)
    assert measure_unlikeness(to_rgb(views), FPS).max() < 1
    assert np.median(measure_redness(to_rgb(views))) == pytest.approx(1)


@pytest.mark.parametrize(("name", "colour"), [("microphone", (12, 0, 0)), ("cup", (90, 0, 2)), ("hand", (57, 14, 17))])
def test_what_covers_the_mouth_is_found(name: str, colour: tuple[float, float, float]):
    views = speaking(200)
    cover = np.random.default_rng(1).normal(0, 2, (24, 32, 3)) + colour
    views[80:95, 3:22, 4:28] = cover[3:22, 4:28]
    found = np.flatnonzero(find_occlusions(to_rgb(views), FPS))
    assert set(range(82, 93)) <= set(found.tolist()) <= set(range(79, 96))


def test_a_clip_too_short_to_know_marks_nothing():
    views = speaking(60)
    views[20:30] = (12, 0, 0)
    assert not find_occlusions(to_rgb(views), FPS).any()
    assert not find_occlusions(to_rgb(views), Fraction(60)).any()


def test_lips_that_are_no_redder_than_skin_say_nothing():
    assert measure_redness(np.full((5, 24, 32, 3), 40, np.uint8)).tolist() == [1.0] * 5


def test_the_view_is_upright_and_of_one_scale():
    picture, points = drawn_face(400)
    view = look_at_mouth(picture, points)
    matrix = cv2.getRotationMatrix2D((199.5, 199.5), 20, 0.8)
    turned = cv2.warpAffine(picture, matrix, (400, 400), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    again = look_at_mouth(turned, (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))
    assert np.abs(view.astype(int) - again).mean() < 4


def test_the_tracker_bridges_short_covers_and_only_marks_long_ones():
    frames, truth = moving_face(100)
    for index in range(50, 58):
        x, y = truth[index, 48:68].mean(axis=0)
        frames[index] = cv2.circle(frames[index].copy(), (int(x), int(y)), 45, (20, 20, 22), -1)
    found = track_landmarks(frames, frame_count=100, fps=FPS, max_gap_s=0.5, watches_mouth=True)
    assert set(range(51, 57)) <= set(np.flatnonzero(found.occluded).tolist()) <= set(range(49, 59))
    np.testing.assert_array_equal(found.detected, ~found.occluded)
    first, last = np.flatnonzero(found.occluded)[[0, -1]] + (-1, 1)
    share = (54 - first) / (last - first)
    straight = (1 - share) * found.raw_landmarks[first] + share * found.raw_landmarks[last]
    np.testing.assert_allclose(found.raw_landmarks[54], straight, atol=1e-3)
    longer = track_landmarks(frames, frame_count=100, fps=FPS, max_gap_s=0.1, watches_mouth=True)
    np.testing.assert_array_equal(longer.occluded, found.occluded)
    assert longer.detected.all()
    assert track_landmarks(frames, frame_count=100, fps=FPS).occluded is None


@pytest.mark.data
@pytest.mark.parametrize("name", ["grid_a.mpg", "dim_844.mp4", "glasses_524.mp4", "suit_vfr.mp4"])
def test_nothing_is_marked_on_real_people_whose_mouth_is_seen(name: str):
    path = real_clip(name)
    info = probe_video(path)
    found = track_landmarks(read_frames(path), frame_count=info.frame_count, fps=info.fps, watches_mouth=True)
    assert not found.occluded.any()
