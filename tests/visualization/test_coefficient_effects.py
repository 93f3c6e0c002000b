"""Descriptions of the coefficients' effects, against models with known modes."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import camera
from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.illumination import compute_harmonics
from metatalk_lib.visualization.coefficient_changes import PARTS
from metatalk_lib.visualization.coefficient_effects import (
    HARMONICS,
    REGIONS,
    correlate_actions,
    describe_effects,
    label_coefficient,
    label_regions,
)
from tests.synthetic import make_face_arrays, make_face_model


@pytest.fixture(scope="module")
def model():
    return make_face_model()


def model_with(**arrays) -> FaceModel:
    return FaceModel(make_face_arrays() | arrays)


@pytest.mark.parametrize("part", PARTS)
def test_every_coefficient_has_a_name_and_an_effect(model, part):
    effects = describe_effects(model, part)
    assert len(effects) == COEFFICIENT_SIZES[part]
    assert all(effects)
    assert (
        len({label_coefficient(part, number) for number in range(COEFFICIENT_SIZES[part])}) == COEFFICIENT_SIZES[part]
    )


def test_unknown_coefficients_are_refused(model):
    with pytest.raises(ParameterError, match="no part `mood`"):
        describe_effects(model, "mood")
    with pytest.raises(ParameterError, match="there is no 3"):
        label_coefficient("rotation", 3)


def test_an_action_that_is_one_mode_is_named_with_its_sign():
    actions = np.zeros((52, 64))
    model = make_face_model()
    jaw, tongue = model.action_names.index("jawOpen"), model.action_names.index("tongueOut")
    actions[jaw, 5] = -2.0
    model = model_with(actions_to_expression=actions)
    correlations = correlate_actions(model)
    assert correlations[5, jaw] == pytest.approx(-1.0, abs=1e-5)
    assert not correlations[:, tongue].any()
    assert describe_effects(model, "expression")[5].startswith("jawOpen −1.00; ")


def test_correlation_is_the_cosine_of_movements(model):
    modes = model.expression_basis.numpy().reshape(64, -1)
    actions = model.actions_to_expression.numpy() @ modes
    expected = [np.dot(modes[7], action) / np.linalg.norm(modes[7]) / np.linalg.norm(action) for action in actions]
    np.testing.assert_allclose(correlate_actions(model)[7], expected, atol=1e-5)


def test_left_and_right_are_named_once_but_ways_to_go_twice():
    names = make_face_model().action_names
    actions = np.zeros((52, 64))
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        actions[names.index(name), 0] = 1.0
    for name, amount in (("mouthLeft", 1.0), ("mouthRight", -1.0)):
        actions[names.index(name), 1] = amount
    effects = describe_effects(model_with(actions_to_expression=actions), "expression")
    assert effects[0].startswith("mouthSmile +1.00")
    assert "mouthLeft +1.00" in effects[1]
    assert "mouthRight −1.00" in effects[1]


def test_a_weak_likeness_is_called_weak():
    actions = np.zeros((52, 64))
    actions[0, 0], actions[0, 1] = 1.0, 0.2
    effects = describe_effects(model_with(actions_to_expression=actions), "expression")
    assert effects[1].startswith("weakly browDownLeft +0.")


def test_a_model_without_actions_is_described_by_its_movement():
    arrays = make_face_arrays() | {"actions_to_expression": np.zeros((0, 64)), "open_mouth": np.zeros(64)}
    basis = np.zeros((64, 30, 3))
    basis[3, :, 1] = -0.02
    model = FaceModel(arrays | {"expression_basis": basis}, action_names=())
    assert describe_effects(model, "expression")[3].startswith("mean 2 mm; most at ")
    assert " 2 mm down" in describe_effects(model, "expression")[3]


@pytest.mark.parametrize(
    ("axis", "amount", "word"), [(0, 0.03, "right"), (0, -0.03, "left"), (1, 0.03, "up"), (2, -0.03, "back")]
)
def test_directions_of_a_shift(axis, amount, word):
    basis = np.zeros((80, 30, 3))
    basis[0, :, axis] = amount
    text = describe_effects(model_with(identity_basis=basis), "identity")[0]
    assert text.startswith("mean 3 mm; most at ")
    assert text.endswith(f" 3 mm {word}")


def test_a_wider_face_moves_outwards_and_only_where_it_moves():
    arrays = make_face_arrays()
    region = label_regions(make_face_model())
    chosen = np.bincount(region).argmax()
    basis = np.zeros((80, 30, 3))
    basis[0, region == chosen, 0] = 0.05 * np.sign(arrays["mean_shape"][region == chosen, 0])
    text = describe_effects(model_with(identity_basis=basis), "identity")[0]
    assert f"most at {REGIONS[chosen]} 5 mm" in text


def test_colours_name_channel_region_and_asymmetry():
    basis = np.zeros((80, 30, 3))
    basis[0, :, 0] = 10 / 255
    x = make_face_arrays()["mean_shape"][:, :1]
    basis[1] = np.sign(x) * 5 / 255
    first, second = describe_effects(model_with(texture_basis=basis), "texture")[:2]
    assert first.startswith("mean R +10.0 G +0.0 B +0.0; most at ")
    assert "±3.3 of 255 (R +10.0 G +0.0 B +0.0)" in first
    assert second.startswith("mean colour stays; most at ")
    assert second.endswith("±5 of 255 (opposite on left and right)")


# A direction in camera space (x right, y up, z to the camera) that each harmonic lights, and one that it darkens.
LIT = {
    "up-down": ((0, -1, 0), (0, 1, 0)),
    "front-back": ((0, 0, 1), (0, 0, -1)),
    "left-right": ((-1, 0, 0), (1, 0, 0)),
    "2nd x·y": ((1, 1, 0), (-1, 1, 0)),
    "2nd y·z": ((0, -1, 1), (0, 1, 1)),
    "2nd z²": ((0, 0, 1), (1, 0, 0)),
    "2nd x·z": ((-1, 0, 1), (1, 0, 1)),
    "2nd x²−y²": ((1, 0, 0), (0, 1, 0)),
}


def test_harmonics_light_what_their_words_say(model):
    for number, (name, _) in enumerate(HARMONICS[1:], start=1):
        bright, dark = torch.nn.functional.normalize(torch.tensor(LIT[name], dtype=torch.float32), dim=1)
        values = compute_harmonics(torch.stack((bright, dark)))[:, number]
        assert values[0] > 0 > values[1], name
    assert label_coefficient("illumination", 9 + 3) == "green, left-right"
    assert describe_effects(model, "illumination")[9] == "+ lights everything alike; +0.1 adds +0.09 of green light"


def test_rotations_and_translations_go_where_their_words_say(model):
    nose = torch.tensor([[[0.0, 0.0, 1.0]]])
    nod, turn, _ = (camera.rotate(nose, 0.1 * torch.eye(3)[i : i + 1])[0, 0] for i in range(3))
    assert nod[1] < 0  # down
    assert turn[0] > 0  # the picture's right
    assert camera.rotate(torch.tensor([[[1.0, 0, 0]]]), torch.tensor([[0.0, 0, 0.1]]))[0, 0, 1] > 0  # counter-clockwise
    words = [label_coefficient("rotation", i) for i in range(3)]
    assert words == ["nod", "turn", "tilt"]
    assert "5.7°" in describe_effects(model, "rotation")[0]
    centre = torch.zeros(1, 1, 3)
    moved = camera.project(camera.transform(centre, torch.zeros(1, 3), torch.tensor([[0.1, 0, 0]])), 1000)[0, 0]
    assert f"{(moved[0] - 499.5) / 10:.1f} % of the crop's side" in describe_effects(model, "translation")[0]
