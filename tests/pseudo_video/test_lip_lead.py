"""lead: a known lead is found to a fraction of a frame, and chance is told from truth."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.pseudo_video.lip_lead import DEFAULT_LEAD_S, estimate_lead

FPS = Fraction(25)


def make_curve(seconds: float, lead_s: float, seed: int = 0) -> np.ndarray:
    """A smooth random curve, sampled `lead_s` later than its frames' times."""
    fine = gaussian_filter1d(np.random.default_rng(seed).normal(size=100 * 60), 8)
    times = np.arange(round(25 * seconds)) / 25 + 1.0
    return np.interp(times + lead_s, np.arange(len(fine)) / 100, fine)


@pytest.mark.parametrize("lead_s", [-0.04, 0.0, 0.05, 0.1, 0.16])
def test_a_known_lead_is_found(lead_s: float):
    noise = np.random.default_rng(1).normal(scale=0.05, size=250)
    found = estimate_lead(make_curve(10, 0.0), 3 * make_curve(10, lead_s) + noise, FPS)
    assert found.is_measured
    assert found.lead_s == pytest.approx(lead_s, abs=0.015)
    assert found.correlation > 0.9 > found.chance


def test_the_expectation_has_a_say_in_a_short_noisy_clip_and_none_in_a_long_one():
    """Lips 0.16 s ahead of the sound, seen through so much noise that r is about 0.3."""
    found = {}
    for seconds in (8, 50):
        seen = make_curve(seconds, 0.16)
        noise = np.random.default_rng(3).normal(scale=3 * seen.std(), size=len(seen))
        found[seconds] = estimate_lead(make_curve(seconds, 0.0), seen + noise, FPS).lead_s
    assert 0.05 < found[8] < 0.15
    assert abs(found[50] - 0.16) < abs(found[8] - 0.16)


def test_frames_that_are_not_trusted_do_not_count():
    heard, seen, valid = make_curve(10, 0.0), make_curve(10, 0.08), np.ones(250, bool)
    valid[50:120] = False
    seen[50:120] = 1e3 * np.random.default_rng(0).normal(size=70)
    assert estimate_lead(heard, seen, FPS, valid=valid).lead_s == pytest.approx(0.08, abs=0.012)


@pytest.mark.parametrize("seed", range(1, 6))
def test_curves_that_have_nothing_in_common_give_the_default(seed: int):
    found = estimate_lead(make_curve(10, 0.0), make_curve(10, 0.0, seed=seed + 50), FPS)
    assert not found.is_measured
    assert found.lead_s == DEFAULT_LEAD_S


def test_too_short_or_still_a_clip_gives_the_default():
    assert estimate_lead(make_curve(1, 0.0), make_curve(1, 0.1), FPS).lead_s == DEFAULT_LEAD_S
    assert not estimate_lead(np.zeros(250), make_curve(10, 0.1), FPS).is_measured
    nobody = np.zeros(250, bool)
    assert estimate_lead(make_curve(10, 0.0), make_curve(10, 0.1), FPS, valid=nobody).lead_s == DEFAULT_LEAD_S


def test_unequal_lengths_are_refused():
    with pytest.raises(ParameterError, match="250 and 200 frames"):
        estimate_lead(make_curve(10, 0.0), make_curve(8, 0.0), FPS)
