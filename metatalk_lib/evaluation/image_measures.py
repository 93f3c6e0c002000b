"""Evaluation protocol: the frames, regions and measures that are the same for every method, with controls and cheats.

Methods are compared on the held-out tail, on which no stage trained, driven by its own audio; frame i of a finished
video belongs to frame_id held_out_start + i of the source. Images are compared in the crop at the source's resolution:
inside the lower-face mask that the renderer paints, and over the whole crop. Lips are compared by the mouth opening,
measured by landmarks on the decoded video.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8

from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.parallel import CORES, map_ahead, read_ahead
from metatalk_lib.core.progress import track
from metatalk_lib.evaluation.cheats import CHEATS, PASS_THROUGH, make_cheat
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED, STATIC_FRAME, compute_sync_controls
from metatalk_lib.evaluation.held_out import FinishedVideo, HeldOut
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.metrics import image_quality
from metatalk_lib.metrics.cw_ssim import cw_ssim
from metatalk_lib.metrics.mouth_opening_sync import SyncScore, compute_sync
from metatalk_lib.tracking.landmarks import LandmarkTrack, mouth_opening

FLICKER = "flicker ratio"
IMAGE_METRICS = ("SSIM in mask", "SSIM", "PSNR in mask, dB", "sharpness ratio in mask", "CW-SSIM in mask", FLICKER)
"""Image measures; their ideal values are 1, 1, infinity, 1, 1, 1.

`SSIM` is over the whole crop; both are Wang et al.'s Gaussian SSIM and, like sharpness, means over frames. PSNR is from
the squared error over all frames. Sharpness excludes the mask's rim, where a seam counts as detail. Flicker is squared
change between frames in the mask over the original's. PSNR exposes a flat grey patch, SSIM little: skin is smooth.
CW-SSIM forgives a shift of a pixel, but not blur; SSIM the other way round."""
SSIM_METRICS = ("SSIM", "SSIM uniform", "SSIM zero-padded")
"""The three variants of `image_quality.SsimVariant`, in the same order."""
RIM_PER_SIDE = 1 / 16
"""Width of the mask's rim excluded from sharpness, in units of the crop's side; the seams of all methods lie in it."""
SYNC_METRICS = ("opening r", "opening r, best lag", "best lag, frames", "envelope r")
"""Open synchrony measures; none of them is LSE."""
OPEN_METRICS = ("SSIM in mask", "PSNR in mask, dB", "sharpness ratio in mask", "CW-SSIM in mask", *SYNC_METRICS)
LEAST_FLICKER = 1e-9
"""Lower limit of the original's flicker, which keeps the ratio finite if the original stands still."""
VERDICT_SECONDS = 2.8
"""Clip length from which controls must be in order, s; a video of 3 s may lack some frames."""
ENVELOPE_VERDICT_SECONDS = 9.8
"""The same limit for the envelope measure, which is weaker, s; a video of 10 s may lack some frames."""


@dataclass(frozen=True)
class References:
    """Reference curves of the mouth opening.

    Attributes:
        measured: opening measured on the original video, px.
        reference: true opening if it is known, else `measured`, px.
        kind: `true` or `measured on the original`.
    """

    measured: Float[np.ndarray, " T"]
    reference: Float[np.ndarray, " T"]
    kind: str


def measure_images(held_out: HeldOut, model: FaceModel, videos: Mapping[str, FinishedVideo]) -> pd.DataFrame:
    """Compute the image measures of every video, with the cheat rows above them.

    Args:
        held_out: the frames to compare.
        model: face model that determines the mask.
        videos: row name to video, including those of `controls.write_controls`.

    Returns:
        Rows: pass-through and cheats (uncompressed), then the videos; columns: `IMAGE_METRICS` over the frames.

    Raises:
        DataError: a video does not fit the held-out frames.
        ParameterError: a row name is already used by a cheat.

    Source: Original to this project; the paper does not state its protocol.
    """
    taken = sorted(set(videos) & set(CHEATS))
    if taken:
        raise ParameterError(f"measure_images: `{taken[0]}` is a control row already. Name the video otherwise.")
    names = [*CHEATS, *videos]
    streams = [video.crops(held_out) for video in videos.values()]
    first = next(held_out.originals())
    together = zip(held_out.originals(), held_out.masks(model), *streams, strict=True)
    rows = (
        ([*(make_cheat(name, original, mask, first) for name in CHEATS), *frames], original, mask)
        for original, mask, *frames in track(together, "comparing", total=len(held_out))
    )
    means = average_pictures(rows, names.index(PASS_THROUGH), rim=RIM_PER_SIDE * held_out.crop.size)
    return pd.DataFrame(means, index=pd.Index(names, name="video"), columns=list(IMAGE_METRICS))


