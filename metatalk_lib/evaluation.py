"""The evaluation protocol: what is compared where, for every method alike, with controls and cheats beside it.

Compared are the frames of the held-out tail, which no stage trained on, driven by the tail's own audio; frame i of a
finished video belongs to frame_id held_out_start + i of the source. Images are compared in the crop at the source's own
definition: inside the lower-face mask that the renderer paints, and over the whole crop. Lips are compared by the mouth
opening, measured by landmarks on the decoded video.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8

from metatalk_lib import metrics
from metatalk_lib.artifacts import load_arrays, load_json
from metatalk_lib.controls import CHEATS, STATIC_MOUTH, make_cheat
from metatalk_lib.errors import DataError, FaceError, ParameterError
from metatalk_lib.face_model import FaceModel
from metatalk_lib.held_out import FinishedVideo, HeldOut
from metatalk_lib.landmarks import LandmarkTrack, mouth_opening, track_landmarks
from metatalk_lib.progress import track
from metatalk_lib.renderer_data import dilated_mask
from metatalk_lib.sync import REENCODED, SyncScore, compute_sync, compute_sync_controls
from metatalk_lib.video import write_video

IMAGE_METRICS = ("SSIM in mask", "SSIM", "PSNR in mask, dB", "sharpness ratio in mask")
"""`SSIM` is over the whole crop; both are Wang et al.'s Gaussian SSIM and, like sharpness, means over frames. PSNR is
that of the squared error over all frames. Sharpness leaves the mask's rim out, where a visible seam would count as
detail.
Ideal: 1, 1, infinity, 1. A flat grey patch keeps much of SSIM in mask (skin is smooth too) and is told by PSNR."""
RIM_PER_SIDE = 1 / 16
"""Width of the mask's rim that sharpness leaves out, in units of the crop's side; seams of all methods lie in it."""
SYNC_METRICS = ("opening r", "opening r, best lag", "best lag, frames", "envelope r")
"""Open sync measures; none is LSE."""
OPEN_METRICS = ("SSIM in mask", "PSNR in mask, dB", "sharpness ratio in mask", *SYNC_METRICS)
MAX_BRIDGED_FRACTION = 0.1
"""Most frames of a finished video in which the mouth may go unseen and be interpolated, and counted."""
OPENING_MIN_FRAMES = 75
"""From this length the controls of the opening measure must come out in order: 3 s at 25 fps."""
ENVELOPE_MIN_FRAMES = 250
"""The same for the envelope measure, which is weaker: 10 s at 25 fps."""


@dataclass(frozen=True)
class Opening:
    """A mouth-opening curve.

    Attributes:
        values: (T,) px.
        bridged: frames without a detected face, which were interpolated; all of them where there is no face to follow.
    """

    values: Float[np.ndarray, "T"]
    bridged: int


@dataclass(frozen=True)
class References:
    """What lips are compared with.

    Attributes:
        measured: opening measured on the original video, px.
        reference: the true opening where it is known, else `measured`.
        kind: `true` or `measured on the original`.
    """

    measured: Float[np.ndarray, "T"]
    reference: Float[np.ndarray, "T"]
    kind: str


def write_controls(held_out: HeldOut, model: FaceModel, folder: Path) -> dict[str, FinishedVideo]:
    """Encode the controls that lips are measured on: the original once more, and the original with a static mouth.

    Args:
        held_out: the frames to compare.
        model: for the mask.
        folder: gets `reencoded.mp4` and `static_mouth.mp4`.

    Returns:
        Row name to video, in the crop.
    """
    first = next(held_out.originals())
    frozen = (
        make_cheat(STATIC_MOUTH, original, mask, first)
        for original, mask in zip(held_out.originals(), held_out.masks(model), strict=True)
    )
    write_video(folder / "reencoded.mp4", held_out.originals(), fps=held_out.fps)
    write_video(folder / "static_mouth.mp4", frozen, fps=held_out.fps)
    return {
        REENCODED: FinishedVideo(folder / "reencoded.mp4", is_crop=True),
        STATIC_MOUTH: FinishedVideo(folder / "static_mouth.mp4", is_crop=True),
    }


def measure_images(held_out: HeldOut, model: FaceModel, videos: Mapping[str, FinishedVideo]) -> pd.DataFrame:
    """Image measures of every video, with the cheat rows above them.

    Args:
        held_out: the frames to compare.
        model: for the mask.
        videos: row name to video.

    Returns:
        Rows: pass-through and cheats (uncompressed), then the videos; columns `IMAGE_METRICS`, means over the frames.

    Raises:
        DataError: a video does not fit the held-out frames.
        ParameterError: a row name is taken by a cheat.

    Source: Original to this project; the paper does not state its protocol.
    """
    taken = sorted(set(videos) & set(CHEATS))
    if taken:
        raise ParameterError(f"measure_images: `{taken[0]}` is a cheat row already. Name the video otherwise.")
    names = [*CHEATS, *videos]
    totals = np.zeros((len(names), len(IMAGE_METRICS)))
    streams = [video.crops(held_out) for video in videos.values()]
    first = next(held_out.originals())
    together = zip(held_out.originals(), held_out.masks(model), *streams, strict=True)
    for original, mask, *frames in track(together, "comparing", total=len(held_out)):
        shown = [make_cheat(name, original, mask, first) for name in CHEATS] + frames
        totals += [measure_frame(frame, original, mask) for frame in shown]
    means = totals / len(held_out)
    means[:, 2] = [metrics.to_psnr(mean_square) for mean_square in means[:, 2].tolist()]
    return pd.DataFrame(means, index=pd.Index(names, name="video"), columns=list(IMAGE_METRICS))


def measure_frame(
    frame: UInt8[np.ndarray, "H W 3"], original: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> tuple[float, float, float, float]:
    """SSIM in mask, SSIM, mean squared error in mask, and sharpness ratio inside the mask's rim, of one frame.

    Args:
        frame: the image to judge, RGB.
        original: the true image, RGB.
        mask: the region that was painted.

    Raises:
        ParameterError: sizes differ, or the mask is empty or nothing but rim.
    """
    rim = max(1, round(mask.shape[0] * RIM_PER_SIDE))
    inside = cv2.erode(mask.astype(np.uint8), np.ones((2 * rim + 1,) * 2, np.uint8)) > 0
    if not inside.any():
        raise ParameterError(f"measure_frame: the mask is empty or narrower than {2 * rim + 1} px.")
    values = metrics.ssim_map(frame, original)
    half = metrics.GAUSSIAN_SIZE_PX // 2
    return (
        float(values[mask].mean()),
        float(values[half:-half, half:-half].mean()),
        float(np.mean((frame[mask].astype(np.float64) - original[mask]) ** 2)),
        metrics.sharpness_ratio(frame, original, mask=inside),
    )


def measure_opening(held_out: HeldOut, video: FinishedVideo) -> Opening:
    """Mouth opening on each decoded frame of a video, by landmarks.

    A video in which no face is found, or in less than nine tenths of the frames, counts as a mouth that never moves.

    Args:
        held_out: the frames to compare.
        video: the video.

    Raises:
        DataError: the video cannot be read.
    """
    try:
        found = track_landmarks(
            video.crops(held_out),
            frame_count=len(held_out),
            fps=held_out.fps,
            face_position="largest",
            max_missing_fraction=MAX_BRIDGED_FRACTION,
            name=video.path,
        )
    except FaceError:
        return Opening(np.zeros(len(held_out)), len(held_out))
    return Opening(mouth_opening(found.landmarks), int((~found.detected).sum()))


def load_references(held_out: HeldOut, landmarks_path: Path) -> References:
    """The opening that lips are compared with, joined on frame_id.

    A studio character's true opening lies in `truth.npz` beside its source; a real person's is measured on the
    original.

    Args:
        held_out: the frames to compare.
        landmarks_path: `01_crop/landmarks.npz`.

    Raises:
        DataError: a frame is missing in a file.
    """
    original = LandmarkTrack.load(landmarks_path)
    measured = _pick(original.frame_id, mouth_opening(original.landmarks), held_out.frame_id, landmarks_path)
    truth_path = held_out.source.parent / "truth.npz"
    if not truth_path.is_file():
        return References(measured, measured, "measured on the original")
    truth = load_arrays(truth_path, "frame_id", "mouth_opening_px")
    return References(
        measured, _pick(truth["frame_id"], truth["mouth_opening_px"], held_out.frame_id, truth_path), "true"
    )


def measure_sync(
    held_out: HeldOut, references: References, openings: Mapping[str, Opening]
) -> tuple[pd.DataFrame, dict[str, dict[str, SyncScore]]]:
    """Open sync measures of every video, with the control rows above them.

    Args:
        held_out: the frames to compare.
        references: what lips are compared with.
        openings: row name to curve; it must hold the two videos of `write_controls`.

    Returns:
        Rows: controls, then the other videos; columns `SYNC_METRICS`; and the controls' scores by measure
        (`opening`, `envelope`), for `find_control_failures`.

    Raises:
        ParameterError: a control video is missing.
    """
    missing = sorted({REENCODED, STATIC_MOUTH} - set(openings))
    if missing:
        raise ParameterError(f"measure_sync: the control `{missing[0]}` was not measured. Use write_controls.")
    curves = {"opening": references.reference, "envelope": held_out.envelope()}
    controls = {
        name: compute_sync_controls(
            references.measured,
            curve,
            reencoded_opening=openings[REENCODED].values,
            static_opening=openings[STATIC_MOUTH].values,
        )
        for name, curve in curves.items()
    }
    rows = {name: (score, controls["envelope"][name]) for name, score in controls["opening"].items()}
    for name, opening in openings.items():
        if name not in (REENCODED, STATIC_MOUTH):
            rows[name] = tuple(compute_sync(opening.values, curve) for curve in curves.values())
    values = [(a.correlation, a.best_correlation, a.best_lag, b.correlation) for a, b in rows.values()]
    return pd.DataFrame(values, index=pd.Index(list(rows), name="video"), columns=list(SYNC_METRICS)), controls


def describe_verdict(failures: list[str] | None) -> str:
    """The result of `find_control_failures` in words."""
    return "clip too short to say" if failures is None else "; ".join(failures) or "in order"


def collect_scores(images: pd.DataFrame, sync: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Method to metric to value, from the rows of both tables; infinite values (an exact copy) are left out.

    Args:
        images: result of `measure_images`.
        sync: result of `measure_sync`.
        names: rows to take.

    Raises:
        ParameterError: a row is in neither table.
    """
    scores = {}
    for name in names:
        if name not in images.index or name not in sync.index:
            raise ParameterError(
                f"collect_scores: no row `{name}` in both tables. There are: {', '.join(images.index)}."
            )
        values = {**images.loc[name].to_dict(), **sync.loc[name].to_dict()}
        scores[name] = {metric: float(value) for metric, value in values.items() if np.isfinite(value)}
    return scores


