"""Mel-frequency cepstral coefficients: AT-net's blocks, one for each video frame, and SyncNet's input."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int16
from scipy.fft import dct, rfft

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import FEATURE_RATE, SampleWindow, fit_length, frame_starts

MFCC_STEP = 160
"""Hop between MFCC windows, samples: 10 ms at 16 kHz."""
MFCC_WINDOW = 400
"""Length of an MFCC window, samples: 25 ms at 16 kHz."""
MFCC_PADDING = 1920
"""Zeros before and after a recording, samples: 120 ms at 16 kHz."""
BLOCK_STEPS = 28
"""MFCC steps in one block, AT-net's input for one frame."""
GROUP_FRAMES = 512
"""Blocks computed at once; neighbouring blocks share most of their steps."""

LIFTER = 22
MEL_FILTERS = 26
_PRE_EMPHASIS = 0.97


@dataclass(frozen=True)
class _Bank:
    """Sizes of an MFCC computation: FFT, mel filters, and coefficients, of which number 0 is the log energy."""

    fft_size: int
    filters: int
    cepstra: int


_BANKS = {12: _Bank(512, MEL_FILTERS, 13), 80: _Bank(1024, 81, 81)}
"""Number of coefficients after the log energy → sizes. With an FFT of 512, the lowest of 81 filters would be empty."""


