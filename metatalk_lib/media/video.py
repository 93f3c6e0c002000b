"""Video files with PyAV: properties, frame-accurate reading, and writing with the sound at its own rate.

Colour: frames are uint8 RGB. Files are written as limited-range BT.709 and tagged so. On reading, a file's own tags are
used; an untagged file counts as BT.601 below 720 lines and as BT.709 from there on, as in players.

Time: frame i shows the instant i / fps. A file with a variable frame rate is resampled to its nominal rate: each frame
goes to the slot nearest to its time stamp, an empty slot repeats the preceding frame, and repeated and dropped frames
are counted.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import UInt8

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.container_checks import check_boxes, check_end, schedule_frames
from metatalk_lib.media.video_writer import SCALER

SHORTEST_JUMP = 24
"""Smallest number of skipped frames for which a file is reopened at a key frame."""

BACKWARD_PX = 40_000_000
"""Decoded pixels held while reading backwards, 60 MB of 8-bit 4:2:0; at least eight frames are held."""

# MPEG program and elementary streams: after a jump their time stamps are wrong, and near the end nothing is decoded
_UNSEEKABLE = ("mpeg", "mpegvideo")

HIGH_RANGE_CURVES = (16, 18)
"""Codes of the transfer curves PQ and HLG in ITU-T H.273."""

# codes of the colour matrices in ITU-T H.273, as stored in files
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file as displayed: rotated upright and at a constant frame rate.

    Attributes:
        path: path of the file.
        width, height: size of a frame, px.
        fps: frames per second, exact.
        frame_count: number of frames that `read_frames` gives.
        duration_s: frame_count / fps.
        has_audio: whether the file has a sound track.
        audio_rate: sampling rate of the sound track, Hz; 0 without one.
        codec: short name of the video codec.
        audio_duration_s: length of the sound track, s; 0 if unknown.
        rotation: degrees by which frames are turned counter-clockwise on reading.
        repeated_frames, dropped_frames: frames repeated and dropped in resampling a variable frame rate.
        pixel_aspect: width of a pixel over its height; frames are read as they are stored.
        bits: bits of a colour sample in the file; frames are read with 8.
        has_high_range: whether the colours are of high dynamic range (PQ or HLG); they are read without tone mapping.
        comment: comment stored in the file.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frame_count: int
    duration_s: float
    has_audio: bool
    audio_rate: int
    codec: str
    audio_duration_s: float = 0.0
    rotation: int = 0
    repeated_frames: int = 0
    dropped_frames: int = 0
    pixel_aspect: Fraction = Fraction(1)
    bits: int = 8
    has_high_range: bool = False
    comment: str = ""


@dataclass(frozen=True)
class _Schedule:
    """The decoded frame shown by each output frame, given by its time stamp, or by its ordinal without time stamps.

    `key_stamps` are the time stamps of key frames, where decoding can start; empty if it can start nowhere but at the
    beginning.
    """

    stream_index: int
    stamps: np.ndarray
    has_stamps: bool
    key_stamps: np.ndarray


def probe_video(path: str | Path) -> VideoInfo:
    """Read the properties of a video from its packets and the first frame.

    Raises:
        DataError: the file is missing, empty, cut off, not a video, or has no video stream.
    """
    return _scan_cached(path)[0]


def read_frames(
    path: str | Path, start: int = 0, stop: int | None = None, *, step: int = 1
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the frames start, start + step, ... below stop, exact to the frame, without holding more than one.

    Args:
        path: the video.
        start: first frame_id.
        stop: one past the last frame_id; None reads to the end.
        step: step between frame_ids.

    Raises:
        ParameterError: the range is not within the video.
        DataError: as `probe_video`, or a frame cannot be decoded.
    """
    info, schedule = _scan_cached(path)
    return _generate_frames(info, schedule, _check_range(info, start, stop, step))


