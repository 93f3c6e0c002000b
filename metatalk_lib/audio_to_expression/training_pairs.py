"""Training data of A2E: the sound of each pseudo utterance and the expressions fitted to its video, joined by frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.audio import read_audio, to_mono_16k
from metatalk_lib.metrics.correlation import correlation
from metatalk_lib.pseudo_video.pairs import list_pairs, load_taught
from metatalk_lib.reconstruction.lip_curves import compute_lip_curves
from metatalk_lib.speech.mfcc import compute_mfcc_blocks
from metatalk_lib.speech.silence import find_silence


@dataclass(frozen=True)
class PseudoPair:
    """One utterance of the pseudo video.

    Attributes:
        name: stem of the utterance's files, such as `000`.
        text: text of the utterance.
        fps: frame rate of the video, Hz.
        samples: (S,) audio samples, 16 kHz mono.
        mfcc: (T, 28, 12) AT-net's blocks.
        silence: (T,) whether a frame is silent.
        expression: (T, 64) expression fitted to the video; zeros for frames without a fit, which are not `valid`.
        valid: (T,) whether the fit is trusted.
        taught: (T, 64) expression that the teacher drew; None if the teacher gives no expressions.
        identity: (80,) fitted identity of the person.
        face_model: name of the face model that `expression` and `identity` belong to.
    """

    name: str
    text: str
    fps: Fraction
    samples: Float[np.ndarray, " S"]
    mfcc: Float[np.ndarray, "T 28 12"]
    silence: Bool[np.ndarray, " T"]
    expression: Float[np.ndarray, "T 64"]
    valid: Bool[np.ndarray, " T"]
    taught: Float[np.ndarray, "T 64"] | None
    identity: Float[np.ndarray, " 80"]
    face_model: str


def load_pair(description_path: Path, sound_path: Path, taught_path: Path, fit_path: Path) -> PseudoPair:
    """Read one utterance and join sound and fit by frame number; a frame without a fit counts as not valid.

    Args:
        description_path: `02_pseudo_video/pairs/NNN.json`.
        sound_path: `02_pseudo_video/pairs/NNN.wav`.
        taught_path: `02_pseudo_video/pairs/NNN.npz`.
        fit_path: `03_reconstruction/pseudo/NNN.npz`.

    Raises:
        DataError: a file is missing or damaged, or the fit has frames that the utterance lacks.
    """
    description = load_json(description_path)
    fps, frame_count = Fraction(*description["fps"]), int(description["frame_count"])
    fit = Coefficients.load(fit_path)
    taught = load_taught(taught_path)
    taught_frames = frame_count if taught is None else len(taught)
    if taught_frames != frame_count or fit.frame_id[0] < 0 or fit.frame_id[-1] >= frame_count:
        raise DataError(
            f"{fit_path} has frames {fit.frame_id[0]} to {fit.frame_id[-1]} and {taught_path} has {taught_frames}, but "
            f"the utterance has {frame_count}. Run 02_pseudo_video and 03_reconstruction again."
        )
    expression, valid = np.zeros((frame_count, fit.expression.shape[1]), np.float32), np.zeros(frame_count, bool)
    expression[fit.frame_id], valid[fit.frame_id] = fit.expression, fit.valid
    samples = to_mono_16k(read_audio(sound_path))
    return PseudoPair(
        name=description_path.stem,
        text=description["text"],
        fps=fps,
        samples=samples,
        mfcc=compute_mfcc_blocks(samples, frame_count, fps),
        silence=find_silence(samples, frame_count, fps),
        expression=expression,
        valid=valid,
        taught=taught,
        identity=fit.identity,
        face_model=fit.face_model,
    )


def load_pairs(taught_dir: Path, fits_dir: Path, *, record: Callable[[Path], Path] = Path) -> list[PseudoPair]:
    """Load all utterances of a character in order.

    Args:
        taught_dir: the folder `pairs` of stage 02.
        fits_dir: the folder `pseudo` of stage 03.
        record: is called with the first folder and with every file that is read, such as `Stage.external_input`.

    Raises:
        DataError: an utterance is missing or damaged.
    """
    return [
        load_pair(
            record(taught_dir / f"{path.stem}.json"),
            record(taught_dir / f"{path.stem}.wav"),
            record(taught_dir / f"{path.stem}.npz"),
            record(fits_dir / f"{path.stem}.npz"),
        )
        for path in list_pairs(record(taught_dir))
    ]


def describe_pairs(model: FaceModel, taught_model: FaceModel, pairs: Sequence[PseudoPair]) -> list[dict]:
    """Describe each utterance: number of frames, and agreement of the fitted mouth opening with the teacher's.

    Args:
        model: the face model of the fits.
        taught_model: face model of the teacher.
        pairs: from `load_pairs`.

    Returns:
        Rows with `utterance`, `frames`, `not valid`, `silent`, `teacher r` (correlation over valid frames; None if the
        teacher gives no expressions) and `text`.
    """
    return [
        {
            "utterance": pair.name,
            "frames": len(pair.valid),
            "not valid": int((~pair.valid).sum()),
            "silent": int(pair.silence.sum()),
            "teacher r": _relate_to_teacher(model, taught_model, pair),
            "text": pair.text,
        }
        for pair in pairs
    ]


def mean_teacher_correlation(rows: Sequence[dict]) -> float | None:
    """Compute the mean of the known `teacher r` in rows of `describe_pairs`; None if none is known."""
    known = [row["teacher r"] for row in rows if row["teacher r"] is not None]
    return float(np.mean(known)) if known else None


def _relate_to_teacher(model: FaceModel, taught_model: FaceModel, pair: PseudoPair) -> float | None:
    if pair.taught is None:
        return None
    fitted = compute_lip_curves(model, pair.identity, pair.expression[pair.valid])
    # on the mean face: a person's shape changes the scale of the curve but hardly its course
    taught = compute_lip_curves(taught_model, np.zeros(80), pair.taught[pair.valid])
    return correlation(fitted.opening_mm, taught.opening_mm)
