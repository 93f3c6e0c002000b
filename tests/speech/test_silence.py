"""silence: pauses are found, dips are not, and neither gain nor the pieces of a stream matter."""

from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.media.audio import to_mono_16k
from metatalk_lib.speech.silence import compute_level_db, find_silence, find_unspoken_frames, measure_power
from tests.synthetic import make_tone_audio


def test_silence_is_found_and_short_dips_are_not():
    fps, rate = Fraction(25), 16000
    samples = np.random.default_rng(0).normal(size=3 * rate).astype(np.float32) * 0.1
    samples[rate : rate + rate // 2] *= 1e-3  # 0.5 s of pause with noise in it
    samples[2 * rate : 2 * rate + rate // 10] = 0  # 0.1 s, a plosive's closure
    silent = find_silence(samples, 75, fps)
    assert silent[26:37].all()
    assert silent.sum() <= 13
    assert not silent[:25].any()
    assert not silent[38:].any()


def test_silence_does_not_depend_on_the_gain_and_an_empty_recording_is_silent():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=32000).astype(np.float32) * 0.2
    samples[16000:24000] *= 1e-3
    quiet = find_silence(samples * 0.05, 50, Fraction(25))
    np.testing.assert_array_equal(quiet, find_silence(samples, 50, Fraction(25)))
    assert find_silence(np.zeros(16000, np.float32), 25, Fraction(25)).all()
    assert find_silence(1e-4 * samples, 50, Fraction(25)).all()
    assert find_silence(samples[:8000], 25, Fraction(25))[14:].all()


def test_level_of_a_full_scale_tone():
    level = compute_level_db(measure_power([to_mono_16k(make_tone_audio(1.0, 16000, amplitude=1.0))]))
    np.testing.assert_allclose(level[5:-5], -3.01, atol=0.1)


def test_power_does_not_depend_on_the_pieces():
    samples = np.random.default_rng(0).normal(size=12345).astype(np.float32)
    whole = measure_power([samples])
    assert len(whole) == 78
    np.testing.assert_array_equal(measure_power(np.split(samples, [1, 100, 161, 9000])), whole)
    assert measure_power([]).tolist() == [0.0]


@pytest.mark.parametrize(("count", "fps"), [(-1, Fraction(25)), (5, Fraction(0))])
def test_no_frames_and_no_rate_are_refused(count: int, fps: Fraction):
    with pytest.raises(ParameterError, match="must be positive"):
        find_silence(np.zeros(16000, np.float32), count, fps)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_long_pauses_are_unspoken_and_single_frames_are_not(fps: Fraction):
    share = np.full(round(4 * fps), 0.1, np.float32)
    pause = slice(round(fps), round(2 * fps))
    share[pause] = 0.9
    share[round(2.5 * fps)] = 1.0  # a frame that sounds like a pause in the middle of a word
    unspoken = find_unspoken_frames(share, fps)
    assert unspoken[pause].all()
    assert unspoken.sum() <= fps + 2
    assert not find_unspoken_frames(np.zeros(5, np.float32), fps).any()
    assert find_unspoken_frames(np.ones(1, np.float32), fps).tolist() == [False]