def average_pictures(
    rows: Iterable[tuple[list[np.ndarray], np.ndarray, np.ndarray]], truth: int, *, rim: float
) -> Float[np.ndarray, "N 6"]:
    """Compute `IMAGE_METRICS` of pictures over all frames.

    Args:
        rows: for every moment, the N pictures, the original and the mask.
        truth: position of the original among the pictures.
        rim: width of the mask's rim excluded from sharpness, px.

    Raises:
        ParameterError: sizes differ, or a mask is empty or consists of rim only.
    """
    figures, previous = [], None
    for shown, original, mask in read_ahead(rows, depth=1):
        measure = partial(_measure_picture, original=original, mask=mask, inside=_inside(mask, rim))
        # the first moment has no predecessor and is compared with itself
        figures.append(list(map_ahead(measure, zip(shown, previous or shown, strict=True), CORES)))
        previous = shown
    means, energies = np.mean(figures, axis=0)[:, :-1], np.sum(figures, axis=0)[:, -1]
    means[:, 2] = [image_quality.to_psnr(mean_square) for mean_square in means[:, 2].tolist()]
    return np.column_stack([means, energies / max(energies[truth], LEAST_FLICKER)])


def _measure_picture(
    pair: tuple[np.ndarray, np.ndarray], original: np.ndarray, mask: np.ndarray, inside: np.ndarray
) -> tuple[float, ...]:
    """Return `measure_frame` of a picture, and its flicker relative to the previous one."""
    picture, before = pair
    return *measure_frame(picture, original, mask, inside), image_quality.flicker_energy(picture, before, mask)


def measure_frame(
    frame: UInt8[np.ndarray, "H W 3"],
    original: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    inside: Bool[np.ndarray, "H W"],
) -> tuple[float, float, float, float, float]:
    """Compute SSIM in mask, SSIM, mean squared error in mask, sharpness ratio inside, and CW-SSIM in mask of one frame.

    Args:
        frame: the image to judge, RGB.
        original: the true image, RGB.
        mask: the painted region.
        inside: the mask without its rim.

    Raises:
        ParameterError: sizes differ.
    """
    values = image_quality.ssim_map(frame, original)
    half = image_quality.GAUSSIAN_SIZE_PX // 2
    return (
        float(values[mask].mean()),
        float(values[half:-half, half:-half].mean()),
        float(np.mean((frame[mask].astype(np.float64) - original[mask]) ** 2)),
        image_quality.sharpness_ratio(frame, original, mask=inside),
        cw_ssim(frame, original, mask=mask),
    )


def measure_ssim_variants(held_out: HeldOut, videos: Mapping[str, FinishedVideo], gaussian: pd.Series) -> pd.DataFrame:
    """Compute SSIM over the whole crop in the three common variants, which often differ by more than methods do.

    Args:
        held_out: the frames to compare, at the crop's size.
        videos: row name to video.
        gaussian: row name to the column `SSIM` of `measure_images`, which is not computed again.

    Returns:
        Rows: the original, then the videos; columns `SSIM_METRICS`: Wang et al.'s window (used in every other table),
        scikit-image's default and pytorch_ssim's, means over the frames.
    """
    _, *others = get_args(image_quality.SsimVariant)

    def measure(pair: tuple[np.ndarray, np.ndarray]) -> list[float]:
        return [image_quality.ssim(*pair, variant=variant) for variant in others]

    shown: dict[str, Callable[[], Iterator[np.ndarray]]] = {GROUND_TRUTH: held_out.originals}
    shown |= {name: partial(video.crops, held_out) for name, video in videos.items()}
    rows = {}
    for name, read in track(shown.items(), "telling SSIM's variants", unit="video"):
        pairs = zip(read(), held_out.originals(), strict=True)
        rows[name] = [gaussian[name], *np.mean(list(map_ahead(measure, pairs, CORES)), axis=0)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(SSIM_METRICS)).rename_axis("video")


