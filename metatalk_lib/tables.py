"""The paper's tables, filled with what was measured; what was not says so, and the paper's own figures stand beside."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from metatalk_lib.artifacts import atomic_path, load_json
from metatalk_lib.errors import ParameterError
from metatalk_lib.params import CHARACTERS
from metatalk_lib.paths import PACKAGE_DATA_DIR

METHODS = ("ATVG", "Wav2Lip", "AudioDVP", "MakeItTalk", "Ours")
ABLATIONS = ("Baseline", "Our A2E", "High definition", "Ours")
PAPER_METRICS = {"LSE-D": "lower", "LSE-C": "higher", "FID": "lower", "SSIM": "higher"}
"""Metrics of Tables 2 and 3, and which direction is better."""
NOT_YET = "not yet"
PAPER_SUFFIX = " (paper)"
DECIMALS = 4

Scores = Mapping[str, Mapping[str, float]]
"""Method to metric to value."""


@lru_cache(maxsize=1)
def load_paper_tables() -> dict[str, Any]:
    """Tables 2, 3 and 4 as the paper prints them: `table2[character][metric][method]`, `table3[row][metric]`,
    `table4[method][column]`."""
    return load_json(PACKAGE_DATA_DIR / "paper_tables.json")


def build_table2(
    scores: Mapping[str, Scores], *, open_metrics: Sequence[str], labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Table 2: character and metric down, methods across, the paper's figures to the right.

    Args:
        scores: character to method to metric to value; what is missing stays `not yet`.
        open_metrics: this project's own measures, listed under the paper's four.
        labels: what a method's column is called where it was run in another size than the paper's.

    Returns:
        Index (character, metric), for A to G and any other character; columns the five methods and `<method> (paper)`.

    Raises:
        ParameterError: a method or metric that the table does not know.

    Source: paper, Table 2.
    """
    for character, methods in scores.items():
        _check_names(methods, METHODS, open_metrics, f"Table 2, character {character}")
    paper, labels = load_paper_tables()["table2"], labels or {}
    rows, index = [], []
    for character in [*CHARACTERS, *sorted(set(scores) - set(CHARACTERS))]:
        for metric in (*PAPER_METRICS, *open_metrics):
            measured = {method: _cell(scores.get(character, {}), method, metric) for method in METHODS}
            printed = {method: paper.get(character, {}).get(metric, {}).get(method, "") for method in METHODS}
            rows.append([*measured.values(), *printed.values()])
            index.append((character, metric))
    columns = [labels.get(method, method) for method in METHODS] + [method + PAPER_SUFFIX for method in METHODS]
    return pd.DataFrame(rows, columns=columns, index=pd.MultiIndex.from_tuples(index, names=["character", "metric"]))


def build_table3(scores: Scores, *, open_metrics: Sequence[str]) -> pd.DataFrame:
    """Table 3, the ablation: AudioDVP's and our A2E, each with the 256 px and the high-definition renderer.

    Args:
        scores: row to metric to value.
        open_metrics: this project's own measures, to the right of the paper's four.

    Returns:
        Rows Baseline, Our A2E, High definition, Ours; columns the metrics, then `<metric> (paper)`. The paper's figures
        are means over its seven characters.

    Raises:
        ParameterError: a row or metric that the table does not know.

    Source: paper, Table 3.
    """
    _check_names(scores, ABLATIONS, open_metrics, "Table 3")
    paper = load_paper_tables()["table3"]
    metrics = (*PAPER_METRICS, *open_metrics)
    rows = [
        [*(_cell(scores, row, metric) for metric in metrics), *(paper[row][metric] for metric in PAPER_METRICS)]
        for row in ABLATIONS
    ]
    columns = [*metrics, *(metric + PAPER_SUFFIX for metric in PAPER_METRICS)]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(ABLATIONS, name="configuration"))


def add_paper_table4(table: pd.DataFrame) -> pd.DataFrame:
    """Table 4 of the user study with all five methods and the paper's figures beside.

    Args:
        table: result of `compute_table4`.

    Returns:
        The methods of the paper, one run in another size under its own label, and any other; `note` says `not yet` for
        those without clips.

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


def save_table(table: pd.DataFrame, path: Path, *, caption: str) -> None:
    """Write a table as CSV, and beside it as HTML with the paper's figures in grey.

    Args:
        table: any of the tables here.
        path: the CSV file; the HTML file has the same stem.
        caption: one or two sentences above the HTML table.

    Raises:
        ParameterError: the path does not end in .csv.
    """
    if path.suffix != ".csv":
        raise ParameterError(f"a table is saved as .csv (and .html beside it), got {path}.")
    with atomic_path(path) as temporary:
        table.to_csv(temporary)
    with atomic_path(path.with_suffix(".html")) as temporary:
        temporary.write_text(style_table(table, caption=caption).to_html(doctype_html=True), "utf-8")


def style_table(table: pd.DataFrame, *, caption: str) -> "pd.io.formats.style.Styler":
    """The table for a notebook: four decimals, the paper's figures and empty cells in grey.

    Args:
        table: any of the tables here.
        caption: one or two sentences above it.
    """
    grey = [column for column in table.columns if str(column).endswith(PAPER_SUFFIX)]
    style = table.style.format(_format_cell).set_caption(caption).set_uuid("table")
    style = style.map(lambda value: "color: #888888" if value == NOT_YET else "")
    return style.set_properties(subset=grey, **{"color": "#888888"})


def _format_cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return str(value)


def _cell(scores: Scores, method: str, metric: str) -> float | str:
    value = scores.get(method, {}).get(metric)
    return NOT_YET if value is None else round(float(value), DECIMALS)


def _check_names(scores: Scores, rows: Sequence[str], open_metrics: Sequence[str], where: str) -> None:
    for row, metrics in scores.items():
        if row not in rows:
            raise ParameterError(f"{where} has no `{row}`. There are: {', '.join(rows)}.")
        unknown = sorted(set(metrics) - set(PAPER_METRICS) - set(open_metrics))
        if unknown:
            raise ParameterError(f"{where}, {row}: unknown metric {', '.join(unknown)}. Name it in open_metrics.")
