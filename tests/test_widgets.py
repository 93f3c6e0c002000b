"""The explorer's pure parts, and its buttons without a browser."""

import cv2
import numpy as np
import pytest
import yaml
from synthetic import make_coefficients, make_face_model

from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.widgets import (
    BACKGROUND,
    CoefficientExplorer,
    change_coefficients,
    format_yaml,
    neutral_coefficients,
    render_coefficients,
    render_modes,
    render_overlays,
    spread_rows,
)

SIZE = 48


@pytest.fixture(scope="module")
def model():
    return make_face_model()


@pytest.fixture
def coefficients():
    return make_coefficients(frames=4)


def frames(count: int = 4) -> list[np.ndarray]:
    return [np.full((SIZE, SIZE, 3), 60 + 10 * row, dtype=np.uint8) for row in range(count)]


def test_changes_add_to_single_numbers_of_a_copy(coefficients):
    before = coefficients.pack().copy()
    changed = change_coefficients(coefficients, 2, {"identity": {3: 1.5}, "expression": {0: -2.0}})
    assert changed.identity[3] == pytest.approx(coefficients.identity[3] + 1.5)
    assert changed.expression[2, 0] == pytest.approx(coefficients.expression[2, 0] - 2.0)
    np.testing.assert_array_equal(changed.expression[[0, 1, 3]], coefficients.expression[[0, 1, 3]])
    np.testing.assert_array_equal(coefficients.pack(), before)


def test_bad_changes_are_refused(coefficients):
    with pytest.raises(ParameterError, match="no part `mood`"):
        change_coefficients(coefficients, 0, {"mood": {0: 1.0}})
    with pytest.raises(ParameterError, match="there is no 64"):
        change_coefficients(coefficients, 0, {"expression": {64: 1.0}})
    with pytest.raises(ParameterError, match="no row 4"):
        change_coefficients(coefficients, 4, {})


def test_rendering_covers_the_face_and_keeps_the_background(model, coefficients):
    alone = render_coefficients(model, coefficients, 0, SIZE)
    over = render_coefficients(model, coefficients, 0, SIZE, background=frames()[3])
    assert (alone[0, 0] == BACKGROUND).all()
    assert (over[0, 0] == 90).all()
    face = (alone != BACKGROUND).any(-1)
    assert 0.02 < face.mean() < 0.9
    np.testing.assert_array_equal(alone[face], over[face])


def test_a_moved_mode_changes_the_picture(model, coefficients):
    pictures = render_modes(model, coefficients, 1, SIZE, modes=(0, 5), amounts=(-2.0, 0.0, 2.0))
    assert pictures.shape == (2, 3, SIZE, SIZE, 3)
    np.testing.assert_array_equal(pictures[0, 1], pictures[1, 1])
    np.testing.assert_array_equal(pictures[0, 1], render_coefficients(model, coefficients, 1, SIZE))
    assert (pictures[0, 0] != pictures[0, 2]).any()


def test_rendering_refuses_a_wrong_row_or_background(model, coefficients):
    with pytest.raises(ParameterError, match="no row 9"):
        render_coefficients(model, coefficients, 9, SIZE)
    with pytest.raises(ParameterError, match="the background has shape"):
        render_coefficients(model, coefficients, 0, SIZE, background=np.zeros((8, 8, 3), dtype=np.uint8))


def test_overlays_hold_frame_overlay_and_render(model, coefficients):
    pictures = render_overlays(model, coefficients, frames(), [1, 3])
    assert pictures.shape == (2, 3, SIZE, SIZE, 3)
    np.testing.assert_array_equal(pictures[1, 0], frames()[3])
    np.testing.assert_array_equal(pictures[1, 2], render_coefficients(model, coefficients, 3, SIZE))
    with pytest.raises(ParameterError, match="2 rows asked for, 1 drawn"):
        render_overlays(model, coefficients, frames(2), [1, 3])


def test_neutral_face_looks_ahead_and_keeps_the_person(coefficients):
    neutral = neutral_coefficients(coefficients)
    assert len(neutral) == 1
    assert not neutral.expression.any()
    assert not neutral.rotation.any()
    np.testing.assert_array_equal(neutral.identity, coefficients.identity)


def test_yaml_can_be_read_back_and_leaves_out_zeros():
    text = format_yaml(17, {"expression": {2: -0.5, 0: 1.25, 3: 0.0}, "identity": {}, "rotation": {1: 0.1}})
    assert yaml.safe_load(text) == {"frame_id": 17, "expression": {0: 1.25, 2: -0.5}, "rotation": {1: 0.1}}


def test_rows_are_spread_over_fitted_frames():
    valid = np.array([False, True, True, False, True, True])
    np.testing.assert_array_equal(spread_rows(valid, 2), [1, 5])
    np.testing.assert_array_equal(spread_rows(valid, 9), [1, 2, 4, 5])
    with pytest.raises(ParameterError, match="0 fitted frames"):
        spread_rows(np.zeros(3, dtype=bool), 2)


def shown(explorer: CoefficientExplorer) -> list[np.ndarray]:
    pictures = explorer.view.children[1].children
    return [cv2.imdecode(np.frombuffer(picture.value, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for picture in pictures]


def test_explorer_draws_what_the_pure_function_draws(model, coefficients):
    explorer = CoefficientExplorer(model, coefficients, lambda row: frames()[row], size=SIZE)
    np.testing.assert_array_equal(shown(explorer)[1], render_coefficients(model, coefficients, 0, SIZE))
    explorer.scrubber.value = 2
    explorer.sliders["expression"][1].value = 2.0
    changed = change_coefficients(coefficients, 2, {"expression": {1: 2.0}})
    original, alone, overlay = shown(explorer)
    np.testing.assert_array_equal(original, frames()[2])
    np.testing.assert_array_equal(alone, render_coefficients(model, changed, 2, SIZE))
    np.testing.assert_array_equal(overlay, render_coefficients(model, changed, 2, SIZE, background=frames()[2]))


def test_explorer_copies_yaml_and_resets(model, coefficients):
    explorer = CoefficientExplorer(model, coefficients, lambda row: frames()[row], size=SIZE)
    explorer.sliders["rotation"][1].value = 0.3
    explorer.copy_button.click()
    assert yaml.safe_load(explorer.yaml.value) == {"frame_id": 10, "rotation": {1: 0.3}}
    explorer.reset_button.click()
    assert explorer.changes == {}


def test_explorer_shows_errors_instead_of_raising(model, coefficients):
    def broken(row: int) -> np.ndarray:
        if row == 1:
            raise DataError("the video has no frame 1")
        return frames()[row]

    explorer = CoefficientExplorer(model, coefficients, broken, size=SIZE)
    assert explorer.errors.outputs == ()
    explorer.scrubber.value = 1
    assert "no frame 1" in explorer.errors.outputs[0]["text"]
    explorer.scrubber.value = 2
    assert explorer.errors.outputs == ()
