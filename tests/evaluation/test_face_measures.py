"""Face measures: landmarks, likeness and the Fréchet distance, on drawn faces that dlib detects."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import FaceError, ParameterError
from metatalk_lib.evaluation import face_features, face_measures
from metatalk_lib.evaluation.controls import REENCODED, STATIC_FRAME, add_controls
from metatalk_lib.evaluation.face_features import compute_face_features, compute_likeness
from metatalk_lib.evaluation.face_measures import (
    LANDMARK_DISTANCE,
    LIKENESS,
    Follower,
    check_follower,
    compare_faces,
    measure_faces,
    measure_held_out_faces,
)
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.frechet_judge import FrechetJudge
from metatalk_lib.evaluation.held_out import FinishedVideo, HeldOut
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmark_predictor import DlibPredictor
from tests.face_clips import moving_face, wall
from tests.synthetic import make_coefficients

FRAMES = 24
JUDGE = FrechetJudge()


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    """A drawn face that sways, on a source of 400 x 360 px cropped to 360."""
    path = tmp_path_factory.mktemp("source") / "source.mp4"
    frames, _ = moving_face(FRAMES)
    write_video(path, frames, fps=Fraction(25))
    crop = CropTransform(20, 0, 360, 360)
    return HeldOut(path, Fraction(25), np.arange(FRAMES), crop, make_coefficients(FRAMES), np.zeros(FRAMES * 640))


@pytest.fixture(scope="module")
def controls(held_out: HeldOut, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedVideo]:
    """The two controls that are followed; here both are the original encoded once more."""
    path = tmp_path_factory.mktemp("controls") / "again.mp4"
    write_video(path, held_out.originals(), fps=held_out.fps)
    return dict.fromkeys((REENCODED, STATIC_FRAME), FinishedVideo(path, is_crop=True))


@pytest.fixture(scope="module")
def truth(held_out: HeldOut, controls: dict[str, FinishedVideo]) -> face_measures.FaceMeasures:
    return measure_held_out_faces(held_out, controls, {}, JUDGE)[0]


def test_rows_come_in_order_and_controls_are_the_truth_at_other_moments(
    held_out: HeldOut, controls: dict[str, FinishedVideo], truth: face_measures.FaceMeasures
):
    faces = measure_held_out_faces(held_out, controls, {}, JUDGE)[1] | {"Ours": truth}
    shown = add_controls(faces, truth, {STATIC_FRAME: np.zeros(FRAMES, int)})
    assert list(shown) == ["ground truth", REENCODED, STATIC_FRAME, "Ours"]
    assert np.ptp(shown[STATIC_FRAME].landmarks, axis=0).max() == 0


def test_the_original_is_its_own_ideal(truth: face_measures.FaceMeasures):
    table = compare_faces({"same": truth}, truth, JUDGE)
    assert table.columns.tolist() == [LANDMARK_DISTANCE, LIKENESS, "FFD (open)"]
    assert table.loc["same"].tolist() == pytest.approx([0, 1, 0], abs=1e-6)
    assert truth.features.shape == (FRAMES, 128)
    assert truth.bridged == 0


def test_other_moments_and_other_faces_are_worse(
    held_out: HeldOut, controls: dict[str, FinishedVideo], truth: face_measures.FaceMeasures, tmp_path: Path
):
    dark = [np.clip(frame * [0.5, 0.8, 1.2] - 20, 0, 255).astype(np.uint8) for frame in held_out.originals()]
    write_video(tmp_path / "other.mp4", dark, fps=held_out.fps)
    videos = {"other": FinishedVideo(tmp_path / "other.mp4", is_crop=True)}
    other = measure_held_out_faces(held_out, controls, videos, JUDGE)[1]["other"]
    turned = truth.at(np.roll(np.arange(FRAMES), FRAMES // 2))
    table = compare_faces({"other": other, "turned": turned, "still": truth.at(np.zeros(FRAMES, int))}, truth, JUDGE)
    assert table.loc["other", LIKENESS] < 0.999
    assert table.loc["other", "FFD (open)"] > 0
    # the same frames in another order: nothing for a distance of sets, much for landmarks
    assert table.loc["turned", "FFD (open)"] == pytest.approx(0, abs=1e-9)
    assert table.loc["turned", LANDMARK_DISTANCE] > 1
    assert table.loc["still", "FFD (open)"] > 0


def test_landmark_distance_is_in_percent_of_the_face_width(truth: face_measures.FaceMeasures):
    width = np.median(np.linalg.norm(truth.landmarks[:, 0] - truth.landmarks[:, 16], axis=1))
    moved = replace(truth, landmarks=truth.landmarks + np.float32([3, 4]))
    table = compare_faces({"moved": moved}, truth, JUDGE)
    assert table.loc["moved", LANDMARK_DISTANCE] == pytest.approx(100 * 5 / width, rel=1e-3)


def test_lengths_that_differ_are_named(truth: face_measures.FaceMeasures):
    short = truth.at(np.arange(FRAMES - 3))
    with pytest.raises(ParameterError, match=f"`Ours` has {FRAMES - 3} frames, the original {FRAMES}"):
        compare_faces({"Ours": short}, truth, JUDGE)
    with pytest.raises(ParameterError, match="got 21 and 24"):
        compute_likeness(short.features, truth.features)


def test_a_video_without_a_face_is_an_error_or_a_recorded_failure(
    held_out: HeldOut, controls: dict[str, FinishedVideo], tmp_path: Path
):
    write_video(tmp_path / "wall.mp4", [wall()[:, 20:380]] * FRAMES, fps=held_out.fps)
    wall_video = FinishedVideo(tmp_path / "wall.mp4", is_crop=True)
    crops, size = partial(wall_video.crops, held_out), {"frame_count": FRAMES, "fps": held_out.fps}
    with pytest.raises(FaceError, match="wall.mp4"):
        measure_faces(crops, JUDGE, name=wall_video.path, **size)
    failures = Failures()
    truth, faces, follower = measure_held_out_faces(held_out, controls, {"wall": wall_video}, JUDGE, failures=failures)
    assert list(faces) == [REENCODED, STATIC_FRAME]
    assert failures.describe()["wall"].startswith(f"no faces: {tmp_path / 'wall.mp4'}: no face was found in")
    assert follower == Follower("dlib", 0.1)
    assert truth.bridged == 0


def test_mediapipe_follows_all_where_dlib_does_not_see_the_original(
    held_out: HeldOut, controls: dict[str, FinishedVideo], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(DlibPredictor, "find", lambda *_: [])
    _, faces, follower = measure_held_out_faces(held_out, controls, {}, JUDGE)
    assert list(faces) == [REENCODED, STATIC_FRAME]
    assert follower.detector == "mediapipe"
    assert check_follower(follower).status == "notice"
    assert check_follower(Follower()).status == "ok"


def test_an_original_that_nothing_follows_says_what_to_do(
    held_out: HeldOut, controls: dict[str, FinishedVideo], tmp_path: Path
):
    write_video(tmp_path / "wall.mp4", [wall()] * FRAMES, fps=held_out.fps)
    with pytest.raises(FaceError, match=r"wall.mp4 shows the face in too few frames .* Cut the video's end off"):
        measure_held_out_faces(replace(held_out, source=tmp_path / "wall.mp4"), controls, {}, JUDGE)


def test_features_belong_to_the_face_and_not_to_its_place():
    frames, landmarks = moving_face(10)
    features = compute_face_features([frames[0], frames[9]], landmarks[[0, 9]])
    assert compute_likeness(features[:1], features[1:]) > 0.97
    assert np.abs(landmarks[0] - landmarks[9]).max() > 5
    with pytest.raises(ParameterError, match="more frames than the 1 sets of landmarks"):
        compute_face_features(frames[:2], landmarks[:1])
    with pytest.raises(ParameterError, match="1 frames, 2 sets of landmarks"):
        compute_face_features(frames[:1], landmarks[:2])


def test_features_of_many_frames_are_those_of_each_alone_in_the_same_order():
    frames, landmarks = moving_face(21)
    together = compute_face_features(frames, landmarks)
    for frame_id in (0, 10, 20):
        alone = compute_face_features([frames[frame_id]], landmarks[[frame_id]])
        np.testing.assert_array_equal(together[[frame_id]], alone)
    assert len(np.unique(together[:, 0])) == 21


def test_features_do_not_depend_on_the_number_of_frames_that_are_kept(monkeypatch):
    frames, landmarks = moving_face(7)
    whole = compute_face_features(frames, landmarks)
    monkeypatch.setattr(face_features, "_GROUP", 3)
    np.testing.assert_array_equal(compute_face_features(iter(frames), landmarks), whole)


def test_the_processes_of_the_features_start_without_torch():
    program = "import sys, metatalk_lib.evaluation.face_features; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
