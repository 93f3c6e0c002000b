"""Audio in memory and on disk: read block by block, and converted to mono at 16 kHz."""

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
"""Sampling rate at which all audio features are computed, Hz."""
BLOCK_SAMPLES = 1 << 18
"""Samples read at once; 5.5 s at 48 kHz."""


@runtime_checkable
class Recording(Protocol):
    """Interface of audio in memory (`Audio`) or on disk (`AudioFile`), which can be read any number of times.

    The members are properties because no reader sets them.
    """

    @property
    def rate(self) -> int:
        """Sampling rate, Hz."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels."""
        ...

    @property
    def sample_count(self) -> int:
        """Number of samples per channel."""
        ...

    @property
    def duration_s(self) -> float:
        """Duration, s."""
        ...

    def blocks(self) -> Iterator[Float[np.ndarray, "_ C"]]:
        """Yield the samples, float32 and nominally in [-1, 1], in blocks of at most `BLOCK_SAMPLES`."""
        ...


@dataclass(frozen=True)
class Audio:
    """A recording in memory.

    Attributes:
        samples: (S, C) float32, nominally in [-1, 1].
        rate: sampling rate, Hz.
    """

    samples: np.ndarray
    rate: int

    @property
    def duration_s(self) -> float:
        """Duration, s."""
        return len(self.samples) / self.rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[1])

    @property
    def sample_count(self) -> int:
        """Number of samples per channel."""
        return len(self.samples)

    def blocks(self) -> Iterator[Float[np.ndarray, "_ C"]]:
        """Yield the samples in blocks."""
        for start in range(0, len(self.samples), BLOCK_SAMPLES):
            yield self.samples[start : start + BLOCK_SAMPLES]


@dataclass(frozen=True)
class AudioFile:
    """A validated recording on disk; only one block at a time is held in memory, whatever its length.

    Attributes:
        path: path of the file.
        rate: sampling rate, Hz.
        channels: number of channels.
        sample_count: number of samples per channel.
    """

    path: Path
    rate: int
    channels: int
    sample_count: int

    @property
    def duration_s(self) -> float:
        """Duration, s."""
        return self.sample_count / self.rate

    def blocks(self) -> Iterator[Float[np.ndarray, "_ C"]]:
        """Yield the samples in blocks.

        Raises:
            DataError: the file was removed or changed after it was opened.
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
    """Validate a recording, or the sound track of a video, and open it for reading block by block.

    The time of a sound track starts at the first video frame: earlier sound is cut, a late start is padded with zeros.
    Sampling rate and channels of the file are kept.

    Args:
        path: any file that libsndfile or FFmpeg can read.

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
    """Read a whole recording into memory, with its own sampling rate and channels; otherwise as `open_audio`.

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
        DataError: there are no samples, or a sample is not finite.
    """
    path = Path(path)
    _checked(audio.samples, audio.rate, path)
    scaled = to_pcm16(audio.samples)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, scaled, audio.rate, format="WAV", subtype="PCM_16")


def to_pcm16(samples: Float[np.ndarray, " S *C"]) -> Int16[np.ndarray, " S *C"]:
    """Convert to 16-bit integers as in a WAV file: round(32768 x), clipped."""
    return np.clip(np.rint(samples.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)


def stream_mono_16k(recording: Recording) -> Iterator[Float[np.ndarray, " _"]]:
    """Average the channels and resample to 16 kHz, block by block.

    Yields:
        Blocks of a signal of round(seconds * 16000) samples in total, at least one.
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
    """Return the number of samples of the recording after resampling to 16 kHz."""
    return max(1, _round_half_up(Fraction(recording.sample_count * FEATURE_RATE, recording.rate)))


def resample(
    pieces: Iterable[Float[np.ndarray, " _ *C"]], rate: int, wanted_rate: int
) -> Iterator[Float[np.ndarray, " _ *C"]]:
    """Resample a signal that comes in blocks; the result does not depend on how the signal is divided.

    A signal that already has the wanted rate is passed on unchanged.

    Args:
        pieces: blocks of the signal, (n,) or (n, C) each.
        rate: sampling rate of the input, Hz.
        wanted_rate: sampling rate of the result, Hz.
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
    """Cut the tail or append zeros to obtain exactly `count` samples."""
    missing = count - len(samples)
    if missing <= 0:
        return samples[:count]
    return np.concatenate([samples, np.zeros((missing, *samples.shape[1:]), samples.dtype)])


def frame_count_for(recording: Recording, fps: Fraction) -> int:
    """Return the number of video frames that a recording fills: round(seconds * fps), at least one."""
    return max(1, _round_half_up(Fraction(recording.sample_count, recording.rate) * fps))


def frame_starts(frame_count: int, fps: Fraction) -> np.ndarray:
    """Compute the 16 kHz sample at which each frame starts, i * 16000 / fps rounded half up.

    Raises:
        ParameterError: `frame_count` or `fps` is not positive.
    """
    if frame_count < 1 or fps <= 0:
        raise ParameterError(f"frame_count is {frame_count} and fps is {fps}; both must be positive.")
    fps = Fraction(fps)
    # rounding half up in integer arithmetic: binary rounding errors must not shift a block by one sample
    numerator = np.arange(frame_count, dtype=np.int64) * (2 * FEATURE_RATE * fps.denominator) + fps.numerator
    return numerator // (2 * fps.numerator)


class SampleWindow:
    """Sliding window over a streamed signal, padded with zeros before its start and after its end.

    Args:
        pieces: blocks of the signal, in order, (n,) or (n, C).
        channels: number of channels C; None for blocks without a channel axis.
    """

    def __init__(self, pieces: Iterable[Float[np.ndarray, " _ *C"]], channels: int | None = None) -> None:
        self._pieces = iter(pieces)
        self._held, self._start = np.zeros((0,) if channels is None else (0, channels), np.float32), 0

    def cut(self, start: int, stop: int) -> Float[np.ndarray, " _ *C"]:
        """Return samples `start` to `stop` and discard those before; a later cut must not begin earlier."""
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
    """Yield (samples (n, C) float32, rate) with libsndfile, or with FFmpeg if libsndfile cannot read the file."""
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
    """Decode the first audio stream with FFmpeg; time starts at the first video frame, if there is one."""
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
    """Yield a stream's samples from the first video frame on: an early start is cut, a late one padded with zeros."""
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
            # AAC pads its last block with zeros beyond the end that the container states
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
    """Return when the picture starts, s; without a picture, when the sound does: its start is the encoder's delay."""
    for stream in container.streams.video:
        if stream.start_time is not None and stream.time_base is not None and stream.frames != 1:
            return float(stream.start_time * stream.time_base)
    return sound_start_s


def _stated_end_s(container: av.container.InputContainer, stream: av.AudioStream) -> float | None:
    """Return the end stated by the container, s; None for bare streams (.aac, .mp3), which only estimate it."""
    if stream.duration is None or stream.time_base is None:
        return None
    if not {"mp4", "matroska"} & set(container.format.name.split(",")):
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