def load_finished_scores(outputs_dir: Path, *, but: str) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of every other character whose stage 06 is finished, by character.

    Args:
        outputs_dir: folder of all characters.
        but: the character that is being evaluated.
    """
    found = {}
    for path in sorted(outputs_dir.glob("*/06_evaluation/scores.json")):
        character = path.parents[1].name
        if character != but and (path.parent / "summary.json").is_file():
            found[character] = load_json(path)["methods"]
    return found


def sample_mouths(
    held_out: HeldOut, model: FaceModel, videos: Mapping[str, FinishedVideo], rows: Sequence[int], *, size: int = 192
) -> dict[str, UInt8[np.ndarray, "K P P 3"]]:
    """Close-ups of the masked region at chosen moments, for the comparison figure.

    Args:
        held_out: the frames to compare.
        model: for the mask.
        videos: row name to video; `original` is added in front.
        rows: K rows of the held-out frames.
        size: side of a close-up, px.

    Raises:
        ParameterError: a row is out of range.
    """
    if not rows or min(rows) < 0 or max(rows) >= len(held_out):
        raise ParameterError(f"sample_mouths: rows {list(rows)} are not within 0 to {len(held_out) - 1}.")
    window = _square_about(
        np.logical_or.reduce([dilated_mask(model, held_out.coefficients, row, held_out.crop.size) for row in rows])
    )
    streams = {"original": held_out.originals(), **{name: video.crops(held_out) for name, video in videos.items()}}
    return {name: _close_ups(frames, rows, window, size) for name, frames in streams.items()}


def _close_ups(frames: Iterable[np.ndarray], rows: Sequence[int], window: tuple[slice, slice], size: int) -> np.ndarray:
    picked = {row: frame[window] for row, frame in enumerate(frames) if row in rows}
    return np.stack([cv2.resize(picked[row], (size, size), interpolation=cv2.INTER_CUBIC) for row in rows])


def _square_about(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    side = min(max(np.ptp(rows), np.ptp(columns)) + 1, *mask.shape)
    top = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, mask.shape[0] - side))
    left = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, mask.shape[1] - side))
    return slice(top, top + int(side)), slice(left, left + int(side))


def _pick(frame_id: np.ndarray, values: np.ndarray, wanted: np.ndarray, path: Path) -> np.ndarray:
    position = {int(number): row for row, number in enumerate(frame_id)}
    missing = [int(number) for number in wanted if int(number) not in position]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(wanted)} held-out frames, first {missing[0]}. Run 01 again."
        )
    return values[[position[int(number)] for number in wanted]].astype(np.float64)
