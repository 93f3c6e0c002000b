"""Frame samples of a video for the preflight, taken while all frames pass by, or read on their own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.parallel import read_ahead
from metatalk_lib.media.video import VideoInfo, read_selected_frames
from metatalk_lib.tracking.face_detector import FacePosition, choose_face, real_faces
from metatalk_lib.tracking.landmark_predictor import LandmarkPredictor, load_landmark_predictor
from metatalk_lib.tracking.landmarks import LandmarkTrack

SAMPLES = 24
"""Number of sampled places of the video, with two neighbouring frames at each."""
_ROOM = 0.75  # margin kept on each side of a face's box, in box sides; landmarks need no more


@dataclass(frozen=True)
class Samples:
    """Measurements on the sampled frames.

    Attributes:
        frame_ids: frames on which faces were searched for.
        face_counts: number of faces found in each of these frames.
        points: frame_id to 68 landmarks, px, for frames with a face.
        sharpness: share of the contrast that is fine detail, one value per frame with points.
        light: luma, shares of overexposed and of black pixels, one row per frame with points.
    """

    frame_ids: np.ndarray
    face_counts: list[int]
    points: dict[int, np.ndarray]
    sharpness: list[float]
    light: np.ndarray


@dataclass(frozen=True)
class _View:
    """The kept part of a frame, its position, and the box of the face within it."""

    image: np.ndarray
    corner: np.ndarray
    box: np.ndarray | None


class FrameSampler:
    """Samples two neighbouring frames at each of 24 places of a video, and keeps only the surroundings of the face."""

    def __init__(
        self, info: VideoInfo, face_position: FacePosition = "only", predictor: LandmarkPredictor | None = None
    ) -> None:
        """Choose the frames.

        Args:
            info: properties of the video.
            face_position: position of the face to use among several.
            predictor: predictor that finds faces; by default MediaPipe's. It is used by the thread that draws frames
                from `watch`; a tracker in another thread needs a predictor of its own.
        """
        self.info, self.face_position = info, face_position
        self.predictor = predictor or load_landmark_predictor("mediapipe")
        self.starts = np.unique(np.linspace(0, max(info.frame_count - 2, 0), SAMPLES).astype(int))
        following = np.minimum(self.starts + 1, info.frame_count - 1)
        self.frame_ids = np.unique(np.concatenate([self.starts, following]))
        self._face_counts: list[int] = []
        self._views: dict[int, _View] = {}
        self._box: np.ndarray | None = None

    def watch(self, frames: Iterable[UInt8[np.ndarray, "H W 3"]]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield all frames of the video unchanged, and sample the chosen ones."""
        chosen = set(self.frame_ids.tolist())
        for frame_id, frame in enumerate(frames):
            if frame_id in chosen:
                self._look(frame_id, frame)
            yield frame

    def read(self) -> None:
        """Read and sample the chosen frames of the file."""
        frames = read_ahead(read_selected_frames(self.info.path, self.frame_ids))
        for frame_id, frame in zip(self.frame_ids, frames, strict=True):
            self._look(int(frame_id), frame)

    def measure(self, track: LandmarkTrack | None = None) -> Samples:
        """Measure the sampled frames.

        Args:
            track: landmarks of the video if they are known; otherwise they are predicted.

        Raises:
            ParameterError: not all chosen frames were sampled.
        """
        if len(self._views) != len(self.frame_ids):
            raise ParameterError(
                f"{len(self._views)} of {len(self.frame_ids)} frames were looked at. Let all of them pass `watch`."
            )
        points, sharpness, light = {}, [], []
        for frame_id, view in self._views.items():
            known = self._known_points(frame_id, view, track)
            if known is None:
                continue
            points[frame_id] = known
            patch = _face_patch(view.image, known - view.corner)
            sharpness.append(_gradient_share(patch))
            light.append(_measure_light(patch))
        return Samples(self.starts, self._face_counts, points, sharpness, np.array(light))

    def _look(self, frame_id: int, frame: np.ndarray) -> None:
        if frame_id in self.starts:
            faces = real_faces(self.predictor.find(frame))
            self._face_counts.append(len(faces))
            self._box = choose_face(faces, self.face_position, frame.shape[1])
        if self._box is None:
            # a track may contain the face that was not found here
            self._views[frame_id] = _View(frame, np.zeros(2), None)
            return
        room = _ROOM * (self._box[2:] - self._box[:2])
        left, top = np.maximum(np.floor(self._box[:2] - room), 0).astype(int)
        right, bottom = np.ceil(self._box[2:] + room).astype(int)
        corner = np.array([left, top], np.float64)
        self._views[frame_id] = _View(frame[top:bottom, left:right].copy(), corner, self._box - np.tile(corner, 2))

    def _known_points(self, frame_id: int, view: _View, track: LandmarkTrack | None) -> np.ndarray | None:
        if track is not None:
            return track.landmarks[frame_id] if track.detected[frame_id] else None
        if view.box is None:
            return None
        return (self.predictor.predict(view.image, view.box).landmarks + view.corner).astype(np.float32)


def _face_patch(frame: UInt8[np.ndarray, "H W 3"], points: np.ndarray) -> np.ndarray:
    """Return the rectangle from the brows to the chin, within the frame."""
    left, top = np.maximum(np.floor(points.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(points.max(axis=0)) + 1, frame.shape[1::-1]).astype(int)
    return frame[top : max(bottom, top + 1), left : max(right, left + 1)]


def _measure_light(patch: np.ndarray) -> tuple[float, float, float]:
    """Compute luma and the shares of overexposed and of black pixels."""
    brightest = np.maximum(np.maximum(patch[..., 0], patch[..., 1]), patch[..., 2])
    luma = float(np.dot(cv2.mean(np.ascontiguousarray(patch))[:3], (0.2126, 0.7152, 0.0722)))
    return luma, float((brightest >= 254).mean()), float((brightest <= 8).mean())


def _gradient_share(patch: np.ndarray) -> float:
    """Compute the share of contrast that a 1 px blur removes from the face at 256 px, which makes sizes comparable."""
    grey = cv2.cvtColor(np.ascontiguousarray(patch), cv2.COLOR_RGB2GRAY).astype(np.float32)
    scale = min(1.0, 256 / max(grey.shape))
    resized = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    detail = resized - cv2.GaussianBlur(resized, (0, 0), 1.0)
    return float(detail.std() / max(float(resized.std()), 1.0))
