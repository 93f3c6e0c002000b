"""Lip curves of a made-up face model, and R² against its definition."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.reconstruction.lip_curves import compare_lips, compute_lip_curves, compute_r2


class LipModel(FaceModel):
    """68 landmarks: identity mode 0 spreads the mouth's corners, expression mode 0 drops the lower inner lip."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def landmark_bases(self) -> tuple:
        mean, identity, expression = np.zeros((68, 3)), np.zeros((80, 68, 3)), np.zeros((64, 68, 3))
        mean[54, 0], identity[0, 54, 0] = 0.5, 0.1
        expression[0, [65, 66, 67], 1] = -0.02
        expression[1, :, 2] = 1.0
        return mean, identity, expression


def test_opening_and_width_are_in_millimetres_and_ignore_depth():
    identity, expression = np.zeros(80), np.zeros((3, 64))
    identity[0] = 2
    expression[:, 0] = [0, 1, 5]
    expression[:, 1] = 7
    curves = compute_lip_curves(LipModel(), identity, expression)
    assert curves.opening_mm.tolist() == pytest.approx([0, 2, 10])
    assert curves.width_mm.tolist() == pytest.approx([70, 70, 70])


def test_comparison_of_lips_tells_following_from_not_following():
    fitted = np.zeros((5, 64))
    fitted[:, 0] = [0, 1, 2, 1, 0]
    same = compare_lips(LipModel(), np.zeros(80), fitted, fitted)
    assert same == pytest.approx(
        {"expression_r2": 1, "opening_r": 1, "opening_r2": 1, "opening_error_mm": 0, "width_r": 0}
    )
    still = compare_lips(LipModel(), np.zeros(80), np.zeros((5, 64)), fitted)
    assert still["opening_r"] == 0
    assert still["opening_error_mm"] == pytest.approx(1.6)


def test_r2_has_its_known_values():
    truth = np.random.default_rng(0).normal(size=(50, 4))
    assert compute_r2(truth, truth) == 1
    assert compute_r2(np.tile(truth.mean(axis=0), (50, 1)), truth) == pytest.approx(0)
    assert compute_r2(2 * truth.mean(axis=0) - truth, truth) == pytest.approx(-3)
    assert compute_r2(np.zeros((50, 4)), truth, mean=np.zeros(4)) == 0


def test_r2_refuses_what_it_cannot_measure():
    with pytest.raises(ParameterError, match=r"equal shapes, got \(3,\) and \(4,\)"):
        compute_r2(np.zeros(3), np.zeros(4))
    with pytest.raises(ParameterError, match="does not vary"):
        compute_r2(np.zeros((3, 2)), np.ones((3, 2)))
