"""Tracking of one face's landmarks through a video: detection, prediction, bridging of gaps, smoothing without lag."""

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from metatalk_lib.core.errors import FaceError, ParameterError
from metatalk_lib.tracking.face_detector import (
    BOX_PER_WIDTH,
    MINIMUM_FACE_PX,
    FacePosition,
    box_about,
    box_overlap,
    choose_face,
    face_width,
    real_faces,
    to_grey,
)
from metatalk_lib.tracking.face_points import FacePoints
from metatalk_lib.tracking.hidden_mouth import find_occlusions, look_at_mouth
from metatalk_lib.tracking.landmark_predictor import SURE_FACE, LandmarkPredictor, load_landmark_predictor
from metatalk_lib.tracking.landmarks import LandmarkTrack, find_runs, format_frames, format_runs
from metatalk_lib.tracking.smoothing import measure_noise, smooth_boxes, smooth_dense, smooth_landmarks, smooth_scores

REDETECT_FRAMES = 10
"""Interval at which the detector confirms the tracked face, frames."""
RECOUNT_FRAMES = 50
"""Interval at which the whole frame is searched for further faces, frames."""
SEARCH_LIMIT_FRAMES = 100
"""Number of first frames without any face after which a video is refused."""

_SAME_FACE = 0.6  # least correlation of the face's picture with the last confirmed one
_SURELY_SAME_FACE = 0.8


