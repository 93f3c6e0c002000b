"""Rows of a benchmark: printed as a table, written to `outputs/bench/<name>.json`, judged against their bars."""

import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.machine import describe_machine
from metatalk_lib.core.paths import PROJECT_ROOT, resolve_path


@dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        name: what was measured.
        value: measured value.
        unit: its unit, empty for a pure number.
        op: comparison of the value with `limit` that must hold; None for a row that is only printed.
        limit: limit of the value.
        is_cheat: whether the row is a deliberately wrong answer, which must miss the limit.
    """

    name: str
    value: float
    unit: str
    op: Literal[">=", "<=", None]
    limit: float | None
    is_cheat: bool = False

    @property
    def holds(self) -> bool:
        """Whether the limit is met, or there is none; for a cheat, whether it is missed."""
        if self.op is None or self.limit is None:
            return True
        is_met = self.value >= self.limit if self.op == ">=" else self.value <= self.limit
        return is_met != self.is_cheat


def time_of(work: Callable[[], object], repeats: int = 1) -> float:
    """Median wall time of a piece of work, s."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def calibrate() -> float:
    """Seconds that this machine takes for a fixed piece of work on one core; the middle of three."""

    def work() -> None:
        total = 0
        for number in range(20_000_000):
            total += number & 7

    return time_of(work, 3)


def peak_memory_mb(module: str, *arguments: str) -> float:
    """Largest resident memory of a fresh process, MB: of a benchmark that prints `own_peak_memory_mb` at its end.

    Args:
        module: such as `benchmarks.cropping`.
        arguments: of its command line.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def own_peak_memory_mb() -> float:
    """Largest resident memory of this process since its program began, MB.

    Linux counts `ru_maxrss` over the parent's memory at the fork, too: a large parent would hide what the child needs.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def finish(name: str, rows: list[Row]) -> int:
    """Print the table, write the JSON, and return the exit code: 1 when a bar falls short.

    Args:
        name: the benchmark's name.
        rows: its figures.
    """
    for row in rows:
        bar = "" if row.op is None else f"{'not ' if row.is_cheat else ''}{row.op} {row.limit:.4g}"
        verdict = "" if row.op is None else "ok" if row.holds else "CHEAT PASSES" if row.is_cheat else "SHORT"
        print(f"{row.name:70} {row.value:10.4g} {row.unit:6} {bar:12} {verdict}")
    seconds = calibrate()
    print(f"machine: {describe_machine()}; calibration loop {seconds:.2f} s")
    path = resolve_path("outputs/bench") / f"{name}.json"
    report = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": describe_machine(), "calibration_s": seconds}
    save_json(path, report | {"command": describe_command(), "rows": [asdict(row) for row in rows]})
    print(f"written: {path}")
    return int(not all(row.holds for row in rows))


def describe_command() -> str:
    """The running command as one would type it; of absolute paths only the last part, which says nothing of a user."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *words])
