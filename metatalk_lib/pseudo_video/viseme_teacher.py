"""The lip-sync teacher: the person's face that seems to speak a synthetic sentence, in low definition.

The viseme teacher stands where the paper has Wav2Lip. It turns phonemes into expressions, draws the lower face of the
person's quick fit with them, and sews it into frames of the person's own video. What a later stage learns from it is
the pairing of sound and mouth, so the mouth must be found again by a landmark detector.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import Render, render_face
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.visemes import viseme_curves

FEATHER_PX = 6
"""Width of the seam between the drawn and the filmed face, px of the pseudo video."""
GAIN_RANGE = (0.6, 1.6)
"""How far the drawing's colours may be brought to the frame's, a factor."""
GAIN_SPREAD_PX = 20.0
"""Blur of the colour ratio along the seam, px (standard deviation)."""
GAIN_SPREAD_LOG = 0.25
"""Farthest that a seam pixel's logarithmic colour ratio may lie from their median to be taken for skin."""
GAIN_STEP_PX = 6
"""Grid on which the colour ratio is computed, px."""
DRAWING_VERSION = 1
"""Raise when the same arguments give other pictures, so that no old utterance is kept."""


class Spoken(NamedTuple):
    """What a teacher makes of an utterance.

    Attributes:
        frames: T pictures, drawn as they are read.
        expression: (T, 64) that the mouth follows; None from a teacher that paints without a face model.
    """

    frames: Iterable[UInt8[np.ndarray, "S S 3"]]
    expression: Float[np.ndarray, "T 64"] | None


@runtime_checkable
class Teacher(Protocol):
    """Anything that makes a filmed face speak.

    Attributes:
        name: how parameters call it.
        needs_phonemes: whether utterances must come with phonemes, or sound is enough.
    """

    name: str
    needs_phonemes: bool

    def speak(
        self,
        utterance: Utterance,
        fps: Fraction,
        frame_id: Int[np.ndarray, " T"],
        frames: Iterable[UInt8[np.ndarray, "S S 3"]],
    ) -> Spoken:
        """Let the face in `frames`, which are the source's frames `frame_id`, say the utterance."""
        ...

    def fingerprint(self, frame_id: Int[np.ndarray, " T"]) -> bytes:
        """What the pictures depend on beside the arguments of `speak`: a pair with another one is made again."""
        ...


class VisemeTeacher:
    """Phonemes to facial actions to expressions, drawn with the person's shape, texture and light.

    Args:
        model: the face model.
        coefficients: the person's quick fit, with texture and illumination.
        strength, jaw, lips, lead_s: style, as in `viseme_curves`.

    Source: paper sections 2.1 and 2.3 for the role; the teacher is original to this project.
    """

    name = "viseme"
    needs_phonemes = True

    def __init__(
        self,
        model: FaceModel,
        coefficients: Coefficients,
        *,
        strength: float = 1.0,
        jaw: float = 1.0,
        lips: float = 1.0,
        lead_s: float = 0.0,
    ) -> None:
        self.model = model
        self.coefficients = coefficients
        self.style = {"strength": strength, "jaw": jaw, "lips": lips, "lead_s": lead_s}

    def compute_expression(self, utterance: Utterance, fps: Fraction) -> Float[np.ndarray, "T 64"]:
        """Expressions of an utterance: viseme actions times the model's fixed matrix C (52, 64)."""
        actions = viseme_curves(utterance.speech.phonemes, utterance.frame_count, fps, **self.style)
        return actions @ self.model.actions_to_expression.cpu().numpy()

    def speak(
        self,
        utterance: Utterance,
        fps: Fraction,
        frame_id: Int[np.ndarray, " T"],
        frames: Iterable[UInt8[np.ndarray, "S S 3"]],
    ) -> Spoken:
        """Replace the expression in the fit of each frame and sew the drawn lower face into it."""
        expression = self.compute_expression(utterance, fps)
        speaking = _repose(self.coefficients, frame_id, expression)
        drawn = (
            sew_render(frame, render_face(self.model, speaking, row, frame.shape[0], region="lower"))
            for row, frame in enumerate(frames)
        )
        return Spoken(drawn, expression)

    def fingerprint(self, frame_id: Int[np.ndarray, " T"]) -> bytes:
        """The drawing's version, its seam, and the fit of the frames."""
        seam = (FEATHER_PX, GAIN_RANGE, GAIN_SPREAD_PX, GAIN_SPREAD_LOG, GAIN_STEP_PX)
        version = f"{self.name} {DRAWING_VERSION} {seam}".encode()
        return version + self.coefficients.select(np.unique(frame_id)).pack().tobytes()