def track_landmarks(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    frame_count: int,
    fps: Fraction,
    face_position: FacePosition = "only",
    max_missing_fraction: float = 0.02,
    max_gap_s: float = math.inf,
    predictor: LandmarkPredictor | None = None,
    watches_mouth: bool = False,
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
        predictor: landmark predictor; by default MediaPipe's.
        watches_mouth: look for frames in which something hides the mouth. Runs of them up to `max_gap_s` are bridged,
            too; longer ones are only marked, since a straight line would be no better than what was predicted.
        name: name of the clip in error messages, usually its file.

    Raises:
        FaceError: there is no face, there are two faces with `only`, the face is narrower than 96 px, is found in too
            few frames, or is missing for too long.
        ParameterError: `frames` does not yield `frame_count` frames.
        DataError: no predictor is given and MediaPipe's weights are missing.

    Source: original to this project.
    """
    tracker = _FaceTracker(face_position, name, predictor or load_landmark_predictor("mediapipe"), watches_mouth)
    found = _Findings(frame_count)
    for frame in frames:
        found.add(tracker.advance(frame))
    if found.count != frame_count:
        raise ParameterError(
            f"{found.count} frames were given, {frame_count} announced. Pass every frame of the clip once."
        )
    _check_found(found.detected, tracker, max_missing_fraction, max_gap_s * float(fps))
    occluded = None
    if watches_mouth:
        occluded = np.zeros(frame_count, bool)
        occluded[found.detected] = find_occlusions(np.stack(tracker.mouths), fps)
        found.detected &= ~_in_short_runs(occluded, max_gap_s * float(fps))
    return _assemble(found, occluded, fps, tracker)


class _Findings:
    """Points of every frame of a clip, in arrays as long as the clip; rows without a face are zero.

    Attributes:
        detected: (T,) whether a frame's points are to be used.
        landmarks, confidence, dense, scores: rows of `FacePoints`; the last two None where the predictor has none.
        count: number of frames so far.
    """

    def __init__(self, frame_count: int) -> None:
        self.detected = np.zeros(frame_count, bool)
        self.landmarks = np.zeros((frame_count, 68, 2), np.float32)
        self.confidence = np.zeros(frame_count, np.float32)
        self.dense: np.ndarray | None = None
        self.scores: np.ndarray | None = None
        self.count = 0

    def add(self, points: FacePoints | None) -> None:
        """Add the next frame."""
        row, self.count = self.count, self.count + 1
        if points is None or row >= len(self.detected):
            return
        self.detected[row], self.landmarks[row], self.confidence[row] = True, points.landmarks, points.confidence
        if points.dense is not None and points.scores is not None:
            if self.dense is None or self.scores is None:
                self.dense = np.zeros((len(self.detected), *points.dense.shape), np.float32)
                self.scores = np.zeros((len(self.detected), *points.scores.shape), np.float32)
            self.dense[row], self.scores[row] = points.dense, points.scores


def _assemble(
    found: _Findings, occluded: Bool[np.ndarray, " T"] | None, fps: Fraction, tracker: "_FaceTracker"
) -> LandmarkTrack:
    """Bridge the frames that are not to be used, and smooth."""
    raw = _bridge(found.landmarks, found.detected)
    width = float(np.median(face_width(raw)))
    if width < MINIMUM_FACE_PX:
        raise tracker.refuse(_narrow_message(f"the face is {width:.0f} px wide (jaw to jaw, median)"))
    boxes = smooth_boxes(np.stack([box_about(points) for points in raw]).astype(np.float32), fps)
    track = LandmarkTrack(
        np.arange(len(raw)), smooth_landmarks(raw, fps), raw, boxes, found.detected, found.confidence, occluded
    )
    if found.dense is None or found.scores is None:
        return track
    dense = _bridge(found.dense, found.detected)
    return replace(
        track,
        dense=smooth_dense(dense, fps),
        dense_noise=measure_noise(dense),
        scores=smooth_scores(_bridge(found.scores, found.detected), fps),
    )


def _bridge(values: Float32[np.ndarray, "T ..."], known: Bool[np.ndarray, " T"]) -> Float32[np.ndarray, "T ..."]:
    """Bridge rows that are not known, in place: by straight lines, at the ends by the nearest row."""
    rows, missing = np.flatnonzero(known), np.flatnonzero(~known)
    places = np.interp(missing, rows, np.arange(len(rows)))
    before = places.astype(int)
    after = np.minimum(before + 1, len(rows) - 1)
    share = (places - before).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    values[missing] = (1 - share) * values[rows[before]] + share * values[rows[after]]
    return values


def _in_short_runs(marked: Bool[np.ndarray, " T"], longest: float) -> Bool[np.ndarray, " T"]:
    short = np.zeros_like(marked)
    for first, last in find_runs(np.flatnonzero(marked)):
        short[first : last + 1] = last - first + 1 <= longest
    return short


class _FaceTracker:
    """Tracks one face through a clip, frame by frame."""

    def __init__(
        self, face_position: FacePosition, name: str | Path, predictor: LandmarkPredictor, watches_mouth: bool
    ) -> None:
        self.face_position, self.name, self.predictor = face_position, name, predictor
        self.watches_mouth = watches_mouth
        self.mouths: list[np.ndarray] = []
        self.frame_id = -1
        self.points: FacePoints | None = None
        self.picture: np.ndarray | None = None

    def refuse(self, reason: str) -> FaceError:
        """Make an error that names the clip."""
        return FaceError(f"{self.name}: {reason}")

    def advance(self, frame: np.ndarray) -> FacePoints | None:
        """Return the points of the next frame, or None."""
        found = self._follow(frame)
        if found is not None and self.watches_mouth:
            self.mouths.append(look_at_mouth(frame, found.landmarks))
        return found

    def _follow(self, frame: np.ndarray) -> FacePoints | None:
        self.frame_id += 1
        grey = to_grey(frame)
        image = frame if self.predictor.uses_colour else grey
        if self.points is None:
            box = self._choose_first(image)
            return None if box is None else self._accept(grey, self.predictor.predict(image, box))
        if self.frame_id % RECOUNT_FRAMES == 0 and self.face_position == "only":
            self._check_single(real_faces(self.predictor.find(image)))
        found = self.predictor.follow(image, self.points)
        likeness = self._likeness(grey, found, self.points.landmarks)
        if likeness >= _SAME_FACE and self.frame_id % REDETECT_FRAMES:
            self.points = found
            return found
        box = self._confirm(image, self.points.landmarks)
        if box is not None:
            is_followed = found.confidence >= SURE_FACE and box_overlap(box, box_about(found.landmarks)) > 0.4
            return self._accept(grey, found if is_followed else self.predictor.predict(image, box))
        if likeness >= _SURELY_SAME_FACE:
            self.points = found
            return found
        return None

    def no_face_message(self, image: np.ndarray, where: str) -> str:
        """Say that there is no face, or that it is too small."""
        small = self.predictor.find(image, MINIMUM_FACE_PX / 3) if max(image.shape[:2]) <= 2160 else []
        width = (small[0][0][2] - small[0][0][0]) / BOX_PER_WIDTH if small else 0
        if 0 < width < MINIMUM_FACE_PX:
            return _narrow_message(f"the face is about {width:.0f} px wide")
        return (
            f"no face was found in {where}. Give a video that shows one face from the front, at least "
            f"{MINIMUM_FACE_PX} px wide."
        )

    def _choose_first(self, image: np.ndarray) -> np.ndarray | None:
        """Return the box of the face to track, or None."""
        faces = real_faces(self.predictor.find(image))
        if not faces:
            if self.frame_id + 1 == SEARCH_LIMIT_FRAMES:
                raise self.refuse(self.no_face_message(image, f"the first {SEARCH_LIMIT_FRAMES} frames"))
            self.last_frame = image
            return None
        if self.face_position == "only":
            self._check_single(faces)
        return choose_face(faces, self.face_position, image.shape[1])

    def _check_single(self, faces: list[tuple[np.ndarray, float]]) -> None:
        if len(faces) > 1:
            places = ", ".join(f"x = {(box[0] + box[2]) / 2:.0f} ({box[2] - box[0]:.0f} px)" for box, _ in faces)
            raise self.refuse(
                f"frame {self.frame_id} shows {len(faces)} faces, at {places}; one was expected. "
                "Choose by face_position: largest, left, right or centre."
            )

    def _accept(self, grey: np.ndarray, found: FacePoints) -> FacePoints | None:
        if found.confidence < SURE_FACE:
            return None
        self.points, self.picture = found, _face_picture(grey, found.landmarks)
        return found

    def _likeness(self, grey: np.ndarray, found: FacePoints, before: np.ndarray) -> float:
        """Compute the correlation with the confirmed face; 0 if the landmarks jump or shrink more than a face can."""
        old, new = box_about(before), box_about(found.landmarks)
        if found.confidence < SURE_FACE or box_overlap(old, new) < 0.4:
            return 0.0
        return float((self.picture * _face_picture(grey, found.landmarks)).mean())

    def _confirm(self, image: np.ndarray, before: np.ndarray) -> np.ndarray | None:
        """Return the detector's box near the last face, else the nearest one of similar size in the whole frame."""
        last = box_about(before)
        side = last[2] - last[0]
        left, top = np.maximum(np.floor(last[:2] - 0.5 * side), 0).astype(int)
        right, bottom = np.ceil(last[2:] + 0.5 * side).astype(int)
        smallest = 0.75 * side / BOX_PER_WIDTH
        near = image[top:bottom, left:right]
        if near.size:
            boxes = [box + np.array([left, top, left, top]) for box, _ in self.predictor.find(near, smallest)]
            boxes = [box for box in boxes if box_overlap(box, last) > 0.3]
            if boxes:
                return boxes[0]
        boxes = [box for box, _ in self.predictor.find(image, smallest)]
        distances = [float(np.linalg.norm(box[:2] + box[2:] - last[:2] - last[2:])) for box in boxes]
        return boxes[int(np.argmin(distances))] if boxes else None


def _check_found(
    detected: np.ndarray, tracker: _FaceTracker, max_missing_fraction: float, max_gap_frames: float
) -> None:
    if not detected.any():
        raise tracker.refuse(tracker.no_face_message(tracker.last_frame, f"all {len(detected)} frames"))
    missing = np.flatnonzero(~detected)
    if len(missing) > max_missing_fraction * len(detected):
        raise tracker.refuse(
            f"a face was found in {int(detected.sum())} of {len(detected)} frames; missing {format_frames(missing)}. "
            f"Cut these frames out of the video, or raise max_missing_fraction (now {max_missing_fraction:g})."
        )
    gaps = [gap for gap in find_runs(missing) if gap[1] - gap[0] + 1 > max_gap_frames]
    if gaps:
        longest = max(last - first + 1 for first, last in gaps)
        raise tracker.refuse(
            f"no face was found for up to {longest} frames in a row, at {format_runs(gaps)}; at most "
            f"{int(max_gap_frames)} are bridged. Cut these frames out of the video, or raise max_gap_seconds."
        )


def _narrow_message(found: str) -> str:
    return f"{found}; at least {MINIMUM_FACE_PX} px are needed. Film closer or at a higher resolution."


def _face_picture(grey: np.ndarray, points: np.ndarray, size: int = 32) -> np.ndarray:
    """Cut out the face at 32 x 32 px with mean 0 and variance 1, for comparison."""
    left, top, right, _ = box_about(points)
    scale = 4 * size / (right - left)
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    large = cv2.warpAffine(grey, matrix, (4 * size, 4 * size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    picture = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float64)
    return (picture - picture.mean()) / max(picture.std(), 1.0)
