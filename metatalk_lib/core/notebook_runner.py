"""Headless execution of the notebooks with papermill; stages that are up to date are skipped."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from traitlets.config import Config

from metatalk_lib.core import errors
from metatalk_lib.core.artifacts import load_json, sha256_input
from metatalk_lib.core.assets import list_placed
from metatalk_lib.core.code_fingerprint import describe_change, digest_stage
from metatalk_lib.core.errors import DataError, MetaTalkError, ParameterError
from metatalk_lib.core.paths import HOME_DIR, HOME_VARIABLE, NOTEBOOKS_DIR, STAGES, ensure_dir, resolve_path, stage_dir
from metatalk_lib.core.stage_configs import STAGE_CONFIGS, StageConfig


class StageError(MetaTalkError):
    """A notebook failed; the message contains the notebook's error and the path of its partial copy."""


def select_stages(first: str | None = None, last: str | None = None) -> tuple[str, ...]:
    """Select the stages from `first` to `last`, both included; each may be given by its two digits.

    Raises:
        ParameterError: no such stage, or `first` comes after `last`.
    """
    start = 0 if first is None else _stage_index(first)
    stop = len(STAGES) - 1 if last is None else _stage_index(last)
    if stop < start:
        raise ParameterError(f"stage {STAGES[stop]} comes before {STAGES[start]}. Swap --from and --to.")
    return STAGES[start : stop + 1]


def run_character(values: Mapping[str, Any], stages: Sequence[str] = STAGES, *, force: bool = False) -> None:
    """Run the stages of one character in order; stop at the first failure.

    Args:
        values: resolved parameters of all stages, as `params.load_params` gives them.
        stages: names of the stages to run.
        force: also rerun stages that are up to date.

    Raises:
        ParameterError: a parameter has a wrong type or value (checked for all stages before the first one starts).
        StageError: a notebook failed.
    """
    configs = {stage: STAGE_CONFIGS[stage].from_values(values) for stage in stages}
    reason = "--force" if force else ""
    for stage, config in configs.items():
        if not reason or not _summary_path(stage, config).exists():
            reason = explain_run(stage, config)
        if not reason:
            print(f"{stage} ({config.character}): up to date", flush=True)
            continue
        print(f"{stage} ({config.character}): running: {reason}", flush=True)
        execute_stage(stage, config)
        reason = f"{stage} was run again"  # later stages read the files just rewritten


def execute_stage(stage: str, config: StageConfig) -> Path:
    """Execute one notebook and store the executed copy in `outputs/<character>/notebooks/`.

    Success is judged by the exception and by `summary.json`, never by the notebook's own metadata.

    Returns:
        Path of the executed copy.

    Raises:
        StageError: the notebook failed or did not finish its stage.
    """
    import papermill  # takes seconds, which a run that finds everything up to date, or a mistyped name, need not wait
    from papermill.exceptions import PapermillExecutionError

    executed = ensure_dir(resolve_path(config.outputs_dir) / config.character / "notebooks") / f"{stage}.ipynb"
    os.environ.setdefault(HOME_VARIABLE, str(HOME_DIR))  # the kernel's working folder is another one
    try:
        papermill.execute_notebook(
            str(NOTEBOOKS_DIR / f"{stage}.ipynb"),
            str(executed),
            parameters=config.model_dump(),
            kernel_name="python3",
            cwd=str(NOTEBOOKS_DIR),
            progress_bar=False,
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            extra_arguments=["--IPKernelApp.log_level=50"],  # the kernel reports its own shutdown as an error
        )
    except PapermillExecutionError as error:
        if hasattr(errors, error.ename):  # raised on purpose, so that its message is complete
            raise StageError(" ".join(str(error.evalue).split())) from error
        raise StageError(
            f"{stage}: cell {error.cell_index} failed with {error.ename}: {' '.join(str(error.evalue).split())} "
            f"The executed notebook shows where: {executed}"
        ) from error
    if not _summary_path(stage, config).exists():
        raise StageError(f"{stage}: the notebook ended without finishing its stage. The executed notebook: {executed}")
    return executed


def explain_run(stage: str, config: StageConfig) -> str:
    """Say in a few words why a stage must run: what differs from its finished run; empty where it is up to date.

    It is out of date when its parameters, the code that its notebook reaches by imports, a checksum of its inputs, or
    the official files that it chooses from changed.

    Args:
        stage: name of the stage.
        config: its parameters.
    """
    path = _summary_path(stage, config)
    if not path.exists():
        return "not finished yet"
    try:
        summary = load_json(path)
    except DataError:
        return "its summary.json cannot be read"
    if change := _compare_parameters(summary.get("parameters", {}), config.model_dump()):
        return change
    code = summary.get("code")
    if not isinstance(code, dict):
        return "finished by an earlier version"
    if change := describe_change(code, digest_stage(stage)):
        return change
    if config.takes_what_is_placed and summary.get("official_files") != list_placed():
        return "other official files are placed"
    for name, checksum in summary.get("inputs", {}).items():
        source = Path(name)
        if not source.exists() or sha256_input(source) != checksum:
            return f"{name} changed since" if source.exists() else f"{name} is gone"
    return ""


def _summary_path(stage: str, config: StageConfig) -> Path:
    return stage_dir(config.outputs_dir, config.character, stage) / "summary.json"


def _compare_parameters(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for name in [*now, *(name for name in before if name not in now)]:
        if before.get(name) != now.get(name):
            return f"{name} is {now.get(name)!r}, was {before.get(name)!r}"
    return ""


def _stage_index(name: str) -> int:
    matches = [index for index, stage in enumerate(STAGES) if name in (stage, stage[:2])]
    if not matches:
        raise ParameterError(f"no stage `{name}`. There are: {', '.join(STAGES)}.")
    return matches[0]
