"""MakeItTalk's audio front end: mel spectrogram and pitch for AutoVC, and the windows of its output."""

from functools import lru_cache

import librosa
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.fft import rfft
from scipy.ndimage import binary_dilation, uniform_filter1d
from scipy.signal import butter, filtfilt

from metatalk_lib.core.errors import DataError
from metatalk_lib.media.audio import FEATURE_RATE
from metatalk_lib.networks.auto_vc import AUTO_VC_MEL_BANDS, PITCH_BINS, AutoVC
from metatalk_lib.networks.make_it_talk import WINDOW_STEPS
from metatalk_lib.networks.voice_encoder import VOICE_MEL_BANDS, VOICE_MEL_STEPS, VoiceEncoder

AUTO_VC_HOP = 256
"""Step of the features, samples: 16 ms at 16 kHz."""
STEPS_PER_S = FEATURE_RATE / AUTO_VC_HOP
"""Rate of all of MakeItTalk's features and videos, Hz: 62.5."""
AUTO_VC_LEVEL_DBFS = -20.0
"""Level to which a recording is normalised first, dBFS."""
UNVOICED = -1e10
"""Value that replaces the logarithm of the pitch in unvoiced steps."""

_AUTO_VC_FFT_SIZE = 1024
_RANGE_HZ = (90.0, 7600.0)
_HIGH_PASS_HZ, _HIGH_PASS_ORDER = 30.0, 5
_GAIN, _NOISE = 0.95, 1e-6
_PITCH_LEVELS = 256
_PITCH_RANGE_HZ = (100.0, 600.0)
_PIECE_STEPS, _PADDED_TO = 4096, 32
"""Maximum number of steps that AutoVC processes at once, and the multiple to which they are padded with zeros."""


def bring_to_level(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """Normalise the recording to −20 dBFS (RMS), clipped at full scale.

    Raises:
        DataError: the recording is silent.

    Source: adobe-research/MakeItTalk src/autovc/AutoVC_mel_Convertor_retrain_version.py.
    """
    level = float(np.sqrt(np.mean(np.square(samples_16k, dtype=np.float64)))) if len(samples_16k) else 0.0
    if level == 0:
        raise DataError("MakeItTalk: the recording is silent; it cannot be brought to −20 dBFS. Check the file.")
    return np.clip(samples_16k * (10 ** (AUTO_VC_LEVEL_DBFS / 20) / level), -1, 1)


def compute_auto_vc_mel(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "M 80"]:
    """Compute AutoVC's mel spectrogram, 62.5 steps per second.

    High pass at 30 Hz, forwards and backwards; x · 0.95 plus noise of 10⁻⁶; periodic Hann windows of 1024 samples every
    256, the ends mirrored; magnitudes in 80 area-normalised Slaney mel bands from 90 to 7600 Hz;
    (20 log10(max(1e-5, .)) − 16 + 100) / 100.

    Args:
        samples_16k: mono sound at 16 kHz.

    Raises:
        DataError: the recording is too short for the mirrored ends.

    Source: adobe-research/MakeItTalk src/autovc/retrain_version/vocoder_spec/extract_f0_func.py; its numbers are used.
    """
    if len(samples_16k) <= _AUTO_VC_FFT_SIZE // 2:
        raise DataError(
            f"the recording has {len(samples_16k)} samples at 16 kHz; AutoVC needs more than {_AUTO_VC_FFT_SIZE // 2}."
        )
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(_prepare(samples_16k), _AUTO_VC_FFT_SIZE // 2, "reflect"), _AUTO_VC_FFT_SIZE
    )
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_AUTO_VC_FFT_SIZE) / _AUTO_VC_FFT_SIZE)
    magnitude = np.abs(rfft(windows[::AUTO_VC_HOP] * hann, axis=1))
    return (20 * np.log10(np.maximum(1e-5, magnitude @ _mel_filters().T)) - 16 + 100) / 100


