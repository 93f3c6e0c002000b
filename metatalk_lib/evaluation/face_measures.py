"""Measures on the faces of finished videos: landmarks, mouth opening, and the features of a face network.

All are measured on decoded frames, in the crop, by the same tracker for every method and for the original. The control
rows of these measures are the original's own values at other moments, as lips to other sound would show them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from metatalk_lib.core.errors import FaceError, ParameterError
from metatalk_lib.core.findings import Check
from metatalk_lib.core.progress import track
from metatalk_lib.evaluation.controls import REENCODED, STATIC_FRAME
from metatalk_lib.evaluation.face_features import compute_face_features, compute_likeness
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.frechet_judge import FrechetJudge, compute_inception_features
from metatalk_lib.evaluation.held_out import FinishedVideo, HeldOut
from metatalk_lib.metrics.frechet_distance import compute_frechet_distance
from metatalk_lib.metrics.image_quality import landmark_distance
from metatalk_lib.tracking.face_detector import FacePosition, face_width
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmark_predictor import load_landmark_predictor
from metatalk_lib.tracking.landmarks import MOUTH, LandmarkTrack, mouth_opening

MAX_BRIDGED_FRACTION = 0.1
"""Largest share of a finished video's frames without a detected face; their landmarks are interpolated and counted."""
LANDMARK_DISTANCE, LIKENESS = "mouth landmark distance, %", "likeness"


class Follower(NamedTuple):
    """The tracker that follows the face in all videos of one person alike.

    Attributes:
        detector: dlib, since what fits the face must not be the only thing that judges it; or MediaPipe, where dlib
            does not see the person.
        most_bridged: largest share of frames without a detected face.
    """

    detector: Literal["dlib", "mediapipe"] = "dlib"
    most_bridged: float = MAX_BRIDGED_FRACTION


@dataclass(frozen=True)
class FaceMeasures:
    """Measurements of one video's faces.

    Attributes:
        landmarks: (T, 68, 2) px, smoothed.
        raw_landmarks: (T, 68, 2) px, as predicted.
        bridged: number of frames without a detected face, whose landmarks are interpolated.
        features: (T, 128) features of the face network.
        frechet_features: (T, D) features of the Fréchet distance; the same array if the distance is FFD.
    """

    landmarks: Float[np.ndarray, "T 68 2"]
    raw_landmarks: Float[np.ndarray, "T 68 2"]
    bridged: int
    features: Float[np.ndarray, "T 128"]
    frechet_features: Float[np.ndarray, "T D"]

    @property
    def opening(self) -> Float[np.ndarray, " T"]:
        """Mouth opening, px."""
        return mouth_opening(self.landmarks)

    def at(self, order: Int[np.ndarray, " T2"]) -> "FaceMeasures":
        """Return the same measurements rearranged to other moments."""
        return replace(
            self,
            landmarks=self.landmarks[order],
            raw_landmarks=self.raw_landmarks[order],
            features=self.features[order],
            frechet_features=self.frechet_features[order],
        )


def check_follower(follower: Follower) -> Check:
    """Say what followed the faces, and that it is not the usual one where dlib did not see the original's."""
    if follower.detector == Follower().detector:
        return Check("faces followed by", "ok", follower.detector)
    advice = "dlib does not see this face, so that what fitted the lips judges them, too: compare methods, not people."
    return Check("faces followed by", "notice", follower.detector, advice)


def follow_face(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    *,
    frame_count: int,
    fps: Fraction,
    name: str | Path,
    face_position: FacePosition = "largest",
    follower: Follower | None = None,
) -> LandmarkTrack:
    """Track the landmarks of one face of a finished video, chosen by `face_position`; otherwise as `measure_faces`."""
    follower = follower or Follower()
    return track_landmarks(
        frames,
        frame_count=frame_count,
        fps=fps,
        face_position=face_position,
        max_missing_fraction=follower.most_bridged,
        predictor=load_landmark_predictor(follower.detector),
        name=name,
    )


def measure_faces(
    frames: Callable[[], Iterable[UInt8[np.ndarray, "H W 3"]]],
    judge: FrechetJudge,
    *,
    frame_count: int,
    fps: Fraction,
    name: str | Path,
    follower: Follower | None = None,
) -> FaceMeasures:
    """Measure the face of a video.

    Args:
        frames: function that returns the video's frames from the beginning, each time it is called.
        judge: judge of the Fréchet distance.
        frame_count: number of frames.
        fps: frame rate, Hz.
        name: name of the video in error messages.
        follower: what follows the face; dlib by default.

    Raises:
        DataError: the video cannot be read.
        FaceError: a face is detected in no frame, or in too few of them.
    """
    found = follow_face(frames(), frame_count=frame_count, fps=fps, name=name, follower=follower)
    features = compute_face_features(frames(), found.raw_landmarks)
    both = features if judge.inception is None else compute_inception_features(judge.inception, frames())
    return FaceMeasures(found.landmarks, found.raw_landmarks, int((~found.detected).sum()), features, both)


