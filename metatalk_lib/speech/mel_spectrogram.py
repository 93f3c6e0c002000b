"""Wav2Lip's mel spectrogram, and its chunk for each video frame."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import librosa
import numpy as np
from jaxtyping import Float
from scipy.fft import rfft

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import FEATURE_RATE, SampleWindow

MEL_HOP = 200
"""12.5 ms at 16 kHz, samples."""
MEL_BANDS = 80
CHUNK_COLUMNS = 16
"""Columns in one chunk, the network's input for one frame; 0.2 s."""
COLUMNS_PER_S = FEATURE_RATE // MEL_HOP

_FFT_SIZE = 800
_HALF = _FFT_SIZE // 2
_PRE_EMPHASIS = 0.97
_RANGE_HZ = (55.0, 7600.0)
_GROUP_COLUMNS = 2048


def compute_mel_spectrogram(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "80 M"]:
    """Wav2Lip's mel spectrogram, M = 1 + floor(S / 200) columns, 80 a second.

    Pre-emphasis x'[n] = x[n] - 0.97 x[n-1]; centred periodic Hann windows of 800 samples every 200, the ends mirrored;
    magnitudes in 80 area-normalised Slaney mel bands from 55 to 7600 Hz; D = 20 log10(max(1e-5, .)) - 20; then
    8 (D + 100) / 100 - 4, clipped to [-4, 4].

    Args:
        samples_16k: mono, more than 400 samples.

    Raises:
        DataError: the recording is too short for the mirrored ends.

    Source: Rudrabha/Wav2Lip audio.py and hparams.py with librosa 0.7; its numbers were used.
    """
    return np.concatenate(list(stream_mel_spectrogram([samples_16k], len(samples_16k))), axis=1)


def stream_mel_spectrogram(
    pieces: Iterable[Float[np.ndarray, " _"]], sample_count: int
) -> Iterator[Float[np.ndarray, "80 _"]]:
    """Yield the columns of `compute_mel_spectrogram` in groups; memory does not grow with the length.

    Args:
        pieces: consecutive pieces of a 16 kHz mono signal.
        sample_count: length of the whole signal, samples, as `audio.mono_16k_length` gives it.

    Raises:
        DataError: the signal is too short for the mirrored ends.
    """
    if sample_count <= _HALF:
        raise DataError(f"the audio has {sample_count} samples at 16 kHz; a mel spectrogram needs more than {_HALF}.")
    signal, columns = SampleWindow(pieces), 1 + sample_count // MEL_HOP
    for first in range(0, columns, _GROUP_COLUMNS):
        last = min(first + _GROUP_COLUMNS, columns) - 1
        yield _mel_columns(_mirrored(signal, MEL_HOP * first - _HALF, MEL_HOP * last + _HALF, sample_count))


def chunk_starts(column_count: int, frame_count: int, fps: Fraction) -> np.ndarray:
    """Compute the first column of each frame's chunk: floor(80 i / fps), at most the start of the last whole chunk.

    Wav2Lip's own list stops at the first chunk that would overrun the spectrogram and replaces that chunk by the last
    16 columns, so its video ends about three frames early. Here every frame has a chunk: each frame whose chunk would
    overrun gets the last 16 columns. Up to the first such frame the two lists agree.

    Args:
        column_count: columns of the spectrogram, at least 16.
        frame_count: number of video frames.
        fps: frames per second.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.
        DataError: fewer than 16 columns.

    Source: Rudrabha/Wav2Lip inference.py for the starts.
    """
    if frame_count < 1 or fps <= 0:
        raise ParameterError(f"frame_count is {frame_count} and fps is {fps}; both must be positive.")
    if column_count < CHUNK_COLUMNS:
        raise DataError(f"the recording has {column_count} mel columns; Wav2Lip needs {CHUNK_COLUMNS} (0.2 s).")
    fps = Fraction(fps)
    starts = np.arange(frame_count, dtype=np.int64) * (COLUMNS_PER_S * fps.denominator) // fps.numerator
    return np.minimum(starts, column_count - CHUNK_COLUMNS)


def cut_mel_chunks(mel: Float[np.ndarray, "80 M"], starts: np.ndarray) -> Float[np.ndarray, "T 80 16"]:
    """Cut the chunk of 16 columns at each start."""
    return np.lib.stride_tricks.sliding_window_view(mel, CHUNK_COLUMNS, axis=1)[:, starts].transpose(1, 0, 2)


def _mirrored(signal: SampleWindow, start: int, stop: int, count: int) -> np.ndarray:
    """Pre-emphasised samples `start` to `stop`, mirrored beyond either end of the signal."""
    # one sample more than the first window needs: the mirrored end may reach that far back
    first = max(start - 1, 0)
    held = signal.cut(first - 1, min(stop, count))
    emphasised = held[1:] - np.float32(_PRE_EMPHASIS) * held[:-1]
    return np.pad(emphasised, (max(0, -start), max(0, stop - count)), mode="reflect")[1 if start > 0 else 0 :]


def _mel_columns(emphasised: np.ndarray) -> Float[np.ndarray, "80 M"]:
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, _FFT_SIZE)[::MEL_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT_SIZE) / _FFT_SIZE)
    magnitude = np.abs(rfft(windows * hann, axis=1))
    level_db = 20 * np.log10(np.maximum(1e-5, magnitude @ _mel_filters().T)) - 20
    return np.clip(8 * (level_db + 100) / 100 - 4, -4, 4).T.astype(np.float32)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    return librosa.filters.mel(
        sr=FEATURE_RATE, n_fft=_FFT_SIZE, n_mels=MEL_BANDS, fmin=_RANGE_HZ[0], fmax=_RANGE_HZ[1]
    ).astype(np.float64)
