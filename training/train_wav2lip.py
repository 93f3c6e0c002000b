"""Train the open Wav2Lip on studio people who speak; write its weights and its card.

    python -m training.render_speakers --output outputs/training/speakers
    python -m training.train_wav2lip --speakers outputs/training/speakers

As published: the lower half of a face is hidden, another moment of the same person shows what they look like, and the
network paints what the mel chunk says. The loss is L1, without the lip-sync expert and the discriminator of the
published training, and weighs the hidden half four times. Every figure on the card is measured by the run that writes
it.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from benchmarks.report import machine
from metatalk_lib.artifacts import atomic_path, load_arrays, save_weights
from metatalk_lib.baselines.wav2lip import OPEN_PATH, OPEN_WIDTH
from metatalk_lib.face_detector import boxes_of_faces
from metatalk_lib.mel_spectrogram import chunk_starts, compute_mel_spectrogram, cut_mel_chunks
from metatalk_lib.metrics import to_psnr
from metatalk_lib.networks.wav2lip import FACE_SIZE, Wav2LipGenerator
from metatalk_lib.wav2lip import PADS_PX, pad_boxes, smooth_boxes
from training.people import halve_weights, load_speakers, split_jpegs
from training.render_speakers import FPS

BATCH = 24
RATE = 1e-3
HALF = FACE_SIZE // 2
HIDDEN_WEIGHT = 4.0
"""Weight of the hidden half; the other one is shown to the network and has only to come through."""
MEASURED_FRAMES = 12
"""Frames of each held-out person that the card's figures are measured on."""


class Talker(NamedTuple):
    """One person: (T, 96, 96, 3) BGR faces, and (T, 80, 16) mel chunks of the same frames."""

    faces: np.ndarray
    chunks: np.ndarray


def load_talker(path: Path) -> Talker:
    """Faces and chunks of a person of `render_speakers`, cut as `baselines.wav2lip` cuts them."""
    arrays = load_arrays(path, "jpeg", "jpeg_length", "landmarks", "pcm_16k")
    images = split_jpegs(arrays["jpeg"], arrays["jpeg_length"])
    height, width = images[0].shape[:2]
    boxes = pad_boxes(boxes_of_faces(arrays["landmarks"]).astype(np.int64), PADS_PX)
    boxes = smooth_boxes(np.clip(boxes, 0, (width, height) * 2))
    cut = [image[top:bottom, left:right] for image, (left, top, right, bottom) in zip(images, boxes, strict=True)]
    faces = np.stack([cv2.resize(face, (FACE_SIZE, FACE_SIZE))[..., ::-1] for face in cut])
    mel = compute_mel_spectrogram(arrays["pcm_16k"] / np.float32(32768))
    return Talker(faces, cut_mel_chunks(mel, chunk_starts(mel.shape[1], len(faces), FPS)).astype(np.float32))


