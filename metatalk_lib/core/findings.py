"""Findings: measures of a person's video, each with its figure and, where it is low, with advice.

A measure that is low is no error. The run goes on, and says what will suffer and what would help.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from metatalk_lib.core.errors import ParameterError

Status = Literal["ok", "notice", "error"]


@dataclass(frozen=True)
class Check:
    """One measure and what it means.

    Attributes:
        name: name of the measure.
        status: `ok`, `notice` or `error`.
        figure: measured value with its unit.
        advice: recommended action; empty if the check passed.
    """

    name: str
    status: Status
    figure: str
    advice: str = ""


def judge(
    name: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
    digits: int = 2,
    advice: str,
) -> Check:
    """Compare a measure with its bar; a missed bar is a notice with advice.

    Args:
        name: name of the measure.
        value: measured value; a NaN misses every bar.
        at_least, at_most: the bar; exactly one is given.
        unit: unit of value and bar, printed after them; `%` shows fractions as percent.
        digits: digits after the point.
        advice: what to look at and what would help, in plain words.

    Raises:
        ParameterError: none or both of the bars are given.
    """
    if at_least is not None and at_most is None:
        relation, bar, holds = "at least", at_least, value >= at_least
    elif at_most is not None and at_least is None:
        relation, bar, holds = "at most", at_most, value <= at_most
    else:
        raise ParameterError(f"judge `{name}`: give one bar, at_least or at_most.")
    if unit == "%":
        figure, limit = (f"{100 * number:.0f} %" for number in (value, bar))
    else:
        figure, limit = (f"{number:.{digits}f} {unit}".rstrip() for number in (value, bar))
    if holds:
        return Check(name, "ok", figure)
    return Check(name, "notice", f"{figure}, where {relation} {limit} is usual", advice)


def format_checks(checks: Iterable[Check]) -> str:
    """Format checks as aligned text, one a line: status, name, figure, advice."""
    rows = list(checks)
    name_width = max((len(check.name) for check in rows), default=0)
    figure_width = max((len(check.figure) for check in rows), default=0)
    return "\n".join(
        f"{c.status:<6}  {c.name:<{name_width}}  {c.figure:<{figure_width}}  {c.advice}".rstrip() for c in rows
    )
