"""The paper's tables with measured values, marks for values not yet measured, and the paper's values for comparison.

Best and second best are marked among the measured values only, never among the paper's, and never across measures.
"""

import html
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from metatalk_lib.core.artifacts import atomic_path, load_json
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.core.stage_configs import CHARACTERS
from metatalk_lib.evaluation import image_measures
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED
from metatalk_lib.evaluation.face_measures import LANDMARK_DISTANCE, LIKENESS
from metatalk_lib.evaluation.judges import Judges
from metatalk_lib.evaluation.lse_judge import OFFSET
from metatalk_lib.evaluation.methods import ABLATIONS, METHODS
from metatalk_lib.metrics.catalogue import SYMBOLS, describe_metrics, find_metric, rank_order
from metatalk_lib.metrics.intervals import DECIMALS, Estimate, Score, bootstrap_mean, format_value, to_estimate
from metatalk_lib.reporting.latex_tables import BEST, GREY_RGB, GREYED, SECOND, to_latex

PAPER_METRICS = ("LSE-D", "LSE-C", "FID", "SSIM")
"""Metrics of Tables 2 and 3; their directions are in `metric_catalogue`."""
NOT_YET = "not yet"
"""Cell of a character that was asked for and is not finished."""
NOT_MEASURED = "–"
"""Cell of a measure that a finished character does not have, such as one that needs published weights."""
FAILED = "failed"
"""Cell of a method that failed on a character, or whose video this measure could not be taken of."""
PAPER_SUFFIX = " (paper)"
MEAN_OF = "mean of "
LEGEND = "Bold: best of the measured values; underlined: second best."
CSS = {BEST: "font-weight: bold", SECOND: "text-decoration: underline", GREYED: f"color: #{GREY_RGB}"}

Scores = Mapping[str, Mapping[str, Score]]
"""Mapping from method to metric to value, which may have an interval: see `intervals.Estimate`."""
Failed = Mapping[str, Mapping[str, str]]
"""Mapping from character to a method that failed to the reason: see `evaluation.failures`."""


@lru_cache(maxsize=1)
def load_paper_tables() -> dict[str, Any]:
    """Load Tables 2, 3 and 4 as printed in the paper: `table2[character][metric][method]`, `table3[row][metric]`,
    `table4[method][column]`."""
    return load_json(PACKAGE_DATA_DIR / "paper_tables.json")


def compute_paper_means() -> dict[str, dict[str, float]]:
    """Compute means of the paper's Table 2 over its seven characters: metric to method to value."""
    paper = load_paper_tables()["table2"]
    return {
        metric: {
            method: round(float(np.mean([values[metric][method] for values in paper.values()])), DECIMALS)
            for method in METHODS
            if all(method in values[metric] for values in paper.values())
        }
        for metric in PAPER_METRICS
    }


def order_metrics(open_metrics: Sequence[str]) -> list[str]:
    """Order metrics: the paper's four, each followed by its open counterpart, then all other open ones.

    Args:
        open_metrics: names of open metrics in `metric_catalogue`.

    Raises:
        ParameterError: a name that is not in the catalogue, or is one of the paper's four.
    """
    taken = sorted(set(open_metrics) & set(PAPER_METRICS))
    if taken:
        raise ParameterError(f"{taken[0]} is the paper's name. An open measure goes by another, such as LSE-D (open).")
    places = {name: find_metric(name).stands_for for name in open_metrics}
    order = []
    for metric in PAPER_METRICS:
        order += [metric, *(name for name, place in places.items() if place == metric)]
    return order + [name for name in open_metrics if name not in order]


def average_characters(scores: Mapping[str, Scores], *, seed: int | None = None) -> tuple[dict[str, Any], int]:
    """Average scores over the finished characters, those with at least one measured value.

    A mean over fewer characters than are finished is marked, as `8.64 (n = 2)`, and not ranked with the others.

    Args:
        scores: character to method to metric to value.
        seed: seed of the intervals, which come from resampling the characters; None gives no intervals.

    Returns:
        Method to metric to mean, and the number of finished characters.
    """
    finished = [methods for methods in scores.values() if any(methods.values())]
    values: dict[str, dict[str, list[float]]] = {}
    for methods in finished:
        for method, metrics in methods.items():
            for metric, value in metrics.items():
                values.setdefault(method, {}).setdefault(metric, []).append(to_estimate(value).mean)
    return {
        method: {metric: _average(found, len(finished), seed) for metric, found in metrics.items()}
        for method, metrics in values.items()
    }, len(finished)


