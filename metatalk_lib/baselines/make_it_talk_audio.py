"""MakeItTalk's front end: the mel spectrogram and the pitch that AutoVC reads, and the windows of what it gives."""

from functools import lru_cache

import librosa
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.fft import rfft
from scipy.signal import butter, filtfilt

from metatalk_lib.audio import FEATURE_RATE
from metatalk_lib.errors import DataError
from metatalk_lib.networks.auto_vc import MEL_BANDS, PITCH_BINS, AutoVC
from metatalk_lib.networks.make_it_talk import WINDOW_STEPS

HOP = 256
"""16 ms at 16 kHz, samples."""
STEPS_PER_S = FEATURE_RATE / HOP
"""62.5: the rate of all of MakeItTalk, and of its videos."""
LEVEL_DBFS = -20.0
"""What a recording is brought to first."""
UNVOICED = -1e10
"""Stands for the logarithm of a pitch that is not there."""

_FFT_SIZE = 1024
_RANGE_HZ = (90.0, 7600.0)
_HIGH_PASS_HZ, _HIGH_PASS_ORDER = 30.0, 5
_GAIN, _NOISE = 0.95, 1e-6
_PITCH_LEVELS = 256
_PITCH_RANGE_HZ = (100.0, 600.0)
_PIECE_STEPS, _PADDED_TO = 4096, 32
"""AutoVC reads so many steps at once, filled up with zeros to a multiple of these."""


def bring_to_level(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """The recording at −20 dBFS (RMS), cut off at full scale.

    Raises:
        DataError: it is silent.

    Source: adobe-research/MakeItTalk src/autovc/AutoVC_mel_Convertor_retrain_version.py.
    """
    level = float(np.sqrt(np.mean(np.square(samples_16k, dtype=np.float64)))) if len(samples_16k) else 0.0
    if level == 0:
        raise DataError("MakeItTalk: the recording is silent; it cannot be brought to −20 dBFS. Check the file.")
    return np.clip(samples_16k * (10 ** (LEVEL_DBFS / 20) / level), -1, 1)


def compute_auto_vc_mel(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "M 80"]:
    """AutoVC's mel spectrogram, 62.5 steps a second.

    High pass at 30 Hz both ways; x · 0.95 plus noise of 10⁻⁶; periodic Hann windows of 1024 samples every 256, the ends
    mirrored; magnitudes in 80 area-normalised Slaney mel bands from 90 to 7600 Hz;
    (20 log10(max(1e-5, .)) − 16 + 100) / 100.

    Args:
        samples_16k: mono.

    Raises:
        DataError: the recording is too short for the mirrored ends.

    Source: adobe-research/MakeItTalk src/autovc/retrain_version/vocoder_spec/extract_f0_func.py; its numbers were used.
    """
    if len(samples_16k) <= _FFT_SIZE // 2:
        raise DataError(
            f"the recording has {len(samples_16k)} samples at 16 kHz; AutoVC needs more than {_FFT_SIZE // 2}."
        )
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(_prepare(samples_16k), _FFT_SIZE // 2, "reflect"), _FFT_SIZE
    )
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT_SIZE) / _FFT_SIZE)
    magnitude = np.abs(rfft(windows[::HOP] * hann, axis=1))
    return (20 * np.log10(np.maximum(1e-5, magnitude @ _mel_filters().T)) - 16 + 100) / 100


def track_pitch(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " M"]:
    """The pitch at the steps of the mel spectrogram, from 100 to 600 Hz.

    Args:
        samples_16k: mono.

    Returns:
        Natural logarithms of Hz; `UNVOICED` where there is none.

    Source: facts of adobe-research/MakeItTalk src/autovc/retrain_version/vocoder_spec/extract_f0_func.py, which tracks
    by RAPT (pysptk); in its place stands the probabilistic YIN of librosa, Mauch and Dixon 2014.
    """
    pitch_hz, is_voiced, _ = librosa.pyin(
        _prepare(samples_16k),
        fmin=_PITCH_RANGE_HZ[0],
        fmax=_PITCH_RANGE_HZ[1],
        sr=FEATURE_RATE,
        frame_length=_FFT_SIZE,
        hop_length=HOP,
    )
    return np.where(is_voiced, np.log(pitch_hz), UNVOICED)


