"""Changes of coefficients: known sums, refusals, seeds, and the way through YAML and back."""

import numpy as np
import pytest
import yaml

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES
from metatalk_lib.visualization.coefficient_changes import (
    PARTS,
    REACH,
    STEP,
    change_coefficients,
    format_yaml,
    parse_yaml,
    random_changes,
)
from metatalk_lib.visualization.coefficient_views import render_coefficients
from tests.synthetic import make_coefficients, make_face_model


@pytest.fixture
def coefficients():
    return make_coefficients(frames=4)


def test_changes_add_to_single_numbers_of_a_copy(coefficients):
    before = coefficients.pack().copy()
    changed = change_coefficients(coefficients, 2, {"identity": {3: 1.5}, "expression": {0: -2.0}})
    assert changed.identity[3] == pytest.approx(coefficients.identity[3] + 1.5)
    assert changed.expression[2, 0] == pytest.approx(coefficients.expression[2, 0] - 2.0)
    np.testing.assert_array_equal(changed.expression[[0, 1, 3]], coefficients.expression[[0, 1, 3]])
    np.testing.assert_array_equal(coefficients.pack(), before)


def test_every_one_of_the_257_can_be_changed(coefficients):
    ones = {part: dict.fromkeys(range(size), 1.0) for part, size in COEFFICIENT_SIZES.items()}
    moved = change_coefficients(coefficients, 1, ones).pack() - coefficients.pack()
    np.testing.assert_allclose(moved[1], np.ones(257), atol=1e-6)


def test_bad_changes_are_refused(coefficients):
    with pytest.raises(ParameterError, match="no part `mood`"):
        change_coefficients(coefficients, 0, {"mood": {0: 1.0}})
    with pytest.raises(ParameterError, match="there is no 64"):
        change_coefficients(coefficients, 0, {"expression": {64: 1.0}})
    with pytest.raises(ParameterError, match="expected a finite number, got nan"):
        change_coefficients(coefficients, 0, {"expression": {3: float("nan")}})
    with pytest.raises(ParameterError, match="no row 4"):
        change_coefficients(coefficients, 4, {})


@pytest.mark.parametrize("part", PARTS)
def test_random_changes_depend_on_the_seed_alone_and_stay_in_reach(part):
    first = random_changes(part, 3)
    assert first == random_changes(part, 3)
    assert first != random_changes(part, 4)
    assert set(first) <= set(range(COEFFICIENT_SIZES[part]))
    assert max(abs(amount) for amount in first.values()) <= REACH[part]
    steps = np.array(list(first.values())) / STEP[part]
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)


def test_random_modes_are_standard_gaussian():
    amounts = np.array([amount for seed in range(50) for amount in random_changes("identity", seed).values()])
    assert abs(amounts.mean()) < 0.05
    assert amounts.std() == pytest.approx(1.0, abs=0.05)
    with pytest.raises(ParameterError, match="no part `mood`"):
        random_changes("mood", 0)


def test_yaml_can_be_read_back_and_leaves_out_zeros():
    text = format_yaml(17, {"expression": {2: -0.5, 0: 1.25, 3: 0.0}, "identity": {}, "rotation": {1: 0.1}})
    assert yaml.safe_load(text) == {"frame_id": 17, "expression": {0: 1.25, 2: -0.5}, "rotation": {1: 0.1}}
    assert parse_yaml(text) == (17, {"expression": {0: 1.25, 2: -0.5}, "rotation": {1: 0.1}})
    assert parse_yaml(format_yaml(4, {})) == (4, {})


def test_copied_yaml_gives_the_same_picture(coefficients):
    model = make_face_model()
    changes = {part: random_changes(part, 5) for part in PARTS}
    values = yaml.safe_load(format_yaml(12, changes))
    row = int(np.searchsorted(coefficients.frame_id, values.pop("frame_id")))
    assert row == 2
    again = render_coefficients(model, change_coefficients(coefficients, row, values), row, 48)
    np.testing.assert_array_equal(
        again, render_coefficients(model, change_coefficients(coefficients, row, changes), row, 48)
    )
    assert (again != render_coefficients(model, coefficients, row, 48)).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame_id: 1\nexpression: {0: [", "not YAML"),
        ("expression: {0: 1.0}", "one of them `frame_id: NUMBER`"),
        ("just words", "one of them `frame_id: NUMBER`"),
        ("frame_id: 1\nmood: {0: 1.0}", "no part `mood`"),
        ("frame_id: 1\nexpression: 2.0", "expected {number: amount}"),
        ("frame_id: 1\nexpression: {64: 1.0}", "there is no 64"),
        ("frame_id: 1\nexpression: {first: 1.0}", "there is no first"),
        ("frame_id: 1\nexpression: {0: much}", "expected a finite number, got 'much'"),
        ("frame_id: 1\nexpression: {0: .inf}", "expected a finite number, got inf"),
        ("frame_id: 1\nexpression: {0: null}", "expected a finite number, got None"),
    ],
)
def test_wrong_yaml_is_refused(text, message):
    with pytest.raises(ParameterError, match=message):
        parse_yaml(text)