def load_references(held_out: HeldOut, landmarks_path: Path) -> References:
    """Load the reference mouth openings, joined on frame_id.

    A studio character's true opening is in `truth.npz` beside its source; a real person's is measured on the original.

    Args:
        held_out: the frames to compare.
        landmarks_path: `01_crop/landmarks.npz`.

    Raises:
        DataError: a file lacks one of the frames.
    """
    original = LandmarkTrack.load(landmarks_path)
    measured = pick_rows(original.frame_id, mouth_opening(original.landmarks), held_out.frame_id, landmarks_path)
    truth_path = held_out.source.parent / "truth.npz"
    if not truth_path.is_file():
        return References(measured, measured, "measured on the original")
    truth = load_arrays(truth_path, "frame_id", "mouth_opening_px")
    return References(
        measured, pick_rows(truth["frame_id"], truth["mouth_opening_px"], held_out.frame_id, truth_path), "true"
    )


def measure_sync(
    held_out: HeldOut, references: References, openings: Mapping[str, Float[np.ndarray, " T"]]
) -> tuple[pd.DataFrame, dict[str, dict[str, SyncScore]]]:
    """Compute the open synchrony measures of every video, with the control rows above them.

    Args:
        held_out: the frames to compare.
        references: reference curves of the mouth opening.
        openings: row name to mouth opening, px; it must include the re-encoded original and the static mouth.

    Returns:
        Rows: controls, then the other videos; columns `SYNC_METRICS`; and the controls' scores by measure
        (`opening`, `envelope`), for `find_control_failures`.

    Raises:
        ParameterError: a control video is missing.
    """
    missing = sorted({REENCODED, STATIC_FRAME} - set(openings))
    if missing:
        raise ParameterError(f"measure_sync: the control `{missing[0]}` was not measured. Use write_controls.")
    curves = {"opening": references.reference, "envelope": held_out.envelope()}
    controls = {
        name: compute_sync_controls(
            references.measured,
            curve,
            reencoded_opening=openings[REENCODED],
            static_opening=openings[STATIC_FRAME],
        )
        for name, curve in curves.items()
    }
    rows = {name: (score, controls["envelope"][name]) for name, score in controls["opening"].items()}
    for name, opening in openings.items():
        if name not in (REENCODED, *CONTROL_ROWS):
            rows[name] = (compute_sync(opening, curves["opening"]), compute_sync(opening, curves["envelope"]))
    values = [(a.correlation, a.best_correlation, a.best_lag, b.correlation) for a, b in rows.values()]
    return pd.DataFrame(values, index=pd.Index(list(rows), name="video"), columns=list(SYNC_METRICS)), controls


def collect_scores(
    names: Sequence[str], *measured: pd.DataFrame, may_lack: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """Map method to metric to value from the rows of several tables; infinite values (an exact copy) are left out.

    Args:
        names: rows to take.
        measured: tables such as those of `measure_images`, `measure_sync` and `face_measures.compare_faces`.
        may_lack: rows that a table may lack, such as methods that failed.

    Raises:
        ParameterError: a table lacks a row.
    """
    scores: dict[str, dict[str, float]] = {name: {} for name in names}
    for table in measured:
        found = [name for name in names if name in table.index]
        missing = [name for name in names if name not in found and name not in may_lack]
        if missing:
            raise ParameterError(f"collect_scores: no row `{missing[0]}`. There are: {', '.join(table.index)}.")
        for name in found:
            row = table.loc[name].to_dict()
            scores[name] |= {metric: float(value) for metric, value in row.items() if np.isfinite(value)}
    return scores


def _inside(mask: np.ndarray, rim: float) -> np.ndarray:
    width = max(1, round(rim))
    inside = cv2.erode(mask.astype(np.uint8), np.ones((2 * width + 1,) * 2, np.uint8)) > 0
    if not inside.any():
        raise ParameterError(f"image measures: the mask is empty or narrower than {2 * width + 1} px.")
    return inside


def square_about(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the smallest square around a mask, moved and cut to lie inside the picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    side = min(max(np.ptp(rows), np.ptp(columns)) + 1, *mask.shape)
    top = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, mask.shape[0] - side))
    left = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, mask.shape[1] - side))
    return slice(top, top + int(side)), slice(left, left + int(side))


def pick_rows(frame_id: np.ndarray, values: np.ndarray, wanted: np.ndarray, path: Path) -> np.ndarray:
    """Pick the rows of the wanted frames, as float64.

    Raises:
        DataError: a wanted frame is missing; `path` says where.
    """
    position = {int(number): row for row, number in enumerate(frame_id)}
    missing = [int(number) for number in wanted if int(number) not in position]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(wanted)} held-out frames, first {missing[0]}. Run 01 again."
        )
    return values[[position[int(number)] for number in wanted]].astype(np.float64)
