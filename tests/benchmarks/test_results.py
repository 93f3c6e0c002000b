"""The measured figures: pages are up to date with their files, transcribed ones with the words they quote."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.report import Row
from metatalk_lib.core.errors import DataError

WORDS = {"no ": 0, "six": 6, "seven": 7}
REPORT = {
    "command": "python -m benchmarks.x --parts y",
    "date": "2026-12-01",
    "machine": "x86_64, 2 cores",
    "calibration_s": 0.71,
    "rows": [
        {"name": "good", "value": 0.8, "unit": "s", "op": "<=", "limit": 1.0, "is_cheat": False},
        {"name": "short", "value": 3.0, "unit": "", "op": "<=", "limit": 1.0, "is_cheat": False},
        {"name": "wrong on purpose (cheat)", "value": 3.0, "unit": "", "op": "<=", "limit": 1.0, "is_cheat": True},
        {"name": "told", "value": 12345.6, "unit": "", "op": None, "limit": None, "is_cheat": False},
    ],
}


@pytest.fixture(scope="module")
def found():
    return results.load_results()


def test_the_page_and_the_readme_are_what_the_files_say(found):
    assert results.PAGE.read_text("utf-8") == results.write_page(found), "run `make results`"
    readme = results.README.read_text("utf-8")
    assert readme == results.fill_block(readme, results.write_block(found)), "run `make results`"


def test_outside_of_its_block_the_readme_has_no_measured_figure():
    readme = results.README.read_text("utf-8")
    written = readme[: readme.index(results.BEGIN)] + readme[readme.index(results.END) :]
    assert re.findall(r"\d+\.\d{2,}", written.replace("Python 3.11 to 3.13", "")) == []


def test_a_transcribed_value_stands_in_the_words_that_its_row_quotes(found):
    rows = [row for part in found[results.FIRST_ROUND]["sections"] for row in part["rows"]]
    assert len(rows) > 100
    for row in rows:
        numbers = {float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", row["quote"])}
        numbers |= {number for word, number in WORDS.items() if word in row["quote"]}
        assert row["value"] in numbers, row
        assert re.fullmatch(r"[0-9a-f]{7}", row["commit"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])


def test_no_file_tells_of_a_folder_of_the_machine():
    for path in results.RESULTS.glob("*.json"):
        assert re.findall(r'"/[^"]*"|"[^"]*[ =]/[a-z]+/[^"]*"', path.read_text("utf-8")) == []


def test_a_report_becomes_a_section_with_bars_and_cheats():
    text = results.write_section(results.open_report("x", REPORT))
    assert "`python -m benchmarks.x --parts y` · x86_64, 2 cores; 2026-12-01; calibration loop 0.71 s" in text
    assert text.splitlines()[-4:] == [
        "| good | 0.8 s | ≤ 1 | yes |",
        "| short | 3 | ≤ 1 | **no** |",
        "| wrong on purpose (cheat) | 3 | not ≤ 1 | yes |",
        "| told | 1.235e+04 |  |  |",
    ]


def test_what_falls_short_is_named_first(found):
    text = results.write_page(found | {"x": REPORT})
    assert "* short (bench: x)" in text.partition("## Measured")[0]


def test_fresh_reports_are_copied_with_their_date(tmp_path):
    bench, copies = tmp_path / "bench", tmp_path / "results"
    bench.mkdir()
    undated = {key: value for key, value in REPORT.items() if key != "date"}
    (bench / "x.json").write_text(json.dumps(undated), "utf-8")
    (bench / "notes.json").write_text("{}", "utf-8")
    assert results.collect(bench, tmp_path / "nobody", copies) == [copies / "x.json"]
    assert json.loads((copies / "x.json").read_text("utf-8"))["date"] == results.date_of(bench / "x.json")


def test_only_the_demo_profile_gives_demo_figures():
    results.check_profile({"stage": "01_crop", "parameters": {"studio_seconds": 12.0, "outputs_dir": "x"}}, "A")
    smoke = {"stage": "01_crop", "parameters": {"studio_seconds": 3.0}}
    with pytest.raises(DataError, match=r"01_crop of A has studio_seconds = 3\.0, the demo profile 12\.0\. Run"):
        results.check_profile(smoke, "A")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"demo_A\.json does not exist\. Restore it, or run `make demo`"):
        results.load_results(tmp_path)


def test_a_missing_key_is_named(found):
    incomplete = {key: value for key, value in REPORT.items() if key != "machine"}
    with pytest.raises(DataError, match="docs/results/x.json lacks 'machine'"):
        results.write_page(found | {"x": incomplete})


def test_a_readme_without_the_block_is_refused():
    with pytest.raises(DataError, match="README.md lacks the lines"):
        results.fill_block("# MetaTalk\n", "| a |")


def test_rows_without_a_bar_get_no_verdict():
    assert results.write_row(Row("a", 1.0, "", None, None), None) == "| a | 1 |  |  |"
