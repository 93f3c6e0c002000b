"""Cheat frames: equal to the original outside the mask, and caught by the measures inside it."""

import inspect

import cv2
import numpy as np
import pandas as pd
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation import cheats
from metatalk_lib.evaluation.cheats import BLURRED, CHEATS, PASS_THROUGH, find_passing_cheats
from metatalk_lib.evaluation.controls import REENCODED
from metatalk_lib.metrics import image_quality


def drawn_face(opening: int = 6, size: int = 160) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    face = np.stack([170 + 30 * columns / size, 130 + 20 * rows / size, 110 + 0 * rows], axis=2)
    grain = np.random.default_rng(0).normal(0, 6, (size, size, 1))
    image = np.clip(face + grain, 0, 255).astype(np.uint8)
    cv2.ellipse(image, (80, 105), (26, opening), 0, 0, 360, (40, 10, 15), -1)
    return image


def lower_mask(size: int = 160) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, (80, 105), (50, 40), 0, 0, 360, 1, -1)
    return mask.astype(bool)


@pytest.mark.parametrize("name", list(cheats.CHEATS))
def test_every_cheat_leaves_the_outside_alone(name: str) -> None:
    original, mask = drawn_face(), lower_mask()
    before = original.copy()
    cheat = cheats.make_cheat(name, original, mask, drawn_face(2))
    np.testing.assert_array_equal(cheat[~mask], original[~mask])
    np.testing.assert_array_equal(original, before)


def test_measures_rank_pass_through_first_and_see_through_the_rest() -> None:
    original, mask, first = drawn_face(), lower_mask(), drawn_face(1)
    score = {
        name: image_quality.ssim(cheats.make_cheat(name, original, mask, first), original, mask=mask)
        for name in cheats.CHEATS
    }
    assert score.pop(cheats.PASS_THROUGH) == pytest.approx(1.0, abs=1e-6)
    assert max(score.values()) < 0.97
    blurred = cheats.make_cheat("blurred lower face (cheat)", original, mask, first)
    assert image_quality.sharpness_ratio(blurred, original, mask=mask) < 0.5


def test_the_mouthless_face_has_the_colour_of_its_surroundings() -> None:
    original, mask = drawn_face(), lower_mask()
    filled = cheats.make_cheat("no mouth (cheat)", original, mask, original)
    mouth = np.zeros(mask.shape, bool)
    mouth[103:108, 70:90] = True
    assert original[mouth].mean() < 60
    assert np.abs(filled[mouth].mean(axis=0) - (185, 142, 110)).max() < 12


def test_the_static_mouth_shows_the_first_frame() -> None:
    first, mask = drawn_face(1), lower_mask()
    frozen = cheats.make_cheat(cheats.STATIC_MOUTH, drawn_face(9), mask, first)
    np.testing.assert_array_equal(frozen[mask], first[mask])


def test_bad_input_is_refused() -> None:
    original, mask = drawn_face(), lower_mask()
    with pytest.raises(ParameterError, match="no control `nothing`"):
        cheats.make_cheat("nothing", original, mask, original)
    with pytest.raises(ParameterError, match="sizes differ"):
        inspect.unwrap(cheats.make_cheat)(cheats.STATIC_MOUTH, original, mask[1:], original)


def test_image_measures_that_see_nothing_are_named():
    values = {PASS_THROUGH: (1.0, 1.0), REENCODED: (0.97, 1.0)}
    values |= {name: (0.8, 0.5) for name in CHEATS if name != PASS_THROUGH}
    images = pd.DataFrame.from_dict(values, orient="index", columns=["SSIM in mask", "sharpness ratio in mask"])
    assert find_passing_cheats(images) == []
    images.loc[BLURRED] = (0.98, 0.9)
    images.loc[PASS_THROUGH, "SSIM in mask"] = 0.99
    images.loc[REENCODED, "SSIM in mask"] = 0.85
    assert len(find_passing_cheats(images)) == 4
