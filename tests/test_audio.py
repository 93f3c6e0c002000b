"""audio: reading, AT-net's MFCC against the golden, alignment at any frame rate, silence."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.fft import dct

from metatalk_lib.audio import (
    Audio,
    compute_level_db,
    compute_mfcc,
    compute_mfcc_blocks,
    compute_public_mfcc_blocks,
    find_silence,
    frame_count_for,
    read_audio,
    to_mono_16k,
    write_audio,
)
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.video import write_video

GOLDEN = Path(__file__).parent / "data" / "reference" / "front_atvg_mfcc.npz"


def golden_signal() -> np.ndarray:
    """The signal that the golden was made from: two seconds of a tone, a sweep and noise."""
    t = np.arange(32000) / 16000
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(7)).numpy().astype(np.float64)
    tone = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * (300 + 150 * t) * t)
    return (tone + 0.05 * noise).astype(np.float32)


def tone(seconds: float, rate: int, channels: int = 1, amplitude: float = 0.5) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    samples = amplitude * np.sin(2 * np.pi * 440 * t)
    return Audio(np.tile(samples[:, None], (1, channels)).astype(np.float32), rate)


def test_mfcc_equals_the_golden():
    with np.load(GOLDEN) as golden:
        mfcc = compute_mfcc(np.pad(golden_signal(), 1920))
        np.testing.assert_allclose(mfcc, golden["mfcc_13"], atol=2e-5)
        blocks = compute_public_mfcc_blocks(golden_signal())
        assert len(blocks) == int(golden["n_windows"])
        np.testing.assert_allclose(blocks[0], golden["first_window"], atol=2e-5)
        np.testing.assert_allclose(blocks[-1], golden["last_window"], atol=2e-5)


@pytest.mark.parametrize(("seconds", "windows"), [(1, 24), (2, 49), (3, 74), (10, 249), (15.5, 387)])
def test_public_block_count(seconds: float, windows: int):
    assert compute_public_mfcc_blocks(np.zeros(round(seconds * 16000), np.float32)).shape == (windows, 28, 12)


def test_blocks_at_25_fps_are_the_public_ones_plus_the_last_frame():
    samples = golden_signal()
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
    with pytest.raises(ParameterError, match="must be positive"):
        find_silence(np.zeros(16000, np.float32), count - 1, fps)


def test_frame_count_is_rounded_half_up():
    assert frame_count_for(Audio(np.zeros((16000, 1), np.float32), 16000), Fraction(25)) == 25
    assert frame_count_for(Audio(np.zeros((16319, 1), np.float32), 16000), Fraction(25)) == 25
    assert frame_count_for(Audio(np.zeros((16320, 1), np.float32), 16000), Fraction(25)) == 26
    assert frame_count_for(Audio(np.zeros((1, 1), np.float32), 16000), Fraction(25)) == 1
    assert frame_count_for(Audio(np.zeros((48000, 2), np.float32), 48000), Fraction(30000, 1001)) == 30


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_to_mono_16k_keeps_length_and_pitch(rate: int):
    mono = to_mono_16k(tone(1.0, rate, channels=2))
    assert len(mono) == 16000
    spectrum = np.abs(np.fft.rfft(mono))
    assert spectrum.argmax() == 440
    assert mono[2000:-2000].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


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
    level = compute_level_db(to_mono_16k(tone(1.0, 16000, amplitude=1.0)))
    np.testing.assert_allclose(level[5:-5], -3.01, atol=0.1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_libsndfile_formats(tmp_path: Path, suffix: str):
    audio = tone(1.0, 44100, channels=2)
    soundfile.write(tmp_path / f"a.{suffix}", audio.samples, audio.rate)
    read = read_audio(tmp_path / f"a.{suffix}")
    assert (read.rate, read.samples.shape[1]) == (44100, 2)
    assert read.duration_s == pytest.approx(1.0, abs=0.06)


def test_write_then_read_is_exact_to_one_bit(tmp_path: Path):
    audio = Audio(np.linspace(-1.5, 1.5, 999, dtype=np.float32)[:, None], 22050)
    write_audio(tmp_path / "a.wav", audio)
    write_audio(tmp_path / "b.wav", audio)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    read = read_audio(tmp_path / "a.wav")
    assert read.rate == 22050
    np.testing.assert_allclose(read.samples, np.clip(audio.samples, -1, 1), atol=1 / 32000)


def test_sound_track_of_a_video_has_its_own_length(tmp_path: Path):
    frames = [np.zeros((32, 32, 3), np.uint8)] * 25
    write_video(tmp_path / "v.mp4", frames, fps=Fraction(25), audio=tone(1.0, 16000))
    read = read_audio(tmp_path / "v.mp4")
    assert read.samples.shape == (16000, 1)
    assert np.corrcoef(read.samples[500:-500, 0], tone(1.0, 16000).samples[500:-500, 0])[0, 1] > 0.99


def test_bad_audio_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        read_audio(tmp_path / "none.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(DataError, match="0 bytes"):
        read_audio(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("this is not audio at all " * 20)
    with pytest.raises(DataError, match="cannot be decoded as audio"):
        read_audio(tmp_path / "text.wav")
    soundfile.write(tmp_path / "zero.wav", np.zeros((0, 1)), 16000)
    with pytest.raises(DataError, match="is empty"):
        read_audio(tmp_path / "zero.wav")
    samples = np.zeros(1000, np.float32)
    samples[[3, 5]] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN or infinite values in 2 of 1000"):
        read_audio(tmp_path / "nan.wav")
    with pytest.raises(DataError, match="NaN or infinite"):
        write_audio(tmp_path / "out.wav", Audio(samples[:, None], 16000))
    assert not (tmp_path / "out.wav").exists()
    write_video(tmp_path / "mute.mp4", [np.zeros((32, 32, 3), np.uint8)], fps=Fraction(25))
    with pytest.raises(DataError, match="no audio stream"):
        read_audio(tmp_path / "mute.mp4")
