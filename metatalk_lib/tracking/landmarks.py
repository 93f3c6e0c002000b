"""Landmarks of a clip, and the measures of a mouth that are read from them.

Points are in source pixels, (x, y); see `face_points` for their order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from metatalk_lib.core.artifacts import load_arrays, save_arrays
from metatalk_lib.core.errors import DataError

MOUTH = slice(48, 68)
INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))


@dataclass(frozen=True)
class LandmarkTrack:
    """Landmarks of a clip. The last five are None where a detector does not give them.

    Attributes:
        frame_id: (T,) int64, number of the frame in the source video.
        landmarks: (T, 68, 2) float32, smoothed, source px.
        raw_landmarks: (T, 68, 2) float32, as predicted; bridged frames are interpolated.
        boxes: (T, 4) float32, left, top, right, bottom, smoothed, source px.
        detected: (T,) bool, False where the frame was bridged.
        confidence: (T,) float32, the detector's certainty that there is a face, 0 to 1.
        occluded: (T,) bool, True where something hides the mouth; such a frame is bridged, too.
        dense: (T, 478, 3) float32, MediaPipe's points, smoothed: x, y in source px, z in the same unit, away from the
            camera.
        dense_noise: (478,) float32, standard deviation of a dense point's coordinate from frame to frame that is noise
            of the detector, px.
        scores: (T, 52) float32, MediaPipe's blendshape scores, smoothed, 0 to 1.
    """

    frame_id: Int64[np.ndarray, " T"]
    landmarks: Float32[np.ndarray, "T 68 2"]
    raw_landmarks: Float32[np.ndarray, "T 68 2"]
    boxes: Float32[np.ndarray, "T 4"]
    detected: Bool[np.ndarray, " T"]
    confidence: Float32[np.ndarray, " T"] | None = None
    occluded: Bool[np.ndarray, " T"] | None = None
    dense: Float32[np.ndarray, "T 478 3"] | None = None
    dense_noise: Float32[np.ndarray, "478"] | None = None
    scores: Float32[np.ndarray, "T 52"] | None = None

    def select(self, rows: slice) -> "LandmarkTrack":
        """Return the track of a stretch of frames."""
        by_frame = {name: value[rows] for name, value in vars(self).items() if value is not None}
        return replace(self, **by_frame | {"dense_noise": self.dense_noise})

    def save(self, path: str | Path) -> None:
        """Save as `.npz`."""
        save_arrays(Path(path), **{name: value for name, value in vars(self).items() if value is not None})

    @classmethod
    def load(cls, path: str | Path) -> "LandmarkTrack":
        """Load a track that `save` wrote.

        Raises:
            DataError: the file is absent, unreadable or lacks an array that every track has.
        """
        arrays = load_arrays(Path(path))
        missing = sorted(set(_ALWAYS) - set(arrays))
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)} (it has {', '.join(arrays)}). Run its stage again.")
        return cls(**{name: value for name, value in arrays.items() if name in cls.__dataclass_fields__})


_ALWAYS = ("frame_id", "landmarks", "raw_landmarks", "boxes", "detected")


def read_frame_landmarks(path: Path, frame_id: int) -> Float32[np.ndarray, "68 2"]:
    """Read the smoothed landmarks of one frame, source px.

    Raises:
        DataError: the file is unreadable, or has no landmarks of this frame.
    """
    known = LandmarkTrack.load(path)
    rows = np.flatnonzero(known.frame_id == frame_id)
    if len(rows) != 1:
        raise DataError(f"{path} has {len(rows)} sets of landmarks for frame {frame_id}, not one. Run 01_crop again.")
    return known.landmarks[rows[0]]


def mouth_opening(landmarks: Float[np.ndarray, "*T 68 2"]) -> Float[np.ndarray, "*T"]:
    """Compute the mean distance of the inner lip's pairs 61-67, 62-66, 63-65, px."""
    gaps = np.linalg.norm(landmarks[..., [61, 62, 63], :] - landmarks[..., [67, 66, 65], :], axis=-1)
    return np.asarray(gaps.mean(axis=-1))


def relative_mouth_opening(landmarks: Float[np.ndarray, "*T 68 2"]) -> Float[np.ndarray, "*T"]:
    """Compute the mouth opening over the distance of the outer eye corners, which is independent of face size."""
    return mouth_opening(landmarks) / np.linalg.norm(landmarks[..., 36, :] - landmarks[..., 45, :], axis=-1)


def mouth_width(landmarks: Float[np.ndarray, "*T 68 2"]) -> Float[np.ndarray, "*T"]:
    """Compute the distance of the mouth's corners 48 and 54, px."""
    return np.asarray(np.linalg.norm(landmarks[..., 48, :] - landmarks[..., 54, :], axis=-1))


def format_frames(frames: Iterable[int] | np.ndarray) -> str:
    """Format frame numbers as short ranges, such as `3, 7-12`."""
    return format_runs(find_runs(frames))


def find_runs(frames: Iterable[int] | np.ndarray) -> list[list[int]]:
    """Return the first and last number of each run of consecutive frames."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = int(frame)
        else:
            runs.append([int(frame), int(frame)])
    return runs


def format_runs(runs: list[list[int]]) -> str:
    """Format runs of frame numbers, each given by its first and last number."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
