"""Train the open SyncNet, which judges lips, on studio people who speak; write its weights and its card.

    python -m training.render_speakers --output outputs/training/speakers
    python -m training.train_syncnet --speakers outputs/training/speakers

The network learns to tell the speech that belongs to five frames from the speech 1 to 15 frames away and from other
people's: for each window of frames the distances d to all pieces of speech of the batch are scores, softmax(-d) of the
right one is made large, and the same the other way round. While it learns, each stream also tells the lips of the five
frames through a linear head, which is thrown away. Every figure on the card is measured by the run that writes
it, on people, voices and sentences that it never saw.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.report import machine
from metatalk_lib.artifacts import atomic_path, load_arrays, load_weights, save_weights
from metatalk_lib.face_crops import crop_faces
from metatalk_lib.face_detector import boxes_of_faces
from metatalk_lib.lip_sync_error import (
    MAX_OFFSET,
    OPEN_SYNCNET_PATH,
    OPEN_WIDTH,
    SAMPLES_PER_FRAME,
    EmbeddedClip,
    embed_clip,
    score_clip,
)
from metatalk_lib.mfcc import compute_syncnet_mfcc
from metatalk_lib.networks.open_audio_encoder import LIP_SIZE
from metatalk_lib.networks.syncnet import EMBEDDING_SIZE, FACE_SIZE, MFCC_STEPS, WINDOW_FRAMES, SyncNet
from metatalk_lib.progress import track
from metatalk_lib.speech_augmentation import degrade_recording
from training.people import halve_weights, is_test, load_speakers, split_jpegs
from training.train_audio_encoder import LipTargets

CLIPS, WINDOWS, WINDOW_STEP = 8, 6, 2
"""People a step, windows of each, and the frames between two windows."""
DEGRADED = 3
"""Recordings of each person besides the clean one."""
RATE, WEIGHT_DECAY = 1e-3, 1e-2
CONTROL_SHIFTS = (-10, -5, -2, -1, 1, 2, 5, 10)
CHECKPOINT_STEPS = 200


class Talker(NamedTuple):
    """One person.

    Attributes:
        faces: (T, 224, 224, 3) RGB crops.
        pcm_16k: (T · 640,) 16-bit samples.
        mfcc: recordings of them, (13, M) each.
        actions: (T, 52) what the face does.
    """

    faces: np.ndarray
    pcm_16k: np.ndarray
    mfcc: list[np.ndarray]
    actions: np.ndarray


class Batch(NamedTuple):
    """Windows of faces and pieces of speech.

    Attributes:
        windows: (B, 3, 5, 224, 224) BGR in [0, 1].
        pieces: (N, 1, 13, 20).
        right: (B,) the piece that belongs to each window.
        beside: (B, N) true where a piece lies one frame beside the window's own: it is neither right nor wrong.
        lips: (N, 5 · LIP_SIZE) what the lips do during each piece, as `LipTargets` tells it.
    """

    windows: torch.Tensor
    pieces: torch.Tensor
    right: torch.Tensor
    beside: torch.Tensor
    lips: torch.Tensor


def load_talker(path: Path) -> Talker:
    """Crops and recordings of a person of `render_speakers`."""
    arrays = load_arrays(path, "jpeg", "jpeg_length", "landmarks", "pcm_16k", "actions")
    images = split_jpegs(arrays["jpeg"], arrays["jpeg_length"])
    pcm = np.pad(arrays["pcm_16k"], (0, max(0, len(images) * SAMPLES_PER_FRAME - len(arrays["pcm_16k"]))))
    generator = np.random.default_rng([int(path.stem), 21])
    recordings = [pcm]
    for _ in range(0 if is_test(int(path.stem)) else DEGRADED):
        recordings.append(np.rint(degrade_recording(pcm / 32768, generator) * 32767).astype(np.int16))
    faces = np.stack(list(crop_faces(images, boxes_of_faces(arrays["landmarks"]))))
    mfcc = [compute_syncnet_mfcc(values).astype(np.float32) for values in recordings]
    return Talker(faces, pcm, mfcc, arrays["actions"])


def draw_batch(talkers: list[Talker], lips_of: list[np.ndarray], generator: np.random.Generator) -> Batch:
    """Some people's windows, with the speech of half the frames about them, the windows' own among it."""
    faces, speech, lips, right, frames_of, clips_of = [], [], [], [], [], []
    reach = (WINDOWS - 1) * WINDOW_STEP
    for clip, number in enumerate(generator.choice(len(talkers), CLIPS, replace=False)):
        talker = talkers[number]
        mfcc = _other_microphone(talker.mfcc[generator.integers(len(talker.mfcc))], generator)
        last = min(len(talker.faces) - WINDOW_FRAMES, (mfcc.shape[1] - MFCC_STEPS) // 4)
        first = int(generator.integers(last - reach + 1))
        images = _film_again(talker.faces[first : first + reach + WINDOW_FRAMES], generator)
        own = np.arange(first, first + reach + 1, WINDOW_STEP)
        others = np.setdiff1d(np.arange(max(0, first - MAX_OFFSET), min(last, first + reach + MAX_OFFSET) + 1), own)
        heard = np.concatenate([own, generator.choice(others, len(others) // 2, replace=False)])
        for start in range(0, reach + 1, WINDOW_STEP):
            faces.append(images[start : start + WINDOW_FRAMES])
            right.append(len(frames_of) + start // WINDOW_STEP)
        speech += [mfcc[:, 4 * frame : 4 * frame + MFCC_STEPS] for frame in heard]
        lips += [lips_of[number][frame : frame + WINDOW_FRAMES].ravel() for frame in heard]
        frames_of += heard.tolist()
        clips_of += [clip] * len(heard)
    right, frames_of, clips_of = np.array(right), np.array(frames_of), np.array(clips_of)
    beside = (clips_of[right][:, None] == clips_of) & (abs(frames_of[right][:, None] - frames_of) == 1)
    windows = torch.from_numpy(np.stack(faces)[..., ::-1].copy()).permute(0, 4, 1, 2, 3).float() / 255
    pieces = torch.from_numpy(np.stack(speech)[:, None].astype(np.float32))
    return Batch(windows, pieces, *map(torch.from_numpy, (right, beside, np.stack(lips))))


def compute_loss(
    faces: torch.Tensor, speech: torch.Tensor, right: torch.Tensor, beside: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Cross-entropy of softmax(-d) in both directions, and the share of windows whose own speech is the nearest."""
    scores = (-torch.cdist(faces, speech)).masked_fill(beside, -torch.inf)
    backwards = scores[:, right].T.masked_fill(beside[:, right], -torch.inf)
    own = torch.arange(len(faces))
    loss = torch.nn.functional.cross_entropy(scores, right) + torch.nn.functional.cross_entropy(backwards, own)
    return loss / 2, float((scores.argmax(dim=1) == right).float().mean())


