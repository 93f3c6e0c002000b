"""Findings from the tables in words: every loss and every row that differs in direction from the paper's is named."""

from metatalk_lib.reporting.characters import describe_ablation, describe_against_baseline

MEASURES = ("LSE-D (open)", "FFD (open)", "SSIM", "likeness")
THEIRS = {"LSE-D (open)": [6.0, 5.5, 6.5, 3], "SSIM": 0.96}


def test_losing_to_the_baseline_is_said():
    ours = {"LSE-D (open)": 5.0, "SSIM": 0.95}
    better = {**ours, "SSIM": 0.99}
    both = {"A": {"Ours": ours, "Baseline": THEIRS}, "B": {"Ours": better, "Baseline": THEIRS}}
    assert describe_against_baseline(both, ("LSE-D (open)", "SSIM")).splitlines() == [
        "A: ours against the AudioDVP configuration: not better in SSIM (0.95 against 0.96).",
        "B: ours against the AudioDVP configuration: better in all of LSE-D (open), SSIM.",
        "Better in all on 1 of 2 characters.",
    ]


def test_what_was_not_measured_is_no_win():
    said = describe_against_baseline({"A": {"Ours": {"SSIM": 0.99}, "Baseline": THEIRS}}, ("LSE-D (open)", "SSIM"))
    assert "not better in LSE-D (open) (not measured)." in said
    assert said.endswith("Better in all on 0 of 1 characters.")


def test_rows_that_move_otherwise_than_the_papers_are_named():
    rows = {
        "Baseline": {**THEIRS, "likeness": 0.9},
        "Our A2E": {"LSE-D (open)": 7.0, "SSIM": 0.98, "likeness": 0.5},
        "High definition": {"SSIM": 0.98},
        "Ours": {"SSIM": 0.9},
    }
    lines = describe_ablation({"A": rows, "B": rows}, MEASURES).splitlines()
    assert lines == [
        "Our A2E, mean of 2: as the paper's in SSIM (0.98, baseline 0.96); otherwise in LSE-D (open) (7, baseline 6).",
        "High definition, mean of 2: as the paper's in SSIM (0.98, baseline 0.96); otherwise in nothing.",
        "Ours, mean of 2: as the paper's in nothing; otherwise in SSIM (0.9, baseline 0.96).",
    ]
