"""What each choice of the neural renderer is worth: the same short training with one thing changed at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from metatalk_lib.neural_renderer import RendererSettings, starting_weights
from metatalk_lib.progress import track
from metatalk_lib.renderer_data import RendererPairs
from metatalk_lib.renderer_inspection import measure_pairs, paint_pairs
from metatalk_lib.renderer_training import TrainingSettings, train_renderer

MEASURED_FRAMES = 12
"""Held-out frames that a variant is measured on, evenly spread."""
LOSS_WEIGHTS = {"edge_weight": 0.5, "detail_weight": 0.5, "motion_weight": 0.5, "gan_weight": 0.01}
"""Losses that are left out, or added with these weights where they are not used."""
PAPER_WIDTH = 16
"""Width of the paper's U-Net in its line: what trains in the same time."""


@dataclass(frozen=True)
class Variant:
    """A training that differs from the configured one.

    Attributes:
        model: fields of `RendererSettings` that differ.
        training: fields of `TrainingSettings` that differ.
        uses_prior: whether it starts from the generator prior.
    """

    model: Mapping[str, object]
    training: Mapping[str, object]
    uses_prior: bool


def list_variants(model: RendererSettings, training: TrainingSettings, *, uses_prior: bool) -> dict[str, Variant]:
    """The lines of the ablation by name; what is used is left out, what is not is added."""
    lines = {"as configured": Variant({}, {}, uses_prior)}
    if model.references:
        lines["without the prior" if uses_prior else "with the prior"] = Variant({}, {}, not uses_prior)
        other = "without" if model.matches_colours else "with"
        lines[f"{other} colour match"] = Variant({"matches_colours": not model.matches_colours}, {}, uses_prior)
        if model.references > 1:
            lines["one reference"] = Variant({"references": 1}, {}, False)
        lines["no references: the paper's U-Net"] = Variant({"references": 0, "width": PAPER_WIDTH}, {}, False)
    for name, weight in LOSS_WEIGHTS.items():
        is_used = getattr(training, name) > 0
        label = name.removesuffix("_weight")
        lines[f"{'without' if is_used else 'with'} {label} loss"] = Variant(
            {}, {name: 0.0 if is_used else weight}, uses_prior
        )
    gan = {"gan_weight": training.gan_weight or 0.01, "gan_start": 0.0}
    lines["feature matching, two scales"] = Variant({}, gan | {"gan_scales": 2, "feature_weight": 10.0}, uses_prior)
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
    device: torch.device | None = None,
) -> pd.DataFrame:
    """Train every variant for a few steps and measure it on held-out frames.

    Args:
        pairs: to train on, with references.
        held_out: to measure on.
        model: as configured.
        training: as configured.
        uses_prior: as configured.
        steps: of each training; 0 trains nothing.
        folder: gets the checkpoints.
        device: where; CPU by default.

    Returns:
        A row a variant; columns as `PairScores`, and the L1 loss at the end. Empty without steps.
    """
    if steps == 0:
        return pd.DataFrame()
    measured = held_out.select(np.unique(np.linspace(0, len(held_out) - 1, MEASURED_FRAMES).round().astype(int)))
    rows = {}
    variants = list_variants(model, training, uses_prior=uses_prior)
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
        scores = measure_pairs(paint_pairs(renderer, measured), measured)
        rows[name] = scores._asdict() | {"l1_loss": history["reconstruction"][-1]}
    return pd.DataFrame(rows).T
