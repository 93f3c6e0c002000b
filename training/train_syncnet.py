"""Train the open SyncNet, which judges lips, on studio people who speak; write its weights and its card.

    python -m training.render_speakers --output outputs/training/speakers
    python -m training.train_syncnet --speakers outputs/training/speakers

The network learns to distinguish the speech that belongs to five frames from speech 1 to 15 frames away and from other
people's: for each window of frames, softmax(-d) over the distances d to all pieces of speech in the batch is maximised
for the right piece, and likewise for each piece of speech. Each stream also predicts the lips of the five frames with a
linear head, which is then discarded; at first this is the only loss, with additional sentences without pictures for the
speech stream. Every value on the card is measured by the run that writes it, on held-out people, voices and sentences.
"""

import argparse
import multiprocessing
import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from metatalk_lib.core.artifacts import atomic_path, load_arrays
from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.machine import describe_machine
from metatalk_lib.core.progress import track
from metatalk_lib.evaluation.syncnet_tracks import crop_faces
from metatalk_lib.media.audio import to_mono_16k, to_pcm16
from metatalk_lib.metrics.lse import (
    MAX_OFFSET,
    OPEN_SYNCNET_PATH,
    OPEN_SYNCNET_WIDTH,
    SAMPLES_PER_FRAME,
    EmbeddedClip,
    embed_clip,
    score_clip,
)
from metatalk_lib.networks.open_audio_encoder import LIP_SIZE
from metatalk_lib.networks.syncnet import (
    SYNCNET_EMBEDDING_SIZE,
    SYNCNET_FACE_SIZE,
    SYNCNET_MFCC_STEPS,
    WINDOW_FRAMES,
    SyncNet,
)
from metatalk_lib.speech.augmentation import degrade_recording
from metatalk_lib.speech.mfcc import compute_syncnet_mfcc
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.tracking.face_detector import boxes_of_faces
from training.licences import SOURCES, describe_licence
from training.people import halve_weights, load_speakers, split_jpegs
from training.precision import low_precision
from training.render_speakers import FPS, draw_speech
from training.train_audio_encoder import LipTargets

CLIPS, WINDOWS, WINDOW_STEP = 8, 6, 2
"""People in one step, windows of each, and the frames between two windows."""
UTTERANCES = 1600
"""Number of sentences without pictures."""
EXTRA_CLIPS, EXTRA_PIECES = 16, 12
"""Sentences without pictures in one step, and pieces of each."""
WARM_SHARE = 0.25
"""Share of steps at the start in which only the lips are learnt."""
RATE, WEIGHT_DECAY = 1e-3, 1e-2
CONTROL_SHIFTS = (-10, -5, -2, -1, 1, 2, 5, 10)
CHECKPOINT_STEPS = 200
WORKERS = 2


class Utterance(NamedTuple):
    """One sentence.

    Attributes:
        mfcc: (13, M) MFCC of a clean recording and of a degraded one.
        actions: (T, 52) facial actions of the sentence.
    """

    mfcc: tuple[np.ndarray, np.ndarray]
    actions: np.ndarray


class Talker(NamedTuple):
    """One person.

    Attributes:
        faces: (T, 224, 224, 3) RGB crops.
        pcm_16k: (T · 640,) 16-bit samples.
        said: the person's sentence with its facial actions.
    """

    faces: np.ndarray
    pcm_16k: np.ndarray
    said: Utterance


class Batch(NamedTuple):
    """Windows of faces and pieces of speech.

    Attributes:
        windows: (B, 3, 5, 224, 224) BGR in [0, 1].
        pieces: (N, 1, 13, 20) MFCC of pieces of speech.
        right: (B,) index of the piece that belongs to each window.
        beside: (B, N) whether a piece is one frame off the window's own, which counts as neither right nor wrong.
        lips: (N, 5 · LIP_SIZE) lip targets of `LipTargets` during each piece.
    """

    windows: torch.Tensor
    pieces: torch.Tensor
    right: torch.Tensor
    beside: torch.Tensor
    lips: torch.Tensor


