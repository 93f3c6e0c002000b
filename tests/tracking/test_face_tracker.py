"""face_tracker: tracking, bridging, refusals, and smoothing without lag."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.tracking.face_detector import face_width
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import LandmarkTrack, format_frames, mouth_opening, mouth_width
from metatalk_lib.tracking.smoothing import smooth_boxes, smooth_landmarks
from tests.face_clips import FPS, moving_face, place_face, real_clip, wall


def track(frames: list, **options) -> LandmarkTrack:
    return track_landmarks(frames, frame_count=len(frames), fps=FPS, **options)


def base() -> np.ndarray:
    """A still face of 68 points, (68, 2)."""
    return np.random.default_rng(0).uniform(0, 100, (68, 2))


def test_a_moving_face_is_followed():
    frames, truth = moving_face(25)
    found = track(frames)
    assert found.detected.all()
    np.testing.assert_array_equal(found.frame_id, np.arange(25))
    motion = found.landmarks.mean(axis=1) - found.landmarks.mean(axis=(0, 1))
    np.testing.assert_allclose(motion, truth.mean(axis=1) - truth.mean(axis=(0, 1)), atol=1.0)
    assert (found.boxes[:, 2] - found.boxes[:, 0]).min() > 0.9 * np.median(face_width(truth))


def test_the_same_frames_give_the_same_track(tmp_path: Path):
    frames, _ = moving_face(12)
    for name in ("a.npz", "b.npz"):
        track(frames).save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded, made = LandmarkTrack.load(tmp_path / "a.npz"), track(frames)
    for name in ("frame_id", "landmarks", "raw_landmarks", "boxes", "detected"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(made, name))


def test_a_file_that_lacks_an_array_is_named(tmp_path: Path):
    np.savez(tmp_path / "a.npz", frame_id=np.arange(3))
    with pytest.raises(DataError, match="lacks boxes, detected, landmarks, raw_landmarks"):
        LandmarkTrack.load(tmp_path / "a.npz")


def test_missing_frames_are_bridged_by_straight_lines_and_marked():
    frames, _ = moving_face(30)
    frames[0] = frames[12] = frames[13] = wall()
    found = track(frames, max_missing_fraction=0.1)
    assert np.flatnonzero(~found.detected).tolist() == [0, 12, 13]
    raw = found.raw_landmarks
    np.testing.assert_allclose(raw[12], raw[11] + (raw[14] - raw[11]) / 3, atol=1e-3)
    np.testing.assert_array_equal(raw[0], raw[1])


def test_too_many_missing_frames_are_listed():
    frames, _ = moving_face(30)
    frames[4] = frames[12] = frames[13] = wall()
    with pytest.raises(DataError, match=r"in 27 of 30 frames; missing 4, 12-13\. .*max_missing_fraction \(now 0\.05\)"):
        track(frames, max_missing_fraction=0.05)


def test_a_gap_of_three_frames_is_bridged_and_counted():
    frames, truth = moving_face(60)
    frames[30:33] = [wall()] * 3
    found = track(frames, max_missing_fraction=0.05, max_gap_s=0.12)
    assert np.flatnonzero(~found.detected).tolist() == [30, 31, 32]
    raw = found.raw_landmarks
    for step in (1, 2, 3):
        np.testing.assert_allclose(raw[29 + step], raw[29] + (raw[33] - raw[29]) * step / 4, atol=1e-3)
    # the true way is a circle of 20 px radius, from which the straight line strays by 2.5 px
    centre = found.landmarks.mean(axis=1) - found.landmarks.mean(axis=(0, 1))
    np.testing.assert_allclose(centre, truth.mean(axis=1) - truth.mean(axis=(0, 1)), atol=3)


def test_long_gaps_are_refused():
    frames, _ = moving_face(60)
    frames[10] = wall()
    frames[30:34] = [wall()] * 4
    message = r"no face was found for up to 4 frames in a row, at 30-33; at most 3 are bridged\. .*max_gap_seconds"
    with pytest.raises(DataError, match=message):
        track(frames, max_missing_fraction=0.2, max_gap_s=0.12)
    assert (~track(frames, max_missing_fraction=0.2).detected).sum() == 5
    with pytest.raises(DataError, match=r"in 55 of 60 frames; missing 10, 30-33\. "):
        track(frames)


def test_no_face_is_an_error():
    with pytest.raises(DataError, match="no face was found in all 4 frames"):
        track([wall()] * 4)
    with pytest.raises(DataError, match="no face was found in the first 100 frames"):
        track([wall(width=120, height=120)] * 101)


def test_two_faces_are_refused_or_chosen():
    left, truth_left = place_face(0, 10, width=330, height=340)
    right, _ = place_face(0, 10, width=330, height=340, scale=0.85)
    frames = [np.concatenate([left, right], axis=1)] * 3
    with pytest.raises(DataError, match=r"frame 0 shows 2 faces.*Choose by face_position"):
        track(frames)
    for position, is_left in (("left", True), ("largest", True), ("right", False)):
        found = track(frames, face_position=position)
        assert (found.landmarks[..., 0].mean() < 330) == is_left, position
    np.testing.assert_allclose(track(frames, face_position="left").landmarks.mean((0, 1)), truth_left.mean(0), atol=5)


def test_a_second_face_that_comes_later_is_refused():
    one, _ = place_face(0, 10, width=700, height=340)
    two = one.copy()
    two[:, 340:660] = one[:, :320]
    with pytest.raises(DataError, match="frame 50 shows 2 faces"):
        track([one] * 50 + [two])


def test_a_narrow_face_is_an_error():
    frame, truth = place_face(10, 10, width=200, height=200, scale=0.45)
    width = face_width(truth)
    assert width < 96
    with pytest.raises(DataError, match=r"the face is (about )?\d+ px wide.*at least 96 px are needed"):
        track([frame] * 3)


def test_lost_frames_are_noticed():
    frames, _ = moving_face(3)
    with pytest.raises(ParameterError, match="3 frames were given, 5 announced"):
        track_landmarks(frames, frame_count=5, fps=FPS)


def test_the_face_is_found_again_after_a_cut():
    before, _ = place_face(0, 0, width=760, height=700)
    after, truth = place_face(420, 350, width=760, height=700)
    found = track([before] * 5 + [after] * 5, max_missing_fraction=0.0)
    np.testing.assert_allclose(found.raw_landmarks[7].mean(axis=0), truth.mean(axis=0), atol=5)


@pytest.mark.data
@pytest.mark.parametrize(("name", "width"), [("speaker_512.mp4", 264), ("speaker_1080p.mp4", 183)])
def test_real_people_are_followed(name: str, width: float):
    path = real_clip(name)
    info = probe_video(path)
    found = track_landmarks(read_frames(path, 0, 60), frame_count=60, fps=info.fps)
    assert found.detected.all()
    assert np.median(face_width(found.landmarks)) == pytest.approx(width, rel=0.05)
    error = np.linalg.norm(found.landmarks - found.raw_landmarks, axis=-1)
    assert error.mean() < 0.01 * width
    opening = mouth_opening(found.raw_landmarks)
    # lips move at once with the predicted ones: the best lag of the smoothed curve is 0
    smooth = mouth_opening(found.landmarks)
    scores = [np.corrcoef(smooth[3:-3], opening[3 + lag : len(opening) - 3 + lag])[0, 1] for lag in (-2, -1, 0, 1, 2)]
    assert int(np.argmax(scores)) == 2
    assert scores[2] > 0.97


@pytest.mark.parametrize("frame_count", [1, 2, 3, 4, 5, 6, 40])
@pytest.mark.parametrize("fps", [Fraction(12), Fraction(25), Fraction(60)])
def test_straight_motion_stays_as_it_is(frame_count: int, fps: Fraction):
    line = base() + np.arange(frame_count)[:, None, None] * np.array([2.0, -1.0])
    raw = line.astype(np.float32)
    np.testing.assert_allclose(smooth_landmarks(raw, fps), raw, atol=1e-3)


def test_smoothing_is_symmetric_in_time():
    raw = (base() + np.random.default_rng(1).normal(size=(50, 68, 2))).astype(np.float32)
    backwards = smooth_landmarks(raw[::-1].copy(), FPS)[::-1]
    np.testing.assert_allclose(smooth_landmarks(raw, FPS), backwards, atol=1e-3)


def best_lag(smoothed: np.ndarray, raw: np.ndarray) -> int:
    """Frames by which a smoothed curve's motion comes late: where its cross-correlation with the raw one is highest."""
    speed, raw_speed = np.diff(smoothed.astype(np.float64)), np.diff(raw.astype(np.float64))
    scores = np.correlate(speed, raw_speed, mode="full")
    return int(np.argmax(scores)) - (len(speed) - 1)