def sew_render(frame: UInt8[np.ndarray, "S S 3"], render: Render) -> UInt8[np.ndarray, "S S 3"]:
    """Blend a drawn lower face into a frame: out = a render + (1 - a) frame.

    a falls from 1 to 0 within `FEATHER_PX` inside the drawn region, so that no pixel outside of it changes. The
    drawing is first brought to the frame's colours: by the ratio of both along the seam, spread smoothly inwards, so
    that the frame's own mouth has no part in it.

    Source: original to this project.
    """
    rows, columns = np.flatnonzero(render.mask.any(1)), np.flatnonzero(render.mask.any(0))
    if len(rows) == 0:
        return frame.copy()
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    weight = _feather(render.mask[part])
    filmed, drawn = frame[part].astype(np.float32), render.image[part].astype(np.float32)
    gain = _spread_gain(filmed, drawn, render.mask[part] & (weight < 0.9))
    blended = filmed + weight[..., None] * (drawn * gain - filmed)
    out = frame.copy()
    out[part] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return out


def _repose(
    coefficients: Coefficients, frame_id: Int[np.ndarray, " T"], expression: Float[np.ndarray, "T 64"]
) -> Coefficients:
    """Coefficients of an utterance, numbered from 0: pose and light of the background's frames, a new expression."""
    rows = np.searchsorted(coefficients.frame_id, frame_id)
    coefficients.select(np.unique(frame_id))  # refuses frames that were not fitted
    return Coefficients(
        frame_id=np.arange(len(frame_id), dtype=np.int64),
        identity=coefficients.identity,
        texture=coefficients.texture,
        expression=expression.astype(np.float32),
        illumination=coefficients.illumination[rows],
        rotation=coefficients.rotation[rows],
        translation=coefficients.translation[rows],
        valid=coefficients.valid[rows],
        landmark_error_px=coefficients.landmark_error_px[rows],
    )


def _spread_gain(
    filmed: Float[np.ndarray, "H W 3"], drawn: Float[np.ndarray, "H W 3"], seam: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W 3"]:
    """Ratio of the local means of both pictures over the seam's skin: blur(skin filmed) / blur(skin drawn)."""
    height, width = seam.shape
    coarse = (max(width // GAIN_STEP_PX, 1), max(height // GAIN_STEP_PX, 1))
    ratio = np.log(np.maximum(filmed, 1.0) / np.maximum(drawn, 1.0))
    # Where the drawn jaw reaches over the filmed one, the seam shows background: no measure of the skin's colour.
    skin = seam & (np.abs(ratio - np.median(ratio[seam], axis=0)).max(2) < GAIN_SPREAD_LOG)
    means = []
    for picture in (filmed, drawn):
        small = cv2.resize(picture * skin[..., None], coarse, interpolation=cv2.INTER_AREA)
        # The flat term keeps the far inside defined: there the ratio becomes that of the whole seam.
        means.append(cv2.GaussianBlur(small, (0, 0), GAIN_SPREAD_PX / GAIN_STEP_PX) + 1e-3 * small.mean((0, 1)))
    gain = means[0] / np.maximum(means[1], 1e-4)
    return cv2.resize(np.clip(gain, *GAIN_RANGE), (width, height), interpolation=cv2.INTER_LINEAR)


def _feather(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """1 inside, 0 at and outside the border, smooth between; never positive outside the mask."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return smooth_step(0.5, 0.5 + FEATHER_PX, distance).astype(np.float32)