def build_table2(
    scores: Mapping[str, Scores],
    *,
    open_metrics: Sequence[str],
    labels: Mapping[str, str] | None = None,
    seed: int | None = None,
    asked: Sequence[str] = (),
    failed: Failed | None = None,
) -> pd.DataFrame:
    """Build Table 2: characters and metrics in rows, methods in columns, the paper's values to the right.

    Args:
        scores: character to method to metric to value, which may have an interval.
        open_metrics: this project's own measures; an open counterpart comes directly below the paper's metric.
        labels: column names of methods that were run in another size than the paper's.
        seed: seed of the intervals of the means; None gives no intervals.
        asked: characters that were asked for; those without scores are shown, too, as `not yet`.
        failed: character to methods that failed, of which missing values are shown as `failed`.

    Returns:
        Index (character, metric), for the paper's characters first, then any other, and of several `mean of N`, over
        the finished ones; columns the five methods and `<method> (paper)`. The paper's means are over its own seven
        characters.

    Raises:
        ParameterError: a method or metric that the table does not know.

    Source: paper, Table 2.
    """
    names = sorted({*scores, *asked}, key=lambda name: (name not in CHARACTERS, name))
    blocks, mean_name = _add_mean(
        {name: scores.get(name, {}) for name in names}, METHODS, open_metrics, "Table 2", seed
    )
    if len(names) == 1:
        del blocks[mean_name]
    paper = {**load_paper_tables()["table2"], mean_name: compute_paper_means()}
    return _lay_out(blocks, METHODS, paper, order_metrics(open_metrics), labels or {}, failed)


def build_table3(
    scores: Mapping[str, Scores],
    *,
    open_metrics: Sequence[str],
    seed: int | None = None,
    failed: Failed | None = None,
) -> pd.DataFrame:
    """Build Table 3, the ablation: AudioDVP's and our A2E, each with the 256 px and the high-definition renderer.

    Args:
        scores: character to row to metric to value.
        open_metrics: this project's own measures.
        seed: seed of the intervals of the means; None gives no intervals.
        failed: as in `build_table2`, by method.

    Returns:
        Index (character, metric), for the given characters and `mean of N`, as in Table 2; columns the
        configurations and `<configuration> (paper)`, which are means and shown only next to our mean.

    Raises:
        ParameterError: a row or metric that the table does not know.

    Source: paper, Table 3.
    """
    blocks, mean_name = _add_mean(scores, tuple(ABLATIONS), open_metrics, "Table 3", seed)
    printed = load_paper_tables()["table3"]
    paper = {mean_name: {metric: {row: printed[row][metric] for row in ABLATIONS} for metric in PAPER_METRICS}}
    fallen = {
        name: {row: found[method] for row, method in ABLATIONS.items() if method in found}
        for name, found in (failed or {}).items()
    }
    return _lay_out(blocks, tuple(ABLATIONS), paper, order_metrics(open_metrics), {}, fallen)


def build_controls(scores: Mapping[str, Scores], *, open_metrics: Sequence[str]) -> pd.DataFrame:
    """Build the table of the control rows: Table 2's measures and layout, without marks for the best values.

    Args:
        scores: character to control row to metric to value.
        open_metrics: this project's own measures.

    Returns:
        Index (character, measure); columns the ground truth, the re-encoded ground truth, and `controls.CONTROL_ROWS`.
        Cells are empty where nothing was measured or the value is infinite.

    Raises:
        ParameterError: a row or metric that the table does not know.
    """
    rows = (GROUND_TRUTH, REENCODED, *CONTROL_ROWS)
    for character, controls in scores.items():
        _check_names(controls, rows, open_metrics, f"controls of {character}")
    table = _lay_out(scores, rows, {}, order_metrics(open_metrics), {})[list(rows)].replace([NOT_YET, NOT_MEASURED], "")
    return table[(table != "").any(axis=1)].rename_axis(index=["character", "measure"])


def stands_for_paper(name: str) -> bool:
    """Whether a measure is one of the paper's four, or the open counterpart of one."""
    return name in PAPER_METRICS or find_metric(name).stands_for in PAPER_METRICS


