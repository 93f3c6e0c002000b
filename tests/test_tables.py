"""Tables 2 to 4: the paper's figures, the measured ones in their places, and `not yet` everywhere else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metatalk_lib import tables
from metatalk_lib.errors import ParameterError

OPEN = ("SSIM in mask",)


def test_the_papers_figures_are_whole() -> None:
    paper = tables.load_paper_tables()
    assert list(paper["table2"]) == list("ABCDEFG")
    for metrics in paper["table2"].values():
        assert list(metrics) == list(tables.PAPER_METRICS)
        assert all(list(values) == list(tables.METHODS) for values in metrics.values())
    assert list(paper["table3"]) == list(tables.ABLATIONS)
    for row in paper["table4"].values():
        assert sum(row[f"{k} %"] for k in range(1, 6)) == pytest.approx(100, abs=0.2)


def test_table3_of_the_paper_is_the_mean_of_its_table2() -> None:
    paper = tables.load_paper_tables()
    for row, method in (("Baseline", "AudioDVP"), ("Ours", "Ours")):
        for metric in tables.PAPER_METRICS:
            mean = np.mean([paper["table2"][character][metric][method] for character in "ABCDEFG"])
            assert paper["table3"][row][metric] == pytest.approx(mean, abs=0.008)


def test_table2_fills_what_exists_and_says_not_yet_elsewhere() -> None:
    scores = {"A": {"Ours": {"SSIM": 0.91234567, "SSIM in mask": 0.8}}, "me": {"AudioDVP": {"SSIM": 0.7}}}
    table = tables.build_table2(scores, open_metrics=OPEN, labels={"AudioDVP": "AudioDVP (quarter width)"})
    assert table.loc[("A", "SSIM"), "Ours"] == 0.9123
    assert table.loc[("A", "SSIM in mask"), "Ours"] == 0.8
    assert table.loc[("A", "LSE-D"), "Ours"] == "not yet"
    assert table.loc[("B", "SSIM"), "Ours"] == "not yet"
    assert table.loc[("A", "LSE-D"), "Ours (paper)"] == 8.636
    assert table.loc[("me", "SSIM"), "AudioDVP (quarter width)"] == 0.7
    assert table.loc[("me", "SSIM"), "Ours (paper)"] == ""
    assert len(table) == 8 * 5
    assert (table[["ATVG", "Wav2Lip", "MakeItTalk"]] == "not yet").all(axis=None)


def test_table3_layout() -> None:
    table = tables.build_table3({"Our A2E": {"SSIM": 0.5}}, open_metrics=OPEN)
    assert table.loc["Our A2E", "SSIM"] == 0.5
    assert table.loc["Baseline", "SSIM"] == "not yet"
    assert table.loc["High definition", "FID (paper)"] == 7.449


def test_table4_keeps_ratings_and_adds_the_papers_rows() -> None:
    rated = pd.DataFrame(
        {"Average": [4.5], "ratings": [8], "participants": [2], "note": [""]}, index=pd.Index(["Ours"], name="Method")
    )
    table = tables.add_paper_table4(rated)
    assert table.index.tolist() == list(tables.METHODS)
    assert table.loc["Ours", ["Average", "ratings", "note", "Average (paper)"]].tolist() == [4.5, 8, "", 4.45]
    assert table.loc["Wav2Lip", ["ratings", "note", "Average (paper)"]].tolist() == [0, "not yet", 3.23]
    assert np.isnan(table.loc["Wav2Lip", "Average"])


def test_table4_puts_a_labelled_method_in_the_papers_place() -> None:
    rated = pd.DataFrame(
        {"Average": [2.0], "ratings": [3], "participants": [1], "note": [""]},
        index=pd.Index(["AudioDVP (quarter width)"], name="Method"),
    )
    table = tables.add_paper_table4(rated)
    assert table.index.tolist() == ["ATVG", "Wav2Lip", "AudioDVP (quarter width)", "MakeItTalk", "Ours"]
    assert table.loc["AudioDVP (quarter width)", ["Average", "Average (paper)"]].tolist() == [2.0, 3.16]


def test_saved_tables_are_csv_and_html_with_the_paper_in_grey(tmp_path: Path) -> None:
    table = tables.build_table3({"Ours": {"SSIM": 0.5}}, open_metrics=OPEN)
    tables.save_table(table, tmp_path / "table3.csv", caption="The ablation.")
    assert pd.read_csv(tmp_path / "table3.csv", index_col=0).loc["Ours", "SSIM"] == "0.5"
    page = (tmp_path / "table3.html").read_text("utf-8")
    assert "The ablation." in page
    assert "#888888" in page
    assert "nan" not in page
    first = (tmp_path / "table3.html").read_bytes()
    tables.save_table(table, tmp_path / "table3.csv", caption="The ablation.")
    assert (tmp_path / "table3.html").read_bytes() == first


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no `Mine`"):
        tables.build_table2({"A": {"Mine": {}}}, open_metrics=OPEN)
    with pytest.raises(ParameterError, match="unknown metric LSE-D \\(open\\)"):
        tables.build_table3({"Ours": {"LSE-D (open)": 1.0}}, open_metrics=OPEN)
    with pytest.raises(ParameterError, match=r"saved as \.csv"):
        tables.save_table(pd.DataFrame(), tmp_path / "table.txt", caption="")
