"""How a renderer is trained, and which frames and patches every step of it sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.params import RendererConfig
from metatalk_lib.neural_renderer.conditioning import Condition, stack_conditions
from metatalk_lib.neural_renderer.generator import RendererSettings
from metatalk_lib.neural_renderer.training_pairs import WHOLE, Cut, RendererPairs

LAST_RATE = 0.02
"""The learning rate falls along a cosine to this share of the first one."""
WARM_UP_STEPS, PRIOR_WARM_UP_STEPS = 20, 8
"""It rises to the first one over these, from random weights and from given ones: Adam's first steps are as long as any,
and know least."""
SMALLEST_JUDGED_PX = 24
"""A PatchGAN of three layers gives a verdict on pictures from this side on."""


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is trained.

    Attributes:
        steps: optimiser steps.
        batch: frames a step.
        learning_rate: of the generator at the start.
        gan_weight: λ of Eq. 4; 0 trains without the discriminator.
        gan_start: share of the steps after which the discriminator joins.
        gan_width: channels of its first layer.
        checkpoint_steps: distance of the checkpoints from which a killed run goes on.
        seed: of the weights and the sampling order.
        patch: side of the square patches that are trained on, px; 0 takes the whole rectangle.
        gan_scales: picture sizes at which a discriminator judges.
        feature_weight: of feature matching, in units of `gan_weight`.
        edge_weight: of `edge_loss`.
        detail_weight: of `detail_loss`.
        motion_weight: of `motion_loss`; above 0, the batch consists of pairs of consecutive frames.
    """

    steps: int
    batch: int
    learning_rate: float
    gan_weight: float
    gan_start: float
    gan_width: int
    checkpoint_steps: int
    seed: int
    patch: int = 0
    gan_scales: int = 1
    feature_weight: float = 0.0
    edge_weight: float = 0.0
    detail_weight: float = 0.0
    motion_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.motion_weight > 0 and self.batch % 2:
            raise ParameterError(f"motion_weight needs pairs of frames: renderer_batch must be even, got {self.batch}.")
        needed = SMALLEST_JUDGED_PX * 2 ** (self.gan_scales - 1)
        if self.gan_weight > 0 and 0 < self.patch < needed:
            raise ParameterError(
                f"renderer_patch is {self.patch} px; {self.gan_scales} discriminators need at least {needed}."
            )

    @classmethod
    def from_config(cls, config: RendererConfig) -> "TrainingSettings":
        """What the parameters of notebook 05 ask for.

        Raises:
            ParameterError: they do not go together.
        """
        least = config.renderer_references + 1
        if config.renderer_references and config.renderer_bank < least:
            raise ParameterError(
                f"renderer_bank is {config.renderer_bank}; with renderer_references {config.renderer_references} it "
                f"must be at least {least}, since no frame lends anything to itself."
            )
        step = 2**config.renderer_depth
        if config.renderer_patch % step:
            raise ParameterError(
                f"renderer_patch is {config.renderer_patch} px; with renderer_depth {config.renderer_depth} it must be "
                f"a multiple of {step}, or 0 for the whole rectangle."
            )
        names = (
            "gan_weight", "gan_start", "gan_width", "gan_scales", "feature_weight", "edge_weight", "detail_weight",
            "motion_weight", "checkpoint_steps", "seed",
        )  # fmt: skip
        return cls(
            steps=config.renderer_steps,
            batch=config.renderer_batch,
            learning_rate=config.renderer_learning_rate,
            patch=config.renderer_patch,
            **{name: getattr(config, name) for name in names},
        )

    def rate(self, step: int, *, is_begun: bool = False) -> float:
        """Factor of the learning rates: rising to 1, then falling to `LAST_RATE` along half a cosine.

        Args:
            step: from 0.
            is_begun: whether the weights come from an earlier training.
        """
        cosine = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + float(np.cos(np.pi * step / self.steps)))
        return cosine * min(1.0, (step + 1) / (PRIOR_WARM_UP_STEPS if is_begun else WARM_UP_STEPS))

    def uses_adversary(self, step: int) -> bool:
        """Whether Eq. 3 takes part in this step."""
        return self.gan_weight > 0 and step >= self.gan_start * self.steps


class Batches:
    """The frames and patches of every step: functions of seed and step alone, whatever was trained before.

    Args:
        sources: pairs of one person or of many.
        model: tells window and references.
        training: tells batch, patch and seed.

    Raises:
        ParameterError: pairs and settings disagree, or no frame may be trained on.
    """

    def __init__(self, sources: Sequence[RendererPairs], model: RendererSettings, training: TrainingSettings) -> None:
        self.sources, self.model, self.training = sources, model, training
        self.candidates = [(number, row) for number, pairs in enumerate(sources) for row in self._usable(pairs)]
        sides = {(pairs.roi.height, pairs.roi.width) for pairs in sources}
        if not self.candidates or (len(sides) > 1 and not training.patch):
            raise ParameterError(
                f"train_renderer got {len(self.candidates)} valid frames in rectangles of {len(sides)} sizes; it needs "
                "at least one, and patches where the sizes differ."
            )

    def _usable(self, pairs: RendererPairs) -> list[int]:
        usable = pairs.valid
        if self.training.motion_weight > 0:
            follows = np.append(np.diff(pairs.frame_id) == 1, False) & np.append(pairs.valid[1:], False)
            usable = usable & follows
        return np.flatnonzero(usable).tolist()

    def draw(self, step: int, rank: int = 0, processes: int = 1) -> Condition:
        """What one step trains on, or the part of it that is one process's: whole pairs of frames stay together."""
        pick = np.random.default_rng([self.training.seed, 1, step])
        places = []
        for index in sample_rows(len(self.candidates), step, self._drawn, self.training.seed):
            number, row = self.candidates[index]
            cut = self._choose_cut(self.sources[number].masks[row], pick)
            places += [(number, row + offset, cut) for offset in range(self.training.batch // self._drawn)]
        own = len(places) // processes
        parts = [
            self.sources[number].condition([row], self.model.window, self.model.references, [cut])
            for number, row, cut in places[rank * own : (rank + 1) * own]
        ]
        return stack_conditions(parts)

    @property
    def _drawn(self) -> int:
        """Frames that are drawn a step; each brings its successor along where motion is trained."""
        return self.training.batch // 2 if self.training.motion_weight > 0 else self.training.batch

    def _choose_cut(self, mask: np.ndarray, pick: np.random.Generator) -> Cut:
        """A patch about a pixel of the mask: any of them, or in half of the cases one near its middle, the mouth."""
        patch = self.training.patch
        if not patch:
            return WHOLE
        rows, columns = np.nonzero(mask[::4, ::4])
        if pick.random() < 0.5 and len(rows):
            chosen = pick.integers(len(rows))
            centre = 4 * np.array([rows[chosen], columns[chosen]])
        else:
            middle = 4 * np.array([rows.mean(), columns.mean()]) if len(rows) else np.array(mask.shape) / 2
            centre = middle + pick.uniform(-patch / 4, patch / 4, 2)
        return Cut(*(_slice_about(place, patch, side) for place, side in zip(centre.tolist(), mask.shape, strict=True)))


def _slice_about(place: float | int, length: int, side: int) -> slice:
    start = int(np.clip(round(place - length / 2), 0, max(0, side - length)))
    return slice(start, min(start + length, side))


def sample_rows(count: int, step: int, batch: int, seed: int) -> list[int]:
    """The items of one step: shuffled passes over all of `count`, a function of seed and step alone."""
    rows = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(position, count)
        rows.append(int(np.random.default_rng([seed, epoch]).permutation(count)[place]))
    return rows
