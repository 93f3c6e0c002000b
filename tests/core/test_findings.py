"""findings: a missed bar becomes a notice with advice, and a NaN misses every bar."""

import math

import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.findings import Check, format_checks, judge

ADVICE = "Look at the sheet."


@pytest.mark.parametrize("value", [0.9, 0.95])
def test_a_measure_that_holds_has_no_advice(value: float):
    assert judge("r", value, at_least=0.9, advice=ADVICE) == Check("r", "ok", f"{value:.2f}")


def test_a_low_measure_says_what_is_usual_and_what_to_do():
    check = judge("lips tracked", 0.71, at_least=0.95, unit="%", advice=ADVICE)
    assert check == Check("lips tracked", "notice", "71 %, where at least 95 % is usual", ADVICE)
    check = judge("error", 12.34, at_most=2.0, unit="px", digits=1, advice=ADVICE)
    assert check.figure == "12.3 px, where at most 2.0 px is usual"


@pytest.mark.parametrize("bar", [{"at_least": 0.0}, {"at_most": 1.0}])
def test_no_figure_misses_every_bar(bar: dict[str, float]):
    assert judge("r", math.nan, advice=ADVICE, **bar).status == "notice"


@pytest.mark.parametrize("bars", [{}, {"at_least": 0.0, "at_most": 1.0}])
def test_one_bar_is_asked_for(bars: dict[str, float]):
    with pytest.raises(ParameterError, match="give one bar"):
        judge("r", 0.5, advice=ADVICE, **bars)


def test_checks_are_aligned():
    text = format_checks([Check("a", "ok", "1 px"), Check("longer", "notice", "22 px", "Do this.")])
    assert text.splitlines() == ["ok      a       1 px", "notice  longer  22 px  Do this."]
    assert format_checks([]) == ""
