"""Tables 2 to 4: the paper's figures, the measured ones in their places, and what is missing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation import methods
from metatalk_lib.metrics.intervals import Estimate
from metatalk_lib.reporting import tables

OPEN = ("SSIM in mask",)


def test_the_papers_figures_are_whole() -> None:
    paper = tables.load_paper_tables()
    assert list(paper["table2"]) == list("ABCDEFG")
    for metrics in paper["table2"].values():
        assert list(metrics) == list(tables.PAPER_METRICS)
        assert all(list(values) == list(methods.METHODS) for values in metrics.values())
    assert list(paper["table3"]) == list(methods.ABLATIONS)
    for row in paper["table4"].values():
        assert sum(row[f"{k} %"] for k in range(1, 6)) == pytest.approx(100, abs=0.2)


def test_table3_of_the_paper_is_the_mean_of_its_table2() -> None:
    paper = tables.load_paper_tables()
    for row, method in (("Baseline", "AudioDVP"), ("Ours", "Ours")):
        for metric in tables.PAPER_METRICS:
            mean = np.mean([paper["table2"][character][metric][method] for character in "ABCDEFG"])
            assert paper["table3"][row][metric] == pytest.approx(mean, abs=0.008)


def test_table2_fills_what_exists_and_says_not_yet_of_what_was_asked_for() -> None:
    scores = {"A": {"Ours": {"SSIM": 0.91234567, "SSIM in mask": 0.8}}, "me": {"AudioDVP": {"SSIM": 0.7}}}
    table = tables.build_table2(
        scores, open_metrics=OPEN, labels={"AudioDVP": "AudioDVP (quarter width)"}, asked=("A", "B")
    )
    assert table.loc[("A", "SSIM"), "Ours"] == 0.9123
    assert table.loc[("A", "SSIM in mask"), "Ours"] == 0.8
    assert table.loc[("A", "LSE-D"), "Ours"] == "–"
    assert table.loc[("B", "SSIM"), "Ours"] == "not yet"
    assert table.loc[("A", "LSE-D"), "Ours (paper)"] == 8.636
    assert table.loc[("me", "SSIM"), "AudioDVP (quarter width)"] == 0.7
    assert table.loc[("me", "SSIM"), "Ours (paper)"] == ""
    assert table.index.get_level_values(0).unique().tolist() == ["A", "B", "me", "mean of 2"]
    others = table[["ATVG", "Wav2Lip", "MakeItTalk"]]
    assert (others.loc["B"] == "not yet").all(axis=None)
    assert (others.drop(index="B") == "–").all(axis=None)


def test_a_method_that_failed_says_so_where_others_are_measured() -> None:
    scores = {"A": {"Ours": {"SSIM": 0.9}, "ATVG": {}}, "B": {"Ours": {"SSIM": 0.9}, "ATVG": {"SSIM": 0.8}}}
    table = tables.build_table2(scores, open_metrics=(), failed={"A": {"ATVG": "no video: a reason"}})
    assert table.loc[("A", "SSIM"), "ATVG"] == "failed"
    assert table.loc[("A", "LSE-D"), "ATVG"] == "–"
    assert table.loc[("A", "SSIM"), "Wav2Lip"] == "–"
    assert table.loc[("B", "SSIM"), "ATVG"] == 0.8
    assert str(table.loc[("mean of 2", "SSIM"), "ATVG"]).endswith("(n = 1)")
    assert "failed" in tables.format_latex(table, caption="")
    ablation = {"A": {"Ours": {"SSIM": 0.9}, "Our A2E": {}}}
    rows = tables.build_table3(ablation, open_metrics=(), failed={"A": {"AudioDVP": "a reason", "Our A2E": "another"}})
    assert rows.loc[("A", "SSIM"), ["Baseline", "Our A2E", "High definition"]].tolist() == ["failed", "failed", "–"]


def test_of_one_character_table2_has_her_own_rows_only() -> None:
    table = tables.build_table2({"A": {"Ours": {"SSIM": 0.9}}}, open_metrics=())
    assert table.index.tolist() == [("A", metric) for metric in tables.PAPER_METRICS]
    assert not (table == "not yet").any(axis=None)
    both = tables.build_table2({"A": {"Ours": {"SSIM": 0.9}}}, open_metrics=(), asked=("A", "G"))
    assert both.index.get_level_values(0).unique().tolist() == ["A", "G", "mean of 1"]


def test_open_measures_stand_directly_under_the_papers_and_never_under_its_name() -> None:
    open_metrics = ("likeness", "FFD (open)", "LSE-C (open)", "LSE-D (open)", "SSIM in mask")
    order = ["LSE-D", "LSE-D (open)", "LSE-C", "LSE-C (open)", "FID", "FFD (open)", "SSIM", "likeness", "SSIM in mask"]
    assert tables.order_metrics(open_metrics) == order
    assert tables.order_metrics(()) == list(tables.PAPER_METRICS)
    table = tables.build_table2({"A": {"Ours": {"LSE-D (open)": 9.5}}}, open_metrics=open_metrics)
    assert table.loc["A"].index.tolist() == order
    assert table.loc[("A", "LSE-D (open)"), ["Ours", "Ours (paper)"]].tolist() == [9.5, ""]
    assert table.loc[("A", "LSE-D"), ["Ours", "Ours (paper)"]].tolist() == ["–", 8.636]
    table = tables.build_table3({"A": {"Ours": {"FFD (open)": 0.02}}}, open_metrics=open_metrics)
    assert table.loc["A"].index.tolist() == order
    assert table.loc["A"].loc[["FID", "FFD (open)"], "Ours"].tolist() == ["–", 0.02]


def test_best_and_second_are_marked_among_our_values_by_the_measures_direction() -> None:
    metrics = ("LSE-D (open)", "sharpness ratio in mask")
    values = {"Wav2Lip": (8.0, 0.5, 1.4), "AudioDVP": (9.0, 0.9, 0.8), "Ours": (8.5, 0.9, 0.9)}
    names = ("LSE-D (open)", "SSIM", "sharpness ratio in mask")
    scores = {"A": {method: dict(zip(names, row, strict=True)) for method, row in values.items()}}
    marks = tables.find_marks(tables.build_table2(scores, open_metrics=metrics))
    assert marks.loc[("A", "LSE-D (open)"), list(values)].tolist() == ["best", "", "second"]
    assert marks.loc[("A", "SSIM"), list(values)].tolist() == ["", "best", "best"]
    assert marks.loc[("A", "sharpness ratio in mask"), list(values)].tolist() == ["", "second", "best"]
    assert not marks.loc["A", "Ours (paper)"].any()
    assert marks.index.get_level_values(0).unique().tolist() == ["A"]
    ablation = {"Baseline": {"SSIM": 0.9}, "Ours": {"SSIM": 0.95}, "Our A2E": {"SSIM": 0.8}}
    marks = tables.find_marks(tables.build_table3({"A": ablation}, open_metrics=()))
    assert marks.loc[("A", "SSIM"), list(methods.ABLATIONS)].tolist() == ["second", "", "", "best"]
    assert not marks.loc[["A"]].drop(index=("A", "SSIM")).any(axis=None)


def test_one_value_alone_and_other_tables_have_no_marks() -> None:
    alone = tables.build_table2({"A": {"Ours": {"SSIM": 0.9}}}, open_metrics=())
    assert not tables.find_marks(alone).any(axis=None)
    controls = pd.DataFrame({"SSIM": [1.0, 0.5]}, index=pd.Index(["pass-through", "Ours"], name="video"))
    assert not tables.find_marks(controls).any(axis=None)


def test_values_over_fewer_clips_are_not_ranked() -> None:
    scores = {
        "Ours": {"SSIM": Estimate(0.9, 0.8, 1.0, 5)},
        "AudioDVP": {"SSIM": Estimate(0.8, 0.7, 0.9, 5)},
        "Wav2Lip": {"SSIM": Estimate(0.99, None, None, 1)},
    }
    marks = tables.find_marks(tables.build_table2({"A": scores}, open_metrics=()))
    assert marks.loc[("A", "SSIM"), ["Wav2Lip", "AudioDVP", "Ours"]].tolist() == ["", "second", "best"]


def test_cells_carry_their_intervals_or_the_number_of_clips(tmp_path: Path) -> None:
    scores = {"Ours": {"SSIM": Estimate(0.98, 0.97, 0.99, 7)}, "AudioDVP": {"SSIM": [0.9, None, None, 1]}}
    table = tables.build_table2({"A": scores}, open_metrics=())
    tables.save_table(table, tmp_path / "table2.csv", caption="")
    for suffix in (".csv", ".html"):
        page = (tmp_path / f"table2{suffix}").read_text("utf-8")
        assert "0.98 [0.97, 0.99]" in page
        assert "0.9 (n = 1)" in page
    assert r"\tiny [0.97, 0.99]" in (tmp_path / "table2.tex").read_text("utf-8")


def test_means_are_over_the_finished_characters_and_say_how_many() -> None:
    scores = {
        "A": {"Ours": {"SSIM": 0.9}, "Wav2Lip": {"SSIM": 0.5}},
        "B": {"Ours": {"SSIM": Estimate(0.8, 0.7, 0.9, 4)}},
        "C": {"Ours": {}},
        "D": {},
    }
    means, count = tables.average_characters(scores)
    assert count == 2
    assert means["Ours"]["SSIM"] == pytest.approx(0.85)
    assert means["Wav2Lip"]["SSIM"] == Estimate(0.5, None, None, 1)
    table = tables.build_table2(scores, open_metrics=())
    assert table.index.get_level_values(0)[-1] == "mean of 2"
    row = table.loc[("mean of 2", "SSIM")]
    assert [str(row[name]) for name in ("Ours", "Wav2Lip", "ATVG")] == ["0.85", "0.5 (n = 1)", "–"]
    paper = tables.load_paper_tables()["table2"]
    assert row["Ours (paper)"] == pytest.approx(np.mean([paper[name]["SSIM"]["Ours"] for name in "ABCDEFG"]), abs=1e-4)
    assert tables.find_marks(table).loc[("A", "SSIM"), "Ours"] == "best"
    assert not tables.find_marks(table).loc["mean of 2"].any(axis=None)
    assert tables.build_table2({}, open_metrics=()).index.get_level_values(0)[-1] == "mean of 0"


def test_means_of_other_characters_are_not_ranked_against_each_other() -> None:
    scores = {"A": {"Ours": {"SSIM": 0.9}}, "B": {"Wav2Lip": {"SSIM": 0.5}}}
    assert not tables.find_marks(tables.build_table2(scores, open_metrics=())).any(axis=None)


def test_means_can_carry_intervals_from_the_characters() -> None:
    scores = {name: {"Ours": {"SSIM": value}} for name, value in {"A": 0.7, "B": 0.8, "C": 0.9}.items()}
    mean, low, high, count = tables.average_characters(scores, seed=0)[0]["Ours"]["SSIM"]
    assert mean == pytest.approx(0.8)
    assert 0.699 < low < mean < high < 0.901
    assert count == 3
    table = tables.build_table2(scores, open_metrics=(), seed=0)
    assert "[" in str(table.loc[("mean of 3", "SSIM"), "Ours"])


def test_a_mean_round_a_target_is_not_ranked_since_errors_cancel() -> None:
    ratio = "sharpness ratio in mask"
    scores = {
        "A": {"Ours": {ratio: 0.5}, "AudioDVP": {ratio: 0.9}},
        "B": {"Ours": {ratio: 1.5}, "AudioDVP": {ratio: 0.9}},
    }
    marks = tables.find_marks(tables.build_table2(scores, open_metrics=(ratio,)))
    assert marks.loc[("A", ratio), "AudioDVP"] == "best"
    assert not marks.loc["mean of 2"].any(axis=None)


def test_table3_of_several_characters_has_the_papers_means_beside_its_own() -> None:
    scores = {
        "A": {"Baseline": {"SSIM": 0.9}, "Ours": {"SSIM": 0.8}},
        "F": {"Baseline": {"SSIM": 0.7}, "Ours": {"SSIM": 0.9}},
    }
    table = tables.build_table3(scores, open_metrics=OPEN)
    assert table.index.get_level_values(0).unique().tolist() == ["A", "F", "mean of 2"]
    assert table.loc[("mean of 2", "SSIM"), ["Baseline", "Ours"]].tolist() == pytest.approx([0.8, 0.85])
    assert table.loc[("mean of 2", "SSIM"), "Ours (paper)"] == 0.985
    assert table.loc[("mean of 2", "FID"), "High definition (paper)"] == 7.449
    assert table.loc[("A", "SSIM"), ["Our A2E", "Ours (paper)"]].tolist() == ["–", ""]
    assert tables.find_marks(table).loc[("mean of 2", "SSIM"), "Ours"] == "best"
    assert tables.find_marks(table).loc[("A", "SSIM"), "Ours"] == "second"
    with pytest.raises(ParameterError, match="Table 3, character A has no `Wav2Lip`"):
        tables.build_table3({"A": {"Wav2Lip": {}}}, open_metrics=OPEN)


def test_table4_keeps_ratings_and_adds_the_papers_rows() -> None:
    rated = pd.DataFrame(
        {"Average": [4.5], "ratings": [8], "participants": [2], "note": [""]}, index=pd.Index(["Ours"], name="Method")
    )
    table = tables.add_paper_table4(rated)
    assert table.index.tolist() == list(methods.METHODS)
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


def test_marks_and_grey_are_seen_in_html_and_latex(tmp_path: Path) -> None:
    scores = {"Baseline": {"SSIM": 0.9}, "Ours": {"SSIM": 0.95}}
    table = tables.build_table3({"A": scores}, open_metrics=OPEN)
    tables.save_table(table, tmp_path / "table3.csv", caption="90 % of <A> & B_1.")
    page = (tmp_path / "table3.html").read_text("utf-8")
    for word in ("font-weight: bold", "text-decoration: underline", "90 % of &lt;A&gt; &amp; B_1.", "Bold: best"):
        assert word in page
    latex = (tmp_path / "table3.tex").read_text("utf-8")
    for word in (
        r"\underline{0.9}",
        r"\textbf{0.95}",
        r"\textcolor[HTML]{888888}{0.985}",
        r"90 \% of \textless{}A\textgreater{} \& B\_1.",
    ):
        assert word in latex
    rows = [line for line in latex.splitlines() if line.startswith("SSIM &")]
    assert [row.count("&") for row in rows] == [8, 8]  # four configurations and the paper's four across
    plain = tables.style_table(pd.DataFrame({"a": [1.0]}), caption="Plain.").to_html()
    assert "Bold" not in plain


def test_labels_are_escaped_in_html() -> None:
    table = tables.build_table2({}, open_metrics=(), labels={"AudioDVP": "AudioDVP <16 & 5>"})
    assert "AudioDVP &lt;16 &amp; 5&gt;" in tables.style_table(table, caption="").to_html()


def test_saved_tables_are_csv_and_html_with_the_paper_in_grey(tmp_path: Path) -> None:
    table = tables.build_table3({"A": {"Ours": {"SSIM": 0.5}}}, open_metrics=OPEN)
    tables.save_table(table, tmp_path / "table3.csv", caption="The ablation.")
    assert pd.read_csv(tmp_path / "table3.csv", index_col=[0, 1]).loc[("A", "SSIM"), "Ours"] == "0.5"
    page = (tmp_path / "table3.html").read_text("utf-8")
    assert "The ablation." in page
    assert "#888888" in page
    assert "nan" not in page
    first = (tmp_path / "table3.html").read_bytes()
    tables.save_table(table, tmp_path / "table3.csv", caption="The ablation.")
    assert (tmp_path / "table3.html").read_bytes() == first
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".html", ".tex"]


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no `Mine`"):
        tables.build_table2({"A": {"Mine": {}}}, open_metrics=OPEN)
    with pytest.raises(ParameterError, match="unknown metric LSE-D \\(open\\)"):
        tables.build_table3({"A": {"Ours": {"LSE-D (open)": 1.0}}}, open_metrics=OPEN)
    with pytest.raises(ParameterError, match="LSE-D is the paper's name"):
        tables.build_table2({}, open_metrics=("LSE-D",))
    with pytest.raises(ParameterError, match="no metric `beauty`"):
        tables.build_table3({}, open_metrics=("beauty",))
    with pytest.raises(ParameterError, match=r"a score is a number or"):
        tables.build_table2({"A": {"Ours": {"SSIM": float("nan")}}}, open_metrics=())
    with pytest.raises(ParameterError, match=r"saved as \.csv"):
        tables.save_table(pd.DataFrame(), tmp_path / "table.txt", caption="")
