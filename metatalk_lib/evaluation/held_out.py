"""Held-out frames of a character, on which all methods are compared, and finished videos of these frames."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import resolve_path
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.audio import read_audio, to_mono_16k
from metatalk_lib.media.frame_order import read_in_any_order
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.metrics.mouth_opening_sync import SPEECH_RATE_HZ, compute_speech_envelope
from metatalk_lib.neural_renderer.lower_face_region import dilated_mask
from metatalk_lib.tracking.crop import CropTransform, load_crop


@dataclass(frozen=True)
class HeldOut:
    """The frames on which all methods are compared.

    Attributes:
        source: the source video.
        fps: frame rate, Hz.
        frame_id: (T,) consecutive frame numbers in the source.
        crop: map from source to crop pixels.
        coefficients: coefficients of these frames; identity and pose determine the mask.
        samples_16k: (S,) audio of these frames, mono, 16 kHz.
    """

    source: Path
    fps: Fraction
    frame_id: Int[np.ndarray, " T"]
    crop: CropTransform
    coefficients: Coefficients
    samples_16k: Float[np.ndarray, " S"]

    def __len__(self) -> int:
        return len(self.frame_id)

    def originals(self) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield the source's frames in the crop."""
        first = int(self.frame_id[0])
        return (self.crop.crop_image(frame) for frame in read_frames(self.source, first, first + len(self)))

    def originals_at(self, order: Int[np.ndarray, " T2"]) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield the source's frames in the crop at other moments; `order` counts from the first held-out frame."""
        return (self.crop.crop_image(frame) for frame in read_in_any_order(self.source, self.frame_id[order]))

    def masks(self, model: FaceModel) -> Iterator[Bool[np.ndarray, "S S"]]:
        """Yield the dilated mask of each frame's whole lower face, in the crop: every method paints within it."""
        return (dilated_mask(model, self.coefficients, row, self.crop.size, region="lower") for row in range(len(self)))

    def envelope(self) -> Float[np.ndarray, " T"]:
        """Compute the speech envelope of the frames' audio, dB above the floor."""
        return compute_speech_envelope(self.samples_16k, len(self), self.fps)

    def shortened(self, frame_count: int) -> "HeldOut":
        """Return the first `frame_count` frames."""
        ids = self.frame_id[:frame_count]
        return replace(self, frame_id=ids, coefficients=self.coefficients.select(ids))


@dataclass(frozen=True)
class FinishedVideo:
    """A video to measure; its frame i shows frame_id[i] of the held-out frames.

    Attributes:
        path: path of the video, which is decoded again for every measurement.
        is_crop: True if it shows the crop alone, False if it shows the source's whole frame.
    """

    path: Path
    is_crop: bool = False

    def crops(self, held_out: HeldOut) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """Yield the compared frames in the crop; `fit_length` has ensured that at most one frame is left over.

        Raises:
            DataError: size, rate or length do not match the held-out frames.
        """
        info = probe_video(self.path)
        side = held_out.crop.size
        source = probe_video(held_out.source)
        size = (side, side) if self.is_crop else (source.width, source.height)
        if (info.width, info.height) != size or info.fps != held_out.fps or info.frame_count < len(held_out):
            raise DataError(
                f"{self.path} has {info.width}x{info.height} px, {info.fps} fps, {info.frame_count} frames; expected "
                f"{size[0]}x{size[1]} px, {held_out.fps} fps, at least {len(held_out)}. Make it again."
            )
        frames = read_frames(self.path, 0, len(held_out))
        return frames if self.is_crop else (held_out.crop.crop_image(frame) for frame in frames)


def load_held_out(crop_path: Path, coefficients_path: Path, audio_path: Path, *, max_seconds: float) -> HeldOut:
    """Load the held-out tail, or its first `max_seconds`.

    Args:
        crop_path: path of `01_crop/crop.json`.
        coefficients_path: path of `03_reconstruction/coefficients.npz`.
        audio_path: path of `01_crop/audio.wav`, which begins with the source.
        max_seconds: maximum duration that is compared, s.

    Raises:
        DataError: nothing is held out, or a frame has no coefficients.
    """
    info = load_crop(crop_path)
    fps = Fraction(*info["fps"])
    start, stop = int(info["held_out_start"]), int(info["frame_count"])
    stop = min(stop, start + max(1, round(max_seconds * fps)))
    if stop <= start:
        raise DataError(f"{crop_path}: no frames are held out. Run 01_crop with held_out_seconds above 0.")
    frame_id = np.arange(start, stop)
    samples = to_mono_16k(read_audio(audio_path))
    first, last = (round(Fraction(frame * SPEECH_RATE_HZ) / fps) for frame in (start, stop))
    coefficients = Coefficients.load(coefficients_path).select(frame_id)
    source = resolve_path(info["source"])
    return HeldOut(source, fps, frame_id, CropTransform.load(crop_path), coefficients, samples[first:last])


def fit_sound(held_out: HeldOut, videos: Iterable[FinishedVideo]) -> HeldOut:
    """Shorten the held-out frames by at most one, to the number that every video has.

    Args:
        held_out: the frames to compare.
        videos: videos driven by the tail's audio, whose length may differ from the picture's by one frame.

    Raises:
        DataError: a video has more than one frame too few or too many.
    """
    counts = {video.path: probe_video(video.path).frame_count for video in videos}
    for path, count in counts.items():
        if abs(count - len(held_out)) > 1:
            raise DataError(
                f"{path} has {count} frames, {len(held_out)} are compared. Make it again with the tail's sound."
            )
    return held_out.shortened(min([len(held_out), *counts.values()]))