@pytest.mark.parametrize("fps", [Fraction(12), Fraction(25), Fraction(60)])
@pytest.mark.parametrize("motion", ["line", "step"])
def test_neither_boxes_nor_landmarks_lag(fps: Fraction, motion: str):
    """A straight line stays as it is; a step is met in the middle, as late before it as after it."""
    moved = 0.7 * np.arange(61.0) if motion == "line" else np.where(np.arange(61) < 30, 0.0, 20.0)
    raw = (base() + moved[:, None, None]).astype(np.float32)
    boxes = (np.array([10.0, 20, 110, 120]) + moved[:, None]).astype(np.float32)
    smooth, smooth_box = smooth_landmarks(raw, fps), smooth_boxes(boxes, fps)
    if motion == "line":
        np.testing.assert_allclose(smooth, raw, atol=1e-3)
        np.testing.assert_allclose(smooth_box, boxes, atol=1e-3)
    else:
        for curve, known in ((smooth[:, 57, 1], raw[:, 57, 1]), (smooth_box[:, 1], boxes[:, 1])):
            assert best_lag(curve, known) == 0
            assert (curve[29] + curve[30]) / 2 == pytest.approx(known[0] + 10, abs=1e-3)
        late = np.concatenate([boxes[:2, 1], boxes[:-2, 1]])
        assert best_lag(late, boxes[:, 1]) == 2  # the measure sees a lag


