"""The AudioDVP baseline of notebook 06, trained for as long as our renderer."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metatalk_lib.baselines import audiodvp
from metatalk_lib.core.artifacts import load_json, save_json, sha256_file
from metatalk_lib.core.code_fingerprint import fingerprint_modules
from metatalk_lib.core.errors import DataError, MetaTalkError
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.methods import PERSON_FILES

NEEDS_BASELINE = ("AudioDVP", "Our A2E", "High definition")
"""Methods that need the trained baseline."""


def train_baseline(
    character_dir: Path,
    folder: Path,
    settings: audiodvp.AudioDVPSettings,
    *,
    failures: Failures | None = None,
    device: torch.device | None = None,
) -> dict[str, object]:
    """Train AudioDVP, or reuse an existing training with the same inputs, settings and code.

    Args:
        character_dir: `outputs/<character>`, with stages 01 to 03.
        folder: folder of the trained networks and their history.
        settings: size and length of the training.
        failures: where a failure is recorded, for AudioDVP and its mixtures; None raises it.
        device: device on which the training runs; the CPU by default.

    Returns:
        Training history, as returned by `audiodvp.train`; empty if it failed.

    Raises:
        DataError, ParameterError: as `audiodvp.train`, without `failures`.
    """
    wanted = {
        "settings": asdict(settings),
        "files": [sha256_file(character_dir / name) for name in PERSON_FILES],
        "code": fingerprint_modules(audiodvp.__name__),
    }
    made_from, history = folder / "made_from.json", folder / "history.json"
    if made_from.is_file() and history.is_file() and load_json(made_from) == json.loads(json.dumps(wanted)):
        return load_json(history)
    made_from.unlink(missing_ok=True)
    try:
        trained = audiodvp.train(character_dir, folder, settings, device=device)
    except MetaTalkError as error:
        if failures is None:
            raise
        for name in NEEDS_BASELINE:
            failures.add(name, "video", error)
        return {}
    save_json(made_from, wanted)
    return trained


def describe_training(
    theirs: Mapping[str, Any], ours: Mapping[str, list]
) -> tuple[dict[str, object], dict[str, tuple]]:
    """Summarise the training time of both renderers, and return both loss curves over time.

    Args:
        theirs: history from `train_baseline`; an empty one counts no steps.
        ours: history from `load_renderer_history`.

    Returns:
        A table row, and label to (seconds, loss) for `paper_figures.plot_training_plateaus`.
    """
    if not theirs:
        return {"steps": 0, "seconds": 0.0, "seconds of ours": ours["seconds"][-1]}, {"Ours": _over_time(ours)}
    losses = theirs["renderer"]
    row = {
        "steps": losses["step"][-1],
        "seconds": losses["seconds"][-1],
        "seconds of ours": ours["seconds"][-1],
        "own-speech frames of A2E": theirs["a2e"]["frames"],
        "frames of the renderer": theirs["renderer_frames"],
    }
    return row, {str(theirs["label"]): _over_time(losses), "Ours": _over_time(ours)}


def load_renderer_history(path: Path) -> dict[str, list]:
    """Load the losses and times of our renderer's training, the `history.json` of stage 05.

    Raises:
        DataError: the file is missing, or has no times.
    """
    history = load_json(path)
    if "seconds" not in history:
        raise DataError(f"{path} does not tell how long the training took. Run 05_neural_renderer again.")
    return history


def _over_time(losses: Mapping[str, list]) -> tuple[np.ndarray, np.ndarray]:
    """Return losses over time; the first one, a mean over the first steps, is repeated at time 0."""
    seconds, loss = losses["seconds"], losses["reconstruction"]
    return np.array([0, *seconds], float), np.array([loss[0], *loss], float)
