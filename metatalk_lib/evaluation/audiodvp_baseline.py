"""The AudioDVP baseline of notebook 06, trained for as long as our renderer."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from metatalk_lib.baselines import audiodvp
from metatalk_lib.core.artifacts import load_json, save_json, sha256_file
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.stage import Stage, code_fingerprint
from metatalk_lib.evaluation.methods import PERSON_FILES


def train_baseline(stage: Stage, settings: audiodvp.AudioDVPSettings) -> dict[str, object]:
    """Train AudioDVP into `audiodvp/`, or reuse an existing training with the same inputs.

    Returns:
        Training history, as returned by `audiodvp.train`.
    """
    folder, person = stage.output("audiodvp/history.json").parent, stage.dir.parent
    wanted = {
        "settings": asdict(settings),
        "files": [sha256_file(person / name) for name in PERSON_FILES],
        "code": code_fingerprint(stage.name),
    }
    made_from, history = folder / "made_from.json", folder / "history.json"
    if made_from.is_file() and history.is_file() and load_json(made_from) == json.loads(json.dumps(wanted)):
        return load_json(history)
    made_from.unlink(missing_ok=True)
    trained = audiodvp.train(person, folder, settings, device=stage.device)
    save_json(made_from, wanted)
    return trained


def describe_training(history: Mapping[str, object], stage: Stage) -> tuple[dict[str, object], dict[str, tuple]]:
    """Summarise the training time of both renderers, and return both loss curves over time.

    Args:
        history: history from `train_baseline`.
        stage: the evaluation stage; the history of ours is read from stage 05.

    Returns:
        A table row, and label to (seconds, loss) for `paper_figures.plot_training_plateaus`.
    """
    ours, theirs = load_our_history(stage), history["renderer"]
    row = {
        "steps": theirs["step"][-1],
        "seconds": theirs["seconds"][-1],
        "seconds of ours": ours["seconds"][-1],
        "own-speech frames of A2E": history["a2e"]["frames"],
        "frames of the renderer": history["renderer_frames"],
    }
    return row, {str(history["label"]): _over_time(theirs), "Ours": _over_time(ours)}


def load_our_history(stage: Stage) -> dict[str, list]:
    path = stage.input("05_neural_renderer", "history.json")
    history = load_json(path)
    if "seconds" not in history:
        raise DataError(f"{path} does not tell how long the training took. Run 05_neural_renderer again.")
    return history


def _over_time(losses: Mapping[str, list]) -> tuple[np.ndarray, np.ndarray]:
    """Return losses over time; the first one, a mean over the first steps, is repeated at time 0."""
    seconds, loss = losses["seconds"], losses["reconstruction"]
    return np.array([0, *seconds], float), np.array([loss[0], *loss], float)