def compute_mfcc(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "M 13"]:
    """Compute MFCCs of 25 ms windows every 10 ms, as AT-net and SyncNet expect them.

    Pre-emphasis x'[n] = x[n] - 0.97 x[n-1]; no window function; power |FFT_512|^2 / 512 in 26 triangular mel filters
    from 0 to 8000 Hz; natural logarithm; orthonormal DCT-II; lifter 1 + 11 sin(pi k / 22); coefficient 0 is replaced by
    the log energy of the window. M = 1 + ceil((S - 400) / 160); zeros fill the last window.

    Args:
        samples_16k: mono.

    Returns:
        M windows of 13 coefficients.

    Source: the public AT-net's front end (lelechen63/ATVGnet code/demo.py, which uses python_speech_features 0.6); its
    numbers were used, the code is our own.
    """
    steps = 1 + max(0, -(-(len(samples_16k) - MFCC_WINDOW) // MFCC_STEP))
    padded = fit_length(_pre_emphasise(np.pad(samples_16k, (1, 0))), (steps - 1) * MFCC_STEP + MFCC_WINDOW)
    return _cepstra(padded, np.arange(steps) * MFCC_STEP, _BANKS[12])


def compute_syncnet_mfcc(pcm_16k: Int16[np.ndarray, " S"]) -> Float[np.ndarray, "13 M"]:
    """Compute SyncNet's input: MFCCs of 16-bit samples, one row a coefficient; frame f uses columns 4f to 4f + 19.

    LSE-D and LSE-C are computed from this input.

    Args:
        pcm_16k: mono samples as integers; coefficient 0, the log energy, depends on their scale.

    Source: joonson/syncnet_python SyncNetInstance.py; its numbers were used.
    """
    return compute_mfcc(pcm_16k.astype(np.float64)).T


def compute_public_mfcc_blocks(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "W 28 12"]:
    """Compute AT-net's blocks as the public code does: block i holds steps 4 i ... 4 i + 27, coefficients 1 to 12.

    With 120 ms of zeros on both sides there are n = 1 + ceil((S + 3840 - 400) / 160) steps and W = floor(n / 4) - 6
    blocks, one fewer than frames for whole seconds at 25 fps. `compute_mfcc_blocks` has one for every frame.

    Args:
        samples_16k: mono, at least 721 samples (45 ms).

    Raises:
        DataError: the recording is too short for one block.

    Source: lelechen63/ATVGnet code/demo.py.
    """
    cepstra = compute_mfcc(np.pad(samples_16k.astype(np.float32), MFCC_PADDING))
    count = len(cepstra) // 4 - 6
    if count < 1:
        raise DataError(f"the audio has {len(samples_16k)} samples at 16 kHz, too few for one MFCC block of 280 ms.")
    steps = 4 * np.arange(count)[:, None] + np.arange(BLOCK_STEPS)
    return cepstra[steps, 1:]


def compute_mfcc_blocks(
    samples_16k: Float[np.ndarray, " S"], frame_count: int, fps: Fraction, *, coefficients: int = 12
) -> Float[np.ndarray, "T 28 C"]:
    """Compute AT-net's blocks, exactly one for each video frame, at any frame rate.

    Block i covers the sound from i / fps - 120 ms to i / fps + 175 ms. It is centred on frame i as AT-net's blocks are
    at 25 fps, where the two are bit-identical (the public code leaves out the last frame). The recording is padded with
    zeros on both sides.

    Args:
        samples_16k: mono.
        frame_count: number of video frames, T >= 1.
        fps: frames per second.
        coefficients: 12, as the public AT-net and the open encoder take, or 80, as the paper states (81 mel
            filters, FFT of 1024); no weights are published for 80, but `ATNet(coefficients=80)` can be trained.

    Returns:
        T blocks of 28 steps and the 12 or 80 coefficients after the log energy.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive, or another number of coefficients.

    Source: lelechen63/ATVGnet code/demo.py for the block; its place at other frame rates is original to this project.
    """
    return np.concatenate(list(stream_mfcc_blocks([samples_16k], frame_count, fps, coefficients=coefficients)))


def stream_mfcc_blocks(
    pieces: Iterable[Float[np.ndarray, " _"]], frame_count: int, fps: Fraction, *, coefficients: int = 12
) -> Iterator[Float[np.ndarray, "_ 28 C"]]:
    """Yield the blocks of `compute_mfcc_blocks`, bit-identical, in groups; memory does not grow with the length.

    Args:
        pieces: consecutive pieces of a 16 kHz mono signal, such as `audio.stream_mono_16k` yields.
        frame_count: number of video frames, T >= 1.
        fps: frames per second.
        coefficients: 12 or 80.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive, or another number of coefficients.
    """
    if coefficients not in _BANKS:
        raise ParameterError(f"MFCC blocks have 12 or 80 coefficients, not {coefficients}.")
    starts, signal = frame_starts(frame_count, fps) - MFCC_PADDING, SampleWindow(pieces)
    for first in range(0, frame_count, GROUP_FRAMES):
        group = starts[first : first + GROUP_FRAMES]
        begin, end = int(group[0]), int(group[-1]) + (BLOCK_STEPS - 1) * MFCC_STEP + MFCC_WINDOW
        windows = (group - begin)[:, None] + MFCC_STEP * np.arange(BLOCK_STEPS)
        distinct, inverse = np.unique(windows, return_inverse=True)
        emphasised = _pre_emphasise(signal.cut(begin - 1, end))
        yield _cepstra(emphasised, distinct, _BANKS[coefficients])[inverse.reshape(windows.shape), 1:]


def _pre_emphasise(samples: np.ndarray) -> np.ndarray:
    """Compute x[n] - 0.97 x[n-1] for all samples but the first, in the precision of the input."""
    return samples[1:] - samples.dtype.type(_PRE_EMPHASIS) * samples[:-1]


def _cepstra(emphasised: np.ndarray, starts: np.ndarray, bank: _Bank, chunk: int = 4096) -> np.ndarray:
    """MFCCs of the windows that begin at `starts`, computed in chunks because overlapping windows need much memory."""
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, MFCC_WINDOW)
    lifter = 1.0 + LIFTER / 2 * np.sin(np.pi * np.arange(bank.cepstra) / LIFTER)
    tiny = np.finfo(np.float64).eps
    parts = []
    for begin in range(0, len(starts), chunk):
        spectrum = rfft(windows[starts[begin : begin + chunk]].astype(np.float64), bank.fft_size)
        power = (spectrum.real**2 + spectrum.imag**2) / bank.fft_size
        # the logarithm of digital silence is not finite; python_speech_features substitutes the machine epsilon
        energy = np.where((total := power.sum(axis=1)) == 0, tiny, total)
        mel = np.where((filtered := power @ _mel_filters(bank).T) == 0, tiny, filtered)
        cepstra = dct(np.log(mel), type=2, axis=1, norm="ortho")[:, : bank.cepstra] * lifter
        cepstra[:, 0] = np.log(energy)
        parts.append(cepstra.astype(np.float32))
    return np.concatenate(parts)


@lru_cache(maxsize=2)
def _mel_filters(bank: _Bank) -> np.ndarray:
    """Triangular filters on the mel scale mel = 2595 log10(1 + f / 700), with corners rounded down to FFT bins."""
    top = 2595.0 * np.log10(1.0 + FEATURE_RATE / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, top, bank.filters + 2) / 2595.0) - 1.0)
    corner = np.floor((bank.fft_size + 1) * hertz / FEATURE_RATE)
    bins = np.arange(bank.fft_size // 2 + 1)
    low, centre, high = corner[:-2, None], corner[1:-1, None], corner[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.where((bins >= low) & (bins < centre), rising, 0.0) + np.where(
        (bins >= centre) & (bins < high), falling, 0.0
    )
