"""Driving of the lips: blocks that join without a seam, poses that are kept, audio that is cut and chosen."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.audio_to_expression import streaming
from metatalk_lib.audio_to_expression.model import TrainedA2E
from metatalk_lib.audio_to_expression.streaming import predict_speech, stream_speech
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.face3d.coefficients import repose
from metatalk_lib.media.audio import Audio, read_audio, write_audio
from metatalk_lib.media.frame_order import ping_pong
from metatalk_lib.media.recordings import cut_audio
from metatalk_lib.networks.audio_to_expression import MetaTalkA2E
from metatalk_lib.speech.synthesis import synthesize
from metatalk_lib.talk.driving_audio import prepare_driving_audio
from tests.synthetic import make_coefficients, make_tone


def make_recording(path: Path, seconds: float, rate: int = 16000) -> Path:
    write_audio(path, Audio(make_tone(seconds, rate)[:, None], rate))
    return path


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)])
def test_blocks_join_to_what_the_whole_recording_gives(fps: Fraction, monkeypatch: pytest.MonkeyPatch):
    spoken = [synthesize(text, "en-us") for text in ("My mother may remember.", "Pass the blue book.")]
    music = 0.3 * np.sign(np.sin(np.arange(2 * spoken[0].rate) / 30)).astype(np.float32)
    pause = np.zeros(spoken[0].rate, np.float32)
    samples = np.concatenate([spoken[0].samples, pause, music, spoken[1].samples, pause[:3000]])
    audio = Audio(samples[:, None], spoken[0].rate)
    torch.manual_seed(0)
    a2e = TrainedA2E(MetaTalkA2E().eval(), "meta_talk", "leaky_relu", 1.0, np.zeros(64, np.float32), 1.0)
    monkeypatch.setattr(streaming, "BLOCK_FRAMES", 10**6)
    whole = predict_speech(audio, fps, a2e)
    assert 10 < whole.silent.sum() < len(whole.silent) - 10
    monkeypatch.setattr(streaming, "BLOCK_FRAMES", 13)
    blocks = list(stream_speech(audio, fps, a2e))
    assert {len(block.silent) for block in blocks[:-1]} == {13}
    assert np.array_equal(np.concatenate([block.silent for block in blocks]), whole.silent)
    np.testing.assert_allclose(np.concatenate([block.expression for block in blocks]), whole.expression, atol=1e-6)


def test_driving_keeps_pose_and_replaces_expression():
    coefficients = make_coefficients(4)
    expression = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    driven = repose(coefficients, ping_pong(0, 4, 6) + 10, expression)
    assert driven.frame_id.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(driven.rotation, coefficients.rotation[[0, 1, 2, 3, 2, 1]])
    assert np.array_equal(driven.expression, expression)
    assert np.array_equal(driven.identity, coefficients.identity)


def test_cutting_audio(tmp_path: Path):
    path = make_recording(tmp_path / "speech.wav", 1.0)
    tail = read_audio(cut_audio(path, Fraction(3, 4), tmp_path / "tail.wav"))
    assert tail.rate == 16000
    assert np.array_equal(tail.samples, read_audio(path).samples[12000:])
    part = read_audio(cut_audio(path, Fraction(1, 4), tmp_path / "part.wav", length_s=Fraction(1, 2)))
    assert np.array_equal(part.samples, read_audio(path).samples[4000:12000])
    with pytest.raises(ParameterError, match="ends before 2.00 s"):
        cut_audio(path, 2.0, tmp_path / "none.wav")


def test_the_driving_audio_is_the_users_or_a_synthetic_voice(tmp_path: Path):
    path = make_recording(tmp_path / "speech.wav", 0.5)
    assert prepare_driving_audio(RendererConfig(driving_audio=str(path)), tmp_path / "x.wav") == path
    spoken = prepare_driving_audio(RendererConfig(driving_text="Hello there."), tmp_path / "y.wav")
    assert len(read_audio(spoken).samples) > 4000
    with pytest.raises(DataError, match="driving_audio"):
        prepare_driving_audio(RendererConfig(driving_audio="no/such.wav"), tmp_path / "z.wav")
