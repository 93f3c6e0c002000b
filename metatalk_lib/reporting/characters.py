"""Results of all characters with a finished stage 06: Tables 2 and 3, their controls, and the paper's Fig. 3.

Nothing is measured here: everything is read from `scores.json` and `moments.npz`. Notebook 06 shows the tables of the
characters that were finished by then; `metatalk run` with several characters writes them again when all are finished.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from metatalk_lib.core.artifacts import atomic_path, load_json, sha256_file
from metatalk_lib.core.code_fingerprint import combine_digests, digest_stage
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import ensure_dir
from metatalk_lib.core.stage_configs import EvaluationConfig, StageConfig
from metatalk_lib.evaluation import methods as evaluation_methods
from metatalk_lib.evaluation.image_measures import IMAGE_METRICS
from metatalk_lib.evaluation.methods import ABLATIONS
from metatalk_lib.metrics.catalogue import METRICS, find_metric, is_better
from metatalk_lib.metrics.intervals import to_estimate
from metatalk_lib.reporting import tables
from metatalk_lib.reporting.moments import Moments
from metatalk_lib.reporting.paper_figures import plot_methods_by_moments
from metatalk_lib.reporting.tables import PAPER_METRICS, Scores, average_characters, load_paper_tables

CAPTIONS = {
    "table2": "Table 2. Brackets in a character's rows are over its recordings (of two or three they are little more "
    "than the range), in the mean's over characters.",
    "controls": "Controls of Tables 2 and 3: what each measure says of the truth, and of lips to other sound or none.",
    "table3": "Table 3. The paper's figures are means over its seven characters.",
}


class Finished(NamedTuple):
    """Results of stage 06 for the characters that can stand in one table.

    Attributes:
        methods: character to method of Table 2 to metric to value.
        controls: character to control row to metric to value.
        ablations: character to row of Table 3 to metric to value.
        moments: character to the pictures of Fig. 3.
        crop_px: character to the side of the crop in which images are compared, px.
        labels: method to its label in the tables.
        failed: character to methods that failed to the reason.
        notes: one sentence per finished character that is left out, or whose figures are partly invalid.
    """

    methods: dict[str, Scores]
    controls: dict[str, Scores]
    ablations: dict[str, Scores]
    moments: dict[str, Moments]
    crop_px: dict[str, int]
    labels: dict[str, str]
    failed: dict[str, dict[str, str]]
    notes: list[str]

    @property
    def open_metrics(self) -> list[str]:
        """Every measure of any character except the paper's four, in the order of the catalogue."""
        return [metric.label for metric in METRICS if metric.label in self._seen and metric.name not in PAPER_METRICS]

    @property
    def _seen(self) -> set[str]:
        return {name for methods in self.methods.values() for values in methods.values() for name in values}

    def build_tables(self, *, seed: int, asked: Sequence[str] = ()) -> dict[str, tuple[pd.DataFrame, str]]:
        """Build Tables 2 and 3 and the controls of Table 2, keyed by file name, each with its caption.

        Args:
            seed: seed of the intervals of means.
            asked: characters that were asked for; Table 2 says `not yet` of those that are not finished.
        """
        metrics = self.open_metrics
        built = {
            "table2": tables.build_table2(
                self.methods, open_metrics=metrics, labels=self.labels, seed=seed, asked=asked, failed=self.failed
            ),
            "controls": tables.build_controls(self.controls, open_metrics=metrics),
            "table3": tables.build_table3(self.ablations, open_metrics=metrics, seed=seed, failed=self.failed),
        }
        sides = ", ".join(f"{name} {side}" for name, side in self.crop_px.items())
        return {
            name: (table, f"{CAPTIONS[name]} SSIM: {find_metric('SSIM').region}; side in px: {sides}.")
            for name, table in built.items()
        }

    def describe(self) -> str:
        """Describe Tables 2 and 3 in words, with the notes."""
        names = [name for name in tables.order_metrics(self.open_metrics) if name in self._seen]
        measures = [name for name in names if tables.stands_for_paper(name)]
        parts = [describe_against_baseline(self.ablations, measures), describe_ablation(self.ablations, measures)]
        return "\n".join([*parts, *self.notes])

    def plot_figure3(self) -> Figure:
        """Plot the paper's Fig. 3."""
        return plot_methods_by_moments(
            {name: seen.crops for name, seen in self.moments.items()},
            {name: seen.close_ups for name, seen in self.moments.items()},
            {name: seen.frame_id.tolist() for name, seen in self.moments.items()},
            failed={
                name: [self.labels[method] for method in evaluation_methods.METHODS if method in found]
                for name, found in self.failed.items()
            },
        )

    def choose_metrics(self, wanted: Sequence[str]) -> list[str]:
        """Return the metrics of a figure: the wanted ones that are measured, filled up to three by measures of images.

        Args:
            wanted: metrics to show, where any method has them.
        """
        spare = [name for name in IMAGE_METRICS if name not in wanted]
        measured = [name for name in [*wanted, *spare] if name in self._seen]
        return measured[: max(3, sum(name in self._seen for name in wanted))]


