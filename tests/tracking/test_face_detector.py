"""face_detector: where faces are, which one is meant, and their 68 landmarks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from metatalk_lib.tracking.face_detector import (
    box_about,
    box_overlap,
    boxes_of_faces,
    choose_face,
    face_width,
    find_faces,
    predict_landmarks,
    real_faces,
)
from tests.face_clips import drawn_face, place_face, wall

BOXES = [
    (np.array([300.0, 0, 400, 100]), 2.0),
    (np.array([0.0, 0, 150, 150]), 1.5),
    (np.array([160.0, 0, 240, 80]), 1.0),
]


def test_landmarks_are_those_of_the_model():
    picture, truth = drawn_face()
    ((box, _),) = find_faces(picture)
    error = np.linalg.norm(predict_landmarks(picture, box) - truth, axis=1)
    # the calibration's own residual against dlib is about 3 % of the distance of the outer eye corners
    assert error.mean() < 0.05 * np.linalg.norm(truth[36] - truth[45])


def test_landmarks_move_with_the_face_by_fractions_of_a_pixel():
    shifts = np.linspace(0, 3, 7)
    found = []
    for shift in shifts:
        frame, truth = place_face(20 + shift, 15, width=360, height=340)
        found.append(predict_landmarks(frame, box_about(truth)).mean(axis=0))
    np.testing.assert_allclose(np.array(found)[:, 0] - found[0][0], shifts, atol=0.35)


@pytest.mark.parametrize("scale", [0.6, 1.0, 2.0])
def test_landmarks_scale_with_the_face(scale: float):
    frame, truth = place_face(5, 5, width=700, height=700, scale=scale)
    error = predict_landmarks(frame, box_about(truth)) - truth
    assert np.abs(error.mean(axis=0)).max() < 0.03 * face_width(truth)


def test_a_grey_picture_gives_the_same_faces_and_a_wall_none():
    picture, _ = drawn_face()
    assert len(find_faces(picture)) == 1
    assert find_faces(wall()) == []


def test_two_threads_may_search_at_once():
    """With one detector for both, this ends the process."""
    pictures = [place_face(x, 10, width=700, height=500)[0] for x in (0, 120, 240, 360)]
    expected = [find_faces(picture)[0][0] for picture in pictures]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(find_faces, pictures * 10))
    for index, faces in enumerate(found):
        np.testing.assert_array_equal(faces[0][0], expected[index % 4])


@pytest.mark.parametrize(
    ("position", "expected"), [("only", 1), ("largest", 1), ("left", 1), ("right", 0), ("centre", 2)]
)
def test_choice_by_position(position: str, expected: int):
    np.testing.assert_array_equal(choose_face(BOXES, position, 400), BOXES[expected][0])
    assert choose_face([], position, 400) is None


def test_faint_and_far_off_faces_do_not_count():
    near, far, faint = (np.array([0.0, 0, side, side]) for side in (300, 60, 280))
    assert real_faces([(near, 2.0), (far, 1.9), (faint, 0.1)]) == [(near, 2.0)]
    assert len(real_faces([(near, 0.1)])) == 1
    assert real_faces([]) == []


def test_overlap_of_boxes():
    box = np.array([0.0, 0, 2, 2])
    assert box_overlap(box, box) == 1.0
    assert box_overlap(box, box + 2) == 0.0
    assert box_overlap(box, box + np.array([1.0, 0, 1, 0])) == pytest.approx(1 / 3)


def test_a_detector_box_reaches_from_forehead_to_chin():
    landmarks = np.full((2, 68, 2), 100.0)
    landmarks[:, :17, 0] = np.linspace(80, 220, 17)
    landmarks[:, 17:27, 1], landmarks[:, 8, 1] = 50, 150
    np.testing.assert_allclose(boxes_of_faces(landmarks), [[80, 15, 220, 150]] * 2)
