"""Train the generator prior on many studio people: `metatalk_lib/data/generator_prior.safetensors` and its card.

    python -m training.render_talkers --output outputs/training/talkers
    python -m training.train_generator_prior --talkers outputs/training/talkers

First, every person's pairs are made (and kept between runs), then one network is trained on patches of all people but
the last `--held-out`, on which the card's values are measured. A killed training resumes from its checkpoint.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from metatalk_lib.core.artifacts import atomic_path, load_arrays, sha256_file
from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.code_fingerprint import fingerprint_modules
from metatalk_lib.core.machine import describe_machine
from metatalk_lib.core.progress import track
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.neural_renderer.generator import PRIOR_PATH, NeuralRenderer, RendererSettings, build_generator
from metatalk_lib.neural_renderer.inspection import PairScores, measure_pairs, paint_pairs
from metatalk_lib.neural_renderer.lower_face_region import Roi, find_roi
from metatalk_lib.neural_renderer.reference_pairs import add_references, make_bank
from metatalk_lib.neural_renderer.sampling import TrainingSettings
from metatalk_lib.neural_renderer.training import train_renderer
from metatalk_lib.neural_renderer.training_pairs import RendererPairs, find_pairs, open_pairs, render_pairs
from metatalk_lib.reconstruction.appearance import fit_appearance
from metatalk_lib.studio.ground_truth import true_coefficients
from metatalk_lib.tracking.crop import CropTransform
from training.licences import describe_licence
from training.people import run_parallel, split_jpegs

REFERENCES = 3
HIDDEN_FRAMES = 5
"""Hidden neighbours of a frame, a third of a second as in a person's own training; pictures are about 70 ms apart."""
ACTION_NOISE, ROTATION_NOISE_RAD, TRANSLATION_NOISE_DM = 0.03, 0.004, 0.004
"""Simulated fitting errors of facial actions and pose, constant over all frames of a person."""
LARGEST_CHANGE = 0.3
"""Largest change of these errors from frame to frame, relative to them; each person gets a random share of it."""
MODEL = RendererSettings(
    window=1, width=32, depth=4, refine=False, size=512, roi=Roi(0, 0, 256, 256), references=REFERENCES
)
"""Settings of the prior's network; the weights do not depend on size and rectangle."""
BATCH, LEARNING_RATE, CHECKPOINT_STEPS, SEED = 8, 5e-4, 200, 0
MEASURED_FRAMES = 8
"""Frames of each held-out person on which the card's values are measured."""


def prepare_person(source: Path, folder: Path) -> None:
    """Make one person's pairs, if missing, with coefficients that have errors like fitted ones."""
    key = describe(source)
    kept = find_pairs(folder / "pairs", key)
    if kept is not None and kept.references.shape[1] == REFERENCES:
        return
    model = load_face_model()
    truth = load_arrays(source)
    size = int(truth.pop("size"))
    images = split_jpegs(truth.pop("jpeg"), truth.pop("jpeg_length"))
    exact = true_coefficients(model, truth, CropTransform(0, 0, size, size))
    coefficients = disturb(model, exact, np.random.default_rng([int(source.stem), 11]))
    coefficients = fit_appearance(model, coefficients, images, coefficients.frame_id)
    roi = find_roi(model, coefficients, size, multiple=16)
    pairs = render_pairs(model, coefficients, enumerate(images), len(images), roi, folder / "pairs", key=key)
    bank = make_bank(model, coefficients, pairs, len(pairs))
    add_references(model, coefficients, pairs, bank, REFERENCES, folder / "pairs", hidden_frames=HIDDEN_FRAMES)


def describe(source: Path) -> str:
    """Describe the inputs of a person's pairs; pairs with other inputs are remade."""
    constants = (HIDDEN_FRAMES, ACTION_NOISE, ROTATION_NOISE_RAD, TRANSLATION_NOISE_DM, LARGEST_CHANGE, REFERENCES)
    return (
        f"{sha256_file(source)} {constants} {fingerprint_modules(render_pairs.__module__, add_references.__module__)}"
    )


def disturb(model: FaceModel, exact: Coefficients, generator: np.random.Generator) -> Coefficients:
    """Add errors to facial actions and pose: a constant one for the person, and a smaller one for each frame."""
    share = generator.uniform(0, LARGEST_CHANGE)

    def err(size: float, columns: int) -> np.ndarray:
        constant, changing = generator.normal(0, size, (1, columns)), generator.normal(0, size, (len(exact), columns))
        return constant + share * changing

    actions = err(ACTION_NOISE, model.actions_to_expression.shape[0]) @ model.actions_to_expression.numpy()
    return dataclasses.replace(
        exact,
        expression=exact.expression + actions.astype(np.float32),
        rotation=exact.rotation + err(ROTATION_NOISE_RAD, 3).astype(np.float32),
        translation=exact.translation + err(TRANSLATION_NOISE_DM, 3).astype(np.float32),
    )


