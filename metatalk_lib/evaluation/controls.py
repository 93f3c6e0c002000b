"""Control rows of every measure, and the order in which they must come out.

They show the original video with matching sound (ground truth) or wrong sound (shuffled, shifted, silent), or a mouth
that does not move with the right sound (static frame). A measure that cannot tell these apart is useless, which the
`find_..._failures` detect.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check
from metatalk_lib.core.progress import track
from metatalk_lib.evaluation.held_out import FinishedVideo, HeldOut
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics.catalogue import is_better
from metatalk_lib.metrics.lse import EmbeddedClip, LipSyncError
from metatalk_lib.metrics.mouth_opening_sync import SyncScore, compute_sync

CONTROL_SHIFT = 5
"""Shift of the shifted-audio controls, frames (200 ms at 25 fps): plainly visible to a viewer."""
CONTROL_MARGIN = 0.1
"""Smallest distance of a control's correlation below the ground truth's."""
REENCODED_SHARE = 0.8
"""Share of the ground truth's correlation that must remain after re-encoding."""
LAG_TOLERANCE = 1
"""Largest error of the lag found for a control, frames."""

GROUND_TRUTH, REENCODED = "ground truth", "ground truth, re-encoded"
SHUFFLED, SILENCE, STATIC_FRAME = "shuffled audio", "silence", "static frame"
LATE, EARLY = f"audio {CONTROL_SHIFT} frames late", f"audio {CONTROL_SHIFT} frames early"
CONTROL_ROWS = (SHUFFLED, LATE, EARLY, SILENCE, STATIC_FRAME)
"""Names of the control rows, besides the ground truth and the re-encoded ground truth."""

ORDER_BLIND = dict.fromkeys(("FFD (open)", "FID", "flicker ratio"), (SHUFFLED, LATE, EARLY))
"""Controls that hold the same frames in another order, on which some metrics are not tested.

A Fréchet distance cannot detect the order, and flicker can hardly detect that whole stretches were moved.
"""
IMAGE_ORDER = ("SSIM", "SSIM in mask", "PSNR in mask, dB", "CW-SSIM in mask", "flicker ratio")
"""Image metrics that must rank the truth above the controls.

Sharpness cannot, since every control is as sharp as the truth; the blurred cheat tests it instead.
"""


Measured = TypeVar("Measured", bound="Reorderable")


@runtime_checkable
class Reorderable(Protocol):
    """Measurements of a video's frames, such as `face_measures.FaceMeasures`, that can be taken in another order."""

    def at(self: Measured, order: Int[np.ndarray, " T2"]) -> Measured:
        """Return the measurements of the frames `order`."""


