"""Streaming, deterministic writing of MP4 with AAC sound, in H.264 or the codec family of a source."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from jaxtyping import UInt8

from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Recording, SampleWindow, resample

AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Sampling rates that AAC supports, Hz."""
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1"}

ENCODER_THREADS = 4
"""Encoder threads, fixed because x264's output depends on them: equal frames give equal bytes on every machine."""


class Encoder(NamedTuple):
    """Encoder settings of a codec family.

    Attributes:
        name: name of the encoder in FFmpeg.
        crf: constant rate factor that is visually lossless.
        largest_crf: largest constant rate factor, that of the lowest quality.
        options: further options: speed first, then those that make the output equal on every machine.
        tag: codec tag in MP4, where FFmpeg's default does not play everywhere.
    """

    name: str
    crf: int
    largest_crf: int
    options: dict[str, str]
    tag: str | None = None


VIDEO_ENCODERS = {
    # x264's macroblock tree reads uninitialised memory: with it, two runs give different bytes
    "h264": Encoder("libx264", 14, 51, {"preset": "veryfast", "x264-params": "mbtree=0"}),
    "hevc": Encoder(
        "libx265",
        10,
        51,
        {"preset": "ultrafast", "tune": "grain", "x265-params": "log-level=error:frame-threads=2:pools=4"},
        tag="hvc1",  # the tag that Apple's players accept
    ),
    "vp9": Encoder("libvpx-vp9", 4, 63, {"b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"}),
    "av1": Encoder("libsvtav1", 2, 63, {"preset": "10", "svtav1-params": "lp=2"}),
}
"""Codec family of a source -> encoder of its finished video; any other family becomes H.264."""
EVEN_SIDES_ONLY = ("libsvtav1",)
"""Encoders without 4:4:4, which odd sides need; H.264 replaces them for odd sides."""
os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder would print forty lines for every file

# chroma is interpolated rather than repeated, so that saturated edges such as lips do not get blocky
SCALER = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    fps: Fraction,
    codec: str = "h264",
    crf: int | None = None,
    audio: Recording | None = None,
) -> int:
    """Write an MP4 file from a stream of frames; it appears only when complete. Equal input gives equal bytes.

    The picture is 4:2:0, or 4:4:4 if a side is odd, which 4:2:0 does not allow. The sound becomes AAC at its own rate
    and is cut, or padded with zeros, to the end of the last frame. AAC supports only the rates of `AAC_RATES`: any
    other rate is resampled to the next higher one (above 96 kHz: to 96 kHz).

    Args:
        path: path of the .mp4 file.
        frames: any number of frames of one size.
        fps: frames per second.
        codec: codec family, as in `VideoInfo.codec`; a family that is not in `ENCODERS` becomes H.264.
        crf: constant rate factor of the encoder; None takes the visually lossless one.
        audio: the sound, in memory or on disk; None writes none.

    Returns:
        The number of frames written.

    Raises:
        ParameterError: there are no frames, they differ in size, the encoder rejects `crf`, or the sound has more
            than six channels.
        DataError: the file cannot be written.

    Source: original to this project.
    """
    with open_video_writer(path, fps=fps, codec=codec, crf=crf, audio=audio) as writer:
        for frame in frames:
            writer.add(frame)
    return writer.count


@contextmanager
def open_video_writer(
    path: str | Path, *, fps: Fraction, codec: str = "h264", crf: int | None = None, audio: Recording | None = None
) -> Iterator["VideoWriter"]:
    """Open a writer whose `add` takes one frame at a time, so one pass can write several videos.

    The file appears under its name when the block ends without an error. Arguments and errors are those of
    `write_video`, which does the same for a stream of frames.
    """
    check_crf(codec, crf)
    encoder = VIDEO_ENCODERS.get(codec, VIDEO_ENCODERS["h264"])
    encoder = encoder if crf is None else encoder._replace(crf=crf)
    sound = _Sound(audio) if audio is not None else None
    with _open_container(Path(path)) as container:
        writer = VideoWriter(container, Fraction(fps), encoder, sound)
        yield writer
        if writer.count == 0:
            raise ParameterError(f"no frames to write to {path}.")
        writer.finish()


def join_videos(
    path: str | Path, parts: Sequence[Path], *, fps: Fraction, audio: Recording | None = None, comment: str = ""
) -> int:
    """Concatenate videos of the same encoder without re-encoding, and add the sound.

    Args:
        path: path of the .mp4 file; it appears when complete.
        parts: videos written by `open_video_writer` with the same settings and frame size; their own sound is dropped.
        fps: frame rate of all parts, Hz.
        audio: the sound, in memory or on disk; None writes none.
        comment: comment to store in the file.

    Returns:
        The number of frames.

    Raises:
        ParameterError: there are no parts, or the sound has more than six channels.
        DataError: a part cannot be read, or the file cannot be written.
    """
    if not parts:
        raise ParameterError(f"no parts to join to {path}.")
    recording = _Sound(audio) if audio is not None else None
    count, video, sound = 0, None, None
    with _open_container(Path(path)) as container:
        container.metadata["comment"] = comment
        for part in parts:
            with _open_part(part) as source:
                stream = source.streams.video[0]
                if video is None:
                    video = container.add_stream_from_template(stream, opaque=True)
                    video.codec_context.codec_tag = stream.codec_context.codec_tag
                    sound = _SoundTrack(container, recording, Fraction(fps)) if recording else None
                # a file of `open_video_writer` has a time base, and both stamps in every packet but the last, empty one
                shift = round(count / Fraction(fps) / cast(Fraction, stream.time_base))
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = cast(int, packet.pts) + shift, packet.dts + shift, video
                    container.mux(packet)
                    count += 1
                    if sound is not None:
                        sound.send(count)
        if sound is not None:
            sound.finish()
    return count


