"""Made-up videos of every kind that people bring: rates, containers, lengths, sounds, faces, and what is no use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tests.face_clips import place_face, wall

RATE = 16000
WIDTH, HEIGHT = 400, 360
SECONDS = 2.0
OPENINGS = (0.0, 0.3, 0.6, 0.9, 0.6, 0.3)
"""Openings of the mouth, each shown for two frames of 25 per second."""


@dataclass(frozen=True)
class Input:
    """A video that a person may bring.

    Attributes:
        write: function that writes it to the given path, without a suffix, and returns its path.
        refusal: part of the one-line error that must come; empty for a video that must walk.
        notice: name of the check that must advise, if any.
        face_position: which face is meant.
    """

    write: Callable[[Path], Path]
    refusal: str = ""
    notice: str = ""
    face_position: str = "only"


def talking(count: int, fps: float = 25, **place: Any) -> list[np.ndarray]:
    """Frames of a swaying face whose mouth opens and closes."""
    size = {"width": WIDTH, "height": HEIGHT} | place
    frames = []
    for time in np.arange(count) / fps:
        angle, beat = 2 * np.pi * time, int(time * 12.5) % len(OPENINGS)
        x, y = 20 + 12 * np.sin(angle), 10 + 8 * np.cos(angle)
        frames.append(place_face(x, y, opening=OPENINGS[beat], **size)[0])
    return frames


def babble(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(channels, S) noise that comes and goes four times a second."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 0.1, len(time)) * (0.5 - 0.5 * np.cos(2 * np.pi * 4 * time))
    return np.tile(noise.astype(np.float32), (channels, 1))


def write_container(
    path: Path,
    frames: Sequence[np.ndarray],
    samples: np.ndarray | None,
    *,
    fps: Fraction | int = 25,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound_codec: str = "pcm_s16le",
    rate: int = RATE,
    stamps_ms: Sequence[int] | None = None,
    sound_start_s: float = 0.0,
    prepare: Callable[[av.VideoStream], None] | None = None,
) -> Path:
    """Write frames and samples, with whatever a camera or a converter may do to them."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream(codec, rate=Fraction(fps))
        picture.height, picture.width, _ = frames[0].shape
        picture.pix_fmt, picture.bit_rate = pixels, 4_000_000
        if codec.startswith("libx26"):
            picture.options = {"preset": "ultrafast"} | (
                {"x265-params": "log-level=none"} if codec == "libx265" else {}
            )
        if stamps_ms is not None:
            picture.codec_context.time_base = Fraction(1, 1000)
        if prepare is not None:
            prepare(picture)
        sound = None
        if samples is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
            sound = container.add_stream(sound_codec, rate=rate, layout=layout)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if stamps_ms is not None:
                frame.pts, frame.time_base = stamps_ms[number], Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if sound is not None and samples is not None and samples.shape[1]:
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
            whole.rate, whole.pts, whole.time_base = rate, round(sound_start_s * rate), Fraction(1, rate)
            resampler = av.AudioResampler(format=sound.codec_context.format, layout=layout, rate=rate)
            for part in [*resampler.resample(whole), *resampler.resample(None)]:
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
    return path


def clip(
    seconds: float = SECONDS,
    fps: Fraction | int = 25,
    *,
    suffix: str = "mkv",
    sound_s: float | None = None,
    samples: np.ndarray | None = None,
    change: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None,
    place: dict[str, Any] | None = None,
    **options: Any,
) -> Callable[[Path], Path]:
    """A writer of a clip; the sound is as long as the picture unless told otherwise."""

    def write(path: Path) -> Path:
        frames = talking(round(seconds * fps), float(fps), **(place or {}))
        frames = change(frames) if change else frames
        heard = babble(len(frames) / fps if sound_s is None else sound_s, options.get("rate", RATE))
        heard = heard if samples is None else samples
        return write_container(path.with_suffix(f".{suffix}"), frames, heard, fps=fps, **options)

    return write