def order_controls(opening: Float[np.ndarray, " T"]) -> dict[str, Int[np.ndarray, " T"]]:
    """Return, for each control row, the moment of the original that it shows in frame t.

    Args:
        opening: mouth opening of the original video, px.

    Returns:
        `shuffled audio` shows the clip rotated by half its length; `audio late` and `audio early` show lips that are 5
        frames ahead and behind; `silence` always shows the moment of the smallest opening; `static frame` the first
        one.

    Raises:
        ParameterError: the clip is too short to be shifted.

    Source: Original to this project.
    """
    count = len(opening)
    if count <= 2 * CONTROL_SHIFT:
        raise ParameterError(f"controls need more than {2 * CONTROL_SHIFT} frames, got {count}.")
    frames = np.arange(count)
    return {
        SHUFFLED: np.roll(frames, count // 2),
        LATE: np.roll(frames, -CONTROL_SHIFT),
        EARLY: np.roll(frames, CONTROL_SHIFT),
        SILENCE: np.full(count, int(np.argmin(opening))),
        STATIC_FRAME: np.zeros(count, int),
    }


def compute_sync_controls(
    opening: Float[np.ndarray, " T"],
    reference: Float[np.ndarray, " T"],
    *,
    reencoded_opening: Float[np.ndarray, " T"],
    static_opening: Float[np.ndarray, " T"],
) -> dict[str, SyncScore]:
    """Compute the control rows of a sync measure.

    Args:
        opening: mouth opening measured on the original video.
        reference: the curve that belongs to the original audio: true opening, measured opening, or speech envelope.
        reencoded_opening: mouth opening measured on the original video after re-encoding.
        static_opening: mouth opening measured on a video with a still mouth; the row `static frame`.

    Returns:
        Scores by row name. `shuffled audio` is the reference shifted cyclically by half the clip, `audio late` and
        `audio early` by 5 frames, `silence` a constant.

    Raises:
        ParameterError: the lengths differ, or there are too few frames.

    Source: Original to this project.
    """
    return {
        GROUND_TRUTH: compute_sync(opening, reference),
        REENCODED: compute_sync(reencoded_opening, reference),
        SHUFFLED: compute_sync(opening, np.roll(reference, len(reference) // 2)),
        LATE: compute_sync(opening, np.roll(reference, CONTROL_SHIFT)),
        EARLY: compute_sync(opening, np.roll(reference, -CONTROL_SHIFT)),
        SILENCE: compute_sync(opening, np.zeros_like(reference)),
        STATIC_FRAME: compute_sync(static_opening, reference),
    }


def show_mouths(
    originals: Iterable[UInt8[np.ndarray, "H W 3"]],
    others: Iterable[UInt8[np.ndarray, "H W 3"]],
    masks: Iterable[Bool[np.ndarray, "H W"]],
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the originals with the others' pixels inside the masks."""
    for original, other, mask in zip(originals, others, masks, strict=True):
        yield np.where(mask[..., None], other, original)


def write_controls(
    held_out: HeldOut, model: FaceModel, folder: Path, orders: Mapping[str, Int[np.ndarray, " T"]]
) -> dict[str, FinishedVideo]:
    """Encode the controls like any method's video: the original, and the original with the mouths of other moments.

    Args:
        held_out: the frames to compare.
        model: face model that determines the mask.
        folder: output folder of the videos.
        orders: orders from `order_controls`: the moment whose mouth each frame shows.

    Returns:
        `REENCODED`, then the names of `orders`, to the video in the crop.
    """
    masks = list(held_out.masks(model))
    streams = {REENCODED: held_out.originals()}
    for name, order in orders.items():
        streams[name] = show_mouths(held_out.originals(), held_out.originals_at(order), masks)
    videos = {}
    for name, frames in track(streams.items(), "encoding controls", unit="video"):
        videos[name] = FinishedVideo(folder / f"control_{name.replace(', ', '_').replace(' ', '_')}.mp4", is_crop=True)
        write_video(videos[name].path, frames, fps=held_out.fps)
    return videos


def add_controls(
    faces: Mapping[str, Measured], truth: Measured, orders: Mapping[str, Int[np.ndarray, " T"]]
) -> dict[str, Measured]:
    """Collect rows for `face_measures.compare_faces`: the truth, the re-encoded truth, its controls, then the videos.

    Args:
        faces: row name to measures of the re-encoded truth and of videos.
        truth: measures of the original; the controls are its own faces at other moments.
        orders: orders from `order_controls`.
    """
    controls = {name: truth.at(order) for name, order in orders.items()}
    others = {name: face for name, face in faces.items() if name not in (REENCODED, *controls)}
    return {GROUND_TRUTH: truth, REENCODED: faces[REENCODED], **controls, **others}


def change_speech(clip: EmbeddedClip, silence: Float[torch.Tensor, "1 D"]) -> dict[str, EmbeddedClip]:
    """Make the controls of LSE from the embeddings of an original video.

    Args:
        clip: the original's picture and sound.
        silence: embedding of silence.

    Returns:
        Clips by row name: the clip itself; its sound rotated by half the clip; late and early by 5 frames; silent; and
        the clip's first five frames held throughout.
    """
    return {
        GROUND_TRUTH: clip,
        SHUFFLED: EmbeddedClip(clip.seen, clip.heard.roll(len(clip.heard) // 2, dims=0)),
        LATE: clip.shifted(CONTROL_SHIFT),
        EARLY: clip.shifted(-CONTROL_SHIFT),
        SILENCE: EmbeddedClip(clip.seen, silence.expand_as(clip.heard)),
        STATIC_FRAME: EmbeddedClip(clip.seen[:1].expand_as(clip.seen), clip.heard),
    }


def find_control_failures(controls: Mapping[str, SyncScore], *, min_frames: int) -> list[str] | None:
    """Find controls that come out in the wrong order.

    The rule, for clips of at least `min_frames`: re-encoding keeps 80 % of the ground truth's correlation, and every
    other control lies at least 0.1 below the ground truth, all at lag 0. Shorter clips give no verdict: over few
    frames, correlations occur by chance.

    Args:
        controls: rows of `compute_sync_controls`.
        min_frames: number of frames from which the rule is expected to hold.

    Returns:
        One sentence for each failure, an empty list where the measure passes, None where the clip is too short to say.

    Raises:
        ParameterError: the ground truth row is missing.

    Source: Original to this project.
    """
    truth = _pick_truth(controls)
    if truth.frames < min_frames:
        return None
    failures = []
    for name, score in controls.items():
        r = score.correlation
        if name == REENCODED and r < REENCODED_SHARE * truth.correlation:
            failures.append(f"`{name}` scores {r:.2f}, under 80 % of {truth.correlation:.2f}")
        if name not in (GROUND_TRUTH, REENCODED) and r > truth.correlation - CONTROL_MARGIN:
            failures.append(f"`{name}` scores {r:.2f}, not 0.1 below the truth's {truth.correlation:.2f}")
    return failures


def find_lag_failures(controls: Mapping[str, SyncScore]) -> list[str]:
    """Find controls whose lag is found wrongly, or whose best correlation comes too close to the ground truth's.

    The rule, for a measure as sharp in time as the mouth opening: truth, re-encoded truth and shifted sound lie within
    one frame of their true lags, and every other control's best correlation lies at least 0.1 below the truth's best.

    Args:
        controls: rows of `compute_sync_controls` for a clip long enough for a verdict.

    Returns:
        One sentence for each failure.

    Raises:
        ParameterError: the ground truth row is missing.

    Source: Original to this project.
    """
    truth = _pick_truth(controls)
    lags = {GROUND_TRUTH: 0, REENCODED: 0, LATE: -CONTROL_SHIFT, EARLY: CONTROL_SHIFT}
    failures = []
    for name, score in controls.items():
        if name in lags and abs(score.best_lag - lags[name]) > LAG_TOLERANCE:
            failures.append(f"`{name}` has its best lag at {score.best_lag}, not at {lags[name]}")
        if name not in lags and score.best_correlation > truth.best_correlation - CONTROL_MARGIN:
            best = f"{score.best_correlation:.2f} at lag {score.best_lag}"
            failures.append(f"`{name}` scores {best}, not 0.1 below the truth's {truth.best_correlation:.2f}")
    return failures


def _pick_truth(controls: Mapping[str, SyncScore]) -> SyncScore:
    if GROUND_TRUTH not in controls:
        raise ParameterError(f"the controls lack `{GROUND_TRUTH}`; they have: {', '.join(controls) or 'nothing'}.")
    return controls[GROUND_TRUTH]


def find_order_failures(table: pd.DataFrame, *metrics: str) -> list[str]:
    """List the controls that are not worse than the re-encoded truth.

    Args:
        table: rows are `REENCODED` and the control rows; columns are the metrics.
        metrics: columns that must rank the truth above the controls.

    Returns:
        One sentence per failure.

    Raises:
        ParameterError: a row or column is missing.

    Source: Original to this project.
    """
    absent = [row for row in (REENCODED, *CONTROL_ROWS) if row not in table.index]
    absent += [metric for metric in metrics if metric not in table.columns]
    if absent:
        raise ParameterError(f"find_order_failures: the table has no `{absent[0]}`.")
    failures = []
    for metric in metrics:
        truth = float(table.loc[REENCODED, metric])
        for row in CONTROL_ROWS:
            value = float(table.loc[row, metric])
            if row not in ORDER_BLIND.get(metric, ()) and not is_better(metric, truth, value):
                failures.append(f"{metric}: `{row}` scores {value:.4g}, the re-encoded truth {truth:.4g}")
    return failures


def find_lse_failures(controls: Mapping[str, LipSyncError]) -> list[str]:
    """List the controls that are in the wrong order.

    The truth, re-encoded or with its sound shifted, must have a smaller LSE-D and a larger LSE-C than shuffled audio,
    silence and a static frame: both measures search for the best offset, so a shift costs little. The shift must be
    found within one frame.

    Args:
        controls: rows of `score_controls`, and the re-encoded truth if there is one.

    Returns:
        One sentence per failure.
    """
    offset, failures = controls[GROUND_TRUTH].offset, []
    wanted = {GROUND_TRUTH: offset, REENCODED: offset, LATE: offset - CONTROL_SHIFT, EARLY: offset + CONTROL_SHIFT}
    fitting = {name: score for name, score in controls.items() if name in wanted}
    for name, score in fitting.items():
        if abs(score.offset - wanted[name]) > 1:
            failures.append(f"`{name}` is found at {score.offset} frames, not at {wanted[name]}")
    for name, other in controls.items():
        for fits, own in fitting.items() if name not in fitting else ():
            if other.distance <= own.distance:
                failures.append(f"`{name}` has LSE-D {other.distance:.2f}, `{fits}` {own.distance:.2f}")
            if other.confidence >= own.confidence:
                failures.append(f"`{name}` has LSE-C {other.confidence:.2f}, `{fits}` {own.confidence:.2f}")
    return failures


def check_controls(verdicts: Mapping[str, list[str] | None], passing: Sequence[str], *, must_hold: bool) -> list[Check]:
    """Summarise the checks of controls and cheats, one finding a measure.

    Args:
        verdicts: measure to failures; None if the clip is too short for a verdict.
        passing: cheats that pass, from `cheats.find_passing_cheats`.
        must_hold: whether a failure is an error.

    Raises:
        DataError: controls are in the wrong order, or cheats pass, although they must not.
    """
    advice = "This measure says nothing of this video: leave its column out, or hold out a longer tail."
    seen = "Image measures see nothing here: is the held-out tail still, dark or blurred? Hold out another one."
    found = {
        f"controls of {name}": (failures, describe_verdict(failures), advice) for name, failures in verdicts.items()
    }
    found["image measures"] = (list(passing), "; ".join(passing) or "no cheat passes", seen)
    checks = [
        Check(name, "notice", figure, what_to_do) if failures else Check(name, "ok", figure)
        for name, (failures, figure, what_to_do) in found.items()
    ]
    wrong = [f"{check.name}: {check.figure}" for check in checks if check.status != "ok"]
    if wrong and must_hold:
        raise DataError(
            f"Measures that say nothing of this video: {'; '.join(wrong)}. Hold out a longer tail, or set "
            "controls_must_hold to false and leave them out."
        )
    return checks


def describe_verdict(failures: list[str] | None) -> str:
    """Join the failures in one line; `in order` if there are none, and a phrase for None, a clip without a verdict."""
    return "clip too short to say" if failures is None else "; ".join(failures) or "in order"
