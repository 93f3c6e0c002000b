"""Train the open Wav2Lip on studio people who speak; write its weights and its card.

    python -m training.render_speakers --output outputs/training/speakers
    python -m training.train_wav2lip --speakers outputs/training/speakers

`--start` continues from the weights of an earlier run, whose audio encoder needs no more sentences; the card lists all
runs.

As in the published training, the lower half of a face is hidden, another frame of the same person shows its appearance,
and the network paints the mouth for the mel chunk. The loss is L1, with more weight on the hidden half and most on the
mouth, without the published lip-sync expert and discriminator. In place of the expert, the audio encoder predicts the
lips with a linear head, which is then discarded; at first this is the only loss, also on sentences without pictures.
Every value on the card is measured by the run that writes it.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from metatalk_lib.baselines.wav2lip import OPEN_WAV2LIP_PATH, OPEN_WAV2LIP_WIDTH
from metatalk_lib.core.artifacts import atomic_path, load_arrays
from metatalk_lib.core.checkpoints import load_weights, save_weights
from metatalk_lib.core.machine import describe_machine
from metatalk_lib.core.progress import track
from metatalk_lib.media.audio import FEATURE_RATE, to_mono_16k
from metatalk_lib.metrics.image_quality import to_psnr
from metatalk_lib.networks.open_audio_encoder import LIP_SIZE
from metatalk_lib.networks.wav2lip import WAV2LIP_FACE_SIZE, Wav2LipGenerator
from metatalk_lib.pseudo_video.wav2lip_teacher import PADS_PX, pad_boxes, smooth_wav2lip_boxes
from metatalk_lib.speech.mel_spectrogram import chunk_starts, compute_mel_spectrogram, cut_mel_chunks
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.tracking.face_detector import boxes_of_faces
from training.people import RUNS, halve_weights, load_speakers, read_runs, split_jpegs
from training.precision import low_precision
from training.render_speakers import FPS, draw_speech
from training.train_audio_encoder import LipTargets

BATCH = 24
RATE = 1e-3
HALF = WAV2LIP_FACE_SIZE // 2
MOUTH = np.s_[:, :, 50:92, 22:74]
"""Position of the mouth in a face."""
WEIGHTS = (1.0, 1.0, 2.0)
"""Weights of the mean errors of the whole face, the hidden half and the mouth; the visible half must be kept, too."""
SENTENCES, WARM_STEPS, CHUNKS, LIP_WEIGHT = 900, 2000, 192, 0.1
"""Sentences without pictures, steps that learn the lips alone, chunks of each group in a step, later weight of lips."""
LEVEL_SIGMA = 0.3
"""Standard deviation of the level added to a chunk, whose values are in [-4, 4]."""
MEASURED_FRAMES = 12
"""Frames of each held-out person on which the card's values are measured."""


class Utterance(NamedTuple):
    """Speech of each frame: (T, 80, 16) mel chunks, and (T, 52) facial actions."""

    chunks: np.ndarray
    actions: np.ndarray


class Talker(NamedTuple):
    """One person: (T, 96, 96, 3) BGR faces, and the speech."""

    faces: np.ndarray
    said: Utterance


class Chunks(NamedTuple):
    """All chunks (N, 80, 16) of some utterances, with their lip targets (N, LIP_SIZE) of `LipTargets`."""

    chunks: np.ndarray
    lips: np.ndarray


def load_talker(path: Path) -> Talker:
    """Load faces and chunks of a person of `render_speakers`, cut as in `baselines.wav2lip`."""
    arrays = load_arrays(path, "jpeg", "jpeg_length", "landmarks", "pcm_16k", "actions")
    images = split_jpegs(arrays["jpeg"], arrays["jpeg_length"])
    height, width = images[0].shape[:2]
    boxes = pad_boxes(boxes_of_faces(arrays["landmarks"]).astype(np.int64), PADS_PX)
    boxes = smooth_wav2lip_boxes(np.clip(boxes, 0, (width, height) * 2))
    cut = [image[top:bottom, left:right] for image, (left, top, right, bottom) in zip(images, boxes, strict=True)]
    faces = np.stack([cv2.resize(face, (WAV2LIP_FACE_SIZE, WAV2LIP_FACE_SIZE))[..., ::-1] for face in cut])
    return Talker(faces, describe(arrays["pcm_16k"] / np.float32(32768), arrays["actions"]))


