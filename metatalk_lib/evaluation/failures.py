"""Compared methods that fail on a person, or whose video shows no face: a row says so, and the others are judged."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pandas as pd

from metatalk_lib.core.errors import FaceError, MetaTalkError
from metatalk_lib.core.findings import Check

Step = Literal["video", "faces", "lip synchrony"]
"""The part that failed: the video was not made, its face cannot be followed, or LSE cannot be measured."""
FAILURE = "failure"
"""Column of the reasons in a table that has failures."""


class Failures:
    """Reasons of failures by row: of methods, and of the original where it cannot be judged itself."""

    def __init__(self) -> None:
        self._reasons: dict[str, dict[Step, str]] = {}

    def add(self, row: str, step: Step, reason: MetaTalkError | str) -> None:
        """Record a failure; a later one of the same row and step is left out."""
        text = " ".join(str(reason).split()).rstrip(".") + "."
        if isinstance(reason, FaceError):  # its advice is for the person's video, not for one that a method made
            text = text.partition(". ")[0].rstrip(".") + "."
        self._reasons.setdefault(row, {}).setdefault(step, text)

    def has(self, row: str, step: Step) -> bool:
        """Whether the step failed for the row."""
        return step in self._reasons.get(row, {})

    def describe(self) -> dict[str, str]:
        """Return what failed, row to one line."""
        return {row: self._describe(row, get_args(Step)) for row in self._reasons}

    def note(self, table: pd.DataFrame, *steps: Step) -> pd.DataFrame:
        """Return a table with rows for what failed and a last column of reasons; unchanged where nothing did.

        Args:
            table: measures, one row a video.
            steps: the steps that the table's measures need.
        """
        failed = {row: self._describe(row, steps) for row in self._reasons}
        failed = {row: reason for row, reason in failed.items() if reason}
        if not failed:
            return table
        missing = [row for row in failed if row not in table.index]
        values = [*table.astype(object).to_numpy().tolist(), *([math.nan] * table.shape[1] for _ in missing)]
        index = pd.Index([*table.index, *missing], name=table.index.name)
        noted = pd.DataFrame(values, index=index, columns=table.columns)
        return noted.assign(**{FAILURE: [failed.get(row, "") for row in index]})

    def check(self, labels: Mapping[str, str]) -> list[Check]:
        """Return a finding for every row that failed, and one that all were judged where none did.

        Args:
            labels: method to its label in the tables.
        """
        failed = [
            Check(labels.get(row, row), "notice", "not judged in full", f"{reason} The others are judged.")
            for row, reason in self.describe().items()
        ]
        return failed or [Check("compared methods", "ok", f"all {len(labels)} are judged")]

    def _describe(self, row: str, steps: Sequence[Step]) -> str:
        found = self._reasons[row]
        return " ".join(f"no {step}: {found[step]}" for step in steps if step in found)
