"""Time of the suite from scratch: `metatalk run` on the demo profile, and 01 to 07 by plain papermill on smoke.

    python -m benchmarks.times [--repeats 3]

Every run starts without outputs, studio videos, face model and compiled loops; the median of the repeats counts. Run it
on an idle machine of two cores: the calibration loop next to the results shows differences between machines, and
between idle and busy. The cheat row runs stage 07 alone, without its inputs, and must not count as a fast suite.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.report import Row, finish
from metatalk_lib.core.paths import NOTEBOOKS_DIR, PARAMS_DIR, STAGES

DEMO_MINUTES, SMOKE_MINUTES = 15.0, 4.0


def run_demo(folder: Path) -> bool:
    """`make demo` without the environment; true when every stage is finished."""
    command = [sys.executable, "-c", "from metatalk_lib.cli import main; main()", "run", "--character", "A"]
    command += ["--profile", "demo", "-p", f"outputs_dir={folder / 'outputs'}"]
    return run_fresh(command, folder) and is_finished(folder, "A")


def run_smoke(folder: Path, stages: Sequence[str] = STAGES) -> bool:
    """Stages of character B by the papermill command, one after the other; true when every stage is finished."""
    for stage in stages:
        command = [sys.executable, "-m", "papermill", str(NOTEBOOKS_DIR / f"{stage}.ipynb"), str(folder / "out.ipynb")]
        command += ["-f", str(PARAMS_DIR / "B.yaml"), "-f", str(PARAMS_DIR / "profiles" / "smoke.yaml")]
        if not run_fresh([*command, "-p", "outputs_dir", str(folder / "outputs")], folder):
            return False
    return is_finished(folder, "B")


def run_fresh(command: list[str], folder: Path) -> bool:
    """Run a command whose caches lie in `folder`; true when it succeeds."""
    caches = {"METATALK_CACHE": str(folder / "cache"), "NUMBA_CACHE_DIR": str(folder / "numba")}
    return subprocess.run(command, env=os.environ | caches, cwd=folder, capture_output=True).returncode == 0


def is_finished(folder: Path, character: str) -> bool:
    """Whether every stage of a character left its summary."""
    return all((folder / "outputs" / character / stage / "summary.json").exists() for stage in STAGES)


def median_minutes(run: Callable[[Path], bool], repeats: int) -> float:
    """Median wall time of complete runs; infinite where one was not complete."""
    minutes = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            is_complete = run(Path(folder))
            minutes.append((time.perf_counter() - started) / 60 if is_complete else float("inf"))
        print(f"{run.__name__}: {minutes[-1]:.2f} min", flush=True)
    return statistics.median(minutes)


def run_last_stage(folder: Path) -> bool:
    """The cheat: the last stage alone."""
    return run_smoke(folder, STAGES[-1:])


def main() -> None:
    """Run the benchmark and exit with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cheat = min(median_minutes(run_last_stage, 1), 1e6)  # JSON knows no infinity
    rows = [
        Row("smoke, B, 01 to 07 by papermill", median_minutes(run_smoke, repeats), "min", "<=", SMOKE_MINUTES),
        Row("demo, A, 01 to 07 by metatalk run", median_minutes(run_demo, repeats), "min", "<=", DEMO_MINUTES),
        Row("only 07 (cheat; 1e6: not complete)", cheat, "min", "<=", SMOKE_MINUTES, is_cheat=True),
    ]
    sys.exit(finish("times", rows))


if __name__ == "__main__":
    main()