def describe_protocol(config: EvaluationConfig, weights: Iterable[Path], person_dir: Path) -> dict[str, object]:
    """Describe the protocol by which a character was judged: weights, code, and parameters that no other stage has.

    Only characters with equal protocols stand in one table.

    Args:
        config: parameters of the stage.
        weights: weights of the judges and of the methods.
        person_dir: the character's folder; files in it belong to the person and are left out.
    """
    choices = {"lip_sync_network", "frechet_network", "compared_weights"}  # the checksums tell which was chosen
    others = {*StageConfig.model_fields, *choices, "controls_must_hold"}
    settings = {name: value for name, value in config.model_dump().items() if name not in others}
    sums = {path.name: sha256_file(path)[:12] for path in weights if not path.is_relative_to(person_dir)}
    return {**settings, **sums, "code": combine_digests(digest_stage("06_evaluation"))[:12]}


def load_finished(outputs_dir: Path, *, current: str = "") -> Finished:
    """Load the results of all finished characters.

    Args:
        outputs_dir: folder of all characters.
        current: the character being evaluated; it is included although its stage is not finished yet, and its methods
            and protocol decide which characters can stand beside it. By default, those of most characters decide.

    Raises:
        DataError: no character is finished, or a file is unreadable.
    """
    folders = {
        path.parent.parent.name: path.parent for path in sorted(outputs_dir.glob("*/06_evaluation/summary.json"))
    }
    if current:
        folders = {current: outputs_dir / current / "06_evaluation"} | folders
    if not folders:
        raise DataError(f"{outputs_dir}: no character has finished 06_evaluation. Run metatalk run --to 06.")
    found = {name: load_json(folder / "scores.json") for name, folder in folders.items()}
    kept = {name: scores for name, scores in found.items() if "crop_px" in scores}
    if not kept:
        raise DataError(f"{outputs_dir}: every scores.json is an older version's. Run 06_evaluation again.")
    judged = {name: {**scores["labels"], **scores["protocol"]} for name, scores in kept.items()}
    common = judged[current or _find_most_common(judged)]
    notes = [
        f"{name} is left out: its scores are an older version's. Run 06_evaluation of it again."
        for name in found
        if name not in kept
    ]
    for name, other in judged.items():
        if difference := _find_difference(common, other):
            notes.append(f"{name} is left out: its {difference}. Run 06_evaluation of it again.")
            del kept[name]
            continue
        if wrong := kept[name]["wrong_controls"]:
            notes.append(f"{name}: controls in the wrong order; its figures mean nothing in: {', '.join(wrong)}.")
        notes += [f"{name}, {row} failed: {reason}" for row, reason in kept[name].get("failed", {}).items()]
    names = sorted(kept)
    return Finished(
        {name: {method: kept[name]["methods"][method] for method in evaluation_methods.METHODS} for name in names},
        {name: kept[name]["controls"] for name in names},
        {name: kept[name]["ablation"] for name in names},
        {name: Moments.load(folders[name] / "moments.npz") for name in names},
        {name: int(kept[name]["crop_px"]) for name in names},
        kept[names[0]]["labels"],
        {name: kept[name].get("failed", {}) for name in names},
        notes,
    )


