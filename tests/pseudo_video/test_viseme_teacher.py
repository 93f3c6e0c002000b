"""The viseme teacher: expressions by its own formula, a seam that stays inside, pictures that follow the fit."""

from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.face_renderer import Render, render_face
from metatalk_lib.pseudo_video.viseme_teacher import FEATHER_PX, VisemeTeacher, sew_render
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, Speech
from metatalk_lib.speech.visemes import viseme_curves
from tests.synthetic import make_coefficients, make_drawn_frames, make_face_model

FPS = Fraction(25)
PHONEMES = (Phoneme(PAUSE, 0.0, 0.2), Phoneme("ɑː", 0.2, 0.48))


@pytest.fixture(scope="module")
def model():
    return make_face_model()


@pytest.fixture(scope="module")
def teacher(model):
    return VisemeTeacher(model, make_coefficients(8))


@pytest.fixture
def utterance():
    speech = Speech(np.zeros(7680, np.float32), 16000, PHONEMES, "ah", "en-us")
    return Utterance(0, speech, 12)


def test_expression_is_actions_times_the_fixed_matrix(model, teacher, utterance):
    expected = viseme_curves(PHONEMES, 12, 25).astype(np.float64) @ model.actions_to_expression.numpy()
    np.testing.assert_allclose(teacher.compute_expression(utterance, FPS), expected, atol=1e-5)


def test_spoken_frames_equal_the_render_sewn_into_the_background(model, teacher, utterance):
    frame_id = np.array([12, 13, 14, 15, 16, 17, 16, 15, 14, 13, 12, 11])
    filmed = make_drawn_frames(12)
    spoken = teacher.speak(utterance, FPS, frame_id, filmed)
    frames = list(spoken.frames)
    assert len(frames) == len(spoken.expression) == 12
    fit = teacher.coefficients
    for row in (0, 7, 11):
        alone = fit.select(np.array([frame_id[row]])).with_expression(spoken.expression[row : row + 1])
        expected = sew_render(filmed[row], render_face(model, alone, 0, 64, region="lower"))
        np.testing.assert_array_equal(frames[row], expected)
    assert np.any(frames[7] != filmed[7])


def test_a_frame_without_a_fit_is_refused(teacher, utterance):
    with pytest.raises(ParameterError, match="no frame 99"):
        teacher.speak(utterance, FPS, np.full(12, 99), make_drawn_frames(12))


def test_the_fingerprint_follows_the_fit(model, teacher):
    same = VisemeTeacher(model, make_coefficients(8))
    other = VisemeTeacher(model, make_coefficients(8, seed=2))
    frame_id = np.array([11, 12, 11])
    assert same.fingerprint(frame_id) == teacher.fingerprint(frame_id)
    assert other.fingerprint(frame_id) != teacher.fingerprint(frame_id)
    assert teacher.fingerprint(np.array([13])) != teacher.fingerprint(frame_id)


def disc_render(colour, size=96, radius=30):
    y, x = np.mgrid[:size, :size] - size // 2
    mask = x**2 + y**2 < radius**2
    image = np.zeros((size, size, 3), np.uint8)
    image[mask] = colour
    return Render(image, mask)


def test_nothing_changes_outside_the_drawn_region():
    frame = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    render = disc_render((200, 20, 20))
    out = sew_render(frame, render)
    np.testing.assert_array_equal(out[~render.mask], frame[~render.mask])
    assert np.any(out[render.mask] != frame[render.mask])


def test_the_inside_is_the_drawing_in_the_colours_of_the_frame():
    frame = np.full((96, 96, 3), (150, 100, 80), np.uint8)
    frame[40:56, 40:56] = 255  # the frame's own mouth must not colour the drawing
    drawn = disc_render((125, 100, 100))
    drawn.image[44:52, 44:52] = (25, 10, 10)
    out = sew_render(frame, drawn)
    np.testing.assert_allclose(out[48, 48 - 30 + FEATHER_PX + 4], (150, 100, 80), atol=2)
    np.testing.assert_allclose(out[41, 41], (150, 100, 80), atol=2)
    np.testing.assert_allclose(out[48, 48], (30, 10, 8), atol=2)


def test_the_seam_has_no_step():
    frame = np.full((96, 96, 3), 160, np.uint8)
    out = sew_render(frame, disc_render((60, 60, 60))).astype(int)
    assert np.abs(np.diff(out[48, :, 0])).max() <= 2 * 100 // FEATHER_PX
    assert out[48, 48, 0] < 110  # the gain is bounded: a drawing that is far off stays visible


def test_background_at_the_seam_does_not_colour_the_skin():
    frame = np.full((96, 96, 3), (150, 110, 90), np.uint8)
    frame[:, :24] = (0, 255, 0)
    out = sew_render(frame, disc_render((150, 110, 90)))
    np.testing.assert_allclose(out[48, 48], (150, 110, 90), atol=2)


def test_an_empty_render_leaves_the_frame():
    frame = make_drawn_frames(1)[0]
    empty = Render(np.zeros_like(frame), np.zeros(frame.shape[:2], bool))
    np.testing.assert_array_equal(sew_render(frame, empty), frame)
