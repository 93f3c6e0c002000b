"""Kill every stage at several moments, run the same command again, and compare the artefacts with an uninterrupted run.

    python -m benchmarks.resume [--stages 01 05] [--fractions 0.25 0.5 0.75]

Every row must say `equal`. The control row alters one byte of one artefact and must say `different`.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import Row, finish
from metatalk_lib.artifacts import load_json, sha256_file
from metatalk_lib.paths import STAGES


def run_stage(stage: str, outputs: Path, *, kill_after_s: float | None = None) -> float:
    """Run one stage of character B on the smoke profile; optionally kill it with all its processes.

    Returns:
        Wall time in s.
    """
    command = [sys.executable, "-c", "from metatalk_lib.cli import main; main()", "run", "--character", "B"]
    command += ["--profile", "smoke", "--from", stage, "--to", stage, "--force", "-p", f"outputs_dir={outputs}"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.kill()
        psutil.wait_procs(family)
        process.communicate()
        return time.perf_counter() - started
    if process.returncode != 0:
        raise RuntimeError(f"{stage} failed:\n{output[-2000:]}")
    return time.perf_counter() - started


def checksums(folder: Path) -> dict[str, str]:
    """Relative path -> checksum of every file; of `summary.json` without its timings."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sums[str(path.relative_to(folder))] = sha256_file(path)
    summary = load_json(folder / "summary.json")
    del summary["timings_s"]
    sums["summary.json"] = hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()
    return sums


def resumes_equal(stage: str, outputs: Path, fractions: list[float]) -> dict[float, bool]:
    """For each moment (a fraction of the full run's time): kill, rerun, compare with the uninterrupted run."""
    folder = outputs / "B" / stage
    shutil.rmtree(folder, ignore_errors=True)
    duration_s = run_stage(stage, outputs)
    expected = checksums(folder)
    results = {}
    for fraction in fractions:
        shutil.rmtree(folder)
        run_stage(stage, outputs, kill_after_s=fraction * duration_s)
        run_stage(stage, outputs)
        results[fraction] = checksums(folder) == expected
    return results


def control_differs(outputs: Path) -> bool:
    """The comparison sees one altered byte."""
    folder = outputs / "B" / STAGES[0]
    before = checksums(folder)
    victim = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "summary.json")
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x00\x01")
    return checksums(folder) != before


def main() -> None:
    """Run the benchmark and exit with 1 when a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", default=[stage[:2] for stage in STAGES])
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.3, 0.6, 0.9])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            if stage[:2] not in arguments.stages:
                run_stage(stage, Path(folder))
                continue
            results = resumes_equal(stage, Path(folder), arguments.fractions)
            for fraction, is_equal in results.items():
                rows.append(
                    Row(f"{stage} killed at {fraction:.0%}, rerun: equal artefacts", float(is_equal), "", ">=", 1.0)
                )
        rows.append(
            Row("control, one byte altered: equal artefacts", 1.0 - control_differs(Path(folder)), "", None, 1.0)
        )
    sys.exit(finish("resume", rows))


if __name__ == "__main__":
    main()