def speak(number: int) -> Utterance:
    """Draw a sentence without pictures, which depends on its number alone."""
    speech = draw_speech(np.random.default_rng([number, 9931]), for_test=False)
    samples = to_mono_16k(speech.audio)
    return describe(samples, viseme_curves(speech.phonemes, len(samples) * FPS // FEATURE_RATE, Fraction(FPS)))


def describe(samples_16k: np.ndarray, actions: np.ndarray) -> Utterance:
    """Compute the mel chunk of each frame."""
    mel = compute_mel_spectrogram(samples_16k)
    chunks = cut_mel_chunks(mel, chunk_starts(mel.shape[1], len(actions), FPS)).astype(np.float32)
    return Utterance(chunks, actions.astype(np.float32))


def join(utterances: Sequence[Utterance], targets: LipTargets) -> Chunks:
    """Join the chunks of all utterances."""
    lips = [targets.encode(said.actions) for said in utterances]
    return Chunks(np.concatenate([said.chunks for said in utterances]), np.concatenate(lips))


def draw_batch(talkers: list[Talker], targets: LipTargets, generator: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Draw mel chunks, lip targets, half-hidden faces with reference faces of another moment, and target faces."""
    chunks, lips, shown, wanted = [], [], [], []
    for number in generator.integers(len(talkers), size=BATCH):
        talker = talkers[number]
        row, other = generator.integers(len(talker.faces), size=2)
        target, reference = talker.faces[row], talker.faces[other]
        if generator.random() < 0.5:
            target, reference = target[:, ::-1], reference[:, ::-1]
        chunks.append(talker.said.chunks[row])
        lips.append(targets.encode(talker.said.actions[row : row + 1])[0])
        shown.append(hide_mouth(target, reference))
        wanted.append(target)
    gains = generator.uniform(0.7, 1.3, (BATCH, 1, 1, 1)) * generator.uniform(0.93, 1.07, (BATCH, 3, 1, 1))
    pictures = _to_tensor(wanted) * torch.from_numpy(gains[..., 0].astype(np.float32))[..., None]
    inputs = _to_tensor(shown) * torch.from_numpy(np.tile(gains[..., 0], (1, 2, 1)).astype(np.float32))[..., None]
    heard, lips = torch.from_numpy(np.stack(chunks)[:, None]), torch.from_numpy(np.stack(lips))
    return heard, lips, inputs.clamp(max=1), pictures.clamp(max=1)


def hide_mouth(face: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Stack six channels: the face without its lower half, and the reference."""
    hidden = face.copy()
    hidden[HALF:] = 0
    return np.concatenate([hidden, reference], axis=2)


def train(
    network: Wav2LipGenerator,
    talkers: list[Talker],
    sentences: list[Utterance],
    weights: Sequence[float],
    steps: int,
    seed: int,
) -> Wav2LipGenerator:
    """Train by Adam with a one-cycle rate: first the lips alone if there are sentences, then the pictures."""
    head = torch.nn.LazyLinear(LIP_SIZE)
    said = [talker.said for talker in talkers]
    targets = LipTargets(np.concatenate([one.actions for one in said]).astype(np.float64))
    groups = [join(part, targets) for part in (said, sentences) if part]
    generator = np.random.default_rng(seed)

    def tell_lips(chunks: torch.Tensor, lips: torch.Tensor) -> torch.Tensor:
        with low_precision():
            heard = network.audio_encoder(chunks)
        return (head(heard.float().flatten(1)) - lips).square().sum(dim=1).mean()

    def hear() -> tuple[torch.Tensor, torch.Tensor]:
        loss = tell_lips(*draw_chunks(groups, generator))
        return loss, loss

    def paint() -> tuple[torch.Tensor, torch.Tensor]:
        chunks, lips, inputs, wanted = draw_batch(talkers, targets, generator)
        with low_precision():
            painted = network(chunks, inputs)
        errors = (painted.float() - wanted).abs()
        parts = [part.mean() for part in (errors, errors[:, :, HALF:], errors[MOUTH])]
        loss = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        return loss + LIP_WEIGHT * tell_lips(chunks, lips), parts[-1]

    tell_lips(*draw_chunks(groups, generator))
    network.train()
    parameters = [*network.parameters(), *head.parameters()]
    if sentences:
        optimise(parameters, hear, WARM_STEPS, "squared error of the lips, in shares of their variance")
    optimise(parameters, paint, steps, "L1 of the mouth")
    return network.eval()


def draw_chunks(groups: Sequence[Chunks], generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw equally many chunks of each group, at random levels, with the lip targets."""
    rows = [(group, generator.integers(len(group.lips), size=CHUNKS)) for group in groups]
    chunks, lips = (np.concatenate([group[part][chosen] for group, chosen in rows]) for part in range(2))
    chunks = (chunks + generator.normal(0, LEVEL_SIGMA, (len(chunks), 1, 1))).clip(-4, 4).astype(np.float32)
    return torch.from_numpy(chunks[:, None]), torch.from_numpy(lips)


def optimise(
    parameters: list[torch.nn.Parameter],
    compute: Callable[[], tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    figure: str,
) -> None:
    """Run Adam on the first of the two computed values, and print the second under the name `figure`."""
    optimiser = torch.optim.Adam(parameters, RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    figures, started = [], time.perf_counter()
    for step in range(1, steps + 1):
        loss, value = compute()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        figures.append(value.item())
        if step % 100 == 0 or step == steps:
            minutes = (time.perf_counter() - started) / 60
            print(f"step {step}: {figure} {np.mean(figures[-100:]):.4f}, {minutes:.1f} min", flush=True)


def measure(network: Wav2LipGenerator, talkers: list[Talker]) -> dict[str, list[float]]:
    """Measure PSNR (dB) of visible half, hidden half and mouth of held-out people, for every way of painting."""
    squares: dict[str, list[list[float]]] = {}
    for talker in talkers:
        rows = np.linspace(0, len(talker.faces) - 1, MEASURED_FRAMES).round().astype(int)
        others = np.roll(rows, MEASURED_FRAMES // 2)
        inputs = _to_tensor([hide_mouth(talker.faces[a], talker.faces[b]) for a, b in zip(rows, others, strict=True)])
        wanted, painted = _to_tensor(list(talker.faces[rows])), {}
        for name, heard in (("right sound", rows), ("sound of another moment", others)):
            with torch.inference_mode():
                painted[name] = network(torch.from_numpy(talker.said.chunks[heard][:, None]), inputs)
        for name, values in (painted | {"nothing: the reference as it is": inputs[:, 3:]}).items():
            errors = (values - wanted).square() * 255**2
            squares.setdefault(name, []).append(
                [float(part.mean()) for part in (errors[:, :, :HALF], errors[:, :, HALF:], errors[MOUTH])]
            )
    return {name: [to_psnr(mean) for mean in np.mean(rows, axis=0)] for name, rows in squares.items()}


def publish(network: Wav2LipGenerator, unknown: list[Talker], facts: dict[str, str], output: Path) -> None:
    """Write weights in half precision, and the card, measured with them."""
    weights = halve_weights(network)
    save_weights(output / OPEN_WAV2LIP_PATH.name, weights)
    shipped = Wav2LipGenerator(OPEN_WAV2LIP_WIDTH)
    shipped.load_state_dict(weights)
    figures = measure(shipped.eval(), unknown)
    text = f"""# {OPEN_WAV2LIP_PATH.name}

Wav2Lip's generator at {OPEN_WAV2LIP_WIDTH:g} of its width, for the compared method "Wav2Lip (open weights)". It shares
no weight with the published checkpoints and is no measure of what they can do.

- Made by: `python -m training.render_speakers`, then `python -m training.train_wav2lip`
{chr(10).join(f"- {name}: {value}" for name, value in facts.items())}
- Machine: {describe_machine()}
- Loss: L1, most of all on the mouth; no lip-sync expert, no discriminator; the audio encoder tells the lips beside it

{len(unknown)} other studio people, voices and sentences, {MEASURED_FRAMES} frames each, PSNR in dB:

| painted from | shown half | hidden half | mouth |
|---|---|---|---|
{chr(10).join(f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} |" for name, row in figures.items())}

Limits: studio people only; 96 px faces. Licence: that of this project; no picture of a real person took part.
"""
    with atomic_path(output / f"{OPEN_WAV2LIP_PATH.stem}.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--start", type=Path, help="weights of an earlier run, with their card beside them")
    parser.add_argument("--weights", type=float, nargs=3, default=WEIGHTS, help="of face, hidden half and mouth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OPEN_WAV2LIP_PATH.parent)
    arguments = parser.parse_args()
    known, unknown = load_speakers(arguments.speakers, load_talker)
    started = time.perf_counter()
    torch.manual_seed(arguments.seed)
    network, sentences, earlier = Wav2LipGenerator(OPEN_WAV2LIP_WIDTH), [], ""
    if arguments.start:
        network.load_state_dict(load_weights(arguments.start, "Leave --start out."))
        earlier = read_runs(arguments.start) + "; then "
    else:
        sentences = [speak(number) for number in track(range(SENTENCES), "speaking", unit="sentence")]
    train(network, known, sentences, arguments.weights, arguments.steps, arguments.seed)
    weights = ", ".join(f"{weight:g}" for weight in arguments.weights)
    heard = f" and {WARM_STEPS} of {2 * CHUNKS} mel chunks before, {SENTENCES} more sentences among them"
    facts = {
        "Learnt from": f"{len(known)} random studio people, {sum(len(talker.faces) for talker in known)} frames",
        RUNS: f"{earlier}{arguments.steps} steps of {BATCH} faces{heard if sentences else ''}, weights {weights}, "
        f"seed {arguments.seed}, {(time.perf_counter() - started) / 60:.0f} minutes",
    }
    publish(network, unknown, facts, arguments.output)


def _to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images).astype(np.float32) / 255).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
