"""Sound: reading and writing recordings, AT-net's MFCC blocks, and where a recording is silent."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from jaxtyping import Bool, Float
from scipy.fft import dct, rfft

from metatalk_lib.artifacts import atomic_path
from metatalk_lib.errors import DataError, ParameterError

FEATURE_RATE = 16000
"""Rate at which all audio features are computed, Hz."""

MFCC_STEP = 160
"""10 ms at 16 kHz, samples."""
MFCC_WINDOW = 400
"""25 ms at 16 kHz, samples."""
MFCC_PADDING = 1920
"""120 ms of zeros before and after a recording, samples."""
BLOCK_STEPS = 28
"""MFCC steps that AT-net sees at once."""

_FFT_SIZE = 512
_FILTERS = 26
_CEPSTRA = 13
_LIFTER = 22
_PRE_EMPHASIS = 0.97

SILENCE_RELATIVE_DB = -32.0
"""Silence lies this far below the recording's own loud level, dB."""
SILENCE_ABSOLUTE_DB = -60.0
"""Below this RMS level everything is silent, dB re full scale."""
SILENCE_SHORTEST_S = 0.2
"""Shorter dips are part of the speech (the closure of a plosive lasts 50 to 150 ms)."""


@dataclass(frozen=True)
class Audio:
    """A recording.

    Attributes:
        samples: (S, C) float32, nominally in [-1, 1].
        rate: samples per second, Hz.
    """

    samples: np.ndarray
    rate: int

    @property
    def duration_s(self) -> float:
        """Length, s."""
        return len(self.samples) / self.rate


def read_audio(path: str | Path) -> Audio:
    """Read a recording, or the sound track of a video, at its own rate with its own channels.

    A sound track counts from the instant of the first video frame: sound before it is cut, a late start is filled with
    zeros.

    Raises:
        DataError: the file is missing, is not audio, has no audio stream, is empty, or holds NaN or infinite samples.

    Source: original to this project, on libsndfile and FFmpeg.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"the audio file {path} does not exist. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"the audio file {path} is empty (0 bytes). Export it again.")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        samples, rate = _decode_audio(path)
    return _checked(samples, rate, path)


def write_audio(path: str | Path, audio: Audio) -> None:
    """Write a WAV file of 16-bit samples; values beyond [-1, 1] are clipped.

    Raises:
        DataError: there is no sample, or one is not finite.
    """
    path = Path(path)
    _checked(audio.samples, audio.rate, path)
    scaled = np.clip(np.rint(audio.samples.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, scaled, audio.rate, format="WAV", subtype="PCM_16")


def to_mono_16k(audio: Audio) -> Float[np.ndarray, " S"]:
    """Average the channels and resample to 16 kHz; the result has round(seconds * 16000) samples, at least one."""
    mono = audio.samples.astype(np.float32).mean(axis=1)
    if audio.rate == FEATURE_RATE:
        return mono
    count = max(1, _round_half_up(Fraction(len(mono) * FEATURE_RATE, audio.rate)))
    return fit_length(soxr.resample(mono, audio.rate, FEATURE_RATE).astype(np.float32), count)


def fit_length(samples: Float[np.ndarray, "S *C"], count: int) -> Float[np.ndarray, "count *C"]:
    """Cut the tail, or append zeros, so that `count` samples are left."""
    missing = count - len(samples)
    if missing <= 0:
        return samples[:count]
    return np.concatenate([samples, np.zeros((missing, *samples.shape[1:]), samples.dtype)])


def frame_count_for(audio: Audio, fps: Fraction) -> int:
    """Number of video frames that a recording fills: round(seconds * fps), at least one."""
    return max(1, _round_half_up(Fraction(len(audio.samples), audio.rate) * fps))


def compute_mfcc(samples: Float[np.ndarray, " S"]) -> Float[np.ndarray, "M 13"]:
    """Mel-frequency cepstra of 25 ms windows every 10 ms, as AT-net expects them.

    Pre-emphasis x'[n] = x[n] - 0.97 x[n-1]; no window function; power |FFT_512|^2 / 512 in 26 triangular mel filters
    from 0 to 8000 Hz; natural logarithm; orthonormal DCT-II; lifter 1 + 11 sin(pi k / 22); coefficient 0 is replaced by
    the log energy of the window. M = 1 + ceil((S - 400) / 160); zeros fill the last window.

    Args:
        samples: 16 kHz, mono.

    Returns:
        M windows of 13 coefficients.

    Source: the public AT-net's front end (lelechen63/ATVGnet code/demo.py, which uses python_speech_features 0.6); its
    numbers were used, the code is our own.
    """
    steps = 1 + max(0, -(-(len(samples) - MFCC_WINDOW) // MFCC_STEP))
    emphasised = _pre_emphasise(samples)
    padded = fit_length(emphasised, (steps - 1) * MFCC_STEP + MFCC_WINDOW)
    starts = np.arange(steps) * MFCC_STEP
    return _cepstra(padded, starts)


def compute_public_mfcc_blocks(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, "W 28 12"]:
    """AT-net's blocks with the public count: block i holds steps 4 i ... 4 i + 27, coefficients 1 to 12.

    With 120 ms of zeros on both sides there are n = 1 + ceil((S + 3840 - 400) / 160) steps and W = floor(n / 4) - 6
    blocks, one fewer than frames for whole seconds at 25 fps. `compute_mfcc_blocks` has one for every frame.

    Args:
        samples_16k: mono, at least 40 ms.

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
    samples_16k: Float[np.ndarray, " S"], frame_count: int, fps: Fraction
) -> Float[np.ndarray, "T 28 12"]:
    """AT-net's blocks, exactly one a video frame, for any frame rate.

    Block i covers the sound from i / fps - 120 ms to i / fps + 175 ms: it is centred on frame i as AT-net's blocks are
    at 25 fps, where the two agree to the last bit (the public count leaves out the last frame). Zeros stand before the
    recording and after it.

    Args:
        samples_16k: mono.
        frame_count: number of video frames, T >= 1.
        fps: frames per second.

    Returns:
        T blocks of 28 steps and the 12 coefficients after the log energy.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.

    Source: lelechen63/ATVGnet code/demo.py for the block; its place at other frame rates is original to this project.
    """
    starts = _frame_starts(frame_count, fps)
    padded = np.pad(samples_16k.astype(np.float32), MFCC_PADDING)
    needed = int(starts[-1]) + (BLOCK_STEPS - 1) * MFCC_STEP + MFCC_WINDOW
    padded = fit_length(_pre_emphasise(padded), max(len(padded), needed))
    windows = starts[:, None] + MFCC_STEP * np.arange(BLOCK_STEPS)
    distinct, inverse = np.unique(windows, return_inverse=True)
    return _cepstra(padded, distinct)[inverse.reshape(windows.shape), 1:]