def measure_held_out_faces(
    held_out: HeldOut,
    controls: Mapping[str, FinishedVideo],
    videos: Mapping[str, FinishedVideo],
    judge: FrechetJudge,
    *,
    failures: Failures | None = None,
) -> tuple[FaceMeasures, dict[str, FaceMeasures], Follower]:
    """Measure the faces of the original and of finished videos, in the crop.

    dlib follows all of them, or, where it does not see the original, MediaPipe does. A finished video may miss the face
    in a tenth of the frames more than the original.

    Args:
        held_out: the frames to compare.
        controls: control videos from `controls.write_controls`; measured are the two that lip measures need, the
            re-encoded original and the one with a static mouth.
        videos: row name to video.
        judge: judge of the Fréchet distance.
        failures: where videos are recorded whose face is not found; None raises the first such error.

    Returns:
        Measures of the original; row name to measures for the two controls and the videos; what followed the faces.

    Raises:
        DataError, FaceError: as in `measure_faces`, or a video does not fit the held-out frames.
    """
    truth, follower = _measure_original(held_out, judge)
    followed = {name: controls[name] for name in (REENCODED, STATIC_FRAME)} | dict(videos)
    faces = {}
    for name, video in track(followed.items(), "following faces", total=len(followed), unit="video"):
        try:
            frames = partial(video.crops, held_out)
            faces[name] = measure_faces(
                frames, judge, frame_count=len(held_out), fps=held_out.fps, name=video.path, follower=follower
            )
        except FaceError as error:
            if failures is None or name not in videos:
                raise
            failures.add(name, "faces", error)
    return truth, faces, follower


def _measure_original(held_out: HeldOut, judge: FrechetJudge) -> tuple[FaceMeasures, Follower]:
    """Measure the original's faces, with the first detector that follows it."""
    unseen = float(1 - held_out.coefficients.valid.mean())  # stage 01 bridged these frames itself
    reasons = []
    detectors: tuple[Literal["dlib", "mediapipe"], ...] = ("dlib", "mediapipe")
    for detector in detectors:
        follower = Follower(detector, MAX_BRIDGED_FRACTION + unseen)
        try:
            truth = measure_faces(
                held_out.originals,
                judge,
                frame_count=len(held_out),
                fps=held_out.fps,
                name=held_out.source,
                follower=follower,
            )
        except FaceError as error:
            reasons.append(str(error))
            continue
        return truth, follower._replace(most_bridged=MAX_BRIDGED_FRACTION + truth.bridged / len(held_out))
    raise FaceError(
        f"the held-out tail of {held_out.source} shows the face in too few frames to judge anything ({reasons[-1]}). "
        "Cut the video's end off, or choose another held_out_seconds."
    )


def compare_faces(faces: Mapping[str, FaceMeasures], truth: FaceMeasures, judge: FrechetJudge) -> pd.DataFrame:
    """Compute landmark distance, likeness and Fréchet distance of videos to the original.

    Landmark distance is the mean over frames and the twenty mouth landmarks, in % of the original's face width; its
    ideal is 0. Likeness is the mean cosine of the face network's features; its ideal is 1. The Fréchet distance
    compares all frames together and ignores their order; its ideal is 0.

    Args:
        faces: row name to measures.
        truth: measures of the original.
        judge: judge that names the Fréchet distance.

    Raises:
        ParameterError: the videos differ in length.
    """
    width, rows = float(np.median(face_width(truth.landmarks))), []
    for name, face in faces.items():
        if len(face.landmarks) != len(truth.landmarks):
            raise ParameterError(
                f"compare_faces: `{name}` has {len(face.landmarks)} frames, the original {len(truth.landmarks)}."
            )
        rows.append(
            (
                100 * landmark_distance(face.landmarks[:, MOUTH], truth.landmarks[:, MOUTH]) / width,
                compute_likeness(face.features, truth.features),
                max(0.0, compute_frechet_distance(face.frechet_features, truth.frechet_features)),
            )
        )
    columns = [LANDMARK_DISTANCE, LIKENESS, judge.metric]
    return pd.DataFrame(rows, index=pd.Index(list(faces), name="video"), columns=columns)
