"""Ablation of the neural renderer: the same short training with one choice changed at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from metatalk_lib.core.progress import track
from metatalk_lib.neural_renderer.generator import RendererSettings, starting_weights
from metatalk_lib.neural_renderer.inspection import measure_pairs, paint_pairs
from metatalk_lib.neural_renderer.sampling import SMALLEST_JUDGED_PX, TrainingSettings
from metatalk_lib.neural_renderer.training import train_renderer
from metatalk_lib.neural_renderer.training_pairs import RendererPairs

MEASURED_FRAMES = 12
"""Number of held-out frames on which a variant is evaluated, evenly spread."""
LOSS_WEIGHTS = {"edge_weight": 0.5, "detail_weight": 4.0, "motion_weight": 0.5, "gan_weight": 0.01}
"""Losses removed one at a time, or added with these weights if the configuration does not use them."""
PLAIN_WIDTH = 16
"""Width of the U-Net without references, which trains in about the same time."""
PAPER_WINDOW = 7
"""Window of synthetic frames in the paper's code."""


@dataclass(frozen=True)
class Variant:
    """A training with changes to the configured one.

    Attributes:
        model: fields of `RendererSettings` that differ.
        training: fields of `TrainingSettings` that differ.
        uses_prior: whether the training starts from the generator prior.
    """

    model: Mapping[str, Any]
    training: Mapping[str, Any]
    uses_prior: bool


def list_variants(
    model: RendererSettings, training: TrainingSettings, *, uses_prior: bool, has_motion: bool = True
) -> dict[str, Variant]:
    """List the variants of the ablation by name: each removes a choice that is used, or adds one that is not.

    Args:
        model: configured network settings.
        training: configured training settings.
        uses_prior: whether the configured training starts from the generator prior.
        has_motion: whether the training frames include consecutive ones.
    """
    lines = {"as configured": Variant({}, {}, uses_prior)}
    if uses_prior:
        lines["without the prior"] = Variant({}, {}, False)
    begun = ", without the prior" if uses_prior else ""
    if model.references:
        if model.references > 1:
            lines[f"one reference{begun}"] = Variant({"references": 1}, {}, False)
        plain = {"references": 0, "width": PLAIN_WIDTH, "matches_colours": False}
        lines[f"no references: a plain U-Net{begun}"] = Variant(plain, {}, False)
        lines[f"no references, refinement blocks{begun}"] = Variant(plain | {"refine": True}, {}, False)
    if model.width > 1:
        lines[f"half the width: a light student{begun}"] = Variant({"width": model.width // 2}, {}, False)
    if model.depth > 2:
        lines[f"one halving less{begun}"] = Variant({"depth": model.depth - 1}, {}, False)
    window = 1 if model.window > 1 else PAPER_WINDOW
    lines[f"{window} synthetic frame{'s' if window > 1 else ''}{begun}"] = Variant({"window": window}, {}, False)
    if training.patch and training.motion_weight == 0:
        lines["whole rectangles, one a step"] = Variant({}, {"patch": 0, "batch": 1}, uses_prior)
    for name, weight in LOSS_WEIGHTS.items():
        is_used = getattr(training, name) > 0
        if name == "motion_weight" and not is_used and (training.batch % 2 or not has_motion):
            continue
        if name == "gan_weight" and not is_used and 0 < training.patch < SMALLEST_JUDGED_PX:
            continue
        label = f"{'without' if is_used else 'with'} {name.removesuffix('_weight')} loss"
        lines[label] = Variant({}, {name: 0.0 if is_used else weight}, uses_prior)
    if not 0 < training.patch < 2 * SMALLEST_JUDGED_PX:
        gan = {"gan_weight": training.gan_weight or 0.01, "gan_start": 0.0, "gan_scales": 2, "feature_weight": 10.0}
        lines["discriminator from the start, feature matching, two scales"] = Variant({}, gan, uses_prior)
    return lines


def ablate(
    pairs: RendererPairs,
    held_out: RendererPairs,
    model: RendererSettings,
    training: TrainingSettings,
    *,
    uses_prior: bool,
    steps: int,
    folder: Path,
    refitted: RendererPairs | None = None,
    device: torch.device | None = None,
) -> pd.DataFrame:
    """Train every variant for a few steps and evaluate it on held-out frames.

    Args:
        pairs: training pairs, with references.
        held_out: held-out pairs for the evaluation.
        model: configured network settings.
        training: configured training settings.
        uses_prior: whether the configured training starts from the generator prior.
        steps: steps of each training; 0 skips the ablation.
        folder: folder for the checkpoints.
        refitted: the held-out pairs with the opposite choice of fitting the references to their surroundings.
        device: device of the training; CPU by default.

    Returns:
        One row for each variant; columns as `PairScores`, and the final L1 loss. Empty without steps.
    """
    if steps == 0:
        return pd.DataFrame()
    some = np.unique(np.linspace(0, len(held_out) - 1, MEASURED_FRAMES).round().astype(int))
    measured = held_out.select(some)
    has_motion = bool((np.diff(pairs.frame_id) == 1).any())
    variants = list_variants(model, training, uses_prior=uses_prior, has_motion=has_motion)
    rows = {}
    for number, (name, variant) in enumerate(track(variants.items(), "ablation", total=len(variants), unit="variant")):
        own = replace(model, **variant.model)
        renderer, history = train_renderer(
            pairs,
            own,
            replace(training, steps=steps, **variant.training),
            checkpoint=folder / f"variant_{number}.safetensors",
            start=starting_weights(own, use_prior=variant.uses_prior),
            device=device,
        )
        loss = {"l1_loss": history["reconstruction"][-1]}
        rows[name] = measure_pairs(paint_pairs(renderer, measured), measured)._asdict() | loss
        if number or not own.references:
            continue
        # choices of inference, with the same network
        other = replace(renderer, settings=replace(own, matches_colours=not own.matches_colours))
        label = f"{'without' if own.matches_colours else 'with'} colour match"
        rows[label] = measure_pairs(paint_pairs(other, measured), measured)._asdict() | loss
        if refitted is not None:
            label = f"{'without' if own.fits_surroundings else 'with'} fitting the surroundings"
            rows[label] = measure_pairs(paint_pairs(renderer, refitted.select(some)), measured)._asdict() | loss
    return pd.DataFrame(rows).T
