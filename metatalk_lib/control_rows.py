"""Control rows: what a measure says of the truth, and of videos whose lips belong to other sound or to none.

For measures of pictures a control is the original with, in every frame, the mouth of another moment. Where a control is
not worse than the truth that was merely encoded once more, the measure is no measure on this clip.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.metric_catalogue import is_better
from metatalk_lib.sync import CONTROL_ROWS, CONTROL_SHIFT, EARLY, LATE, REENCODED, SHUFFLED, SILENCE, STATIC_FRAME

ORDER_BLIND = dict.fromkeys(("FFD (open)", "FID", "flicker ratio"), (SHUFFLED, LATE, EARLY))
"""Controls that hold the same frames in another order: a Fréchet distance cannot see it, the flicker of whole stretches
that were moved hardly can, and they are not asked about it."""

IMAGE_ORDER = ("SSIM", "SSIM in mask", "PSNR in mask, dB", "flicker ratio")
"""Measures of images that must keep the order. Sharpness cannot: every control is as sharp as the truth, which is what
the blurred cheat is for."""


def order_controls(opening: Float[np.ndarray, " T"]) -> dict[str, Int[np.ndarray, " T"]]:
    """Which moment of the original each control row shows in frame t.

    Args:
        opening: mouth opening of the original, px.

    Returns:
        `shuffled audio` shows the clip turned round by half; `audio late` and `audio early` lips that are 5 frames
        ahead and behind; `silence` the moment of the smallest opening throughout; `static frame` the first one.

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


def find_order_failures(table: pd.DataFrame, *metrics: str) -> list[str]:
    """Controls that are not worse than the truth encoded once more.

    Args:
        table: rows `REENCODED` and the control rows; columns the metrics.
        metrics: which columns must keep the order.

    Returns:
        One sentence for each failure.

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


def check_controls(verdicts: Mapping[str, list[str] | None], *, must_hold: bool) -> str:
    """What the controls say of the measures, in one sentence.

    Args:
        verdicts: measure to failures; None where the clip is too short to say.
        must_hold: whether a failure is an error.

    Raises:
        DataError: controls come out in the wrong order although they must hold.
    """
    wrong = {name: describe_verdict(failures) for name, failures in verdicts.items() if failures}
    if not wrong:
        unasked = [name for name, failures in verdicts.items() if failures is None]
        note = f"; the clip is too short to ask {', '.join(unasked)}" if unasked else ""
        return f"No control comes out in the wrong order{note}."
    said = "; ".join(f"{name}: {failures}" for name, failures in wrong.items())
    said = f"Controls in the wrong order, so that these measures say nothing of this video: {said}."
    if must_hold:
        raise DataError(f"{said} Hold out a longer tail, or set controls_must_hold to false and leave them out.")
    return said


def describe_verdict(failures: list[str] | None) -> str:
    """Failures in one line; `in order` where there are none, and words for None, a clip without a verdict."""
    return "clip too short to say" if failures is None else "; ".join(failures) or "in order"
