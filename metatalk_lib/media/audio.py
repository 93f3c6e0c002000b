"""Sound: recordings in memory and on disk, read piece by piece, and brought to one channel at 16 kHz."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import numpy as np
import soundfile
import soxr
from jaxtyping import Float, Int16

from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.errors import DataError, ParameterError

FEATURE_RATE = 16000
"""Rate at which all audio features are computed, Hz."""
BLOCK_SAMPLES = 1 << 18
"""Samples that are read at once; 5.5 s at 48 kHz."""


@runtime_checkable
class Recording(Protocol):
    """Sound that is read from the beginning to the end, as often as wanted: in memory (`Audio`) or on disk.

    Attributes:
        rate: samples per second, Hz.
        channels: number of channels.
        sample_count: samples of each channel.
        duration_s: length, s.
    """

    rate: int
    channels: int
    sample_count: int
    duration_s: float

    def blocks(self) -> Iterator[Float[np.ndarray, "_ C"]]:
        """Yield the samples, float32 and nominally in [-1, 1], in pieces of at most `BLOCK_SAMPLES`."""
        ...


@dataclass(frozen=True)
class Audio:
    """A recording in memory.

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

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.samples.shape[1]

    @property
    def sample_count(self) -> int:
        """Samples of each channel."""
        return len(self.samples)

    def blocks(self) -> Iterator[Float[np.ndarray, "_ C"]]:
        """Yield the samples in pieces."""
        for start in range(0, len(self.samples), BLOCK_SAMPLES):
            yield self.samples[start : start + BLOCK_SAMPLES]


@dataclass(frozen=True)
class AudioFile:
    """A recording on disk, checked once; memory holds a piece at a time, however long it is.

    Attributes:
        path: the file.
        rate: samples per second, Hz.
        channels: number of channels.
        sample_count: samples of each channel.
    """

    path: Path
    rate: int
    channels: int
    sample_count: int

    @property
    def duration_s(self) -> float:
        """Length, s."""
        return self.sample_count / self.rate

    def blocks(self) -> Iterator[Float[np.ndarray, "_ C"]]:
        """Yield the samples in pieces.

        Raises:
            DataError: the file was removed or changed since it was opened.
        """
        changed = DataError(f"{self.path} was changed while it was read. Leave it alone and run again.")
        left = self.sample_count
        for block, rate in _read_blocks(self.path):
            left -= len(block)
            if rate != self.rate or block.shape[1] != self.channels or left < 0:
                raise changed
            yield block
        if left:
            raise changed


def open_audio(path: str | Path) -> AudioFile:
    """Look through a recording, or the sound track of a video, and give it for reading piece by piece.

    A sound track counts from the instant of the first video frame: sound before it is cut, a late start is filled with
    zeros. Rate and channels stay the file's own.

    Args:
        path: anything that libsndfile or FFmpeg reads.

    Raises:
        DataError: the file is missing, is not audio, has no audio stream, is empty, or holds NaN or infinite samples.

    Source: original to this project, on libsndfile and FFmpeg.
    """
    path = Path(path)
    rate = channels = count = bad = 0
    for block, block_rate in _read_blocks(path):
        rate, channels, count = block_rate, block.shape[1], count + len(block)
        bad += int((~np.isfinite(block)).any(axis=1).sum())
    _check(path, rate, channels, count, bad)
    return AudioFile(path, rate, channels, count)


def read_audio(path: str | Path) -> Audio:
    """The whole recording in memory, at its own rate with its own channels; otherwise as `open_audio`.

    Raises:
        DataError: as `open_audio`.
    """
    blocks, rate = [], 0
    for block, block_rate in _read_blocks(Path(path)):
        blocks.append(block)
        rate = block_rate
    samples = np.concatenate(blocks) if blocks else np.zeros((0, 0), np.float32)
    return _checked(samples, rate, Path(path))


def write_audio(path: str | Path, audio: Audio) -> None:
    """Write a WAV file of 16-bit samples; values beyond [-1, 1] are clipped.

    Raises:
        DataError: there is no sample, or one is not finite.
    """
    path = Path(path)
    _checked(audio.samples, audio.rate, path)
    scaled = to_pcm16(audio.samples)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, scaled, audio.rate, format="WAV", subtype="PCM_16")