def train(talkers: list[Talker], steps: int, seed: int, start: Path | None, checkpoint: Path) -> SyncNet:
    """AdamW with a one-cycle rate; convolutions in bfloat16."""
    torch.manual_seed(seed)
    network = SyncNet(OPEN_WIDTH)
    if start:
        network.load_state_dict(load_weights(start, "Leave --start out."))
    network.train()
    targets = LipTargets(np.concatenate([talker.actions for talker in talkers]).astype(np.float64))
    lips_of = [targets.encode(talker.actions) for talker in talkers]
    heads = torch.nn.ModuleList(
        torch.nn.Linear(network.netfclip[-1].out_features, WINDOW_FRAMES * LIP_SIZE) for _ in "ab"
    )
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    generator, seen = np.random.default_rng(seed), []
    started = time.perf_counter()
    for step in range(1, steps + 1):
        batch = draw_batch(talkers, lips_of, generator)
        with torch.autocast("cpu", torch.bfloat16):
            faces, speech = network.forward_lip(batch.windows), network.forward_aud(batch.pieces)
        faces, speech = faces.float(), speech.float()
        loss, share = compute_loss(faces, speech, batch.right, batch.beside)
        told = heads[0](faces) - batch.lips[batch.right], heads[1](speech) - batch.lips
        errors = [part.square().sum(dim=1).mean() / WINDOW_FRAMES for part in told]
        optimiser.zero_grad()
        (loss + sum(errors)).backward()
        optimiser.step()
        schedule.step()
        seen.append((loss.item(), share, *(error.item() for error in errors)))
        if step % 25 == 0 or step == steps:
            minutes = (time.perf_counter() - started) / 60
            loss_, share_, seen_, heard_ = np.mean(seen[-25:], axis=0)
            told_ = f"lips seen {seen_:.3f}, heard {heard_:.3f} of the variance"
            print(f"step {step}: loss {loss_:.3f}, nearest {share_:.3f}, {told_}, {minutes:.1f} min", flush=True)
        if step % CHECKPOINT_STEPS == 0:
            save_weights(checkpoint, network.state_dict())
    return network.eval()


def _other_microphone(mfcc: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Another level, and a constant on every coefficient."""
    offsets = generator.normal(0, 1.0, (len(mfcc), 1))
    offsets[0] = generator.normal(0, 1.5)
    return mfcc + offsets


def _film_again(faces: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The same crops by another camera: framing, mirror, colours, focus, noise and compression, one for all frames."""
    scale, tilt = generator.uniform(0.9, 1.12), generator.normal(0, 3.0)
    matrix = cv2.getRotationMatrix2D((FACE_SIZE / 2, FACE_SIZE / 2), tilt, scale)
    matrix[:, 2] += generator.normal(0, 5.0, 2)
    if generator.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0, FACE_SIZE - 1], [0, 1, 0], [0, 0, 1]])
    gain, lift = generator.uniform(0.7, 1.3) * generator.uniform(0.92, 1.08, 3), generator.normal(0, 12, 3)
    levels = np.linspace(0, 1, 256)[:, None] ** generator.uniform(0.75, 1.33)
    table = np.clip(levels * 255 * gain + lift, 0, 255).astype(np.uint8)[None]
    blur = generator.uniform(0.4, 2.0) if generator.random() < 0.4 else 0
    noise = generator.uniform(1, 7) if generator.random() < 0.4 else 0
    quality = int(generator.integers(25, 90)) if generator.random() < 0.5 else 0
    out = []
    for face in faces:
        image = cv2.LUT(cv2.warpAffine(face, matrix, (FACE_SIZE, FACE_SIZE), borderMode=cv2.BORDER_REPLICATE), table)
        if blur:
            image = cv2.GaussianBlur(image, (0, 0), blur)
        if noise:
            grain = np.empty(image.shape, np.int16)
            image = cv2.add(image, cv2.randn(grain, 0, noise), dtype=cv2.CV_8U)
        if quality:
            image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        out.append(image)
    return np.stack(out)