def write_without_sound(path: Path) -> Path:
    return write_container(path.with_suffix(".mp4"), talking(50), None)


def write_cut_off(path: Path) -> Path:
    whole = clip(suffix="mp4", sound_codec="aac")(path).read_bytes()
    path.with_suffix(".mp4").write_bytes(whole[: len(whole) * 2 // 3])
    return path.with_suffix(".mp4")


def write_text(path: Path) -> Path:
    path.with_suffix(".mp4").write_text("no video at all\n" * 50)
    return path.with_suffix(".mp4")


def replaced(first: int, last: int, frame: Callable[[], np.ndarray]) -> Callable[[list], list]:
    """Put another picture in place of the frames `first` to `last`, counted from the end where negative."""

    def change(frames: list[np.ndarray]) -> list[np.ndarray]:
        chosen = range(len(frames))[first : None if last == -1 else last + 1]
        return [frame() if number in chosen else image for number, image in enumerate(frames)]

    return change


def black() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def cover_mouth(first: int, last: int) -> Callable[[list], list]:
    def change(frames: list[np.ndarray]) -> list[np.ndarray]:
        for image in frames[first:last]:
            image[215:300, 120:240] = (90, 110, 160)
        return frames

    return change


def each(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[list], list]:
    return lambda frames: [function(image) for image in frames]


def turn_head(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Swing by 45 degrees to either side, in steps of nine."""
    steps = np.sin(2 * np.pi * np.arange(len(frames)) / len(frames))
    yaws = np.round(5 * steps) / 5 * np.deg2rad(45)
    return [place_face(20, 10, width=WIDTH, height=HEIGHT, yaw=float(yaw))[0] for yaw in yaws]


def tilt(image: np.ndarray) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 25, 1.0)
    return cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderValue=(60, 60, 60))


def beside(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image[:, 20:370], image[:, 20:370]], axis=1)


def variable_stamps(count: int, pause_ms: int = 0) -> list[int]:
    """Time stamps of about 22 frames per second, each off by up to 12 ms, with a pause after the tenth."""
    jitter = np.random.default_rng(1).integers(-12, 13, count)
    stamps = np.round(np.arange(count) * 1000 / 22).astype(int) + jitter
    stamps[10:] += pause_ms
    return (stamps - stamps[0]).tolist()


def squeeze(stream: av.VideoStream) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)


def hdr(stream: av.VideoStream) -> None:
    stream.codec_context.color_trc = 16


SMALL_IN_HD = {"width": 1920, "height": 1080, "scale": 0.6}
WALKS: dict[str, Input] = {
    **{
        f"{float(fps):.2f} frames per second": Input(clip(fps=fps))
        for fps in (22, Fraction(24000, 1001), Fraction(30000, 1001), 30, 60)
    },
    "12 frames per second": Input(clip(4.0, 12), notice="frame rate"),
    "variable rate": Input(clip(stamps_ms=variable_stamps(50)), notice="frame rate"),
    "variable rate with a pause": Input(clip(stamps_ms=variable_stamps(50, 300)), notice="frame rate"),
    "three seconds": Input(clip(3.0)),
    "sound two frames shorter": Input(clip(sound_s=SECONDS - 0.08)),
    "sound half a second shorter": Input(clip(sound_s=SECONDS - 0.5), notice="sound and picture"),
    "sound three seconds longer": Input(clip(sound_s=SECONDS + 3.0), notice="sound and picture"),
    "sound that starts late": Input(clip(sound_s=SECONDS - 0.3, sound_start_s=0.3)),
    "silent": Input(clip(samples=np.zeros((1, 32000), np.float32)), notice="sound level"),
    "8 kHz": Input(clip(rate=8000)),
    "44.1 kHz stereo": Input(clip(suffix="mp4", samples=babble(SECONDS, 44100, 2), rate=44100, sound_codec="aac")),
    "48 kHz in six channels": Input(clip(samples=babble(SECONDS, 48000, 6), rate=48000)),
    "MPEG-1 of 360 x 288": Input(
        clip(
            suffix="mpg", place={"width": 360, "height": 288, "scale": 0.75}, codec="mpeg1video",
            sound_codec="mp2", rate=44100,
        )
    ),
    "HEVC portrait": Input(
        clip(suffix="mp4", place={"width": 360, "height": 640}, codec="libx265", sound_codec="aac", rate=48000)
    ),
    "HEVC of 10 bits": Input(
        clip(suffix="mp4", codec="libx265", pixels="yuv420p10le", sound_codec="aac", rate=48000), notice="colours"
    ),
    "turned by its metadata": Input(
        clip(suffix="mp4", change=each(np.rot90), sound_codec="aac", prepare=lambda s: s.set_display_rotation(-90))
    ),
    "odd sides": Input(clip(place={"width": 401, "height": 361}, pixels="yuv444p")),
    "AVI": Input(clip(suffix="avi", codec="mpeg4")),
    "WebM": Input(clip(suffix="webm", codec="libvpx-vp9", sound_codec="libopus", rate=48000)),
    "Motion JPEG": Input(clip(suffix="mov", codec="mjpeg", pixels="yuvj420p")),
    "a face of 100 px": Input(clip(place={"scale": 0.57}), notice="face width"),
    "a small face in 1080p": Input(clip(place=SMALL_IN_HD), notice="face width"),
    "two faces, the left one": Input(clip(change=each(beside)), notice="faces", face_position="left"),
    "one black frame at the start": Input(clip(change=replaced(0, 0, black)), notice="face"),
    "one black frame at the end": Input(clip(change=replaced(-1, -1, black)), notice="face"),
    "one frame without a face": Input(clip(change=replaced(30, 30, wall)), notice="face"),
    "a still picture": Input(clip(change=lambda frames: frames[:1] * len(frames))),
    "a head that turns far": Input(clip(change=turn_head), notice="head pose"),
    "a tilted head": Input(clip(change=each(tilt))),
    "a mouth hidden for a moment": Input(clip(4.0, change=cover_mouth(40, 50)), notice="mouth"),
    "a mouth hidden throughout": Input(clip(change=cover_mouth(0, 55))),
    "dim": Input(clip(change=each(lambda image: (0.2 * image).astype(np.uint8))), notice="light"),
    "blurred": Input(clip(change=each(lambda image: cv2.GaussianBlur(image, (0, 0), 4))), notice="sharpness"),
}  # fmt: skip
REFUSALS: dict[str, Input] = {
    "no sound": Input(write_without_sound, "no audio stream"),
    "sound for a third of it": Input(clip(sound_s=SECONDS / 3), "Most of the picture has no sound"),
    "too short": Input(clip(1.4), "longer video"),
    "too few frames": Input(clip(2.5, 12), "42 frames are needed"),
    "cut off": Input(write_cut_off, "is cut off"),
    "no video": Input(write_text, "Give a whole MP4"),
    "no face": Input(clip(change=replaced(0, -1, wall)), "no face was found"),
    "no face at the start": Input(clip(change=replaced(0, 9, wall)), "max_missing_fraction"),
    "no face in the middle": Input(clip(change=replaced(20, 34, wall)), "20-34"),
    "a face of 70 px": Input(clip(place={"scale": 0.4}), "96 px"),
    "two faces": Input(clip(change=each(beside)), "face_position"),
    "squeezed pixels": Input(clip(prepare=squeeze), "square pixels"),
    "high dynamic range": Input(
        clip(suffix="mp4", codec="libx265", pixels="yuv420p10le", sound_codec="aac", prepare=hdr), "standard range"
    ),
}
INPUTS = {**WALKS, **REFUSALS}
WORST = Input(clip(2.2, 22, sound_s=2.2 - 2 / 22, place={"scale": 0.57}), notice="face width")
