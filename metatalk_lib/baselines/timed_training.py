"""A training that takes a given time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from metatalk_lib.core.artifacts import load_json, save_json

TRIAL_STEPS = 20
"""Steps from which the time of all is told at first; the first half of them, which warms up, does not count."""
TIME_TOLERANCE = 0.05
"""By this share a training may miss its time."""
MAX_TRAININGS = 3

_Network = TypeVar("Network")


def train_for(
    seconds: float,
    train: Callable[[int], tuple[_Network, dict[str, list]]],
    checkpoint: Path,
    plan: Path,
    settings: Mapping[str, object],
) -> tuple[_Network, dict[str, list]]:
    """Train for a given time; all steps of a training must be known when it starts, so their number is planned.

    A short trial tells it. Where the training then takes another time, as on a machine that others use as well, a new
    one with as many steps as its speed asks for takes its place; the last of `MAX_TRAININGS` stands.

    Args:
        seconds: the time, s; above 0.
        train: trains with that many steps, and gives the network and its history as `train_renderer` does; goes on from
            the checkpoint where it has as many.
        checkpoint: where `train` leaves off; it is deleted before the next training.
        plan: JSON file with the number of steps, so that a killed training goes on with the same.
        settings: whose plan it is; that of others is ignored.

    Returns:
        What the last training gave.
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
