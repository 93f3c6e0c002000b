"""Rows of a benchmark: printed as a table, written to `outputs/bench/<name>.json`, judged against their bars."""

import os
import platform
from dataclasses import asdict, dataclass
from typing import Literal

from metatalk_lib.artifacts import save_json
from metatalk_lib.paths import resolve_path


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: its unit, empty for a pure number.
        op: how it must stand to `limit`; None for control and cheat rows, which must NOT reach it.
        limit: the bar.
    """

    name: str
    value: float
    unit: str
    op: Literal[">=", "<=", None]
    limit: float | None

    @property
    def holds(self) -> bool:
        """True when the bar is met, or there is none."""
        if self.op is None or self.limit is None:
            return True
        return self.value >= self.limit if self.op == ">=" else self.value <= self.limit


def machine() -> str:
    """The machine in words: processor, cores, operating system."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def finish(name: str, rows: list[Row]) -> int:
    """Print the table, write the JSON, and return the exit code: 1 when a bar falls short.

    Args:
        name: the benchmark's name.
        rows: its figures.
    """
    for row in rows:
        bar = f"{row.op} {row.limit:g}" if row.op else "control"
        verdict = "" if row.op is None else "ok" if row.holds else "SHORT"
        print(f"{row.name:70} {row.value:10.4g} {row.unit:6} {bar:12} {verdict}")
    print(f"machine: {machine()}")
    path = resolve_path("outputs/bench") / f"{name}.json"
    save_json(path, [asdict(row) | {"machine": machine()} for row in rows])
    print(f"written: {path}")
    return int(not all(row.holds for row in rows))
