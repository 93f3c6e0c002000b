"""landmark_predictor: every predictor is tracked alike; MediaPipe's finds small faces and only faces."""

import sys

import cv2
import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.video import probe_video, read_selected_frames
from metatalk_lib.tracking.face_detector import MINIMUM_FACE_PX, box_about, box_overlap, find_faces, predict_landmarks
from metatalk_lib.tracking.face_points import FacePoints
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmark_predictor import (
    DlibPredictor,
    LandmarkPredictor,
    load_landmark_predictor,
    search_tiles,
)
from tests.face_clips import FPS, drawn_face, moving_face, place_face, real_clip, wall


class Recorder:
    """dlib's predictor behind a colour interface; counts how often and where faces are searched for."""

    def __init__(self, *, uses_colour: bool) -> None:
        self.uses_colour = uses_colour
        self.shapes: list[tuple[int, ...]] = []
        self.searches = 0

    def find(self, image: np.ndarray, smallest_px: float = MINIMUM_FACE_PX) -> list:
        self.searches += 1
        return find_faces(image, float(smallest_px))

    def predict(self, image: np.ndarray, box: np.ndarray) -> FacePoints:
        self.shapes.append(image.shape)
        return FacePoints(predict_landmarks(image, box))

    def follow(self, image: np.ndarray, before: FacePoints) -> FacePoints:
        return self.predict(image, box_about(before.landmarks))


def test_grey_and_colour_predictors_are_tracked_alike_with_few_searches():
    frames, _ = moving_face(31)
    tracks = []
    for uses_colour in (False, True):
        recorder = Recorder(uses_colour=uses_colour)
        assert isinstance(recorder, LandmarkPredictor)
        tracks.append(track_landmarks(frames, frame_count=31, fps=FPS, predictor=recorder))
        assert recorder.searches == 4  # frames 0, 10, 20 and 30
        assert {len(shape) for shape in recorder.shapes} == {3 if uses_colour else 2}
    for name in ("landmarks", "raw_landmarks", "boxes", "detected"):
        np.testing.assert_array_equal(getattr(tracks[0], name), getattr(tracks[1], name))
    assert tracks[0].dense is None
    assert tracks[0].scores is None


@pytest.mark.parametrize("name", ["mediapipe", "dlib"])
def test_predictors_agree_on_a_drawn_face(name: str):
    picture, truth = drawn_face()
    predictor = load_landmark_predictor(name)
    assert isinstance(predictor, LandmarkPredictor)
    ((box, score),) = predictor.find(picture)
    assert box_overlap(box, box_about(truth)) > 0.7
    assert score > 0
    found = predictor.predict(picture, box)
    eye_px = np.linalg.norm(truth[36] - truth[45])
    assert np.linalg.norm(found.landmarks - truth, axis=1)[17:].mean() < 0.06 * eye_px
    assert found.confidence > 0.9
    assert (found.dense is None) == (name == "dlib")


def test_the_points_do_not_depend_on_the_box_that_they_start_from():
    picture, truth = drawn_face()
    predictor = load_landmark_predictor("mediapipe")
    box = box_about(truth)
    straight = predictor.predict(picture, box)
    for shift in ((6.0, -4.0), (-5.0, 7.0)):
        moved = predictor.predict(picture, box + np.tile(shift, 2))
        assert np.linalg.norm(moved.landmarks - straight.landmarks, axis=1).mean() < 0.6


def test_following_gives_what_a_fresh_look_gives():
    predictor = load_landmark_predictor("mediapipe")
    frames, truth = moving_face(12)
    seen = predictor.predict(frames[0], box_about(truth[0]))
    eye_px = np.linalg.norm(truth[0, 36] - truth[0, 45])
    for frame, points in zip(frames[1:], truth[1:], strict=True):
        seen = predictor.follow(frame, seen)
        fresh = predictor.predict(frame, box_about(points))
        assert np.linalg.norm((seen.dense - fresh.dense)[:468, :2], axis=1).mean() < 0.012 * eye_px
    without_dense = seen._replace(dense=None)
    np.testing.assert_allclose(predictor.follow(frames[-1], without_dense).landmarks, fresh.landmarks, atol=1.0)


@pytest.mark.parametrize("angle", [-40, 25])
def test_a_leaning_head_is_placed_as_an_upright_one(angle: float):
    picture, truth = drawn_face(400)
    matrix = cv2.getRotationMatrix2D((199.5, 199.5), angle, 1.0)
    turned = cv2.warpAffine(picture, matrix, (400, 400), borderMode=cv2.BORDER_REPLICATE)
    expected = truth @ matrix[:, :2].T + matrix[:, 2]
    found = load_landmark_predictor("mediapipe").predict(turned, box_about(expected))
    eye_px = np.linalg.norm(truth[36] - truth[45])
    assert np.linalg.norm(found.landmarks - expected, axis=1)[17:].mean() < 0.07 * eye_px


def test_small_faces_in_large_pictures_are_found_and_nothing_else():
    predictor = load_landmark_predictor("mediapipe")
    frame, truth = place_face(1500, 200, width=1920, height=1080, scale=0.6)
    ((box, _),) = predictor.find(frame)
    assert box_overlap(box, box_about(truth)) > 0.6
    assert predictor.find(frame, 150.0) == []
    assert predictor.find(wall(width=1920, height=1080)) == []


def test_tiles_cover_the_picture_and_hold_every_face():
    assert search_tiles(400, 400, 96.0) == [(0, 400, 0, 400)]
    tiles = search_tiles(1080, 1920, 96.0)
    assert min(bottom - top for top, bottom, _, _ in tiles) <= 6 * 96
    for x, y in np.random.default_rng(0).uniform((0, 0), (1920 - 150, 1080 - 150), (200, 2)):
        assert any(t <= y and y + 150 <= b and le <= x and x + 150 <= r and b - t <= 576 for t, b, le, r in tiles)


def test_dlib_needs_neither_weights_nor_litert(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    picture, points = drawn_face()
    found = load_landmark_predictor("dlib").predict(picture, box_about(points))
    np.testing.assert_array_equal(found.landmarks, predict_landmarks(picture, box_about(points)))
    assert isinstance(DlibPredictor(), LandmarkPredictor)
    with pytest.raises(DataError, match="landmark_detector mediapipe needs the package ai-edge-litert"):
        load_landmark_predictor("mediapipe")
    with pytest.raises((ParameterError, TypeError), match="s3fd"):
        load_landmark_predictor("s3fd")


@pytest.mark.data
@pytest.mark.parametrize("name", ["seated_1080p_30fps.mp4", "speaker_1080p.mp4", "bearded_1080p.mp4"])
def test_one_face_is_found_in_real_clips_with_hands(name: str):
    path = real_clip(name)
    chosen = list(range(0, probe_video(path).frame_count, 75))
    predictor = load_landmark_predictor("mediapipe")
    counts = [len(predictor.find(frame)) for frame in read_selected_frames(path, chosen)]
    assert counts == [1] * len(chosen)