def normalise_pitch(log_pitch: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """The logarithm of the pitch about its mean over the voiced steps, four deviations to either side, on [0, 1].

    Args:
        log_pitch: natural logarithm of Hz; `UNVOICED` where there is none, and there it stays.
    """
    voiced = log_pitch != UNVOICED
    if not voiced.any():
        return log_pitch
    deviation = float(log_pitch[voiced].std())
    centred = (log_pitch - log_pitch[voiced].mean()) / max(deviation, 1e-12) / 4
    return np.where(voiced, (np.clip(centred, -1, 1) + 1) / 2, UNVOICED)


def bin_pitch(pitch: Float[np.ndarray, " M"]) -> Int[np.ndarray, " M"]:
    """Bins 1 to 256 of a normalised pitch, 0 where there is none."""
    return np.where(pitch < 0, 0, np.round(np.clip(pitch, 0, 1) * (_PITCH_LEVELS - 1)) + 1).astype(np.int64)


def encode_pitch(pitch: Float[np.ndarray, " M"]) -> Float[np.ndarray, "M 257"]:
    """The bins one-hot."""
    return np.eye(PITCH_BINS, dtype=np.float32)[bin_pitch(pitch)]


def convert_voice(
    network: AutoVC,
    mel: Float[np.ndarray, "M 80"],
    pitch: Float[np.ndarray, "M 257"],
    voice: Float[np.ndarray, "256"],
    target_voice: Float[np.ndarray, "256"],
) -> Float[np.ndarray, "M 80"]:
    """The content feature: the recording's mel spectrogram as the target voice would say it.

    Args:
        network: AutoVC.
        mel: of `compute_auto_vc_mel`.
        pitch: one-hot.
        voice: embedding of who speaks.
        target_voice: of who shall.

    Source: facts of adobe-research/MakeItTalk src/autovc/AutoVC_mel_Convertor_retrain_version.py.
    """
    device, said = next(network.parameters()).device, []
    voices = [torch.from_numpy(values.astype(np.float32))[None].to(device) for values in (voice, target_voice)]
    for start in range(0, len(mel), _PIECE_STEPS):
        pieces = [values[start : start + _PIECE_STEPS].astype(np.float32) for values in (mel, pitch)]
        length = len(pieces[0])
        padded = [np.pad(values, ((0, -length % _PADDED_TO), (0, 0))) for values in pieces]
        inputs = [torch.from_numpy(values)[None].to(device) for values in padded]
        with torch.inference_mode():
            said.append(network(inputs[0], *voices, inputs[1]).refined[0, :length].cpu().numpy())
    return np.concatenate(said)


def cut_windows(features: Float[np.ndarray, "M 80"]) -> Float[np.ndarray, "W 18 80"]:
    """All windows of 18 steps but the last: window i begins at step i.

    Raises:
        DataError: there is none.
    """
    if len(features) <= WINDOW_STEPS:
        raise DataError(f"the recording has {len(features)} steps of 16 ms; MakeItTalk needs more than {WINDOW_STEPS}.")
    return np.lib.stride_tricks.sliding_window_view(features, WINDOW_STEPS, axis=0)[:-1].transpose(0, 2, 1)


def _prepare(samples: np.ndarray) -> np.ndarray:
    values = np.append(samples, 1e-6) if len(samples) % HOP == 0 else samples
    numerator, denominator = butter(_HIGH_PASS_ORDER, _HIGH_PASS_HZ / (FEATURE_RATE / 2), "high")
    noise = np.random.RandomState(0).rand(len(values)) - 0.5
    return filtfilt(numerator, denominator, values) * _GAIN + noise * _NOISE


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    return librosa.filters.mel(
        sr=FEATURE_RATE, n_fft=_FFT_SIZE, n_mels=MEL_BANDS, fmin=_RANGE_HZ[0], fmax=_RANGE_HZ[1]
    ).astype(np.float64)
