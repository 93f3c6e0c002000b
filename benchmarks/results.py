"""Measured figures in one place: `docs/results/*.json`, and what is generated from them.

    python -m benchmarks.results [--folder outputs/A]

Fresh files of `outputs/bench` and the demo's summary are copied into `docs/results` where they exist; then
`docs/results.md` and the table of `README.md` are written anew. Nobody types a number there: a test writes both again
and compares.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import Row
from benchmarks.walk import judge_metrics
from metatalk_lib.core.artifacts import atomic_path, load_json, save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.params import character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.core.stage_configs import STAGE_CONFIGS

RESULTS, PAGE, README = (PROJECT_ROOT / name for name in ("docs/results", "docs/results.md", "README.md"))
FIRST_ROUND, REAL_CLIPS = "first_round", "real"
LIPS_FITTED = "mean, all: lips' contours, fitted from tracked"
BEGIN, END = "<!-- results: written by `make results` -->", "<!-- end of results -->"
OF_THE_MACHINE = ("outputs_dir", "character", "threads", "device")
"""Parameters that do not tell one profile from another."""
RENDERED, STILL, REENCODED = "ours", "static frame", "ground truth, re-encoded"
COLUMNS = {
    "SSIM in mask": "SSIM inside the mask, higher is better",
    "opening r": "mouth opening, r with the truth, higher is better",
    "LSE-D (open)": "LSE-D (open), lower is better",
    "sharpness ratio in mask": "sharpness in the mask, 1 is ideal",
}


@dataclass(frozen=True)
class Section:
    """Figures of one run.

    Attributes:
        title: heading.
        command: how to measure it again.
        origin: machine, date, commit and calibration loop, in words.
        rows: its figures beside their bars.
        origins: where each row comes from; empty where `origin` says it for all.
        tables: further tables, as Markdown.
    """

    title: str
    command: str
    origin: str
    rows: list[Row]
    origins: list[str] = field(default_factory=list)
    tables: str = ""


def collect(bench: Path, folder: Path, results: Path = RESULTS) -> list[Path]:
    """Copy fresh reports of the benchmarks and the demo's figures; returns the files written.

    Args:
        bench: folder of the benchmarks' JSON files.
        folder: folder of a character whose stages are finished.
        results: where the copies go.

    Raises:
        DataError: the character was not run on the demo profile.
    """
    written = []
    for path in sorted(bench.glob("*.json")):
        report = load_json(path)
        if "rows" in report:
            save_json(results / path.name, {"date": date_of(path)} | report)
            written.append(results / path.name)
    summary = folder / "06_evaluation" / "summary.json"
    if summary.exists():
        demo = read_demo(folder)
        written.append(results / f"demo_{demo['character']}.json")
        save_json(written[-1], demo)
    return written


def date_of(path: Path) -> str:
    """Day on which a file was written."""
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"


def read_demo(folder: Path) -> dict[str, Any]:
    """The part of stage 06 that the results keep, without paths: metrics, controls, and where they were measured.

    Raises:
        DataError: a stage is not finished, or was not run on the demo profile.
    """
    stage = folder / "06_evaluation"
    summary, scores = load_json(stage / "summary.json"), load_json(stage / "scores.json")
    character = summary["parameters"]["character"]
    for name in STAGE_CONFIGS:
        check_profile(load_json(folder / name / "summary.json"), character)
    kept = {key: summary[key] for key in ("machine", "commit", "metrics", "versions", "timings_s", "counts")}
    return kept | {
        "character": character,
        "date": date_of(stage / "summary.json"),
        "command": f"metatalk run --character {character} --profile demo",
        "controls": scores["controls"],
        "official_files": [Path(name).name for name in summary["official_files"]],
    }


def check_profile(summary: dict[str, Any], character: str) -> None:
    """Make sure that a stage's parameters are those of the demo profile.

    Raises:
        DataError: a parameter has another value.
    """
    wanted = load_params(character_params_path(character), profile_params_path("demo"))
    stage = summary["stage"]
    wanted = STAGE_CONFIGS[stage].from_values(wanted).model_dump()
    for name, value in summary["parameters"].items():
        if name in wanted and name not in OF_THE_MACHINE and value != wanted[name]:
            raise DataError(
                f"{stage} of {character} has {name} = {value!r}, the demo profile {wanted[name]!r}. Run "
                f"`metatalk run --character {character} --profile demo`, or name another --folder."
            )


def load_results(results: Path = RESULTS) -> dict[str, Any]:
    """All committed results by name.

    Raises:
        DataError: there are none, or one that the README quotes is absent.
    """
    found = {path.stem: load_json(path) for path in sorted(results.glob("*.json"))}
    for name in ("demo_A", REAL_CLIPS, FIRST_ROUND):
        if name not in found:
            raise DataError(
                f"{results / name}.json does not exist. Restore it, or run `make demo`, `make bench-real` and "
                "`make results`."
            )
    return found


def list_sections(found: dict[str, Any]) -> Iterator[Section]:
    """Sections of all results: the demo, the benchmarks, and last what was transcribed.

    Raises:
        DataError: a file lacks a key.
    """
    for name, content in sorted(found.items(), key=lambda item: (not item[0].startswith("demo_"), item[0])):
        if name == FIRST_ROUND:
            continue
        try:
            yield open_demo(content) if "metrics" in content else open_report(name, content)
        except KeyError as error:
            raise DataError(
                f"docs/results/{name}.json lacks {error}. Measure it again, then `make results`."
            ) from error


def list_first_round(found: dict[str, Any]) -> Iterator[Section]:
    """Sections that were transcribed, each row with the commit that wrote it down."""
    for part in found[FIRST_ROUND]["sections"]:
        origins = [f"{row['commit']}, {row['date']}" for row in part["rows"]]
        yield Section(part["title"], part["command"], describe_origin(part), read_rows(part["rows"]), origins)


def open_report(name: str, content: dict[str, Any]) -> Section:
    """A benchmark's report."""
    command = content.get("command", f"make bench-{name}")
    return Section(f"bench: {name}", command, describe_origin(content), read_rows(content["rows"]))