def find_silence(samples_16k: Float[np.ndarray, " S"], frame_count: int, fps: Fraction) -> Bool[np.ndarray, " T"]:
    """Frames during which nothing is said.

    The level is the RMS of 20 ms windows every 10 ms. It is low where it is below the larger of -60 dB re full scale
    and the recording's own loud level (95th percentile) - 32 dB. A frame is silent where the level stays low for at
    least 0.2 s and the frame's whole display interval lies inside that stretch.

    Args:
        samples_16k: mono.
        frame_count: number of video frames, T >= 1; frames beyond the recording's end are silent.
        fps: frames per second.

    Returns:
        True where the frame is silent.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.

    Source: original to this project.
    """
    starts = _frame_starts(frame_count + 1, fps)
    level_db = compute_level_db(fit_length(samples_16k, max(len(samples_16k), int(starts[-1]))))
    threshold = max(SILENCE_ABSOLUTE_DB, float(np.percentile(level_db, 95)) + SILENCE_RELATIVE_DB)
    is_low = _keep_long_runs(level_db < threshold, shortest=round(SILENCE_SHORTEST_S * FEATURE_RATE / MFCC_STEP))
    first = np.minimum(starts[:-1] // MFCC_STEP, len(is_low) - 1)
    last = np.clip((starts[1:] - 1) // MFCC_STEP, first, len(is_low) - 1)
    loud_before = np.concatenate([[0], np.cumsum(~is_low)])
    return loud_before[last + 1] == loud_before[first]


def compute_level_db(samples_16k: Float[np.ndarray, " S"]) -> Float[np.ndarray, " K"]:
    """RMS level of the 20 ms round each 10 ms step, dB re full scale, never below -120."""
    count = max(1, -(-len(samples_16k) // MFCC_STEP))
    power = fit_length(samples_16k.astype(np.float64), count * MFCC_STEP).reshape(count, MFCC_STEP) ** 2
    padded = np.pad(power.mean(axis=1), (0, 1), mode="edge")
    mean_square = (padded[:-1] + padded[1:]) / 2
    return 10.0 * np.log10(np.maximum(mean_square, 1e-12))


def _decode_audio(path: Path) -> tuple[np.ndarray, int]:
    """Decode the first audio stream with FFmpeg, counted from the first video frame where there is one."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise DataError(f"{path} has no audio stream. Give a file with sound.")
            stream = container.streams.audio[0]
            rate = int(stream.rate or 0)
            resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
            first_s, parts = None, []
            for frame in container.decode(stream):
                if first_s is None:
                    first_s = frame.time or 0.0
                parts += [part.to_ndarray() for part in resampler.resample(frame)]
            parts += [part.to_ndarray() for part in resampler.resample(None)]
            offset_s = (first_s or 0.0) - _video_start_s(container)
            end_s = _stream_end_s(stream)
    except av.error.FFmpegError as error:
        raise DataError(f"{path} cannot be decoded as audio ({error.strerror}). Convert it to WAV.") from error
    if not parts:
        raise DataError(f"the audio of {path} is empty: its stream holds no sample. Export it again.")
    samples = np.concatenate(parts, axis=1).T.astype(np.float32)
    if end_s is not None and first_s is not None:
        # AAC fills its last block with zeros beyond the end that the container states
        samples = samples[: max(1, round((end_s - first_s) * rate))]
    shift = round(offset_s * rate)
    return (samples[-shift:] if shift < 0 else np.pad(samples, ((shift, 0), (0, 0)))), rate


def _video_start_s(container: av.container.InputContainer) -> float:
    for stream in container.streams.video:
        if stream.start_time is not None and stream.frames != 1:
            return float(stream.start_time * stream.time_base)
    return 0.0


def _stream_end_s(stream: av.AudioStream) -> float | None:
    if stream.duration is None:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def _checked(samples: np.ndarray, rate: int, path: Path) -> Audio:
    if samples.ndim != 2 or samples.shape[0] == 0 or samples.shape[1] == 0:
        raise DataError(
            f"the audio of {path} is empty: it has {samples.shape[0]} samples. Give a recording with sound."
        )
    if rate < 1:
        raise DataError(f"the audio of {path} has a sampling rate of {rate} Hz. Export it again.")
    bad = int((~np.isfinite(samples)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"the audio of {path} has NaN or infinite values in {bad} of {len(samples)} samples. Export it again."
        )
    return Audio(np.ascontiguousarray(samples, np.float32), int(rate))


def _round_half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


def _frame_starts(frame_count: int, fps: Fraction) -> np.ndarray:
    """Sample of the 16 kHz recording at which each frame starts; in the padded recording its block's first sample."""
    if frame_count < 1 or fps <= 0:
        raise ParameterError(f"frame_count is {frame_count} and fps is {fps}; both must be positive.")
    fps = Fraction(fps)
    # half up in whole numbers: binary rounding errors must not move a block by one sample
    numerator = np.arange(frame_count, dtype=np.int64) * (2 * FEATURE_RATE * fps.denominator) + fps.numerator
    return numerator // (2 * fps.numerator)


def _pre_emphasise(samples: np.ndarray) -> np.ndarray:
    return np.concatenate([samples[:1], samples[1:] - np.float32(_PRE_EMPHASIS) * samples[:-1]]).astype(np.float32)


def _cepstra(emphasised: np.ndarray, starts: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """13 cepstra of the windows that begin at `starts`; in chunks, as the windows overlap and would fill the memory."""
    windows = np.lib.stride_tricks.sliding_window_view(emphasised, MFCC_WINDOW)
    lifter = 1.0 + _LIFTER / 2 * np.sin(np.pi * np.arange(_CEPSTRA) / _LIFTER)
    tiny = np.finfo(np.float64).eps
    parts = []
    for begin in range(0, len(starts), chunk):
        spectrum = rfft(windows[starts[begin : begin + chunk]].astype(np.float64), _FFT_SIZE)
        power = (spectrum.real**2 + spectrum.imag**2) / _FFT_SIZE
        # digital silence has no logarithm; python_speech_features puts the machine epsilon there
        energy = np.where((total := power.sum(axis=1)) == 0, tiny, total)
        mel = np.where((filtered := power @ _mel_filters().T) == 0, tiny, filtered)
        cepstra = dct(np.log(mel), type=2, axis=1, norm="ortho")[:, :_CEPSTRA] * lifter
        cepstra[:, 0] = np.log(energy)
        parts.append(cepstra.astype(np.float32))
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def _mel_filters() -> np.ndarray:
    """26 triangles on the mel scale mel = 2595 log10(1 + f / 700), their corners rounded down to FFT bins."""
    top = 2595.0 * np.log10(1.0 + FEATURE_RATE / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, top, _FILTERS + 2) / 2595.0) - 1.0)
    corner = np.floor((_FFT_SIZE + 1) * hertz / FEATURE_RATE)
    bins = np.arange(_FFT_SIZE // 2 + 1)
    low, centre, high = corner[:-2, None], corner[1:-1, None], corner[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.where((bins >= low) & (bins < centre), rising, 0.0) + np.where(
        (bins >= centre) & (bins < high), falling, 0.0
    )


def _keep_long_runs(flags: np.ndarray, shortest: int) -> np.ndarray:
    """Clear runs of True that are shorter than `shortest`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    kept = np.zeros_like(flags)
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= shortest:
            kept[begin:end] = True
    return kept