def load_talker(path: Path) -> Talker:
    """Load crops and recordings of a person of `render_speakers`."""
    arrays = load_arrays(path, "jpeg", "jpeg_length", "landmarks", "pcm_16k", "actions")
    images = split_jpegs(arrays["jpeg"], arrays["jpeg_length"])
    pcm = np.pad(arrays["pcm_16k"], (0, max(0, len(images) * SAMPLES_PER_FRAME - len(arrays["pcm_16k"]))))
    faces = np.stack(list(crop_faces(images, boxes_of_faces(arrays["landmarks"]))))
    return Talker(faces, pcm, record(pcm, arrays["actions"], np.random.default_rng([int(path.stem), 21])))


def speak(number: int) -> Utterance:
    """Draw a sentence without pictures, which depends on its number alone."""
    generator = np.random.default_rng([number, 9911])
    speech = draw_speech(generator, for_test=False)
    pcm = to_pcm16(to_mono_16k(speech.audio))
    actions = viseme_curves(speech.phonemes, len(pcm) // SAMPLES_PER_FRAME, Fraction(FPS))
    return record(pcm, actions, generator)


def record(pcm_16k: np.ndarray, actions: np.ndarray, generator: np.random.Generator) -> Utterance:
    """Make a clean recording, and one with a random room and microphone."""
    degraded = np.rint(degrade_recording(pcm_16k / 32768, generator) * 32767).astype(np.int16)
    clean, other = (compute_syncnet_mfcc(values).astype(np.float32) for values in (pcm_16k, degraded))
    return Utterance((clean, other), actions)


def draw_batch(talkers: list[Talker], lips_of: list[np.ndarray], generator: np.random.Generator) -> Batch:
    """Draw windows of some people, with the speech of half the frames around them, including the windows' own."""
    faces, speech, lips, right, frames_of, clips_of = [], [], [], [], [], []
    reach = (WINDOWS - 1) * WINDOW_STEP
    for clip, number in enumerate(generator.choice(len(talkers), CLIPS, replace=False)):
        talker = talkers[number]
        mfcc = _hear(talker.said, generator)
        last = min(len(talker.faces) - WINDOW_FRAMES, (mfcc.shape[1] - SYNCNET_MFCC_STEPS) // 4)
        first = int(generator.integers(last - reach + 1))
        images = _film_again(talker.faces[first : first + reach + WINDOW_FRAMES], generator)
        own = np.arange(first, first + reach + 1, WINDOW_STEP)
        others = np.setdiff1d(np.arange(max(0, first - MAX_OFFSET), min(last, first + reach + MAX_OFFSET) + 1), own)
        heard = np.concatenate([own, generator.choice(others, len(others) // 2, replace=False)])
        for start in range(0, reach + 1, WINDOW_STEP):
            faces.append(images[start : start + WINDOW_FRAMES])
            right.append(len(frames_of) + start // WINDOW_STEP)
        speech += [mfcc[:, 4 * frame : 4 * frame + SYNCNET_MFCC_STEPS] for frame in heard]
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
    """Compute the cross-entropy of softmax(-d) in both directions, and the share of windows nearest to their speech."""
    scores = (-torch.cdist(faces, speech)).masked_fill(beside, -torch.inf)
    backwards = scores[:, right].T.masked_fill(beside[:, right], -torch.inf)
    own = torch.arange(len(faces))
    loss = torch.nn.functional.cross_entropy(scores, right) + torch.nn.functional.cross_entropy(backwards, own)
    return loss / 2, float((scores.argmax(dim=1) == right).float().mean())


def train(talkers: list[Talker], sentences: list[Utterance], steps: int, seed: int, checkpoint: Path) -> SyncNet:
    """Train by AdamW with a one-cycle rate."""
    torch.manual_seed(seed)
    network, warm = SyncNet(OPEN_SYNCNET_WIDTH).train(), round(WARM_SHARE * steps)
    targets = LipTargets(np.concatenate([talker.said.actions for talker in talkers]).astype(np.float64))
    lips_of = [targets.encode(talker.said.actions) for talker in talkers]
    lips_of_sentences = [targets.encode(said.actions) for said in sentences]
    size = network.netfclip[-1].out_features, WINDOW_FRAMES * LIP_SIZE
    heads = torch.nn.ModuleList([torch.nn.Linear(*size), torch.nn.Linear(*size)])
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    generator, progress = np.random.default_rng(seed), Progress()
    for step in range(1, steps + 1):
        batch = draw_batch(talkers, lips_of, generator)
        more_pieces, more_lips = draw_sentences(sentences, lips_of_sentences, generator)
        used = batch.pieces if step > warm else batch.pieces[batch.right]
        with low_precision():
            faces = network.forward_lip(batch.windows).float()
            speech = network.forward_aud(torch.cat([used, more_pieces])).float()
        lips = torch.cat([batch.lips if step > warm else batch.lips[batch.right], more_lips])
        told = heads[0](faces) - batch.lips[batch.right], heads[1](speech) - lips
        errors = [part.square().sum(dim=1).mean() / WINDOW_FRAMES for part in told]
        loss, figures = sum(errors), [error.item() for error in errors]
        if step > warm:
            contrast, share = compute_loss(faces, speech[: len(used)], batch.right, batch.beside)
            loss, figures = loss + contrast, [*figures, contrast.item(), share]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        progress.report(step, figures)
        if step % CHECKPOINT_STEPS == 0:
            save_weights(checkpoint, network.state_dict())
    return network.eval()


class Progress:
    """Prints the means of the last 25 steps."""

    NAMES = ("lips seen", "lips heard", "contrast", "nearest")

    def __init__(self) -> None:
        self.started, self.seen = time.perf_counter(), []

    def report(self, step: int, figures: list[float]) -> None:
        self.seen.append(figures)
        if step % 25 == 0:
            same = [row for row in self.seen[-25:] if len(row) == len(figures)]
            means = (f"{name} {value:.3f}" for name, value in zip(self.NAMES, np.mean(same, axis=0), strict=False))
            print(f"step {step}: {', '.join(means)}, {(time.perf_counter() - self.started) / 60:.1f} min", flush=True)


def draw_sentences(
    sentences: list[Utterance], lips_of: list[np.ndarray], generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw pieces of speech without pictures, with the lip targets during each."""
    pieces, lips = [], []
    for number in generator.integers(len(sentences), size=EXTRA_CLIPS):
        mfcc = _hear(sentences[number], generator)
        last = min(len(lips_of[number]) - WINDOW_FRAMES, (mfcc.shape[1] - SYNCNET_MFCC_STEPS) // 4)
        for frame in generator.integers(last + 1, size=EXTRA_PIECES):
            pieces.append(mfcc[:, 4 * frame : 4 * frame + SYNCNET_MFCC_STEPS])
            lips.append(lips_of[number][frame : frame + WINDOW_FRAMES].ravel())
    return torch.from_numpy(np.stack(pieces)[:, None].astype(np.float32)), torch.from_numpy(np.stack(lips))


def _hear(said: Utterance, generator: np.random.Generator) -> np.ndarray:
    """Choose one of the recordings, and augment it by a random level and a constant on every coefficient."""
    mfcc = said.mfcc[generator.integers(2)]
    offsets = generator.normal(0, 1.0, (len(mfcc), 1))
    offsets[0] = generator.normal(0, 1.5)
    return mfcc + offsets


def _film_again(faces: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Simulate another camera, equally for all frames: framing, mirror, colours, focus, noise and compression."""
    scale, tilt = generator.uniform(0.9, 1.12), generator.normal(0, 3.0)
    matrix = cv2.getRotationMatrix2D((SYNCNET_FACE_SIZE / 2, SYNCNET_FACE_SIZE / 2), tilt, scale)
    matrix[:, 2] += generator.normal(0, 5.0, 2)
    if generator.random() < 0.5:
        matrix = matrix @ np.array([[-1.0, 0, SYNCNET_FACE_SIZE - 1], [0, 1, 0], [0, 0, 1]])
    gain, lift = generator.uniform(0.7, 1.3) * generator.uniform(0.92, 1.08, 3), generator.normal(0, 12, 3)
    levels = np.linspace(0, 1, 256)[:, None] ** generator.uniform(0.75, 1.33)
    table = np.clip(levels * 255 * gain + lift, 0, 255).astype(np.uint8)[None]
    blur = generator.uniform(0.4, 2.0) if generator.random() < 0.4 else 0
    noise = generator.uniform(1, 7) if generator.random() < 0.4 else 0
    quality = int(generator.integers(25, 90)) if generator.random() < 0.5 else 0
    out = []
    for face in faces:
        image = cv2.LUT(
            cv2.warpAffine(face, matrix, (SYNCNET_FACE_SIZE, SYNCNET_FACE_SIZE), borderMode=cv2.BORDER_REPLICATE), table
        )
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
    """Measure over whole clips: true against exchanged sound, and detection of known shifts."""
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
    """Write weights in half precision for pictures in [0, 255], and the card, measured with them."""
    weights = halve_weights(network)
    weights["netcnnlip.0.weight"] = (network.state_dict()["netcnnlip.0.weight"] / 255).half()
    save_weights(output / OPEN_SYNCNET_PATH.name, weights)
    shipped = SyncNet(OPEN_SYNCNET_WIDTH)
    shipped.load_state_dict(weights)
    figures = measure(shipped.eval(), talkers)
    shown = {name: str(value) if isinstance(value, int) else f"{value:.3f}" for name, value in figures.items()}
    rows = "\n".join(f"| {name} | {value} |" for name, value in shown.items())
    text = f"""# {OPEN_SYNCNET_PATH.name}

SyncNet's topology at {OPEN_SYNCNET_WIDTH:g} of its width: five face crops of 224 px and 200 ms of speech to
{round(OPEN_SYNCNET_WIDTH * SYNCNET_EMBEDDING_SIZE)} numbers each. Its figures are called LSE-D (open) and LSE-C
(open); it shares no weight with `syncnet_v2.model`, and its figures lie on another scale.

- Made by: `python -m training.render_speakers`, then `python -m training.train_syncnet` (defaults)
{chr(10).join(f"- {name}: {value}" for name, value in counts.items())}
- Machine: {describe_machine()}

Measured on studio people, voices and sentences that were not trained on; none of the people or voices is one of the
characters A to G.

| | |
|---|---|
{rows}

Limits: it has seen studio people only, whose lips move by the project's own rule of visemes. `make bench-judging`
measures it on the characters and on real clips.

{describe_licence(*SOURCES)}"""
    with atomic_path(output / f"{OPEN_SYNCNET_PATH.stem}.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OPEN_SYNCNET_PATH.parent)
    arguments = parser.parse_args()
    known, unknown = load_speakers(arguments.speakers, load_talker, at_least=CLIPS)
    started = time.perf_counter()
    checkpoint = arguments.speakers / "syncnet.safetensors"
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        jobs = pool.imap(speak, range(UTTERANCES), chunksize=8)
        sentences = list(track(jobs, "speaking", total=UTTERANCES, unit="sentence"))
    network = train(known, sentences, arguments.steps, arguments.seed, checkpoint)
    counts = {
        "Learnt from": f"{len(known)} random studio people, {sum(len(talker.faces) for talker in known)} frames, and "
        f"{UTTERANCES} sentences without pictures",
        "Training": f"{arguments.steps} steps of {CLIPS * WINDOWS} windows, seed {arguments.seed}, "
        f"{(time.perf_counter() - started) / 60:.0f} minutes",
    }
    publish(network, unknown, counts, arguments.output)


if __name__ == "__main__":
    main()