def open_demo(content: dict[str, Any]) -> Section:
    """The demo's figures with the bars of `make bench-walk`, then all methods, then the controls."""
    name = content["character"]
    rows = judge_metrics(name, content["metrics"], with_opening=content["metrics"]["reference"] == "true")
    methods = {key: value for key, value in content["metrics"].items() if is_scores(value) and "LSE-D (open)" in value}
    tables = [
        "Every method, on the held-out tail; lips of LSE are driven by other people's speech:",
        *tabulate({"ours": methods.pop(RENDERED)} | methods),
        "",
        "Controls, each made from the true video:",
        *tabulate(content["controls"]),
    ]
    origin = describe_origin(content)
    return Section(f"The demo, character {name}", content["command"], origin, rows, tables="\n".join(tables))


def is_scores(value: object) -> bool:
    """Whether a part of the metrics holds one method's scores."""
    return isinstance(value, dict) and all(isinstance(each, float) for each in value.values())


def tabulate(scores: dict[str, dict[str, float]]) -> list[str]:
    """Lines of a table with a measure a row and a video a column."""
    measures = sorted({measure for each in scores.values() for measure in each})
    lines = [["", *scores], ["---"] * (1 + len(scores))]
    lines += [[measure, *(show(each.get(measure)) for each in scores.values())] for measure in measures]
    return ["", *(f"| {' | '.join(line)} |" for line in lines)]


def read_rows(rows: list[dict[str, Any]]) -> list[Row]:
    """Rows as benchmarks write them; what else a row says is left out."""
    names = ("name", "value", "unit", "op", "limit", "is_cheat")
    return [Row(**{name: row[name] for name in names}) for row in rows]


def describe_origin(content: dict[str, Any]) -> str:
    """Machine, date, commit and calibration loop, as far as they are known."""
    parts = [content["machine"], content.get("date"), f"commit {content['commit']}" if content.get("commit") else None]
    if content.get("calibration_s") is not None:
        parts.append(f"calibration loop {content['calibration_s']:.2f} s")
    return "; ".join(part for part in parts if part)


def show(value: float | None) -> str:
    """A figure with four significant digits."""
    return "" if value is None else f"{value:.4g}"


def write_row(row: Row, origin: str | None) -> str:
    """One line of a section's table."""
    has_bar = row.op is not None and row.limit is not None
    bar = f"{'not ' if row.is_cheat else ''}{'≥' if row.op == '>=' else '≤'} {show(row.limit)}" if has_bar else ""
    verdict = ("yes" if row.holds else "**no**") if has_bar else ""
    unit = f" {row.unit}" if row.unit else ""
    cells = [row.name, f"{show(row.value)}{unit}", bar, verdict, *([origin] if origin else [])]
    return f"| {' | '.join(cells)} |"