def _open_part(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"the part {path} cannot be read ({error.strerror}). Delete it and run again.") from error


@contextmanager
def _open_container(path: Path) -> Iterator[av.container.OutputContainer]:
    """Open an MP4 file that appears under its name when the block ends without an error."""
    try:
        with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4", options=_MUXER) as container:
            yield container
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"cannot write the video {path} ({error.strerror}). Check the disk and the folder.") from error


_MUXER = {"movflags": "+faststart", "fflags": "+bitexact"}


class VideoWriter:
    """A file being written: sound follows the picture frame by frame, so the muxer buffers little."""

    def __init__(
        self, container: av.container.OutputContainer, fps: Fraction, encoder: Encoder, audio: "_Sound | None"
    ) -> None:
        self.container, self.fps, self.encoder, self.audio = container, fps, encoder, audio
        self.count = 0

    def _start(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        height, width = shape[:2]
        is_odd = height % 2 == 1 or width % 2 == 1
        if is_odd and self.encoder.name in EVEN_SIDES_ONLY:
            self.encoder = VIDEO_ENCODERS["h264"]
        self.video = cast(av.VideoStream, self.container.add_stream(self.encoder.name, rate=self.fps))
        context = self.video.codec_context
        context.width, context.height = width, height
        context.pix_fmt = "yuv444p" if is_odd else "yuv420p"
        context.time_base = 1 / self.fps
        context.thread_count = ENCODER_THREADS
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        context.gop_size = max(1, round(2 * self.fps))
        context.options = self.encoder.options | {"crf": str(self.encoder.crf)}
        if self.encoder.tag is not None:
            context.codec_tag = self.encoder.tag
        self.sound = _SoundTrack(self.container, self.audio, self.fps) if self.audio is not None else None
        self.reformatter = VideoReformatter()

    def add(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Write the next frame; the first one sets the size."""
        if self.count == 0:
            self._start(image.shape)
        if image.shape != self.shape or image.dtype != np.uint8:
            raise ParameterError(
                f"frame {self.count} is {image.dtype} {image.shape}; the frames before it are uint8 {self.shape}."
            )
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = self.reformatter.reformat(
            frame,
            format=self.video.codec_context.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=SCALER,
            threads=1,
        )
        frame.pts, frame.time_base = self.count, 1 / self.fps
        with _keep_priority() if self.count == 0 else nullcontext():  # the first frame opens the encoder
            packets = self.video.encode(frame)
        self.container.mux(packets)
        self.count += 1
        if self.sound is not None:
            self.sound.send(self.count)

    def finish(self) -> None:
        """Flush the encoders."""
        self.container.mux(self.video.encode(None))
        if self.sound is not None:
            self.sound.finish()


@contextmanager
def _keep_priority() -> Iterator[None]:
    """Take back the real-time priority that the AV1 encoder gives to a process of root: it would starve all others."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    for thread in map(int, os.listdir(tasks)):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if os.sched_getscheduler(thread) != policy:
                os.sched_setscheduler(thread, policy, parameters)


class _SoundTrack:
    """The sound of a file being written."""

    def __init__(self, container: av.container.OutputContainer, audio: "_Sound", fps: Fraction) -> None:
        self.container, self.audio, self.fps, self.sent = container, audio, fps, 0
        self.stream = container.add_stream("aac", rate=audio.rate, layout=_AAC_LAYOUTS[audio.channels])
        # an AAC frame of 1024 samples holds at most 6144 bits a channel
        self.stream.codec_context.bit_rate = audio.channels * min(128_000, 6 * audio.rate)
        self.stream.codec_context.flags |= av.codec.context.Flags.bitexact

    def send(self, frames: int) -> None:
        """Write the sound up to the end of the given number of frames."""
        stop = int(frames * self.audio.rate / self.fps + Fraction(1, 2))
        block = self.audio.window.cut(self.sent, stop)
        if len(block) == 0:
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.T), format="fltp", layout=self.stream.codec_context.layout
        )
        frame.rate, frame.pts, frame.time_base = self.audio.rate, self.sent, Fraction(1, self.audio.rate)
        self.container.mux(self.stream.encode(frame))
        self.sent = stop

    def finish(self) -> None:
        """Flush the encoder."""
        self.container.mux(self.stream.encode(None))


def check_crf(codec: str, crf: int | None) -> None:
    """Reject a constant rate factor that a family's encoder does not support.

    Raises:
        ParameterError: the factor is out of range.
    """
    encoder = VIDEO_ENCODERS.get(codec, VIDEO_ENCODERS["h264"])
    if crf is not None and not 0 <= crf <= encoder.largest_crf:
        raise ParameterError(f"crf is {crf}; {encoder.name} takes 0 (best) to {encoder.largest_crf}.")


def check_sound(recording: Recording) -> None:
    """Reject a recording that cannot become a video's sound.

    Raises:
        ParameterError: the recording has more than six channels.
    """
    if recording.channels not in _AAC_LAYOUTS:
        raise ParameterError(
            f"the sound has {recording.channels} channels; AAC is written with 1 to 6. Mix it down first."
        )


class _Sound:
    """A recording prepared for AAC and read in step with the picture: clipped, at a rate that AAC supports."""

    def __init__(self, recording: Recording) -> None:
        check_sound(recording)
        self.channels = recording.channels
        self.rate = min((rate for rate in AAC_RATES if rate >= recording.rate), default=AAC_RATES[-1])
        clipped = (np.clip(block, -1.0, 1.0) for block in recording.blocks())
        pieces = (np.clip(piece, -1.0, 1.0) for piece in resample(clipped, recording.rate, self.rate))
        self.window = SampleWindow(pieces, self.channels)
