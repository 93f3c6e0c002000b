"""Who speaks: the voice embedding that MakeItTalk's networks are told, by Resemblyzer's recipe."""

import librosa
import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import binary_dilation, uniform_filter1d

from metatalk_lib.audio import FEATURE_RATE
from metatalk_lib.errors import DataError
from metatalk_lib.networks.voice_encoder import MEL_BANDS, MEL_STEPS, VoiceEncoder

LEVEL_DBFS = -30.0
"""Quieter recordings are raised to it."""
HOP = 160
"""10 ms, samples."""
MINUTE = 60 * FEATURE_RATE

_FFT_SIZE = 400
_STEPS_APART = 50
"""Two pieces of 1.6 s a second."""
_COVERAGE = 0.75
_VOICE_WINDOW, _AVERAGED_WINDOWS, _LONGEST_SILENCE = 480, 8, 6
"""Windows of 30 ms in which speech is looked for, samples; how many are averaged; how many silent ones may follow."""
_QUIET_DB = 35.0
"""A window this much below the loud ones has no speech."""


def embed_voice(encoder: VoiceEncoder, samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "256"]:
    """The embedding of a recording: the mean over its pieces, brought to length 1.

    Of a recording that is longer than a minute, the mean of its whole minutes' embeddings.

    Args:
        encoder: of Resemblyzer, or the open one.
        samples_16k: mono.

    Raises:
        DataError: it is silent.

    Source: facts of resemble-ai/Resemblyzer resemblyzer/voice_encoder.py (Apache 2.0) and adobe-research/MakeItTalk
    thirdparty/resemblyer_util/speaker_emb.py.
    """
    samples = prepare_voice(samples_16k)
    starts = range(0, max(1, len(samples) // MINUTE) * MINUTE, MINUTE)
    return np.mean([_embed_minute(encoder, samples[start : start + MINUTE]) for start in starts], axis=0)


def prepare_voice(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " _"]:
    """Quiet recordings raised to −30 dBFS, silences of more than a fifth of a second shortened.

    Resemblyzer asks webrtcvad where there is speech. Here an energy rule does: a window of 30 ms speaks where it is
    louder than 35 dB below the loud ones (the 95th percentile), and more than half of the eight windows about it do;
    three windows to either side of such are kept. Where no window is left, nothing is cut.

    Args:
        samples_16k: mono.

    Raises:
        DataError: it is silent.

    Source: facts of resemble-ai/Resemblyzer resemblyzer/audio.py (Apache 2.0); the energy rule is original to this
    project.
    """
    level = float(np.sqrt(np.mean(np.square(samples_16k, dtype=np.float64)))) if len(samples_16k) else 0.0
    if level == 0:
        raise DataError("MakeItTalk: the recording is silent; nobody's voice can be told from it. Check the file.")
    samples = samples_16k * max(1.0, 10 ** (LEVEL_DBFS / 20) / level)
    samples = samples[: len(samples) // _VOICE_WINDOW * _VOICE_WINDOW]
    if not len(samples):
        return samples_16k
    power = np.square(samples.reshape(-1, _VOICE_WINDOW)).mean(axis=1)
    is_loud = power > np.percentile(power, 95) * 10 ** (-_QUIET_DB / 10)
    speaks = uniform_filter1d(is_loud.astype(np.float64), _AVERAGED_WINDOWS, mode="constant") > 0.5
    kept = binary_dilation(speaks, np.ones(_LONGEST_SILENCE + 1))
    return samples[np.repeat(kept, _VOICE_WINDOW)] if kept.any() else samples


def compute_voice_mel(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "M 40"]:
    """Power in 40 Slaney mel bands every 10 ms, without a logarithm; the ends padded with zeros."""
    mel = librosa.feature.melspectrogram(
        y=samples_16k.astype(np.float32), sr=FEATURE_RATE, n_fft=_FFT_SIZE, hop_length=HOP, n_mels=MEL_BANDS
    )
    return mel.T


def piece_starts(sample_count: int) -> list[int]:
    """First steps of the pieces of 1.6 s; the last one, where others are, must hold three quarters of sound."""
    steps = -(-(sample_count + 1) // HOP)
    starts = list(range(0, max(1, steps - MEL_STEPS + _STEPS_APART + 1), _STEPS_APART))
    is_short = sample_count - starts[-1] * HOP < _COVERAGE * MEL_STEPS * HOP
    return starts[:-1] if is_short and len(starts) > 1 else starts


def _embed_minute(encoder: VoiceEncoder, samples: np.ndarray) -> np.ndarray:
    starts = piece_starts(len(samples))
    needed = (starts[-1] + MEL_STEPS) * HOP
    mel = compute_voice_mel(np.pad(samples, (0, max(0, needed - len(samples)))))
    pieces = torch.from_numpy(np.stack([mel[start : start + MEL_STEPS] for start in starts]))
    with torch.inference_mode():
        found = encoder(pieces.to(next(encoder.parameters()).device)).mean(dim=0)
    return torch.nn.functional.normalize(found, dim=0).cpu().numpy().astype(np.float64)