def read_backwards(path: str | Path, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the frames stop − 1, ..., start, equal to those of `read_frames`, with only some of them in memory.

    Arguments and errors are those of `read_frames`.
    """
    info, schedule = _scan_cached(path)
    return _generate_backwards(info, schedule, _check_range(info, start, stop))


def _check_range(info: VideoInfo, start: int, stop: int | None, step: int = 1) -> np.ndarray:
    """Check a range and return its frame_ids."""
    stop = info.frame_count if stop is None else stop
    if not 0 <= start <= stop <= info.frame_count or step < 1:
        raise ParameterError(
            f"frames {start} to {stop} by {step} are not within {info.path}, which has {info.frame_count} frames."
        )
    return np.arange(start, stop, step)


def read_selected_frames(
    path: str | Path, frame_ids: Sequence[int] | np.ndarray
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the frames of the given frame_ids, in one pass through the file.

    Raises:
        ParameterError: the frame_ids are not increasing, or not within the video.
        DataError: as `read_frames`.
    """
    info, schedule = _scan_cached(path)
    frame_ids = np.asarray(frame_ids, dtype=np.int64)
    if len(frame_ids) and (frame_ids[0] < 0 or frame_ids[-1] >= info.frame_count or (np.diff(frame_ids) <= 0).any()):
        raise ParameterError(
            f"the frame_ids must rise and lie within 0 to {info.frame_count - 1}, the frames of {path}."
        )
    return _generate_frames(info, schedule, frame_ids)


def _scan_cached(path: str | Path) -> tuple[VideoInfo, _Schedule]:
    path = Path(path)
    if not path.is_file():
        raise DataError(f"the video {path} does not exist. Check the path.")
    stat = path.stat()
    return _scan(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _scan(path: Path, modified: int, size: int) -> tuple[VideoInfo, _Schedule]:
    """List the packets of a file; `modified` and `size` distinguish a rewritten file in the cache."""
    if size == 0:
        raise DataError(f"the video {path} is empty (0 bytes). Copy it again.")
    check_boxes(path, size)
    try:
        with av.open(str(path)) as container:
            stream = _video_stream(container, path)
            packets = [packet for packet in container.demux() if packet.size > 0 and not packet.is_discard]
            check_end(path, container, packets)
            packets = [packet for packet in packets if packet.stream_index == stream.index]
            has_stamps = all(packet.pts is not None for packet in packets)
            stamps = np.unique(
                np.array([packet.pts if has_stamps else i for i, packet in enumerate(packets)], np.int64)
            )
            can_seek = has_stamps and container.format.name not in _UNSEEKABLE
            keys = np.unique(np.array([p.pts for p in packets if can_seek and p.is_keyframe], np.int64))
            average = Fraction(stream.average_rate or stream.guessed_rate or 25)
            time_base = stream.time_base if has_stamps else None
            fps, chosen = (average, stamps) if time_base is None else schedule_frames(stamps, average, time_base)
            index = stream.index
        with av.open(str(path)) as container:
            stream = cast(av.VideoStream, container.streams[index])
            frame = next(container.decode(stream), None)
            if frame is None or len(chosen) == 0:
                raise DataError(f"{path} holds no frame that can be decoded. Record or export it again.")
            schedule = _Schedule(index, chosen, has_stamps, keys)
            return _describe(path, container, stream, frame, fps, stamps, chosen), schedule
    except av.error.FFmpegError as error:
        raise DataError(
            f"{path} cannot be read as a video ({error.strerror}). Give a whole MP4, MOV, MKV, WebM or AVI file."
        ) from error


def _describe(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    frame: av.VideoFrame,
    fps: Fraction,
    stamps: np.ndarray,
    chosen: np.ndarray,
) -> VideoInfo:
    turned = frame.rotation % 360 in (90, 270)
    sound = container.streams.audio[0] if container.streams.audio else None
    duration = float(sound.duration * sound.time_base) if sound and sound.duration and sound.time_base else 0.0
    shown = len(np.unique(chosen))
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return VideoInfo(
        path=path,
        width=frame.height if turned else frame.width,
        height=frame.width if turned else frame.height,
        fps=fps,
        frame_count=len(chosen),
        duration_s=float(len(chosen) / fps),
        has_audio=sound is not None,
        audio_rate=int(sound.rate or 0) if sound is not None else 0,
        codec=stream.codec_context.codec.canonical_name,
        audio_duration_s=duration,
        rotation=int(frame.rotation),
        repeated_frames=len(chosen) - shown,
        dropped_frames=len(stamps) - shown,
        pixel_aspect=1 / aspect if turned else aspect,
        bits=max(component.bits for component in frame.format.components),
        has_high_range=stream.codec_context.color_trc in HIGH_RANGE_CURVES,
        comment=container.metadata.get("comment", ""),
    )


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Find the first video stream, other than cover art and FFmpeg's rendering of text files."""
    for stream in container.streams.video:
        is_picture = bool(stream.disposition & av.stream.Disposition.attached_pic)
        if not is_picture and container.format.name not in {"tty", "image2", "png_pipe", "jpeg_pipe", "gif"}:
            return stream
    raise DataError(f"{path} has no video stream (format {container.format.name}). Give a video file.")


def _generate_frames(info: VideoInfo, schedule: _Schedule, frame_ids: np.ndarray) -> Iterator[np.ndarray]:
    for run in _split_at_key_frames(schedule, frame_ids):
        yield from _generate_run(info, schedule, run)


def _split_at_key_frames(schedule: _Schedule, frame_ids: np.ndarray) -> list[np.ndarray]:
    """Split frame_ids into runs between which seeking to a key frame is faster than decoding everything in between."""
    if len(frame_ids) == 0:
        return []
    wanted, keys = schedule.stamps[frame_ids], schedule.key_stamps
    before = np.searchsorted(keys, wanted, side="right") - 1
    if len(keys) == 0 or before[0] < 0:
        return [frame_ids]
    spared = np.searchsorted(schedule.stamps, keys[before[1:]]) - frame_ids[:-1]
    return np.split(frame_ids, np.flatnonzero(spared > SHORTEST_JUMP) + 1)


def _generate_run(info: VideoInfo, schedule: _Schedule, frame_ids: np.ndarray) -> Iterator[np.ndarray]:
    reformatter = VideoReformatter()
    for frame, repeats in _decode_run(info, schedule, frame_ids):
        yield from _repeat(_to_rgb(reformatter, frame), repeats)


def _generate_backwards(info: VideoInfo, schedule: _Schedule, frame_ids: np.ndarray) -> Iterator[np.ndarray]:
    reformatter = VideoReformatter()
    while len(frame_ids):
        begin = _begin_of_tail(info, schedule, frame_ids)
        held = list(_decode_run(info, schedule, frame_ids[begin:]))  # not yet converted to RGB: half the size
        while held:
            frame, repeats = held.pop()
            yield from _repeat(_to_rgb(reformatter, frame), repeats)
        frame_ids = frame_ids[:begin]


def _begin_of_tail(info: VideoInfo, schedule: _Schedule, frame_ids: np.ndarray) -> int:
    """Find the start of the last frame_ids that fit in memory together: a key frame if there is one among them."""
    begin = max(0, len(frame_ids) - max(8, BACKWARD_PX // (info.width * info.height)))
    is_key = np.isin(schedule.stamps[frame_ids[begin:]], schedule.key_stamps)
    return begin + int(np.argmax(is_key))


def _repeat(image: np.ndarray, repeats: int) -> Iterator[np.ndarray]:
    for _ in range(repeats):
        yield image.copy()


def _decode_run(info: VideoInfo, schedule: _Schedule, frame_ids: np.ndarray) -> Iterator[tuple[av.VideoFrame, int]]:
    """Yield the decoded frames of increasing frame_ids, each with the number of frame_ids that show it."""
    wanted, position = schedule.stamps[frame_ids], 0
    for stamp, frame in _decode_from(info, schedule, int(wanted[0])):
        if stamp < wanted[position]:
            continue
        if stamp > wanted[position] or frame.is_corrupt:
            break
        repeats = int(np.searchsorted(wanted, stamp, side="right")) - position
        yield frame, repeats
        position += repeats
        if position == len(wanted):
            return
    raise DataError(
        f"{info.path}: frame {frame_ids[position]} of {info.frame_count} cannot be decoded; the file is cut off or "
        "damaged. Copy or export it again."
    )


def _decode_from(info: VideoInfo, schedule: _Schedule, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode from a key frame at or before the stamp `first`, or from the beginning if seeking does not lead to it."""
    for seek in (len(schedule.key_stamps) > 0 and first > schedule.stamps[0], False):
        is_reached = False
        with av.open(str(info.path)) as container:
            stream = cast(av.VideoStream, container.streams[schedule.stream_index])
            stream.thread_type = "AUTO"
            if seek:
                container.seek(first, stream=stream, backward=True)
            with suppress(av.error.FFmpegError):
                for ordinal, frame in enumerate(container.decode(stream)):
                    stamp = frame.pts if schedule.has_stamps else ordinal
                    if stamp is None:
                        continue
                    if seek and not is_reached and stamp >= first and (stamp > first or frame.is_corrupt):
                        break
                    is_reached |= stamp >= first
                    yield stamp, frame
        if is_reached or not seek:
            return


def _to_rgb(reformatter: VideoReformatter, frame: av.VideoFrame) -> np.ndarray:
    is_full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    untagged = Colorspace.ITU601 if min(frame.width, frame.height) < 720 else Colorspace.ITU709
    is_rgb = frame.format.is_rgb
    converted = reformatter.reformat(
        frame,
        format="rgb24",
        src_colorspace=None if is_rgb else _MATRICES.get(int(frame.colorspace), untagged),
        src_color_range=None if is_rgb else (ColorRange.JPEG if is_full else ColorRange.MPEG),
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALER,
        threads=1,
    )
    image = converted.to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
