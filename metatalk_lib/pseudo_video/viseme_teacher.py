"""The lip-sync teacher, which makes the person's face appear to speak a sentence, in low resolution.

The viseme teacher takes the place of the paper's Wav2Lip. It turns phonemes into expressions, renders the lower face of
the person's quick fit with them, and blends it into frames of the person's own video. Later stages learn the relation
of sound and mouth from it, so a landmark detector must be able to find the mouth.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.face3d.coefficients import Coefficients, repose
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import Render, render_face
from metatalk_lib.face3d.feathering import feather_mask
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.visemes import viseme_curves

FEATHER_PX = 6
"""Width of the blend between the drawn and the filmed face, px of the pseudo video."""
GAIN_RANGE = (0.6, 1.6)
"""Range of the gain that matches the drawing's colours to the frame's."""
GAIN_SPREAD_PX = 20.0
"""Standard deviation of the blur of the colour ratio along the seam, px."""
GAIN_SPREAD_LOG = 0.25
"""Largest distance of a seam pixel's logarithmic colour ratio from the median for it to count as skin."""
GAIN_STEP_PX = 6
"""Spacing of the grid on which the colour ratio is computed, px."""
DRAWING_VERSION = 1
"""Version of the drawing code; raise it when the pictures change, so that old utterances are not reused."""


class Spoken(NamedTuple):
    """Result of a teacher for one utterance.

    Attributes:
        frames: T pictures, drawn lazily.
        expression: (T, 64) expression of each frame; None if the teacher uses no face model.
    """

    frames: Iterable[UInt8[np.ndarray, "S S 3"]]
    expression: Float[np.ndarray, "T 64"] | None


@runtime_checkable
class Teacher(Protocol):
    """Interface of the lip-sync teachers, which make a filmed face speak.

    Attributes:
        name: name of the teacher in the parameters.
        needs_phonemes: whether utterances must have phonemes; if False, the sound is enough.
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
        """Make the face in `frames` say the utterance; `frame_id` are their numbers in the source video."""
        ...

    def fingerprint(self, frame_id: Int[np.ndarray, " T"]) -> bytes:
        """Return everything besides the arguments of `speak` that the pictures depend on; a change remakes a pair."""
        ...


class VisemeTeacher:
    """Teacher that turns phonemes into actions and expressions, drawn with the person's shape, texture and light.

    Args:
        model: the face model.
        coefficients: the person's quick fit, with texture and illumination.
        strength, jaw, lips, lead_s: style parameters of `viseme_curves`.

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
        """Compute the expressions of an utterance: viseme actions times the model's fixed matrix C (52, 64)."""
        actions = viseme_curves(utterance.speech.phonemes, utterance.frame_count, fps, **self.style)
        return actions @ self.model.actions_to_expression.cpu().numpy()

    def speak(
        self,
        utterance: Utterance,
        fps: Fraction,
        frame_id: Int[np.ndarray, " T"],
        frames: Iterable[UInt8[np.ndarray, "S S 3"]],
    ) -> Spoken:
        """Replace the expression in the fit of each frame and blend the drawn lower face into the frame."""
        expression = self.compute_expression(utterance, fps)
        speaking = repose(self.coefficients, frame_id, expression)
        drawn = (
            sew_render(frame, render_face(self.model, speaking, row, frame.shape[0], region="lower"))
            for row, frame in enumerate(frames)
        )
        return Spoken(drawn, expression)

    def fingerprint(self, frame_id: Int[np.ndarray, " T"]) -> bytes:
        """Return version and blend width of the drawing, and the fit of the frames."""
        seam = (FEATHER_PX, GAIN_RANGE, GAIN_SPREAD_PX, GAIN_SPREAD_LOG, GAIN_STEP_PX)
        version = f"{self.name} {DRAWING_VERSION} {seam}".encode()
        return version + self.coefficients.select(np.unique(frame_id)).pack().tobytes()


def sew_render(frame: UInt8[np.ndarray, "S S 3"], render: Render) -> UInt8[np.ndarray, "S S 3"]:
    """Blend a drawn lower face into a frame: out = a render + (1 - a) frame.

    a falls from 1 to 0 within `FEATHER_PX` inside the drawn region, so no pixel outside it changes. The colours of the
    drawing are first matched to the frame's by their ratio along the seam, extended smoothly inwards, so the frame's
    own mouth does not affect them.

    Source: original to this project.
    """
    rows, columns = np.flatnonzero(render.mask.any(1)), np.flatnonzero(render.mask.any(0))
    if len(rows) == 0:
        return frame.copy()
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    weight = feather_mask(render.mask[part], FEATHER_PX, start_px=0.5, mask_size=3, is_border_edge=True)
    filmed, drawn = frame[part].astype(np.float32), render.image[part].astype(np.float32)
    gain = _spread_gain(filmed, drawn, render.mask[part] & (weight < 0.9))
    blended = filmed + weight[..., None] * (drawn * gain - filmed)
    out = frame.copy()
    out[part] = np.clip(np.rint(blended), 0, 255).astype(np.uint8)
    return out


def _spread_gain(
    filmed: Float[np.ndarray, "H W 3"], drawn: Float[np.ndarray, "H W 3"], seam: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W 3"]:
    """Compute the ratio of local means of both pictures over the seam's skin: blur(skin filmed) / blur(skin drawn)."""
    height, width = seam.shape
    coarse = (max(width // GAIN_STEP_PX, 1), max(height // GAIN_STEP_PX, 1))
    ratio = np.log(np.maximum(filmed, 1.0) / np.maximum(drawn, 1.0))
    # Where the drawn jaw extends beyond the filmed one, the seam shows background, not skin.
    skin = seam & (np.abs(ratio - np.median(ratio[seam], axis=0)).max(2) < GAIN_SPREAD_LOG)
    means = []
    for picture in (filmed, drawn):
        small = cv2.resize(picture * skin[..., None], coarse, interpolation=cv2.INTER_AREA)
        # The constant term keeps the ratio defined far inside, where it becomes that of the whole seam.
        means.append(cv2.GaussianBlur(small, (0, 0), GAIN_SPREAD_PX / GAIN_STEP_PX) + 1e-3 * small.mean((0, 1)))
    gain = means[0] / np.maximum(means[1], 1e-4)
    return cv2.resize(np.clip(gain, *GAIN_RANGE), (width, height), interpolation=cv2.INTER_LINEAR)