def test_boxes_are_steadier_than_predicted_ones():
    rng = np.random.default_rng(3)
    boxes = (np.array([10.0, 20, 110, 120]) + rng.normal(size=(100, 4))).astype(np.float32)
    assert smooth_boxes(boxes, FPS)[5:-5].std(axis=0).max() < 0.8


def test_smoothing_lowers_noise_and_keeps_the_lips_motion():
    seconds = np.arange(200) / 25
    lips = 10 * np.sin(2 * np.pi * 3 * seconds)  # three syllables a second
    raw = np.tile(base(), (200, 1, 1))
    raw[:, 48:68, 1] += lips[:, None]
    clean = raw.copy()
    raw += np.random.default_rng(2).normal(size=raw.shape)
    smooth = smooth_landmarks(raw.astype(np.float32), FPS)
    noise = (smooth - clean)[10:-10]
    assert noise[:, 48:].std() < 0.9
    assert noise[:, 5:12].std() < 0.8
    assert noise[:, :4].std() < 0.6
    kept = smooth_landmarks(clean.astype(np.float32), FPS)[10:-10, 66, 1] - clean[0, 66, 1]
    assert np.abs(kept).max() > 0.98 * 10
    assert np.corrcoef(kept, lips[10:-10])[0, 1] > 0.999


def test_mouth_measures():
    points = np.zeros((2, 68, 2), np.float32)
    points[1, [61, 62, 63], 1] = -3
    points[1, [67, 66, 65], 1] = 5
    points[:, 54, 0] = 40
    points[:, 16, 1] = 7
    np.testing.assert_allclose(mouth_opening(points), [0, 8])
    np.testing.assert_allclose(mouth_width(points), [40, 40])
    np.testing.assert_allclose(face_width(points), [7, 7])


def test_frame_lists_are_short():
    assert format_frames([3, 7, 8, 9, 12]) == "3, 7-9, 12"
    assert format_frames([]) == ""
