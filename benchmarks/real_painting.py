"""The held-out tail of a walked clip, painted from its own coefficients by our renderer and by AudioDVP's."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8

from metatalk_lib.baselines.audiodvp import paint_audiodvp_frames
from metatalk_lib.evaluation.cheats import BLURRED, blur_lower_face
from metatalk_lib.evaluation.controls import IMAGE_ORDER, find_order_failures
from metatalk_lib.evaluation.held_out import HeldOut, load_held_out
from metatalk_lib.evaluation.image_measures import IMAGE_METRICS, RIM_PER_SIDE, average_pictures
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.metrics.catalogue import is_better
from metatalk_lib.neural_renderer.generator import load_renderer
from metatalk_lib.neural_renderer.inspection import paint_pairs
from metatalk_lib.neural_renderer.reference_pairs import add_references
from metatalk_lib.neural_renderer.training_pairs import render_pairs
from metatalk_lib.talk.character import load_character

REAL, OURS, THEIRS = "real", "ours", "AudioDVP"
BAND_PX = 8
"""Distance from the face's outline up to which a pixel belongs to its band, px of the crop."""
WHOLE_CROP = "SSIM"
"""The measure of the whole crop, in which all methods are alike."""


@dataclass(frozen=True)
class Painting:
    """Measures of the tail painted from its own coefficients.

    Attributes:
        table: rows `REAL`, `OURS`, `THEIRS` and `cheats.BLURRED`; columns `image_measures.IMAGE_METRICS`.
        band: ours, mean absolute error in the band along the outline over that of the interior.
        smeared_band: the same where the band alone is blurred, a cheat.
        valid: measures whose controls are in order on this clip.
    """

    table: pd.DataFrame
    band: float
    smeared_band: float
    valid: tuple[str, ...]

    def lost(self, row: str) -> list[str]:
        """Valid measures in which a row is not better than AudioDVP's."""
        column = {name: self.table[name] for name in self.valid}
        return [name for name, values in column.items() if not is_better(name, values[row], values[THEIRS])]


def measure_painting(folder: Path) -> Painting:
    """Paint and measure the tail of a clip whose stages 01 to 06 are finished."""
    tail = load_held_out(
        folder / "01_crop" / "crop.json",
        folder / "03_reconstruction" / "coefficients.npz",
        folder / "01_crop" / "audio.wav",
        max_seconds=600.0,
    )
    model = load_face_model(tail.coefficients.face_model)
    real, masks = list(tail.originals()), list(tail.masks(model))
    ours, theirs = list(paint_ours(folder, tail)), list(paint_theirs(folder, tail))
    blurred = [blur_lower_face(original, mask, original) for original, mask in zip(real, masks, strict=True)]
    rows = (
        ([original, *others], original, mask)
        for original, mask, *others in zip(real, masks, ours, theirs, blurred, strict=True)
    )
    means = average_pictures(rows, 0, rim=RIM_PER_SIDE * tail.crop.size)
    table = pd.DataFrame(means, index=[REAL, OURS, THEIRS, BLURRED], columns=list(IMAGE_METRICS))
    faces = [render_face(model, tail.coefficients, row, tail.crop.size).mask for row in range(len(tail))]
    outlines = [near_outline(face) for face in faces]
    smeared = [
        np.where(outline[..., None], soft, own) for own, soft, outline in zip(ours, blurred, outlines, strict=True)
    ]
    ratios = [
        float(np.divide(*np.sum(list(map(compare_band, shown, real, faces, outlines, masks)), axis=0)))
        for shown in (ours, smeared)
    ]
    controls = pd.read_csv(folder / "06_evaluation" / "images.csv", index_col="video")
    valid = [name for name in IMAGE_ORDER if name != WHOLE_CROP and not find_order_failures(controls, name)]
    return Painting(table, *ratios, tuple(valid))


def near_outline(face: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Find the pixels within `BAND_PX` of a face's outline, on either side."""
    sides = (cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5) for side in (face, ~face))
    return np.asarray(sum(sides) <= BAND_PX)


def compare_band(
    painted: UInt8[np.ndarray, "H W 3"],
    original: UInt8[np.ndarray, "H W 3"],
    face: Bool[np.ndarray, "H W"],
    outline: Bool[np.ndarray, "H W"],
    mask: Bool[np.ndarray, "H W"],
) -> tuple[float, float]:
    """Compute the mean absolute error inside the mask, along the drawn face's outline and on the rest of the face."""
    error = cv2.absdiff(painted, original).mean(axis=2)
    return float(error[mask & outline].mean()), float(error[mask & face & ~outline].mean())


def paint_ours(folder: Path, tail: HeldOut) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """Paint the tail's crops as stage 05 does."""
    model, coefficients = load_face_model(tail.coefficients.face_model), load_character(folder).coefficients
    renderer = load_renderer(folder / "05_neural_renderer", model)
    roi, count = renderer.settings.roi, renderer.settings.references
    with tempfile.TemporaryDirectory() as work:
        numbered = zip(tail.frame_id.tolist(), tail.originals(), strict=True)
        pairs = render_pairs(model, coefficients, numbered, len(tail), roi, Path(work))
        pairs = add_references(
            model, coefficients, pairs, renderer.bank, count, Path(work),
            fits_surroundings=renderer.settings.fits_surroundings,
        )  # fmt: skip
        painted = paint_pairs(renderer, pairs)
    for original, paint in zip(tail.originals(), painted, strict=True):
        crop = original.copy()
        roi.cut(crop)[:] = paint
        yield crop


def paint_theirs(folder: Path, tail: HeldOut) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """Paint the tail's crops by the AudioDVP baseline of stage 06."""
    renderer = load_renderer(folder / "06_evaluation" / "audiodvp" / "renderer", load_face_model())
    frames = paint_audiodvp_frames(load_character(folder), renderer, tail.coefficients, tail.frame_id)
    return (tail.crop.crop_image(frame) for frame in frames)
