"""The catalogue of measures: which way is better, places, and what a notebook says of them."""

import math

import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation import image_measures
from metatalk_lib.metrics import catalogue
from metatalk_lib.metrics.catalogue import METRICS, describe_metrics, find_metric, is_better, rank_order
from metatalk_lib.reporting.tables import PAPER_METRICS


def test_every_measure_of_the_judging_is_found_with_and_without_its_unit() -> None:
    for name in (*PAPER_METRICS, *image_measures.IMAGE_METRICS, *image_measures.SYNC_METRICS):
        assert name in (find_metric(name).name, find_metric(name).label)
    for name in (
        "LSE-D (open)",
        "LSE-C (open)",
        "FFD (open)",
        "likeness",
        "flicker ratio",
        "offset",
    ):
        assert find_metric(name).name == name
    assert find_metric("PSNR in mask") is find_metric("PSNR in mask, dB")
    assert find_metric("offset, frames").unit == "frames"


def test_no_two_measures_share_a_name() -> None:
    names = [metric.name for metric in METRICS] + [metric.label for metric in METRICS if metric.unit]
    assert len(names) == len(set(names))


def test_open_measures_take_the_place_of_the_papers_and_never_its_name() -> None:
    places = {metric.name: metric.stands_for for metric in METRICS if metric.stands_for}
    assert places == {"LSE-D (open)": "LSE-D", "LSE-C (open)": "LSE-C", "FFD (open)": "FID"}
    for name, place in places.items():
        assert name.endswith("(open)")
        assert find_metric(name).direction == find_metric(place).direction


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("LSE-D", 6.0, 9.0),
        ("LSE-C (open)", 6.0, 2.0),
        ("FFD (open)", 0.01, 0.02),
        ("SSIM", 0.9, 0.8),
        ("PSNR in mask, dB", math.inf, 60.0),
        ("mouth landmark distance, %", 1.0, 2.0),
        ("sharpness ratio in mask", 1.1, 0.8),
        ("sharpness ratio in mask", 0.9, 1.3),
        ("flicker ratio", 1.0, 0.0),
        ("offset", -1.0, 3.0),
    ],
)
def test_which_way_is_better(name: str, better: float, worse: float) -> None:
    assert is_better(name, better, worse)
    assert not is_better(name, worse, better)
    assert not is_better(name, better, better)


def test_the_ideal_is_never_beaten() -> None:
    for metric in METRICS:
        for value in (-1.0, 0.5, 1.0, 3.0):
            is_possible = value >= metric.ideal if metric.direction == "lower" else value <= metric.ideal
            if is_possible or metric.direction == "target":
                assert not is_better(metric.name, value, metric.ideal)


def test_places_follow_the_direction_and_equal_values_share_one() -> None:
    values = {"a": 3.0, "b": 1.0, "c": 3.0, "d": 7.0}
    assert rank_order("LSE-D", values) == {"b": 1, "a": 2, "c": 2, "d": 4}
    assert rank_order("LSE-C", values) == {"d": 1, "a": 2, "c": 2, "b": 4}
    assert rank_order("offset", {"early": -2.0, "late": 2.0, "right": 0.0}) == {"right": 1, "early": 2, "late": 2}
    assert list(rank_order("SSIM", {"x": 0.1, "y": 0.9})) == ["y", "x"]


def test_descriptions_are_whole_and_their_formulas_plain_latex() -> None:
    table = describe_metrics(["SSIM", "PSNR in mask, dB", "flicker ratio"])
    assert table.index.tolist() == ["SSIM", "PSNR in mask", "flicker ratio"]
    assert table["better"].tolist() == ["higher", "higher", "nearer to the ideal"]
    assert table["ideal"].tolist() == [1.0, math.inf, 1.0]
    assert table.loc["PSNR in mask", "unit"] == "dB"
    for metric in METRICS:
        assert metric.region
        assert metric.source
        assert metric.formula.count("{") == metric.formula.count("}")
        assert not any(word in metric.formula for word in ("operatorname", "Vert", "text", "$"))  # amsmath, or a slip
    assert (table["formula"].str.startswith("$") & table["formula"].str.endswith("$")).all()


def test_advice_says_which_way() -> None:
    assert find_metric("FID").advice == "lower is better"
    assert find_metric("likeness").advice == "higher is better"
    assert find_metric("flicker ratio").advice == "1 is ideal"


def test_wrong_names_and_values_are_refused() -> None:
    with pytest.raises(ParameterError, match="no metric `LSE`. There are: LSE-D; LSE-D \\(open\\)"):
        find_metric("LSE")
    with pytest.raises(ParameterError, match="no metric `SSIM, dB`"):
        is_better("SSIM, dB", 1.0, 0.0)
    with pytest.raises(ParameterError, match="nothing to rank"):
        rank_order("SSIM", {})
    with pytest.raises(ParameterError, match="SSIM: a value is not a number"):
        rank_order("SSIM", {"a": 0.5, "b": math.nan})
    with pytest.raises(ParameterError, match="name a metric at least"):
        describe_metrics([])
    with pytest.raises(ParameterError, match="no metric `blur`"):
        describe_metrics(["SSIM", "blur"])


def test_symbols_of_the_formulas_are_explained() -> None:
    for symbol in ("v, a", r"\mu", r"\Sigma", "$Y$", "$p$", "$o$", "$e$", "$f$"):
        assert symbol in catalogue.SYMBOLS
