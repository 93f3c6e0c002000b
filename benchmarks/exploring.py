"""Time of the coefficient explorer from a moved slider to new 256 px pictures, without a browser.

    python -m benchmarks.exploring

A slider of each group is moved in the widget, and the clock stops when render, overlay and error map are encoded
and the curve is drawn. Run it on an idle machine of two cores. The cheat row draws the same four pictures and the curve
as a matplotlib figure, which must miss the bar. `benchmarks.lab` measures the same in a browser.
"""

import io
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.report import Row, finish
from metatalk_lib.core.parallel import torch_threads
from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES, Coefficients
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.visualization.coefficient_changes import PARTS, change_coefficients
from metatalk_lib.visualization.coefficient_explorer import VIEW_NAMES, VIEW_SIZE, CoefficientExplorer
from metatalk_lib.visualization.coefficient_views import draw_views
from metatalk_lib.visualization.curves import plot_curves
from metatalk_lib.visualization.pictures import plot_picture_rows

REDRAW_MS = 100.0
MOVES, THREADS, FPS = 15, 2, 25


def make_coefficients(seconds: int = 180) -> Coefficients:
    """Make coefficients of a person in constant motion, as long as a source video."""
    frames, generator = seconds * FPS, np.random.default_rng(0)
    scales = {"identity": 1.0, "expression": 0.5, "texture": 1.0, "illumination": 0.05, "rotation": 0.1}
    scales["translation"] = 0.05
    rows = np.concatenate(
        [scales[part] * generator.standard_normal((frames, size)) for part, size in COEFFICIENT_SIZES.items()], axis=1
    )
    for start in (0, COEFFICIENT_SIZES["identity"] + COEFFICIENT_SIZES["expression"]):
        rows[:, start : start + 80] = rows[0, start : start + 80]
    return Coefficients.unpack(np.arange(frames), rows, np.ones(frames, bool), np.ones(frames, np.float32))


def median_ms(move: Callable[[int], None], moves: int = MOVES) -> float:
    """Measure the median time of `move(1)`, `move(2)`, ..., after a first call that is not counted, ms."""
    times = []
    for number in range(moves + 1):
        started = time.perf_counter()
        move(number + 1)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[1:])


def rows() -> list[Row]:
    """Measure one row for each group of coefficients, and the cheat."""
    with torch_threads(THREADS):
        return explorer_rows()


def explorer_rows() -> list[Row]:
    """Measure the rows with torch's current thread count."""
    model, coefficients = load_face_model(), make_coefficients()
    frame = np.full((VIEW_SIZE, VIEW_SIZE, 3), 128, np.uint8)
    explorer = CoefficientExplorer(model, coefficients, lambda _: frame, fps=FPS)
    slider = explorer.sliders.sliders[0]

    def move_slider(number: int) -> None:
        slider.value = number * slider.step

    def draw_figures(number: int) -> None:
        changed = change_coefficients(coefficients, 0, {"expression": {0: 0.05 * number}})
        views = draw_views(model, changed, 0, frame)
        sheet = plot_picture_rows({"": np.stack([getattr(views, name) for name in VIEW_NAMES])}, range(4))
        curve = plot_curves({"expression 0": changed.expression[:, 0]}, fps=FPS, label="σ")
        for figure in (sheet, curve):
            figure.savefig(io.BytesIO(), format="png")

    measured = []
    for part in PARTS:
        explorer.sliders.group.value = part
        measured.append(Row(f"slider of {part} to new 256 px pictures", median_ms(move_slider), "ms", "<=", REDRAW_MS))
        if len(explorer.changes[part]) != 1 or explorer.errors.outputs:
            raise RuntimeError(f"the slider of {part} did not move: {explorer.errors.outputs}")
    torch.set_num_threads(1)  # as the explorer does for its redraw
    cheat = "the same by matplotlib (cheat)"
    return [*measured, Row(cheat, median_ms(draw_figures, 5), "ms", "<=", REDRAW_MS, is_cheat=True)]


if __name__ == "__main__":
    sys.exit(finish("exploring", rows()))