def measure(network: SyncNet, talkers: list[Talker]) -> dict[str, float]:
    """Figures over whole clips: true against exchanged sound, and known shifts that are to be found."""
    clips = [embed_clip(network, talker.faces, talker.pcm_16k) for talker in track(talkers, "judging", unit="clip")]
    true, exchanged, misses = [score_clip(clip) for clip in clips], [], []
    for row, clip in enumerate(clips):
        heard = clips[row - 1].heard
        count = min(len(clip.seen), len(heard))
        exchanged.append(score_clip(EmbeddedClip(clip.seen[:count], heard[:count])))
        misses += [abs(score_clip(clip.shifted(shift)).offset + shift) for shift in CONTROL_SHIFTS]
    labels = [1] * len(clips) + [0] * len(clips)
    return {
        "clips": len(clips),
        "LSE-D (open), true sound": float(np.mean([score.distance for score in true])),
        "LSE-D (open), exchanged": float(np.mean([score.distance for score in exchanged])),
        "LSE-C (open), true sound": float(np.mean([score.confidence for score in true])),
        "LSE-C (open), exchanged": float(np.mean([score.confidence for score in exchanged])),
        "ROC AUC of LSE-D": roc_auc_score(labels, [-score.distance for score in true + exchanged]),
        "ROC AUC of LSE-C": roc_auc_score(labels, [score.confidence for score in true + exchanged]),
        "offset of true sound within one frame": float(np.mean([abs(score.offset) <= 1 for score in true])),
        "shifts of ±1, ±2, ±5, ±10 frames found within one": float(np.mean(np.array(misses) <= 1)),
    }


def publish(network: SyncNet, talkers: list[Talker], counts: dict[str, str], output: Path) -> None:
    """Weights in half precision for pictures in [0, 255], measured as shipped, and the card."""
    weights = halve_weights(network)
    weights["netcnnlip.0.weight"] = (network.state_dict()["netcnnlip.0.weight"] / 255).half()
    save_weights(output / OPEN_SYNCNET_PATH.name, weights)
    shipped = SyncNet(OPEN_WIDTH)
    shipped.load_state_dict(weights)
    figures = measure(shipped.eval(), talkers)
    shown = {name: str(value) if isinstance(value, int) else f"{value:.3f}" for name, value in figures.items()}
    rows = "\n".join(f"| {name} | {value} |" for name, value in shown.items())
    text = f"""# {OPEN_SYNCNET_PATH.name}

SyncNet's topology at {OPEN_WIDTH:g} of its width: five face crops of 224 px and 200 ms of speech to
{round(OPEN_WIDTH * EMBEDDING_SIZE)} numbers each. Its figures are called LSE-D (open) and LSE-C (open); it shares no
weight with `syncnet_v2.model`, and its figures lie on another scale.

- Made by: `python -m training.render_speakers`, then `python -m training.train_syncnet` (defaults)
{chr(10).join(f"- {name}: {value}" for name, value in counts.items())}
- Machine: {machine()}

Measured on studio people, voices and sentences that were not trained on; none of the people or voices is one of the
characters A to G.

| | |
|---|---|
{rows}

Limits: it has seen studio people only, whose lips move by the project's own rule of visemes. `make bench-judging`
measures it on the characters and on real clips. Licence: that of this project; no picture or sound of a real person
is in the weights' training but Flite's and Festival's voices.
"""
    with atomic_path(output / f"{OPEN_SYNCNET_PATH.stem}.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights of an earlier run's checkpoint")
    parser.add_argument("--output", type=Path, default=OPEN_SYNCNET_PATH.parent)
    arguments = parser.parse_args()
    known, unknown = load_speakers(arguments.speakers, load_talker, at_least=CLIPS)
    started = time.perf_counter()
    checkpoint = arguments.speakers / "syncnet.safetensors"
    network = train(known, arguments.steps, arguments.seed, arguments.start, checkpoint)
    counts = {
        "Learnt from": f"{len(known)} random studio people, {sum(len(talker.faces) for talker in known)} frames",
        "Training": f"{arguments.steps} steps of {CLIPS * WINDOWS} windows, seed {arguments.seed}, "
        f"{(time.perf_counter() - started) / 60:.0f} minutes",
    }
    publish(network, unknown, counts, arguments.output)


if __name__ == "__main__":
    main()
