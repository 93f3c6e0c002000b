"""A face video with its landmarks, as it is given to the fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.media.video import read_frames
from metatalk_lib.reconstruction.photometric import FrameReader
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import LandmarkTrack


@dataclass(frozen=True)
class FaceClip:
    """A face video to be fitted.

    Attributes:
        landmarks: (T, 68, 2) landmarks, px of the crop.
        size: side of the crop, px.
        frame_id: (T,) numbers of the frames in the source video.
        read: reads frames of the crop, RGB; row i belongs to `frame_id[i]`.
        detected: (T,) whether a frame shows a face; None means all do.
        usable: (T,) whether identity, texture and light may be fitted to a frame; None means all `detected` ones.
        dense: (T, 478, 2) MediaPipe's points, px of the crop, or None.
        dense_noise: (478,) their noise, px of the crop; given with `dense`.
        scores: (T, 52) MediaPipe's blendshape scores, or None.
    """

    landmarks: Float[np.ndarray, "_ 68 2"]
    size: int
    frame_id: Int[np.ndarray, " T"]
    read: FrameReader
    detected: Bool[np.ndarray, " _"] | None = None
    usable: Bool[np.ndarray, " _"] | None = None
    dense: Float[np.ndarray, "_ 478 2"] | None = None
    dense_noise: Float[np.ndarray, "478"] | None = None
    scores: Float[np.ndarray, "_ 52"] | None = None

    def __post_init__(self) -> None:
        if self.detected is None:
            object.__setattr__(self, "detected", np.ones(len(self.frame_id), dtype=bool))
        if self.usable is None:
            object.__setattr__(self, "usable", self.detected)
        for name in ("landmarks", "detected", "usable", "dense", "scores"):
            if getattr(self, name) is not None and len(getattr(self, name)) != len(self.frame_id):
                raise ParameterError(
                    f"{len(getattr(self, name))} frames in `{name}` for {len(self.frame_id)} frame numbers. Pass the "
                    "same frames to each."
                )

    def read_all(self) -> Iterable[np.ndarray]:
        """Read all frames in order."""
        return self.read(0, len(self.frame_id))


def video_reader(path: Path) -> FrameReader:
    """Make a function that reads any range of frames of a video."""
    return lambda start, stop: read_frames(path, start=start, stop=stop)


def open_clip(
    track: LandmarkTrack, transform: CropTransform, read: FrameReader, trains: Bool[np.ndarray, " T"] | None = None
) -> FaceClip:
    """Bring the tracked points of a clip into its crop.

    Args:
        track: landmarks, source px.
        transform: map from source px to px of the crop.
        read: reads frames of the crop.
        trains: frames that identity, texture and light may be fitted to, if they show a face; None means all.
    """
    usable = track.detected if trains is None else track.detected & trains
    dense = noise = None
    if track.dense is not None and track.dense_noise is not None:
        dense = transform.to_crop(track.dense[..., :2])
        noise = track.dense_noise * (transform.size / transform.side)
    return FaceClip(
        transform.to_crop(track.landmarks), transform.size, track.frame_id, read, track.detected, usable, dense, noise,
        track.scores,
    )  # fmt: skip
