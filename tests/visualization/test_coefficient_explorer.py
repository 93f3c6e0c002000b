"""The explorer without a browser: what its controls do, against the pure functions."""

import cv2
import numpy as np
import pytest
import yaml

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES
from metatalk_lib.visualization.coefficient_changes import REACH, change_coefficients, random_changes
from metatalk_lib.visualization.coefficient_effects import describe_effects, label_coefficient
from metatalk_lib.visualization.coefficient_explorer import STRIP_SIZE, VIEW_NAMES, CoefficientExplorer
from metatalk_lib.visualization.coefficient_sliders import PAGE_SIZES
from metatalk_lib.visualization.coefficient_views import draw_views, neutral_coefficients, render_strip
from tests.synthetic import make_coefficients, make_face_model

SIZE = 48


@pytest.fixture(scope="module")
def model():
    return make_face_model()


@pytest.fixture
def coefficients():
    return make_coefficients(frames=4)


@pytest.fixture
def explorer(model, coefficients):
    return CoefficientExplorer(model, coefficients, lambda row: frames()[row], size=SIZE)


def frames(count: int = 4) -> list[np.ndarray]:
    return [np.full((SIZE, SIZE, 3), 60 + 10 * row, dtype=np.uint8) for row in range(count)]


def decode(picture) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(picture.value, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def assert_shows(explorer, model, coefficients, row) -> None:
    changed = change_coefficients(coefficients, row, explorer.changes)
    views = draw_views(model, changed, row, frames()[row])
    for name in VIEW_NAMES:
        np.testing.assert_array_equal(decode(explorer.pictures[name]), getattr(views, name), err_msg=name)


def test_explorer_draws_what_the_pure_function_draws(explorer, model, coefficients):
    assert_shows(explorer, model, coefficients, 0)
    explorer.scrubber.value = 2
    explorer.sliders.sliders[1].value = 2.0
    assert explorer.changes == {"expression": {1: 2.0}}
    assert_shows(explorer, model, coefficients, 2)
    assert explorer.errors.outputs == ()


def test_every_coefficient_has_a_slider_on_some_page(explorer):
    sliders = explorer.sliders
    for part, size in COEFFICIENT_SIZES.items():
        sliders.group.value = part
        reached = []
        for _, page in sliders.page.options:
            sliders.page.value = page
            rows = zip(sliders.view.children[1:], sliders.buttons, strict=True)
            reached += [button.description for row, button in rows if row.layout.display != "none"]
        assert reached == [label_coefficient(part, number) for number in range(size)]
        last = (size - 1) - page * PAGE_SIZES[part]
        sliders.sliders[last].value = REACH[part]
    assert explorer.changes == {part: {size - 1: REACH[part]} for part, size in COEFFICIENT_SIZES.items()}
    assert len(sliders.sliders) == 9
    assert explorer.errors.outputs == ()


def test_sliders_of_other_pages_keep_their_changes(explorer):
    explorer.sliders.sliders[0].value = 1.0
    explorer.sliders.page.value = 2
    assert explorer.sliders.sliders[0].value == 0
    explorer.sliders.sliders[3].value = -0.5
    explorer.sliders.group.value = "rotation"
    explorer.sliders.sliders[0].value = 0.2
    assert explorer.changes == {"expression": {0: 1.0, 19: -0.5}, "rotation": {0: 0.2}}
    explorer.sliders.group.value = "expression"
    assert explorer.sliders.sliders[0].value == 1.0


def test_selecting_shows_effect_strip_and_curve(explorer, model, coefficients):
    before = explorer.curve.value
    explorer.sliders.select("texture", 27)
    assert explorer.sliders.buttons[3].description == "texture 27"
    strip = render_strip(model, neutral_coefficients(coefficients), 0, STRIP_SIZE, part="texture", number=27)
    for name, picture in zip(("lowered", "as fitted", "raised"), strip.pictures, strict=True):
        np.testing.assert_array_equal(decode(explorer.strip[name]), picture)
    assert explorer.curve.value != before
    assert "one value for the whole clip" in explorer.curve.value
    texts = [widget.value for row in explorer.sliders.view.children[1:] for widget in row.children[3:]]
    assert describe_effects(model, "texture")[27] in texts[3]
    with pytest.raises(ParameterError, match="there is no 80"):
        explorer.sliders.select("texture", 80)


def test_curve_follows_frame_and_slider(explorer):
    seen = [explorer.curve.value]
    explorer.scrubber.value = 3
    seen.append(explorer.curve.value)
    explorer.sliders.sliders[0].value = 0.5
    seen.append(explorer.curve.value)
    assert len(set(seen)) == 3
    assert "frame_id" in seen[0]


def test_random_moves_the_group_by_its_seed_and_prints_it(explorer, model, coefficients):
    explorer.sliders.group.value = "identity"
    explorer.seed.value = 7
    explorer.random_button.click()
    assert explorer.changes == {"identity": random_changes("identity", 7)}
    assert explorer.status.value == "random identity, seed 7"
    assert explorer.seed.value == 8
    assert_shows(explorer, model, coefficients, 0)


def test_copied_yaml_resets_and_comes_back(explorer, model, coefficients):
    explorer.scrubber.value = 1
    explorer.sliders.group.value = "rotation"
    explorer.sliders.sliders[1].value = 0.3
    explorer.copy_button.click()
    assert yaml.safe_load(explorer.yaml.value) == {"frame_id": 11, "rotation": {1: 0.3}}
    moved = decode(explorer.pictures["render"])
    explorer.reset_button.click()
    assert explorer.changes == {}
    assert explorer.sliders.sliders[1].value == 0
    assert_shows(explorer, model, coefficients, 1)
    explorer.scrubber.value = 0
    explorer.apply_button.click()
    assert explorer.scrubber.value == 1
    np.testing.assert_array_equal(decode(explorer.pictures["render"]), moved)
    assert explorer.errors.outputs == ()


def test_a_browsers_rounding_of_a_pasted_amount_is_not_a_move(explorer):
    explorer.yaml.value = "frame_id: 10\nexpression: {0: 0.126}"
    explorer.apply_button.click()
    explorer.sliders.sliders[0].value = 0.15  # what the browser answers: the nearest step
    assert explorer.changes == {"expression": {0: 0.126}}
    explorer.sliders.sliders[0].value = 0.2
    assert explorer.changes == {"expression": {0: 0.2}}


@pytest.mark.parametrize("text", ["frame_id: 99", "frame_id: 10\nmood: {0: 1.0}", "{"])
def test_wrong_yaml_is_shown_as_an_error_and_changes_nothing(explorer, text):
    explorer.sliders.sliders[0].value = 1.0
    explorer.yaml.value = text
    explorer.apply_button.click()
    assert len(explorer.errors.outputs) == 1
    assert explorer.changes == {"expression": {0: 1.0}}


def test_explorer_shows_errors_instead_of_raising(model, coefficients):
    def broken(row: int) -> np.ndarray:
        if row == 1:
            raise DataError("the video has no frame 1")
        return frames()[row]

    explorer = CoefficientExplorer(model, coefficients, broken, size=SIZE)
    assert explorer.errors.outputs == ()
    explorer.scrubber.value = 1
    assert "no frame 1" in explorer.errors.outputs[0]["text"]
    explorer.sliders.sliders[0].value = 1.0
    assert "row 1 has no picture" in explorer.errors.outputs[0]["text"]
    explorer.scrubber.value = 2
    assert explorer.errors.outputs == ()


def test_values_of_the_frame_are_written_beside_the_sliders(explorer, coefficients):
    explorer.scrubber.value = 2
    fitted = coefficients.expression[2, 0]
    value = explorer.sliders.view.children[1].children[2]
    assert f"{fitted:+.2f} σ".replace("-", "−") in value.value
    explorer.sliders.sliders[0].value = 1.0
    assert f"{fitted + 1:+.2f} σ".replace("-", "−") in value.value