def write_tables(outputs_dir: Path, *, seed: int, asked: Sequence[str] = ()) -> Path:
    """Write the tables of all finished characters, Fig. 3 and the findings.

    Args:
        outputs_dir: folder of all characters.
        seed: seed of the intervals of means.
        asked: characters that were asked for; Table 2 says `not yet` of those that are not finished.

    Returns:
        The output folder, `<outputs_dir>/tables`.

    Raises:
        DataError: no character is finished.
    """
    found, folder = load_finished(outputs_dir), ensure_dir(outputs_dir / "tables")
    for name, (table, caption) in found.build_tables(seed=seed, asked=asked).items():
        tables.save_table(table, folder / f"{name}.csv", caption=caption)
    found.plot_figure3().savefig(folder / "figure3.jpg", dpi=110, bbox_inches="tight")
    with atomic_path(folder / "findings.txt") as temporary:
        temporary.write_text(found.describe() + "\n", "utf-8")
    return folder


def _find_most_common(judged: Mapping[str, Mapping[str, object]]) -> str:
    """Return a character with the most common methods and protocol; the first of them by name."""
    counts = {name: sum(own == other for other in judged.values()) for name, own in judged.items()}
    return max(sorted(counts), key=lambda name: counts[name])


def _find_difference(common: Mapping[str, object], other: Mapping[str, object]) -> str:
    for name in [*common, *(name for name in other if name not in common)]:
        if (here := other.get(name, "missing")) != (there := common.get(name, "missing")):
            return f"{name} is `{here}`, not `{there}`"
    return ""


BASELINE = next(iter(ABLATIONS))


def describe_against_baseline(ablations: Mapping[str, Scores], measures: Sequence[str]) -> str:
    """Describe, one line per character, where `Ours` is not better than the AudioDVP configuration, and count the wins.

    Args:
        ablations: character to row of Table 3 to metric to value.
        measures: measures to compare; one that a row lacks is reported as missing and does not count as a win.
    """
    lines, wins = [], 0
    for character, rows in ablations.items():
        pairs = _pair(rows, "Ours", measures)
        lost = [f"{name} ({a:.4g} against {b:.4g})" for name, (a, b) in pairs.items() if not is_better(name, a, b)]
        lost += [f"{name} (not measured)" for name in measures if name not in pairs]
        wins += not lost
        verdict = f"not better in {', '.join(lost)}" if lost else f"better in all of {', '.join(pairs)}"
        lines.append(f"{character}: ours against the AudioDVP configuration: {verdict}.")
    return "\n".join([*lines, f"Better in all on {wins} of {len(ablations)} characters."])


def describe_ablation(ablations: Mapping[str, Scores], measures: Sequence[str]) -> str:
    """Describe whether each row of Table 3 differs from the baseline in the paper's direction, by the means.

    Args:
        ablations: character to row of Table 3 to metric to value.
        measures: measures to compare, open ones with the paper's measure that they stand for; others are skipped.
    """
    means, count = average_characters(ablations)
    paper, lines = load_paper_tables()["table3"], []
    for row in ABLATIONS:
        if row == BASELINE:
            continue
        same: list[str] = []
        other: list[str] = []
        for name, (a, b) in _pair(means, row, measures).items():
            printed = find_metric(name).stands_for or name
            if printed not in paper[row]:
                continue
            ours, theirs = is_better(name, a, b), is_better(printed, paper[row][printed], paper[BASELINE][printed])
            figures = f"{name} ({a:.4g}, baseline {b:.4g})"
            (same if ours == theirs else other).append(figures)
        lines.append(
            f"{row}, mean of {count}: as the paper's in {', '.join(same) or 'nothing'}; "
            f"otherwise in {', '.join(other) or 'nothing'}."
        )
    return "\n".join(lines)


def _pair(rows: Scores, row: str, measures: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Map each measure to the values of the row and of the baseline."""
    own, base = rows.get(row, {}), rows.get(BASELINE, {})
    both = [name for name in measures if name in own and name in base]
    return {name: (to_estimate(own[name]).mean, to_estimate(base[name]).mean) for name in both}
