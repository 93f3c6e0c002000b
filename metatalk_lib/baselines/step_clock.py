"""How long the steps of a training take."""

import time

from metatalk_lib.neural_renderer import NeuralRenderer


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