def track_pitch(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " M"]:
    """Track the pitch at the steps of the mel spectrogram, from 100 to 600 Hz.

    Args:
        samples_16k: mono sound at 16 kHz.

    Returns:
        Natural logarithms of the pitch in Hz; `UNVOICED` in unvoiced steps.

    Source: facts of adobe-research/MakeItTalk src/autovc/retrain_version/vocoder_spec/extract_f0_func.py, which uses
    RAPT (pysptk); it is replaced by the probabilistic YIN of librosa, Mauch and Dixon 2014.
    """
    pitch_hz, is_voiced, _ = librosa.pyin(
        _prepare(samples_16k),
        fmin=_PITCH_RANGE_HZ[0],
        fmax=_PITCH_RANGE_HZ[1],
        sr=FEATURE_RATE,
        frame_length=_AUTO_VC_FFT_SIZE,
        hop_length=AUTO_VC_HOP,
    )
    return np.where(is_voiced, np.log(pitch_hz), UNVOICED)


def normalise_pitch(log_pitch: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
    """Normalise log pitch about its mean over voiced steps: four standard deviations to either side map to [0, 1].

    Args:
        log_pitch: natural logarithm of the pitch in Hz; `UNVOICED` in unvoiced steps, where it is unchanged.
    """
    voiced = log_pitch != UNVOICED
    if not voiced.any():
        return log_pitch
    deviation = float(log_pitch[voiced].std())
    centred = (log_pitch - log_pitch[voiced].mean()) / max(deviation, 1e-12) / 4
    return np.where(voiced, (np.clip(centred, -1, 1) + 1) / 2, UNVOICED)


def bin_pitch(pitch: Float[np.ndarray, " M"]) -> Int[np.ndarray, " M"]:
    """Quantise a normalised pitch to bins 1 to 256, with 0 for unvoiced steps."""
    return np.where(pitch < 0, 0, np.round(np.clip(pitch, 0, 1) * (_PITCH_LEVELS - 1)) + 1).astype(np.int64)


def encode_pitch(pitch: Float[np.ndarray, " M"]) -> Float[np.ndarray, "M 257"]:
    """Encode the pitch bins as one-hot vectors."""
    return np.eye(PITCH_BINS, dtype=np.float32)[bin_pitch(pitch)]


def convert_voice(
    network: AutoVC,
    mel: Float[np.ndarray, "M 80"],
    pitch: Float[np.ndarray, "M 257"],
    voice: Float[np.ndarray, "256"],
    target_voice: Float[np.ndarray, "256"],
) -> Float[np.ndarray, "M 80"]:
    """Compute the content feature: the recording's mel spectrogram converted to the target voice.

    Args:
        network: AutoVC.
        mel: mel spectrogram from `compute_auto_vc_mel`.
        pitch: one-hot pitch.
        voice: embedding of the recording's voice.
        target_voice: embedding of the target voice.

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
    """Return all windows of 18 steps but the last; window i begins at step i.

    Raises:
        DataError: there is no window.
    """
    if len(features) <= WINDOW_STEPS:
        raise DataError(f"the recording has {len(features)} steps of 16 ms; MakeItTalk needs more than {WINDOW_STEPS}.")
    return np.lib.stride_tricks.sliding_window_view(features, WINDOW_STEPS, axis=0)[:-1].transpose(0, 2, 1)


def _prepare(samples: np.ndarray) -> np.ndarray:
    values = np.append(samples, 1e-6) if len(samples) % AUTO_VC_HOP == 0 else samples
    numerator, denominator = butter(_HIGH_PASS_ORDER, _HIGH_PASS_HZ / (FEATURE_RATE / 2), "high")
    noise = np.random.RandomState(0).rand(len(values)) - 0.5
    return filtfilt(numerator, denominator, values) * _GAIN + noise * _NOISE


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    return librosa.filters.mel(
        sr=FEATURE_RATE, n_fft=_AUTO_VC_FFT_SIZE, n_mels=AUTO_VC_MEL_BANDS, fmin=_RANGE_HZ[0], fmax=_RANGE_HZ[1]
    ).astype(np.float64)


VOICE_LEVEL_DBFS = -30.0
"""Level to which quieter recordings are raised, dBFS."""
VOICE_HOP = 160
"""Step of the mel spectrogram, samples: 10 ms."""
MINUTE = 60 * FEATURE_RATE

_VOICE_FFT_SIZE = 400
_STEPS_APART = 50
"""Steps between the starts of pieces: two pieces of 1.6 s per second."""
_COVERAGE = 0.75
_VOICE_WINDOW, _AVERAGED_WINDOWS, _LONGEST_SILENCE = 480, 8, 6
"""Length of the speech detector's windows, samples (30 ms); averaged windows; longest kept silence, windows."""
_QUIET_DB = 35.0
"""Level difference below the loud windows from which a window counts as silent, dB."""


def embed_voice(encoder: VoiceEncoder, samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "256"]:
    """Compute the embedding of a recording: the mean over its pieces, normalised to length 1.

    For a recording longer than a minute, it is the mean of the embeddings of its whole minutes.

    Args:
        encoder: Resemblyzer's voice encoder, or the open one.
        samples_16k: mono sound at 16 kHz.

    Raises:
        DataError: the recording is silent.

    Source: facts of resemble-ai/Resemblyzer resemblyzer/voice_encoder.py (Apache 2.0) and adobe-research/MakeItTalk
    thirdparty/resemblyer_util/speaker_emb.py.
    """
    samples = prepare_voice(samples_16k)
    starts = range(0, max(1, len(samples) // MINUTE) * MINUTE, MINUTE)
    return np.mean([_embed_minute(encoder, samples[start : start + MINUTE]) for start in starts], axis=0)


def prepare_voice(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " _"]:
    """Raise quiet recordings to −30 dBFS and shorten silences of more than a fifth of a second.

    Resemblyzer detects speech by webrtcvad. It is replaced by an energy rule: a window of 30 ms is loud if its level is
    above 35 dB below that of the loud windows (the 95th percentile), and is speech if more than half of the eight
    windows around it are loud; three windows on either side of speech are kept. If no window is left, nothing is cut.

    Args:
        samples_16k: mono sound at 16 kHz.

    Raises:
        DataError: the recording is silent.

    Source: facts of resemble-ai/Resemblyzer resemblyzer/audio.py (Apache 2.0); the energy rule is original to this
    project.
    """
    level = float(np.sqrt(np.mean(np.square(samples_16k, dtype=np.float64)))) if len(samples_16k) else 0.0
    if level == 0:
        raise DataError("MakeItTalk: the recording is silent; nobody's voice can be told from it. Check the file.")
    samples = samples_16k * max(1.0, 10 ** (VOICE_LEVEL_DBFS / 20) / level)
    samples = samples[: len(samples) // _VOICE_WINDOW * _VOICE_WINDOW]
    if not len(samples):
        return samples_16k
    power = np.square(samples.reshape(-1, _VOICE_WINDOW)).mean(axis=1)
    is_loud = power > np.percentile(power, 95) * 10 ** (-_QUIET_DB / 10)
    speaks = uniform_filter1d(is_loud.astype(np.float64), _AVERAGED_WINDOWS, mode="constant") > 0.5
    kept = binary_dilation(speaks, np.ones(_LONGEST_SILENCE + 1))
    return samples[np.repeat(kept, _VOICE_WINDOW)] if kept.any() else samples


def compute_voice_mel(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "M 40"]:
    """Compute the power in 40 Slaney mel bands every 10 ms, without a logarithm; the ends are padded with zeros."""
    mel = librosa.feature.melspectrogram(
        y=samples_16k.astype(np.float32),
        sr=FEATURE_RATE,
        n_fft=_VOICE_FFT_SIZE,
        hop_length=VOICE_HOP,
        n_mels=VOICE_MEL_BANDS,
    )
    return mel.T


def piece_starts(sample_count: int) -> list[int]:
    """Return the first steps of the pieces of 1.6 s.

    A last piece that holds less than three quarters of sound is dropped, unless it is the only one.
    """
    steps = -(-(sample_count + 1) // VOICE_HOP)
    starts = list(range(0, max(1, steps - VOICE_MEL_STEPS + _STEPS_APART + 1), _STEPS_APART))
    is_short = sample_count - starts[-1] * VOICE_HOP < _COVERAGE * VOICE_MEL_STEPS * VOICE_HOP
    return starts[:-1] if is_short and len(starts) > 1 else starts


def _embed_minute(encoder: VoiceEncoder, samples: np.ndarray) -> np.ndarray:
    starts = piece_starts(len(samples))
    needed = (starts[-1] + VOICE_MEL_STEPS) * VOICE_HOP
    mel = compute_voice_mel(np.pad(samples, (0, max(0, needed - len(samples)))))
    pieces = torch.from_numpy(np.stack([mel[start : start + VOICE_MEL_STEPS] for start in starts]))
    with torch.inference_mode():
        found = encoder(pieces.to(next(encoder.parameters()).device)).mean(dim=0)
    return torch.nn.functional.normalize(found, dim=0).cpu().numpy().astype(np.float64)