def prepare(talkers: Path, workers: int) -> list[RendererPairs]:
    """Return the pairs of all people; missing or outdated ones are made."""
    sources = sorted(talkers.glob("*.npz"))
    run_parallel(prepare_person, [(path, talkers / path.stem) for path in sources], workers, "drawing pairs")
    return [open_pairs(talkers / path.stem / "pairs") for path in sources]


def measure(network: torch.nn.Module, people: list[RendererPairs]) -> PairScores:
    """Measure mean scores of a network on held-out people."""
    scores = []
    for pairs in people:
        some = pairs.select(np.linspace(0, len(pairs) - 1, MEASURED_FRAMES).round().astype(int))
        renderer = NeuralRenderer(network, dataclasses.replace(MODEL, size=pairs.size, roi=pairs.roi))
        scores.append(measure_pairs(paint_pairs(renderer, some), some))
    return PairScores(*np.mean(scores, axis=0).tolist())


def write_card(path: Path, rows: dict[str, PairScores], people: int, unknown: int, training: TrainingSettings) -> None:
    """Write the card: description, training and results of the weights."""
    table = "\n".join(
        f"| {name} | {score.ssim_mask:.3f} | {score.psnr_mask:.2f} | {score.sharpness_ratio_mask:.2f} |"
        for name, score in rows.items()
    )
    text = f"""# generator_prior.safetensors

Start of every person's neural renderer: a `ReferenceUNet` of width {MODEL.width}, depth {MODEL.depth}, window
{MODEL.window}, {MODEL.references} references, in half precision.

- Made by: `python -m training.render_talkers`, then `python -m training.train_generator_prior` (defaults).
- Learnt from: {people} random studio people; {training.steps} steps of {training.batch} patches of {training.patch} px.
- Seed {training.seed}. Machine: {describe_machine()}.
- Losses: L1 inside the mask, edges {training.edge_weight:g}, detail {training.detail_weight:g}; no discriminator.

{unknown} other studio people, {MEASURED_FRAMES} frames each, inside the mask; coefficients as wrong as fitted ones:

| | SSIM | PSNR, dB | sharpness ratio |
|---|---|---|---|
{table}

Limits: studio people are computer-made. On real people the prior is a start, not a result: the person's own training
follows.

{describe_licence("pictures", "movements", "texts", "synthetic voices")}"""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talkers", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--held-out", type=int, default=12, help="people that only the card's figures are measured on")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=PRIOR_PATH.parent)
    arguments = parser.parse_args()
    there = len(list(arguments.talkers.glob("*.npz")))
    if not 0 < arguments.held_out < there:
        parser.error(f"--held-out is {arguments.held_out}; there are {there} people to learn from and to measure on")
    people = prepare(arguments.talkers, arguments.workers)
    training = prior_settings(arguments.steps)
    known, unknown = people[: -arguments.held_out], people[-arguments.held_out :]
    steps = track(range(training.steps), "training", unit="step")
    renderer, _ = train_renderer(
        known, MODEL, training, checkpoint=arguments.talkers / "checkpoint.safetensors", steps=steps
    )
    halves = {name: value.half() for name, value in renderer.network.state_dict().items()}
    shipped = build_generator(MODEL)
    shipped.load_state_dict(halves)
    rows = {"mean of the references": measure(build_generator(MODEL), unknown), "prior": measure(shipped, unknown)}
    save_weights(arguments.output / PRIOR_PATH.name, halves)
    write_card(arguments.output / f"{PRIOR_PATH.stem}.md", rows, len(known), len(unknown), training)
    print(rows)


def prior_settings(steps: int) -> TrainingSettings:
    """Settings with the losses of a person's training except the discriminator's, and a higher learning rate."""
    config = RendererConfig()
    return TrainingSettings(
        steps, BATCH, LEARNING_RATE, 0.0, 1.0, config.renderer_gan_width, CHECKPOINT_STEPS, SEED,
        patch=config.renderer_patch, edge_weight=config.renderer_edge_weight,
        detail_weight=config.renderer_detail_weight,
    )  # fmt: skip


if __name__ == "__main__":
    main()
