"""Kill every stage at several moments, run the same command again, and compare the artefacts with an uninterrupted run.

    python -m benchmarks.resume [--stages 01 05] [--fractions 0.25 0.5 0.75]

Files may differ only in recorded times. The cheat row alters one byte of one file, which must be detected.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.report import Row, finish
from metatalk_lib.core.artifacts import load_json, sha256_file
from metatalk_lib.core.params import character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import STAGES
from metatalk_lib.core.stage_configs import CropConfig
from metatalk_lib.studio.render_video import studio_video_path

TIMES = {"summary.json": "timings_s", "history.json": "seconds"}
"""Files with recorded times, and the names of these entries."""


def run_stage(stage: str, outputs: Path, *, kill_after_s: float | None = None) -> float | None:
    """Run one stage of character B on the smoke profile; optionally kill it with all its processes.

    Returns:
        Wall time in s, or None when it was killed.
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
        return None
    if process.returncode != 0:
        raise RuntimeError(f"{stage} failed:\n{output[-2000:]}")
    return time.perf_counter() - started


def checksums(folder: Path) -> dict[str, str]:
    """Relative path -> checksum of every file, of those in `TIMES` without the times that they tell."""
    return {str(path.relative_to(folder)): _checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _checksum(path: Path) -> str:
    if path.name not in TIMES:
        return sha256_file(path)
    told = _without(load_json(path), TIMES[path.name])
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _without(value: object, name: str) -> object:
    """A value of JSON without the entries of that name."""
    if isinstance(value, dict):
        return {key: _without(entry, name) for key, entry in value.items() if key != name}
    return value


def differing_files(stage: str, outputs: Path, fractions: Sequence[float]) -> dict[float, list[str]]:
    """For each moment, a fraction of a full run's time: kill, rerun, compare with an uninterrupted run.

    Returns:
        Moment -> files that are missing, additional or different; 1.0 stands for a second run that was not killed.

    Raises:
        RuntimeError: a run failed.
    """
    folder = outputs / "B" / stage
    clear(stage, outputs)
    run_stage(stage, outputs)
    expected = checksums(folder)
    clear(stage, outputs)
    duration_s = run_stage(stage, outputs)  # the first run also fills caches that no later run has to fill
    results = {1.0: compare(expected, checksums(folder))}
    for fraction in fractions:
        kill_and_rerun(stage, outputs, fraction * duration_s)
        results[fraction] = compare(expected, checksums(folder))
    return results


def kill_and_rerun(stage: str, outputs: Path, moment_s: float) -> None:
    """Start a stage from nothing, kill it at that time or, should it be faster, sooner, and run it again."""
    clear(stage, outputs)
    while (took_s := run_stage(stage, outputs, kill_after_s=moment_s)) is not None:
        moment_s = 0.7 * took_s
        clear(stage, outputs)
    run_stage(stage, outputs)


def compare(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Files that are missing, additional or different."""
    return sorted({name for name, _ in expected.items() ^ found.items()})


def clear(stage: str, outputs: Path) -> None:
    """Delete what the stage writes, for 01 also the studio video that it renders on first use."""
    shutil.rmtree(outputs / "B" / stage, ignore_errors=True)
    if stage == STAGES[0]:
        config = CropConfig.from_values(load_params(character_params_path("B"), profile_params_path("smoke")))
        video = studio_video_path("B", config.studio_seconds, config.studio_scale, config.seed)
        shutil.rmtree(video.parent, ignore_errors=True)


def files_differing_after_alteration(outputs: Path) -> list[str]:
    """Files that the comparison finds after one byte of one file was altered."""
    folder = outputs / "B" / STAGES[0]
    before = checksums(folder)
    victim = next(path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "summary.json")
    victim.write_bytes(victim.read_bytes()[:-1] + b"\x00\x01")
    return compare(before, checksums(folder))


def main() -> None:
    """Run the benchmark and exit with 1 when a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", default=[stage[:2] for stage in STAGES])
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.25, 0.5, 0.75])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            if stage[:2] not in arguments.stages:
                run_stage(stage, Path(folder))
                continue
            for fraction, names in differing_files(stage, Path(folder), arguments.fractions).items():
                what = f"{stage} killed at {fraction:.0%}" if fraction < 1 else f"{stage} run twice"
                print(f"{what}: {', '.join(names) or 'equal'}", flush=True)
                rows.append(Row(f"{what}, files that differ", len(names), "", "<=", 0))
        altered = len(files_differing_after_alteration(Path(folder)))
        rows.append(Row("cheat, one byte altered: files that differ", altered, "", "<=", 0, is_cheat=True))
    sys.exit(finish("resume", rows))


if __name__ == "__main__":
    main()
