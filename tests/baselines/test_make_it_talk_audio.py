"""MakeItTalk's front ends against the published ones' numbers, and what they refuse."""

import numpy as np
import pytest
import torch

from metatalk_lib.baselines import make_it_talk_audio, make_it_talk_landmarks
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.networks.make_it_talk import WINDOW_STEPS
from tests.reference import load_front


def make_signal() -> np.ndarray:
    """The goldens' two seconds, in 16 bits."""
    t = np.arange(32000) / 16000
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(7)).numpy().astype(np.float64)
    tones = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * (300 + 150 * t) * t)
    return np.round((tones + 0.05 * noise).astype(np.float32) * 32767).astype(np.int16) / 32768


def test_mel_equals_the_published_one():
    mel = make_it_talk_audio.compute_auto_vc_mel(make_signal())
    golden = load_front("makeittalk_autovc_mel")["mel"]
    assert mel.shape == golden.shape
    np.testing.assert_allclose(mel, golden, atol=2e-5)


def test_pitch_equals_the_published_one():
    golden = load_front("makeittalk_autovc_mel")
    np.testing.assert_array_equal(
        make_it_talk_audio.bin_pitch(golden["f0_values"].astype(np.float64)), golden["f0_bin"]
    )
    normalised = make_it_talk_audio.normalise_pitch(golden["logf0"].astype(np.float64))
    np.testing.assert_allclose(normalised, golden["logf0_normalised"], atol=1e-6)
    one_hot = make_it_talk_audio.encode_pitch(normalised)
    assert one_hot.shape == (7, 257)
    assert (one_hot.sum(axis=1) == 1).all()


def test_a_recording_without_voice_has_no_pitch():
    silent = np.full(9, make_it_talk_audio.UNVOICED)
    assert (make_it_talk_audio.bin_pitch(make_it_talk_audio.normalise_pitch(silent)) == 0).all()


def test_level_is_minus_twenty_decibels():
    assert np.sqrt(np.mean(make_it_talk_audio.bring_to_level(make_signal() / 50) ** 2)) == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(DataError, match="silent"):
        make_it_talk_audio.bring_to_level(np.zeros(100))


def test_windows_begin_at_every_step():
    features = np.arange(25 * 80, dtype=np.float64).reshape(25, 80)
    windows = make_it_talk_audio.cut_windows(features)
    assert windows.shape == (25 - WINDOW_STEPS, WINDOW_STEPS, 80)
    np.testing.assert_array_equal(windows[3], features[3 : 3 + WINDOW_STEPS])
    with pytest.raises(DataError, match="18 steps"):
        make_it_talk_audio.cut_windows(features[:18])
    with pytest.raises(DataError, match="400 samples"):
        make_it_talk_audio.compute_auto_vc_mel(np.zeros(400))


def draw_golden_inputs() -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(7)
    predicted = (torch.randn(40, 204, generator=generator) * 0.1).numpy()
    face = torch.rand(68, 3, generator=generator).double().numpy() * 100 + [70, 90, 0]
    face[0, :2], face[16, :2] = (60, 130), (190, 128)
    return predicted, face


def test_calibration_and_face_frame_equal_the_published_ones():
    golden = load_front("makeittalk_landmarks")
    predicted, face = draw_golden_inputs()
    np.testing.assert_allclose(make_it_talk_landmarks.calibrate_content(predicted), golden["calibrated"], atol=1e-5)
    frame = make_it_talk_landmarks.find_frame(face)
    assert frame.scale == pytest.approx(float(golden["scale"]))
    np.testing.assert_allclose(frame.shift, golden["shift"])
    normalised = frame.to_network(face, np.arange(68.0))
    np.testing.assert_allclose(normalised[:, :2], golden["norm_face_xy"], atol=1e-9)
    np.testing.assert_allclose(normalised[:, 2], 0.1 * np.arange(68))
    np.testing.assert_allclose(frame.to_image(normalised)[:, :2], face[:, :2])


def test_a_face_from_the_side_is_refused():
    face = np.zeros((68, 3))
    with pytest.raises(ParameterError, match="from the side"):
        make_it_talk_landmarks.find_frame(face)


def test_the_speaker_branch_moves_the_head_and_not_the_lips():
    generator = np.random.default_rng(0)
    moved = generator.normal(size=(60, 204))
    calm = make_it_talk_landmarks.calm_speaker(moved).reshape(-1, 68, 3)
    assert abs(calm[:, 62] - calm[:, 66]).mean() < 0.05 * abs(calm[:, 62]).mean()
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.3 * np.abs(np.diff(moved, axis=0)).mean()