def to_pcm16(samples: Float[np.ndarray, " S *C"]) -> Int16[np.ndarray, " S *C"]:
    """Whole 16-bit numbers as a WAV file holds them: round(32768 x), clipped."""
    return np.clip(np.rint(samples.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)


def stream_mono_16k(recording: Recording) -> Iterator[Float[np.ndarray, " _"]]:
    """Average the channels and resample to 16 kHz, piece by piece.

    Yields:
        Pieces of a signal of round(seconds * 16000) samples, at least one.
    """
    left = mono_16k_length(recording)
    mono = (block.mean(axis=1, dtype=np.float32) for block in recording.blocks())
    for piece in resample(mono, recording.rate, FEATURE_RATE):
        piece = piece[:left]
        left -= len(piece)
        if len(piece):
            yield piece
    if left:
        yield np.zeros(left, np.float32)


def to_mono_16k(recording: Recording) -> Float[np.ndarray, " S"]:
    """Average the channels and resample to 16 kHz; the result has round(seconds * 16000) samples, at least one."""
    return np.concatenate(list(stream_mono_16k(recording)))


def mono_16k_length(recording: Recording) -> int:
    """Samples of the recording at 16 kHz."""
    return max(1, _round_half_up(Fraction(recording.sample_count * FEATURE_RATE, recording.rate)))


def resample(
    pieces: Iterable[Float[np.ndarray, " _ *C"]], rate: int, wanted_rate: int
) -> Iterator[Float[np.ndarray, " _ *C"]]:
    """Resample a signal that comes in pieces; the pieces make no difference, nor does a rate that is right already.

    Args:
        pieces: (n,) or (n, C) each.
        rate: of the pieces, Hz.
        wanted_rate: of the result, Hz.
    """
    if rate == wanted_rate:
        yield from pieces
        return
    resampler = empty = None
    for piece in pieces:
        if resampler is None:
            empty = np.zeros((0, *piece.shape[1:]), np.float32)
            resampler = soxr.ResampleStream(
                rate, wanted_rate, piece.shape[1] if piece.ndim == 2 else 1, dtype="float32"
            )
        yield resampler.resample_chunk(piece)
    if resampler is not None:
        yield resampler.resample_chunk(empty, last=True)


def fit_length(samples: Float[np.ndarray, " S *C"], count: int) -> Float[np.ndarray, " count *C"]:
    """Cut the tail, or append zeros, so that `count` samples are left."""
    missing = count - len(samples)
    if missing <= 0:
        return samples[:count]
    return np.concatenate([samples, np.zeros((missing, *samples.shape[1:]), samples.dtype)])


def frame_count_for(recording: Recording, fps: Fraction) -> int:
    """Number of video frames that a recording fills: round(seconds * fps), at least one."""
    return max(1, _round_half_up(Fraction(recording.sample_count, recording.rate) * fps))


def frame_starts(frame_count: int, fps: Fraction) -> np.ndarray:
    """Sample of the 16 kHz recording at which each frame starts, i * 16000 / fps rounded half up.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.
    """
    if frame_count < 1 or fps <= 0:
        raise ParameterError(f"frame_count is {frame_count} and fps is {fps}; both must be positive.")
    fps = Fraction(fps)
    # half up in whole numbers: binary rounding errors must not move a block by one sample
    numerator = np.arange(frame_count, dtype=np.int64) * (2 * FEATURE_RATE * fps.denominator) + fps.numerator
    return numerator // (2 * fps.numerator)


class SampleWindow:
    """The part of a streamed signal that is needed just now; zeros stand before its beginning and after its end.

    Args:
        pieces: of the signal, in order, (n,) or (n, C).
        channels: C; None for pieces without that axis.
    """

    def __init__(self, pieces: Iterable[Float[np.ndarray, " _ *C"]], channels: int | None = None) -> None:
        self._pieces = iter(pieces)
        self._held, self._start = np.zeros((0,) if channels is None else (0, channels), np.float32), 0

    def cut(self, start: int, stop: int) -> Float[np.ndarray, " _ *C"]:
        """Samples `start` to `stop`. What lies before `start` is forgotten: a later cut must not begin earlier."""
        if max(start, 0) < self._start:
            raise ParameterError(f"sample {start} was forgotten already; what is held begins at {self._start}.")
        self._read_until(stop)
        first = max(start, 0)
        self._held, self._start = self._held[first - self._start :], first
        before = min(max(0, -start), stop - start)
        edges = ((before, 0), *((0, 0) for _ in self._held.shape[1:]))
        return fit_length(np.pad(self._held[: max(0, stop - first)], edges), stop - start)

    def _read_until(self, stop: int) -> None:
        parts, end = [self._held], self._start + len(self._held)
        while end < stop and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            end += len(piece)
        self._held = np.concatenate(parts) if len(parts) > 1 else self._held


def _read_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (samples (n, C) float32, rate) with libsndfile, or with FFmpeg what libsndfile cannot read."""
    if not path.is_file():
        raise DataError(f"the audio file {path} does not exist. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"the audio file {path} is empty (0 bytes). Export it again.")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        yield from _decode_blocks(path)
        return
    if file.format == "MP3":
        # libsndfile seeks after every read, and its MPEG decoder then loses the bits that frames borrow from each other
        file.close()
        yield from _decode_blocks(path)
        return
    with file:
        try:
            while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                yield block, file.samplerate
        except soundfile.LibsndfileError as error:
            raise DataError(f"{path} is damaged ({error.error_string}). Export it again.") from error


def _decode_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Decode the first audio stream with FFmpeg, counted from the first video frame where there is one."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise DataError(f"{path} has no audio stream. Give a file with sound.")
            stream = container.streams.audio[0]
            rate = int(stream.rate or 0)
            yield from ((block, rate) for block in _place_in_time(container, stream, rate))
    except av.error.FFmpegError as error:
        raise DataError(f"{path} cannot be decoded as audio ({error.strerror}). Convert it to WAV.") from error


def _place_in_time(
    container: av.container.InputContainer, stream: av.AudioStream, rate: int
) -> Iterator[Float[np.ndarray, "_ C"]]:
    """Samples of a stream from the first video frame on: an early start is cut, a late one filled with zeros."""
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
    first_s, skip, left = None, 0, None
    channels = stream.channels
    for frame in itertools.chain(container.decode(stream), [None]):
        if frame is not None and (frame.layout.nb_channels, frame.sample_rate) != (channels, rate):
            raise DataError(
                f"the sound of {container.name} changes from {channels} channels at {rate} Hz to "
                f"{frame.layout.nb_channels} at {frame.sample_rate} Hz. Convert it to WAV."
            )
        if frame is not None and first_s is None:
            first_s = frame.time or 0.0
            shift = round((first_s - _video_start_s(container, first_s)) * rate)
            skip, end_s = max(0, -shift), _stated_end_s(container, stream)
            # AAC fills its last block with zeros beyond the end that the container states
            left = None if end_s is None else max(1, round((end_s - first_s) * rate))
            if shift > 0:
                yield np.zeros((shift, channels), np.float32)
        for part in resampler.resample(frame):
            samples = part.to_ndarray().T.astype(np.float32)[:left]
            left = None if left is None else left - len(samples)
            kept = samples[skip:]
            skip = max(0, skip - len(samples))
            if len(kept):
                yield kept


def _video_start_s(container: av.container.InputContainer, sound_start_s: float) -> float:
    """When the picture starts, s; without one, when the sound does: its start time is the encoder's delay."""
    for stream in container.streams.video:
        if stream.start_time is not None and stream.frames != 1:
            return float(stream.start_time * stream.time_base)
    return sound_start_s


def _stated_end_s(container: av.container.InputContainer, stream: av.AudioStream) -> float | None:
    """The end that a container states, s; bare streams such as .aac and .mp3 have an estimate, which is no end."""
    if stream.duration is None or not {"mp4", "matroska"} & set(container.format.name.split(",")):
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def _checked(samples: np.ndarray, rate: int, path: Path) -> Audio:
    count, channels = samples.shape if samples.ndim == 2 else (0, 0)
    _check(path, rate, channels, count, int((~np.isfinite(samples)).any(axis=1).sum()) if count else 0)
    return Audio(np.ascontiguousarray(samples, np.float32), int(rate))


def _check(path: Path, rate: int, channels: int, count: int, bad: int) -> None:
    if count == 0 or channels == 0:
        raise DataError(f"the audio of {path} is empty: it has {count} samples. Give a recording with sound.")
    if rate < 1:
        raise DataError(f"the audio of {path} has a sampling rate of {rate} Hz. Export it again.")
    if bad:
        raise DataError(f"the audio of {path} has NaN or infinite values in {bad} of {count} samples. Export it again.")


def _round_half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))
