"""How long the steps of a training take, and a training that takes a given time."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from metatalk_lib.artifacts import load_json, save_json
from metatalk_lib.neural_renderer import NeuralRenderer

TRIAL_STEPS, WARM_STEPS = 20, 5
"""Steps from which the time of all is told at first, and those at the beginning that do not count."""
TIME_TOLERANCE = 0.05
"""By this share a training may miss its time."""
MAX_TRAININGS = 3

Trained = TypeVar("Trained")


class StepClock:
    """Looks at the clock when it is called; as `watch` of a training, before the first step and after each."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def __call__(self, step: int, network: NeuralRenderer) -> None:
        self.stamps.append(time.perf_counter())

    def seconds_per_step(self, *, after: int = 0) -> float:
        """Mean over the steps of this run but its first `after`; 0 where a resumed one had nothing left to do."""
        stamps = self.stamps[after:]
        return (stamps[-1] - stamps[0]) / (len(stamps) - 1) if len(stamps) > 1 else 0.0


def train_for(
    seconds: float,
    train: Callable[[int, StepClock], Trained],
    checkpoint: Path,
    plan: Path,
    settings: Mapping[str, object],
) -> tuple[Trained, int, float]:
    """Train for a given time; all steps of a training must be known when it starts, so their number is planned.

    A short trial tells it. Where the training then takes another time, as on a machine that others use as well, a new
    one with as many steps as its speed asks for takes its place; the last of `MAX_TRAININGS` stands.

    Args:
        seconds: the time, s; above 0.
        train: trains with that many steps and that watch; goes on from the checkpoint where it has as many.
        checkpoint: where `train` leaves off; it is deleted before the next training.
        plan: JSON file with the number of steps, so that a killed training goes on with the same.
        settings: whose plan it is; that of others is ignored.

    Returns:
        What the last training gave, its steps, and the seconds it took.
    """
    kept = load_json(plan) if plan.is_file() else {}
    kept = kept if kept.get("settings") == settings else {}
    steps, trainings = kept.get("steps", TRIAL_STEPS), kept.get("trainings", 0)
    while True:
        clock = StepClock()
        trained = train(steps, clock)
        taken = steps * clock.seconds_per_step(after=WARM_STEPS if trainings == 0 else 0)
        is_in_time = abs(taken - seconds) <= TIME_TOLERANCE * seconds
        if trainings > 0 and taken > 0 and (is_in_time or trainings == MAX_TRAININGS):
            return trained, steps, taken
        if taken > 0:
            steps, trainings = max(TRIAL_STEPS, round(steps * seconds / taken)), trainings + 1
        save_json(plan, {"settings": settings, "steps": steps, "trainings": trainings})
        checkpoint.unlink(missing_ok=True)
