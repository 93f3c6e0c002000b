"""mfcc: AT-net's blocks and SyncNet's input against their goldens, alignment at any frame rate, streaming."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dct

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio, mono_16k_length, open_audio, stream_mono_16k, write_audio
from metatalk_lib.speech import mfcc as mfcc_module
from metatalk_lib.speech.mel_spectrogram import stream_mel_spectrogram
from metatalk_lib.speech.mfcc import (
    compute_mfcc,
    compute_mfcc_blocks,
    compute_public_mfcc_blocks,
    compute_syncnet_mfcc,
    stream_mfcc_blocks,
)
from metatalk_lib.speech.silence import measure_power
from tests.reference import REFERENCE_DIR
from tests.synthetic import reference_signal

GOLDEN = REFERENCE_DIR / "front_atvg_mfcc.npz"


def test_mfcc_equals_the_golden():
    with np.load(GOLDEN) as golden:
        mfcc = compute_mfcc(np.pad(reference_signal(), 1920))
        np.testing.assert_allclose(mfcc, golden["mfcc_13"], atol=2e-5)
        blocks = compute_public_mfcc_blocks(reference_signal())
        assert len(blocks) == int(golden["n_windows"])
        np.testing.assert_allclose(blocks[0], golden["first_window"], atol=2e-5)
        np.testing.assert_allclose(blocks[-1], golden["last_window"], atol=2e-5)


@pytest.mark.parametrize(("seconds", "windows"), [(1, 24), (2, 49), (3, 74), (10, 249), (15.5, 387)])
def test_public_block_count(seconds: float, windows: int):
    assert compute_public_mfcc_blocks(np.zeros(round(seconds * 16000), np.float32)).shape == (windows, 28, 12)


def test_blocks_at_25_fps_are_the_public_ones_plus_the_last_frame():
    samples = reference_signal()
    blocks = compute_mfcc_blocks(samples, 50, Fraction(25))
    assert blocks.shape == (50, 28, 12)
    np.testing.assert_array_equal(blocks[:49], compute_public_mfcc_blocks(samples))


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24), Fraction(50), Fraction(12)])
def test_blocks_follow_the_frame_rate(fps: Fraction):
    """A burst between frames' instants moves to the middle of the block of its own frame at every rate."""
    count = int(2 * fps)
    for frame in (count // 3, count // 2):
        samples = np.zeros(32000, np.float32)
        # the block's 28 steps are centred 27.5 ms after the frame's instant
        middle = round(float(16000 * frame / fps)) + 440
        samples[middle - 80 : middle + 80] = np.random.default_rng(0).normal(size=160)
        energy = np.abs(compute_mfcc_blocks(samples, count, fps)[frame]).sum(axis=1)
        loud = np.flatnonzero(energy > energy.min() + 1)
        assert abs(loud.mean() - 13.5) <= 0.5
        single = np.pad(samples, (1920, 4000))[round(float(16000 * frame / fps)) :][: 27 * 160 + 400]
        emphasis_free = compute_mfcc(single)[1:, 1:]
        np.testing.assert_allclose(compute_mfcc_blocks(samples, count, fps)[frame][1:], emphasis_free, atol=1e-4)


def test_mfcc_equals_a_formula_written_step_by_step():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=1000).astype(np.float32)
    emphasised = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    window = emphasised[320:720]
    power = np.abs(np.fft.rfft(window, 512)) ** 2 / 512
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 28)
    corner = np.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16000).astype(int)
    energy = []
    for left, centre, right in zip(corner[:-2], corner[1:-1], corner[2:], strict=True):
        weights = np.zeros(257)
        weights[left:centre] = (np.arange(left, centre) - left) / (centre - left)
        weights[centre:right] = (right - np.arange(centre, right)) / (right - centre)
        energy.append(weights @ power)
    expected = dct(np.log(energy), norm="ortho")[:13] * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
    expected[0] = np.log(power.sum())
    np.testing.assert_allclose(compute_mfcc(samples)[2], expected, rtol=1e-4, atol=1e-4)


def test_short_and_silent_input_stays_finite():
    assert compute_mfcc_blocks(np.zeros(1, np.float32), 3, Fraction(25)).shape == (3, 28, 12)
    assert np.isfinite(compute_mfcc_blocks(np.zeros(100, np.float32), 1, Fraction(25))).all()
    with pytest.raises(DataError, match="too few for one MFCC block"):
        compute_public_mfcc_blocks(np.zeros(10, np.float32))


@pytest.mark.parametrize(("count", "fps"), [(0, Fraction(25)), (5, Fraction(0))])
def test_blocks_refuse_no_frames_and_no_rate(count: int, fps: Fraction):
    with pytest.raises(ParameterError, match="must be positive"):
        compute_mfcc_blocks(np.zeros(16000, np.float32), count, fps)


def test_syncnet_input_equals_the_golden():
    with np.load(REFERENCE_DIR / "front_syncnet_mfcc.npz") as golden:
        pcm = np.round(reference_signal().astype(np.float64) * 32767).astype(np.int16)
        np.testing.assert_allclose(compute_syncnet_mfcc(pcm), golden["mfcc"], atol=2e-5)


@pytest.mark.parametrize("coefficients", [12, 80])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(2997, 100), Fraction(60)])
def test_a_stream_in_small_groups_equals_the_whole(monkeypatch: pytest.MonkeyPatch, fps: Fraction, coefficients: int):
    samples = reference_signal()
    whole = compute_mfcc_blocks(samples, round(2 * fps), fps, coefficients=coefficients)
    assert whole.shape == (round(2 * fps), 28, coefficients)
    monkeypatch.setattr(mfcc_module, "GROUP_FRAMES", 7)
    groups = list(stream_mfcc_blocks(np.split(samples, [5, 1000, 9999]), len(whole), fps, coefficients=coefficients))
    assert max(map(len, groups)) == 7
    np.testing.assert_array_equal(np.concatenate(groups), whole)


def test_the_papers_80_coefficients_tell_sounds_apart_and_are_finite():
    blocks = compute_mfcc_blocks(reference_signal(), 50, Fraction(25), coefficients=80)
    assert np.isfinite(blocks).all()
    assert (blocks.std(axis=(0, 1)) > 0.01).all()
    with pytest.raises(ParameterError, match="12 or 80 coefficients, not 13"):
        compute_mfcc_blocks(reference_signal(), 50, Fraction(25), coefficients=13)


@pytest.mark.parametrize("front_end", ["mfcc", "mel", "power"])
def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path, front_end: str):
    """Five minutes take no more memory than one, but for one number each 10 ms where a level is kept."""
    peaks = []
    for seconds in (60, 300):
        path = tmp_path / f"{seconds}.wav"
        noise = np.random.default_rng(0).normal(scale=0.1, size=(22050 * seconds, 1)).astype(np.float32)
        write_audio(path, Audio(noise, 22050))
        del noise
        recording = open_audio(path)
        tracemalloc.start()
        if front_end == "power":
            measure_power(stream_mono_16k(recording))
        else:
            groups = (
                stream_mfcc_blocks(stream_mono_16k(recording), 25 * seconds, Fraction(25))
                if front_end == "mfcc"
                else stream_mel_spectrogram(stream_mono_16k(recording), mono_16k_length(recording))
            )
            assert sum(1 for _ in groups) > 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 100 * 240 * 8 * 3