def write_section(section: Section) -> str:
    """A section as Markdown."""
    head = ["", "value", "bar", "holds", *(["written down by"] if section.origins else [])]
    origins = section.origins or [None] * len(section.rows)
    lines = [f"### {section.title}", "", f"`{section.command}` · {section.origin}", "", f"| {' | '.join(head)} |"]
    lines.append(f"|{'---|' * len(head)}")
    lines += [write_row(row, origin) for row, origin in zip(section.rows, origins, strict=True)]
    return "\n".join([*lines, *(["", section.tables] if section.tables else [])])


def write_page(found: dict[str, Any]) -> str:
    """The whole of `docs/results.md`."""
    fresh, first = list(list_sections(found)), list(list_first_round(found))
    short = [f"* {row.name} ({part.title})" for part in (*fresh, *first) for row in part.rows if not row.holds]
    parts = [
        "# Results",
        "Written by `make results` from the files in [results](results); a test fails where a number here is typed. "
        "A row without a bar is only reported. A cheat is a wrong answer on purpose: its bar says `not`, and holds "
        "where the cheat misses it. The calibration loop is a fixed piece of work, which tells slow machines from fast "
        "ones.",
        "Bars that do not hold:\n\n" + ("\n".join(short) or "none"),
        "## Measured",
        *map(write_section, fresh),
        "## First round",
        found[FIRST_ROUND]["note"],
        *map(write_section, first),
    ]
    return "\n\n".join(parts) + "\n"


def write_block(found: dict[str, Any]) -> str:
    """The table of the README, and what is known of real people."""
    demo = found["demo_A"]
    methods, controls = demo["metrics"], demo["controls"]
    baseline = next(name for name in methods if name.startswith("AudioDVP"))
    lines = {
        "**ours**": methods[RENDERED],
        baseline.partition(",")[0].replace("(", "at ").rstrip(")"): methods[baseline],
        "the true video, encoded once more": controls[REENCODED],
        "cheat: one frame throughout": controls[STILL],
    }
    table = [["", *COLUMNS.values()], ["---"] * (1 + len(COLUMNS))]
    table += [[name, *(f"{scores[measure]:.3f}" for measure in COLUMNS)] for name, scores in lines.items()]
    walk = next(part for part in found[FIRST_ROUND]["sections"] if part["name"] == "walk")
    heard = {row["name"].removeprefix("real clip: "): row["value"] for row in walk["rows"] if not row["is_cheat"]}
    seen = {row["name"]: row["value"] for row in found[REAL_CLIPS]["rows"] if not row["is_cheat"]}
    theirs = [value for name, value in seen.items() if name.endswith(": AudioDVP, SSIM in mask")]
    people = (
        f"Filmed people, {len(theirs)} clips, painted from their own coefficients: SSIM inside the mask "
        f"{seen['mean, all: SSIM in mask']:.3f} (AudioDVP {sum(theirs) / len(theirs):.3f}); their fitted lips lie "
        f"{seen[LIPS_FITTED]:.2f} % of the distance between the eyes' outer corners from those that are tracked. Their "
        "lips do not follow the sound as closely yet: on the one clip measured end to end the mouth's opening has r "
        f"{heard['mouth opening against the original, r']:g} with the original "
        f"({heard['mouth opening at its best lag, r']:g} at its best lag of {heard['best lag of the mouth opening']:g} "
        "frames)."
    )
    where = (
        f"Character A, the last {demo['counts']['frames']} frames, which no stage trained on. Her own audio drives; "
        f"for LSE of the first two rows, other people's. Measured on {demo['date']} ({demo['machine']})."
    )
    return "\n".join([*(f"| {' | '.join(line)} |" for line in table), "", where, "", people])


def fill_block(text: str, block: str) -> str:
    """The README's text with the block between its two comments.

    Raises:
        DataError: a comment is missing.
    """
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise DataError(f"README.md lacks the lines `{BEGIN}` and `{END}`. Put both back where the table belongs.")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n{block}\n{text[text.index(END) :]}"


def save_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def main() -> None:
    """Collect what is new, then write the page and the README's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=PROJECT_ROOT / "outputs" / "A", help="a character's folder")
    for path in collect(PROJECT_ROOT / "outputs" / "bench", parser.parse_args().folder):
        print(f"collected: {path}")
    found = load_results()
    save_text(PAGE, write_page(found))
    save_text(README, fill_block(README.read_text("utf-8"), write_block(found)))
    print(f"written: {PAGE}, {README}")


if __name__ == "__main__":
    main()