def add_paper_table4(table: pd.DataFrame) -> pd.DataFrame:
    """Extend Table 4 of the user study to all five methods, with the paper's values beside ours.

    Args:
        table: result of `compute_table4`.

    Returns:
        Rows for the paper's methods, methods run in another size under their own labels, and any others; `note` is
        `not yet` for those without clips.

    Source: paper, Table 4.
    """
    paper = pd.DataFrame(load_paper_tables()["table4"]).T.add_suffix(PAPER_SUFFIX)
    base = {name: name.split(" (")[0] for name in table.index}
    rows = [[name for name in table.index if base[name] == method] or [method] for method in METHODS]
    others = [name for name in table.index if base[name] not in METHODS]
    joined = table.reindex([*(name for names in rows for name in names), *others])
    joined["note"] = joined["note"].fillna(NOT_YET)
    joined[["ratings", "participants"]] = joined[["ratings", "participants"]].fillna(0).astype(int)
    printed = paper.reindex([base.get(name, name) for name in joined.index]).set_axis(joined.index)
    return joined.join(printed)


def find_marks(table: pd.DataFrame) -> pd.DataFrame:
    """Find the best and second best measured values of Tables 2 and 3 for each character and metric.

    Only comparable values are ranked, if there are at least two: those over equally many clips and, in a mean, over all
    finished characters. Equal values share a mark. Means of a measure with a target are not ranked, since deviations
    above and below the target cancel out.

    Args:
        table: any table of this module; only Tables 2 and 3 have marks.

    Returns:
        A table of the same shape: `best`, `second` or empty.
    """
    marks = np.full(table.shape, "", dtype=object)
    ours = [place for place, name in enumerate(table.columns) if not str(name).endswith(PAPER_SUFFIX)]
    if table.index.names == ["character", "metric"]:
        for row, (block, metric) in enumerate(table.index):
            is_mean = block.startswith(MEAN_OF)
            if not (is_mean and find_metric(metric).direction == "target"):
                least = int(block.removeprefix(MEAN_OF)) if is_mean else 0
                marks[row, ours] = _rank_cells(metric, table.iloc[row, ours].tolist(), least)
    return pd.DataFrame(marks, index=table.index, columns=table.columns)


def save_table(table: pd.DataFrame, path: Path, *, caption: str) -> None:
    """Write a table as CSV, and with the same stem as HTML and LaTeX with the paper's values in grey.

    Args:
        table: any of the tables here.
        path: the CSV file; the other files have the same stem.
        caption: one or two sentences above the table.

    Raises:
        ParameterError: the path does not end in .csv.
    """
    if path.suffix != ".csv":
        raise ParameterError(f"a table is saved as .csv (and .html and .tex beside it), got {path}.")
    with atomic_path(path) as temporary:
        table.to_csv(temporary)
    with atomic_path(path.with_suffix(".html")) as temporary:
        temporary.write_text(style_table(table, caption=caption).to_html(doctype_html=True), "utf-8")
    with atomic_path(path.with_suffix(".tex")) as temporary:
        temporary.write_text(format_latex(table, caption=caption), "utf-8")


def style_table(table: pd.DataFrame, *, caption: str) -> "pd.io.formats.style.Styler":
    """Style a table for a notebook: four decimals, best values marked, the paper's values and empty cells in grey.

    Args:
        table: any of the tables here.
        caption: one or two sentences above it.
    """
    css = _find_styles(table).replace(CSS)
    style = table.style.format(lambda value: html.escape(_format_cell(value), quote=False)).set_uuid("table")
    style = style.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    style = style.set_caption(html.escape(_with_legend(caption, table), quote=False))
    return style.apply(lambda _: css, axis=None)


def format_latex(table: pd.DataFrame, *, caption: str) -> str:
    """Format a table as LaTeX for `\\input`; it needs only the package xcolor.

    Args:
        table: any of the tables here.
        caption: one or two sentences above it.
    """
    return to_latex(table.map(_format_cell), _find_styles(table), caption=_with_legend(caption, table))


