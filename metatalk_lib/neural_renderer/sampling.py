"""Training settings of the neural renderer, and the sampling of frames and patches for every step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.neural_renderer.conditioning import Condition, stack_conditions
from metatalk_lib.neural_renderer.generator import RendererSettings
from metatalk_lib.neural_renderer.training_pairs import WHOLE, Cut, RendererPairs

LAST_RATE = 0.02
"""Final learning rate as a fraction of the initial one; it decays along a cosine."""
WARM_UP_STEPS, PRIOR_WARM_UP_STEPS = 20, 8
"""Steps of linear warm-up, from random weights and from given ones: Adam's first steps are as long as any other but
rest on the least data."""
SMALLEST_JUDGED_PX = 24
"""Smallest side of a picture for which a PatchGAN of three layers has an output, px."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training.

    Attributes:
        steps: optimiser steps.
        batch: frames in one step.
        learning_rate: initial learning rate of the generator.
        gan_weight: weight λ of the adversarial loss in Eq. 4; 0 trains without a discriminator.
        gan_start: fraction of the steps after which adversarial training begins.
        gan_width: channels of the discriminator's first layer.
        checkpoint_steps: steps between checkpoints, from which a killed run resumes.
        seed: seed of the weights and the sampling order.
        patch: side of the square training patches, px; 0 takes the whole rectangle.
        gan_scales: number of image scales with a discriminator each.
        feature_weight: weight of feature matching, in units of `gan_weight`.
        edge_weight: weight of `edge_loss`.
        detail_weight: weight of `detail_loss`.
        motion_weight: weight of `motion_loss`; above 0, the batch consists of pairs of consecutive frames.
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
            raise ParameterError(
                f"renderer_motion_weight needs pairs of frames: renderer_batch must be even, got {self.batch}."
            )
        needed = SMALLEST_JUDGED_PX * 2 ** (self.gan_scales - 1)
        if self.gan_weight > 0 and 0 < self.patch < needed:
            raise ParameterError(
                f"renderer_patch is {self.patch} px; {self.gan_scales} discriminators need at least {needed}."
            )

    @classmethod
    def from_config(cls, config: RendererConfig) -> "TrainingSettings":
        """Build the settings from the parameters of notebook 05.

        Raises:
            ParameterError: the parameters are incompatible.
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
            "motion_weight", "checkpoint_steps",
        )  # fmt: skip
        return cls(
            steps=config.renderer_steps,
            batch=config.renderer_batch,
            learning_rate=config.renderer_learning_rate,
            patch=config.renderer_patch,
            seed=config.seed,
            **{name: getattr(config, f"renderer_{name}") for name in names},
        )

    def rate(self, step: int, *, is_begun: bool = False) -> float:
        """Compute the factor on the learning rates: linear warm-up times a half cosine from 1 to `LAST_RATE`.

        Args:
            step: number of the step, from 0.
            is_begun: whether the weights come from an earlier training.
        """
        cosine = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + float(np.cos(np.pi * step / self.steps)))
        return cosine * min(1.0, (step + 1) / (PRIOR_WARM_UP_STEPS if is_begun else WARM_UP_STEPS))

    def uses_adversary(self, step: int) -> bool:
        """Whether the adversarial loss (Eq. 3) is used in this step."""
        return self.gan_weight > 0 and step >= self.gan_start * self.steps


class Batches:
    """Sampler of the frames and patches of every step, which depend on seed and step alone.

    Args:
        sources: pairs of one person or of many.
        model: network settings, of which window and references are used.
        training: training settings, of which batch, patch, motion weight and seed are used.

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
        """Assemble the batch of one step, or one process's share of it; pairs of frames stay together."""
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
        """Number of frames sampled in a step; with a motion loss each comes with its successor."""
        return self.training.batch // 2 if self.training.motion_weight > 0 else self.training.batch

    def _choose_cut(self, mask: np.ndarray, pick: np.random.Generator) -> Cut:
        """Choose a patch around a pixel of the mask: any pixel or, half of the time, one near its centre, the mouth."""
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
    """Sample the items of one step from shuffled passes over all `count` items; depends on seed and step alone."""
    rows = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, place = divmod(position, count)
        rows.append(int(np.random.default_rng([seed, epoch]).permutation(count)[place]))
    return rows
