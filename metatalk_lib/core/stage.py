"""A run of one stage: its folder, inputs with checksums, timing, and the summary, which is written last."""

import hashlib
import json
import platform
import random
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metatalk_lib.core.artifacts import load_json, save_json, sha256_input
from metatalk_lib.core.assets import list_placed
from metatalk_lib.core.code_fingerprint import digest_stage
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check, format_checks
from metatalk_lib.core.paths import IS_SOURCE_TREE, PROJECT_ROOT, STAGES, ensure_dir, stage_dir
from metatalk_lib.core.stage_configs import StageConfig

RECORDED_PACKAGES = ("torch", "numpy", "scipy", "av", "ai-edge-litert", "dlib-bin", "opencv-python-headless", "anny")


class Stage:
    """An open stage, created by `open_stage` and ended by `finish`.

    Attributes:
        name: name of the stage, such as `01_crop`.
        config: parameters of the stage.
        dir: folder of the stage, which exists and is writable.
        device: device that networks run on.
    """

    def __init__(self, name: str, config: StageConfig) -> None:
        self.name = name
        self.config = config
        self.dir = ensure_dir(stage_dir(config.outputs_dir, config.character, name))
        self.device = choose_device(config.device)
        self._inputs: dict[str, str] = {}
        self._findings: list[Check] = []
        self._placed = list_placed()
        self._timings: dict[str, float] = {}
        self._started = self._lap_started = time.perf_counter()
        (self.dir / "summary.json").unlink(missing_ok=True)

    def input(self, stage: str, file: str) -> Path:
        """Return the path of an earlier stage's file and record its checksum for the summary.

        Raises:
            DataError: the earlier stage was not finished, or did not write the file.
        """
        return self.external_input(self.finished_dir(stage) / file)

    def finished_dir(self, stage: str) -> Path:
        """Return the folder of an earlier stage.

        Raises:
            DataError: the earlier stage was not finished.
        """
        folder = stage_dir(self.config.outputs_dir, self.config.character, stage)
        if not (folder / "summary.json").exists():
            raise DataError(
                f"{self.name}: {stage} is not finished for character {self.config.character}: no summary.json in "
                f"{folder}. Run notebooks/{stage}.ipynb first."
            )
        return folder

    def external_input(self, path: Path) -> Path:
        """Record the checksum of any other file that the stage reads, or of the file names in a folder.

        Raises:
            DataError: the path does not exist.
        """
        if not path.exists():
            raise DataError(f"{self.name}: {path} does not exist. Check the path, or run the stage that writes it.")
        self._inputs[str(path)] = sha256_input(path)
        return path

    def output(self, file: str) -> Path:
        """Return the path for an output file of this stage; its folder is created."""
        path = self.dir / file
        ensure_dir(path.parent)
        return path

    def fingerprint(self) -> str:
        """Compute a hex digest of parameters, code and inputs so far; equal digests mean equal work."""
        described = [self.config.model_dump(), digest_stage(self.name), self._inputs]
        return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()

    def lap(self, label: str) -> float:
        """Store the seconds since the last lap (or the start) under `label`, and return them."""
        now = time.perf_counter()
        self._timings[label], self._lap_started = now - self._lap_started, now
        return self._timings[label]

    def report(self, findings: Iterable[Check]) -> None:
        """Print measures of the person's video that were compared with what is usual, and keep them for the summary."""
        found = list(findings)
        self._findings += found
        print(format_checks(found))

    def finish(self, *, counts: dict[str, Any] | None = None, metrics: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write `summary.json`, the mark of a finished stage, and return it.

        Args:
            counts: numbers of frames, gaps, utterances and the like.
            metrics: measured values; numpy scalars are converted to numbers, values that are not finite are rejected.

        Raises:
            DataError: a value is not finite.
        """
        summary = {
            "stage": self.name,
            "parameters": self.config.model_dump(),
            "code": digest_stage(self.name),
            "commit": _commit(),
            "versions": {name: version(name) for name in RECORDED_PACKAGES} | {"python": platform.python_version()},
            "machine": f"{platform.machine()}, {self.config.threads} threads, {self.device}",
            "inputs": self._inputs,
            "official_files": self._placed,
            "counts": _plain(counts or {}, self.name),
            "metrics": _plain(metrics or {}, self.name),
            "findings": [asdict(finding) for finding in self._findings],
            "timings_s": {name: round(value, 3) for name, value in self._timings.items()}
            | {"total": round(time.perf_counter() - self._started, 3)},
        }
        save_json(self.dir / "summary.json", summary)
        following = STAGES[STAGES.index(self.name) + 1 :]
        print(
            f"{self.name} finished: {self.dir}. "
            + (f"Next: {following[0]}" if following else "That was the last stage.")
        )
        return summary


def open_stage(name: str, config: StageConfig) -> Stage:
    """Start a stage: create its folder, seed all random generators, set the thread count, choose the device.

    Raises:
        ParameterError: no such stage, or `device: cuda` without an accelerator.
        DataError: the outputs folder cannot be written.
    """
    if name not in STAGES:
        raise ParameterError(f"no stage `{name}`. There are: {', '.join(STAGES)}.")
    random.seed(config.seed)
    np.random.seed(config.seed)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    return Stage(name, config)


def load_summary(outputs_dir: str | Path, character: str, stage: str) -> dict[str, Any]:
    """Load the summary of a finished stage.

    Raises:
        DataError: the stage is not finished.
    """
    summary: dict[str, Any] = load_json(stage_dir(outputs_dir, character, stage) / "summary.json")
    return summary


def choose_device(device: str) -> torch.device:
    """Choose the device named by a parameter; `auto` takes the accelerator if there is one.

    Raises:
        ParameterError: there is no such device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"device is {device!r}; it must be auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device is cuda, but torch sees no accelerator. Use device: auto or cpu.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _commit() -> str:
    if not IS_SOURCE_TREE:  # the folder above an installed package may be somebody else's repository
        return f"metatalk {version('metatalk')}"
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _plain(value: Any, stage: str) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item, stage) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, stage) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        raise DataError(f"{stage}: a figure for the summary is {value}. Look for empty or silent input above.")
    return value