def _add_mean(
    scores: Mapping[str, Scores], rows: Sequence[str], open_metrics: Sequence[str], where: str, seed: int | None
) -> tuple[dict[str, Scores], str]:
    """Append the mean to the characters' scores, and return the name of its row."""
    for character, methods in scores.items():
        _check_names(methods, rows, open_metrics, f"{where}, character {character}")
    means, count = average_characters(scores, seed=seed)
    return {**scores, f"{MEAN_OF}{count}": means}, f"{MEAN_OF}{count}"


def _average(values: list[float], finished: int, seed: int | None) -> Score:
    if len(values) < finished:
        return Estimate(float(np.mean(values)), count=len(values))
    return float(np.mean(values)) if seed is None else bootstrap_mean(values, seed=seed)


def _lay_out(
    blocks: Mapping[str, Scores],
    names: Sequence[str],
    paper: Mapping[str, Mapping[str, Mapping[str, float]]],
    metrics: Sequence[str],
    labels: Mapping[str, str],
    failed: Failed | None = None,
) -> pd.DataFrame:
    """Lay out blocks and metrics in rows, names in columns, and the paper's values to the right."""
    rows, index = [], []
    for block, scores in blocks.items():
        fallen = (failed or {}).get(block, {})
        for metric in metrics:
            printed = paper.get(block, {}).get(metric, {})
            cells = [_cell(scores, name, metric, fallen) for name in names]
            rows.append([*cells, *(printed.get(name, "") for name in names)])
            index.append((block, metric))
    columns = [labels.get(name, name) for name in names] + [name + PAPER_SUFFIX for name in names]
    return pd.DataFrame(rows, columns=columns, index=pd.MultiIndex.from_tuples(index, names=["character", "metric"]))


def _rank_cells(metric: str, cells: Sequence[Any], least: int) -> list[str]:
    """Mark each cell; cells over fewer than `least` characters, or fewer clips than another cell, get no mark."""
    found = {place: to_estimate(cell) for place, cell in enumerate(cells) if not isinstance(cell, str)}
    counts = {place: math.inf if value.count is None else value.count for place, value in found.items()}
    most = max([least, *counts.values()])
    rivals = {str(place): value.mean for place, value in found.items() if counts[place] == most}
    places = rank_order(metric, rivals) if len(rivals) > 1 else {}
    return [{1: BEST, 2: SECOND}.get(places.get(str(place), 0), "") for place in range(len(cells))]


def _find_styles(table: pd.DataFrame) -> pd.DataFrame:
    """Marks of `find_marks`, with `grey` for the paper's values and for missing ones."""
    grey = table.isin([NOT_YET, NOT_MEASURED, FAILED]).to_numpy() | [
        str(name).endswith(PAPER_SUFFIX) for name in table.columns
    ]
    return find_marks(table).mask(grey, GREYED)


def _with_legend(caption: str, table: pd.DataFrame) -> str:
    return f"{caption} {LEGEND}".strip() if find_marks(table).ne("").any(axis=None) else caption


def _format_cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else format_value(value)
    return str(value)


def _cell(scores: Scores, method: str, metric: str, failed: Mapping[str, str]) -> float | Estimate | str:
    value = scores.get(method, {}).get(metric)
    if value is None:
        if method in failed and any(metric in found for found in scores.values()):
            return FAILED
        return NOT_MEASURED if any(scores.values()) else NOT_YET
    estimate = to_estimate(value)
    return round(estimate.mean, DECIMALS) if estimate[1:] == (None, None, None) else estimate


def _check_names(scores: Scores, rows: Sequence[str], open_metrics: Sequence[str], where: str) -> None:
    for row, metrics in scores.items():
        if row not in rows:
            raise ParameterError(f"{where} has no `{row}`. There are: {', '.join(rows)}.")
        unknown = sorted(set(metrics) - set(PAPER_METRICS) - set(open_metrics))
        if unknown:
            raise ParameterError(f"{where}, {row}: unknown metric {', '.join(unknown)}. Name it in open_metrics.")


def describe_measures(judges: Judges) -> Styler:
    """Every measure of the notebook with its direction, ideal value, formula and region, as a table."""
    pictures = (*image_measures.SSIM_METRICS, *image_measures.OPEN_METRICS, image_measures.FLICKER)
    names = [*judges.names, *pictures, LANDMARK_DISTANCE, LIKENESS, OFFSET]
    return style_table(describe_metrics(names), caption=SYMBOLS)