def draw_batch(talkers: list[Talker], generator: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Mel chunks, faces that are half hidden beside faces of another moment, and what is to be painted."""
    chunks, shown, wanted = [], [], []
    for number in generator.integers(len(talkers), size=BATCH):
        talker = talkers[number]
        row, other = generator.integers(len(talker.faces), size=2)
        target, reference = talker.faces[row], talker.faces[other]
        if generator.random() < 0.5:
            target, reference = target[:, ::-1], reference[:, ::-1]
        chunks.append(talker.chunks[row])
        shown.append(hide_mouth(target, reference))
        wanted.append(target)
    gains = generator.uniform(0.7, 1.3, (BATCH, 1, 1, 1)) * generator.uniform(0.93, 1.07, (BATCH, 3, 1, 1))
    pictures = _to_tensor(wanted) * torch.from_numpy(gains[..., 0].astype(np.float32))[..., None]
    inputs = _to_tensor(shown) * torch.from_numpy(np.tile(gains[..., 0], (1, 2, 1)).astype(np.float32))[..., None]
    return torch.from_numpy(np.stack(chunks)[:, None]), inputs.clamp(max=1), pictures.clamp(max=1)


def hide_mouth(face: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Six channels: the face without its lower half, and the reference."""
    hidden = face.copy()
    hidden[HALF:] = 0
    return np.concatenate([hidden, reference], axis=2)


def train(talkers: list[Talker], steps: int, seed: int) -> Wav2LipGenerator:
    """Adam with a one-cycle rate on the weighted L1; convolutions in bfloat16."""
    torch.manual_seed(seed)
    network = Wav2LipGenerator(OPEN_WIDTH).train()
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    generator, losses = np.random.default_rng(seed), []
    started = time.perf_counter()
    for step in range(1, steps + 1):
        chunks, inputs, wanted = draw_batch(talkers, generator)
        with torch.autocast("cpu", torch.bfloat16):
            painted = network(chunks, inputs)
        errors = (painted.float() - wanted).abs()
        loss = errors[:, :, :HALF].mean() + HIDDEN_WEIGHT * errors[:, :, HALF:].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(errors[:, :, HALF:].mean().item())
        if step % 100 == 0 or step == steps:
            minutes = (time.perf_counter() - started) / 60
            print(f"step {step}: L1 of the hidden half {np.mean(losses[-100:]):.4f}, {minutes:.1f} min", flush=True)
    return network.eval()


def measure(network: Wav2LipGenerator, talkers: list[Talker]) -> dict[str, float]:
    """PSNR (dB) of the hidden half of held-out people, with the right sound, another moment's, and none painted."""
    squares: dict[str, list[float]] = {"right sound": [], "sound of another moment": [], "reference as it is": []}
    for talker in talkers:
        rows = np.linspace(0, len(talker.faces) - 1, MEASURED_FRAMES).round().astype(int)
        others = np.roll(rows, MEASURED_FRAMES // 2)
        inputs = _to_tensor([hide_mouth(talker.faces[a], talker.faces[b]) for a, b in zip(rows, others, strict=True)])
        wanted = _to_tensor(list(talker.faces[rows]))[:, :, HALF:]
        painted = {"reference as it is": inputs[:, 3:, HALF:]}
        for name, heard in (("right sound", rows), ("sound of another moment", others)):
            with torch.inference_mode():
                painted[name] = network(torch.from_numpy(talker.chunks[heard][:, None]), inputs)[:, :, HALF:]
        for name, values in painted.items():
            squares[name].append(float((values - wanted).square().mean()) * 255**2)
    return {name: to_psnr(float(np.mean(values))) for name, values in squares.items()}


def publish(network: Wav2LipGenerator, unknown: list[Talker], facts: dict[str, str], output: Path) -> None:
    """Weights in half precision, measured as shipped, and the card."""
    weights = halve_weights(network)
    save_weights(output / OPEN_PATH.name, weights)
    shipped = Wav2LipGenerator(OPEN_WIDTH)
    shipped.load_state_dict(weights)
    figures = measure(shipped.eval(), unknown)
    text = f"""# {OPEN_PATH.name}

Wav2Lip's generator at {OPEN_WIDTH:g} of its width, for the compared method "Wav2Lip (open weights)". It shares no
weight with the published checkpoints and is no measure of what they can do.

- Made by: `python -m training.render_speakers`, then `python -m training.train_wav2lip` (defaults)
{chr(10).join(f"- {name}: {value}" for name, value in facts.items())}
- Machine: {machine()}
- Loss: L1, the hidden half {HIDDEN_WEIGHT:g} times; no lip-sync expert, no discriminator

{len(unknown)} other studio people, {MEASURED_FRAMES} frames each, the hidden half of the face:

| painted from | PSNR, dB |
|---|---|
{chr(10).join(f"| {name} | {value:.2f} |" for name, value in figures.items())}

Limits: studio people only; 96 px faces. Licence: that of this project; no picture of a real person took part.
"""
    with atomic_path(output / f"{OPEN_PATH.stem}.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OPEN_PATH.parent)
    arguments = parser.parse_args()
    known, unknown = load_speakers(arguments.speakers, load_talker)
    started = time.perf_counter()
    network = train(known, arguments.steps, arguments.seed)
    facts = {
        "Learnt from": f"{len(known)} random studio people, {sum(len(talker.faces) for talker in known)} frames",
        "Training": f"{arguments.steps} steps of {BATCH} faces, seed {arguments.seed}, "
        f"{(time.perf_counter() - started) / 60:.0f} minutes",
    }
    publish(network, unknown, facts, arguments.output)


def _to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images).astype(np.float32) / 255).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
