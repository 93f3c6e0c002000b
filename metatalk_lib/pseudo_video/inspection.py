"""Inspection of the pseudo video: whether a landmark detector finds the mouth that the teacher drew."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.findings import Check, judge
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.video import read_frames
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.pseudo_video.pairs import load_taught
from metatalk_lib.pseudo_video.refit import lip_opening_mm
from metatalk_lib.speech.synthesis import Phoneme
from metatalk_lib.speech.visemes import viseme_at
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import mouth_opening

MOUTH_MARGIN = 1.6
"""Side of a mouth picture, in mouth widths."""


ASKED_STRENGTH = 0.8
"""Strength of a teacher below which its mouth moves too little to be found again."""


class Openings(NamedTuple):
    """Mouth opening in one clip of the pseudo video.

    Attributes:
        taught_mm: (T,) opening of the face model under the teacher's expressions, mm; NaN if the teacher gives none.
        detected_px: (T,) opening between detected landmarks in the video, px.
        detected_fraction: share of frames in which a face was found.
        correlation: Pearson correlation of both curves; higher is better, 1 is ideal. None if `taught_mm` is unknown.
    """

    taught_mm: Float[np.ndarray, " T"]
    detected_px: Float[np.ndarray, " T"]
    detected_fraction: float
    correlation: float | None


class Mouths(NamedTuple):
    """Close-ups of the mouth in one clip.

    Attributes:
        images: (K, M, M, 3) squares around the mouth.
        frames: (K,) frame numbers in the clip.
        labels: visemes at these frames; empty if the utterance has no phonemes.
    """

    images: UInt8[np.ndarray, "K M M 3"]
    frames: Int[np.ndarray, " K"]
    labels: tuple[str, ...]


def compare_openings(model: FaceModel, identity: Float[np.ndarray, "80"], description_path: Path) -> Openings:
    """Detect the mouth in a finished clip and compare its opening with the drawn one.

    Args:
        model: the face model.
        identity: fitted identity of the person.
        description_path: `pairs/NNN.json`.

    Raises:
        DataError: a file of the pair is missing, or the clip shows no face.
    """
    description = load_json(description_path)
    expression, count = load_taught(description_path.with_suffix(".npz")), int(description["frame_count"])
    found = track_landmarks(
        read_frames(description_path.with_suffix(".mp4")),
        frame_count=count,
        fps=Fraction(*description["fps"]),
        face_position="largest",
        max_missing_fraction=0.5,
        name=description_path.with_suffix(".mp4"),
    )
    detected, share = mouth_opening(found.landmarks), float(found.detected.mean())
    if expression is None:
        return Openings(np.full(count, np.nan), detected, share, None)
    taught = lip_opening_mm(model, identity, expression)
    return Openings(taught, detected, share, relate_curves(detected, taught)[0])


def check_openings(openings: Openings, *, strength: float) -> list[Check]:
    """Compare with what is usual: is the drawn mouth seen in the pseudo video, and does it say what it was taught.

    Args:
        openings: from `compare_openings`.
        strength: the teacher's strength; a teacher that hardly moves the mouth is not asked.
    """
    sheet = "Look at the mouths above: light, blur, a covered mouth?"
    checks = [
        judge("face in the pseudo video", openings.detected_fraction, at_least=0.95, unit="%", advice=f"{sheet} Go on.")
    ]
    if openings.correlation is not None and strength >= ASKED_STRENGTH:
        advice = f"{sheet} The person's lips will be learnt less exactly."
        checks.append(judge("taught mouth found again, r", openings.correlation, at_least=0.8, advice=advice))
    return checks


def cut_pseudo_mouths(
    description_path: Path, coefficients: Coefficients, landmarks: Float[np.ndarray, "F 68 2"], *, count: int
) -> Mouths:
    """Cut the mouth out of evenly spread frames of a finished clip.

    Args:
        description_path: `pairs/NNN.json`.
        coefficients: quick fit of the person, whose frame numbers are used.
        landmarks: landmarks of the source frames, px of the pseudo video, in the order of `coefficients`.
        count: number of frames K.

    Raises:
        DataError: a file of the pair is missing.
    """
    description = load_json(description_path)
    frames = list(read_frames(description_path.with_suffix(".mp4")))
    picked = np.linspace(0, len(frames) - 1, count).round().astype(np.int64)
    rows = np.searchsorted(coefficients.frame_id, np.array(description["frame_id"])[picked])
    mouths = landmarks[rows, 48:68]
    half = max(8, round(float(MOUTH_MARGIN * np.median(np.ptp(mouths[..., 0], axis=1)) / 2)))
    images = [_cut_square(frames[i], points.mean(0), half) for i, points in zip(picked, mouths, strict=True)]
    fps = description["fps"][0] / description["fps"][1]
    phonemes = [Phoneme(p["symbol"], p["start_s"], p["end_s"]) for p in description["phonemes"]]
    labels = tuple(viseme_at(phonemes, i / fps) if phonemes else "" for i in picked)
    return Mouths(np.stack(images), picked, labels)


def _cut_square(
    frame: UInt8[np.ndarray, "H W 3"], centre: Float[np.ndarray, "2"], half: int
) -> UInt8[np.ndarray, "M M 3"]:
    column, row = np.round(centre).astype(int)
    rows = np.clip(np.arange(row - half, row + half), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(column - half, column + half), 0, frame.shape[1] - 1)
    return frame[rows[:, None], columns]
