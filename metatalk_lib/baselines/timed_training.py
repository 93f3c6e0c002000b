"""Training for a given time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from metatalk_lib.core.artifacts import load_json, save_json

TRIAL_STEPS = 20
"""Steps of the first trial, which estimates the speed; the first half of them, which warms up, does not count."""
TIME_TOLERANCE = 0.05
"""Relative deviation from the given time that is accepted."""
MAX_TRAININGS = 3

_Network = TypeVar("_Network")


def train_for(
    seconds: float,
    train: Callable[[int], tuple[_Network, dict[str, list]]],
    checkpoint: Path,
    plan: Path,
    settings: Mapping[str, object],
) -> tuple[_Network, dict[str, list]]:
    """Train for a given time, by planning the number of steps, which must be known when a training starts.

    A short trial estimates it. If the training then takes another time, for instance on a shared machine, it is
    replaced by a new one with a number of steps according to its speed; the last of `MAX_TRAININGS` is kept.

    Args:
        seconds: training time, s; above 0.
        train: function that trains with a given number of steps and returns the network and its history as
            `train_renderer` does; it resumes from the checkpoint if that has as many steps.
        checkpoint: checkpoint file of `train`; it is deleted before the next training.
        plan: JSON file with the number of steps, so that a killed training resumes with the same number.
        settings: settings of the training; a plan for other settings is ignored.

    Returns:
        Result of the last training.
    """
    kept = load_json(plan) if plan.is_file() else {}
    kept = kept if kept.get("settings") == settings else {}
    steps, trainings = kept.get("steps", TRIAL_STEPS), kept.get("trainings", 0)
    while True:
        trained = train(steps)
        ends, taken = trained[1]["step"], trained[1]["seconds"]
        is_in_time = abs(taken[-1] - seconds) <= TIME_TOLERANCE * seconds
        if trainings > 0 and (is_in_time or trainings == MAX_TRAININGS):
            return trained
        passed = 0 if trainings else len(ends) // 2
        done, at = (ends[passed - 1], taken[passed - 1]) if passed else (0, 0.0)
        speed = (ends[-1] - done) / (taken[-1] - at)
        steps, trainings = max(TRIAL_STEPS, round(seconds * speed)), trainings + 1
        save_json(plan, {"settings": settings, "steps": steps, "trainings": trainings})
        checkpoint.unlink(missing_ok=True)
