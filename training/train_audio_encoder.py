"""Train the open audio encoder on synthetic speech and write its weights and its card.

    python training/train_audio_encoder.py --output metatalk_lib/data

Every figure on the card is measured by the run that writes it.
"""

import argparse
import platform
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from metatalk_lib.artifacts import atomic_path, save_weights
from metatalk_lib.audio import compute_mfcc_blocks
from metatalk_lib.networks.at_net import MFCC_COEFFICIENTS, MFCC_STEPS
from metatalk_lib.networks.audio_to_expression import WINDOW
from metatalk_lib.networks.open_audio_encoder import EncoderHeads, OpenAudioEncoder
from metatalk_lib.progress import track
from metatalk_lib.speech import SENTENCES, VOICES, synthesize
from metatalk_lib.speech_augmentation import degrade_recording, pad_with_pauses, scale_throat
from metatalk_lib.visemes import ARKIT_ACTIONS, VISEMES, split_phoneme, viseme_curves

FPS = 25
HELD_OUT_VOICES = ("en-gb+f4", "en-us+m7", "en-us+Annie", "en-gb+m2")
HELD_OUT_SENTENCES = SENTENCES[::8]
TRAINING_VOICES = tuple(voice for voice in VOICES if voice not in HELD_OUT_VOICES)
TRAINING_SENTENCES = tuple(text for text in SENTENCES if text not in HELD_OUT_SENTENCES)
LIP_SIZE = 10
"""Principal components of the facial actions that serve as lip targets."""
CHUNK = 32 + WINDOW - 1
"""Consecutive frames that are trained together; the first and last three only complete windows."""
CHUNKS_PER_STEP = 8
VISEME_LOSS_WEIGHT = 0.15
REPORTED_ACTIONS = ("jawOpen", "mouthPucker", "mouthFunnel", "mouthPressLeft", "mouthRollLower", "mouthStretchLeft")


@dataclass(frozen=True)
class Utterance:
    """Blocks (T, 28, 12), actions (T, 52) and viseme indices (T,) of one spoken sentence."""

    mfcc: np.ndarray
    actions: np.ndarray
    visemes: np.ndarray


def make_utterances(texts: tuple, voices: tuple, *, count: int, seed: int, is_degraded: bool) -> list[Utterance]:
    """Speak random sentences with random voices; each draw has its own seed, so any prefix is the same."""
    return [
        make_utterance(texts, voices, np.random.default_rng([seed, index]), is_degraded=is_degraded)
        for index in track(range(count), "speaking", unit="utterance")
    ]


def make_utterance(texts: tuple, voices: tuple, generator: np.random.Generator, *, is_degraded: bool) -> Utterance:
    """One sentence, its blocks and what the viseme teacher says the face does."""
    text, voice = texts[generator.integers(len(texts))], voices[generator.integers(len(voices))]
    speed, pitch = int(generator.integers(115, 215)), int(generator.integers(15, 90))
    speech = pad_with_pauses(synthesize(text, voice, speed_wpm=speed, pitch=pitch), *generator.uniform(0.1, 0.6, 2))
    speech = scale_throat(speech, float(generator.uniform(0.87, 1.15)) if is_degraded else 1.0)
    samples = degrade_recording(speech.samples, generator) if is_degraded else speech.samples
    frame_count = max(CHUNK, round(speech.duration_s * FPS))
    times = np.arange(frame_count) / FPS
    starts = np.array([phoneme.start_s for phoneme in speech.phonemes])
    spoken = (speech.phonemes[i] for i in np.searchsorted(starts, times, side="right") - 1)
    names = list(VISEMES)
    return Utterance(
        compute_mfcc_blocks(samples, frame_count, Fraction(FPS)),
        viseme_curves(speech.phonemes, frame_count, FPS),
        np.array([names.index(_part_at(phoneme, t)) for phoneme, t in zip(spoken, times, strict=True)]),
    )


def train(utterances: list[Utterance], *, epochs: int, seed: int) -> tuple[OpenAudioEncoder, EncoderHeads, "LipSpace"]:
    """Adam with a cosine rate on the squared lip error (in shares of its variance) plus the weighted viseme loss."""
    torch.manual_seed(seed)
    encoder, lips = OpenAudioEncoder(), LipSpace(np.concatenate([item.actions for item in utterances]))
    heads = EncoderHeads(LIP_SIZE, len(VISEMES))
    frames = np.concatenate([item.mfcc.reshape(-1, MFCC_COEFFICIENTS) for item in utterances])
    encoder.mfcc_mean.copy_(torch.from_numpy(frames.mean(axis=0)))
    encoder.mfcc_std.copy_(torch.from_numpy(frames.std(axis=0)))
    encoder.to(memory_format=torch.channels_last).train()
    chunks = [(u, start) for u in range(len(utterances)) for start in _chunk_starts(len(utterances[u].mfcc))]
    generator = np.random.default_rng(seed)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-3)
    steps_per_epoch = len(chunks) // CHUNKS_PER_STEP
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=epochs * steps_per_epoch, pct_start=0.1)
    for epoch in range(epochs):
        order, losses = generator.permutation(len(chunks)), []
        for step in range(steps_per_epoch):
            chosen = order[step * CHUNKS_PER_STEP : (step + 1) * CHUNKS_PER_STEP]
            batch = _cut(utterances, [chunks[i] for i in chosen], generator)
            losses.append(_step(encoder, heads, lips, batch, optimiser))
            schedule.step()
        lip_loss, viseme_loss = np.mean(losses, axis=0)
        print(f"epoch {epoch + 1}: lip error {lip_loss:.3f} of the variance, viseme loss {viseme_loss:.3f}", flush=True)
    return encoder.to(memory_format=torch.contiguous_format).eval(), heads.eval(), lips


class LipSpace:
    """Principal components of the actions, scaled so that a mean squared error of 1/LIP_SIZE is all the variance."""

    def __init__(self, actions: np.ndarray) -> None:
        self.mean = actions.mean(axis=0)
        centred = actions - self.mean
        self.basis = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :LIP_SIZE]
        self.scale = float(np.sqrt(np.square(centred).sum(axis=1).mean()))

    def to_lips(self, actions: np.ndarray) -> np.ndarray:
        return ((actions - self.mean) @ self.basis / self.scale).astype(np.float32)

    def to_actions(self, lips: np.ndarray) -> np.ndarray:
        return lips * self.scale @ self.basis.T + self.mean


def predict_actions(encoder: OpenAudioEncoder, heads: EncoderHeads, lips: LipSpace, item: Utterance) -> tuple:
    """Actions and viseme indices of all frames whose window is whole, by the training heads."""
    with torch.no_grad():
        values, logits = heads(encoder(torch.from_numpy(item.mfcc))[None])
    return lips.to_actions(values[0].numpy()), logits[0].argmax(dim=1).numpy()


def measure(encoder: OpenAudioEncoder, heads: EncoderHeads, lips: LipSpace, test: list, ridge: np.ndarray) -> dict:
    """R² over all actions, of the encoder and of the ridge regression, correlations, and viseme accuracy."""
    margin = WINDOW // 2
    inner = slice(margin, -margin)
    truth = np.concatenate([item.actions[inner] for item in test])
    predicted, classes = zip(*(predict_actions(encoder, heads, lips, item) for item in test), strict=True)
    own, linear = np.concatenate(predicted), np.concatenate([ridge_inputs(item)[inner] @ ridge for item in test])
    total = np.square(truth - lips.mean).sum()
    columns = [ARKIT_ACTIONS.index(name) for name in REPORTED_ACTIONS]
    labels = np.concatenate([item.visemes[inner] for item in test])
    return {
        "frames": len(truth),
        "R2, encoder": 1 - np.square(truth - own).sum() / total,
        "R2, ridge on the MFCC block": 1 - np.square(truth - linear).sum() / total,
        "R2, training mean": 0.0,
        **{f"r, {ARKIT_ACTIONS[c]}": np.corrcoef(truth[:, c], own[:, c])[0, 1] for c in columns},
        "viseme accuracy": np.mean(np.concatenate(classes) == labels),
        "most frequent viseme's share": np.bincount(labels).max() / len(labels),
    }


def ridge_inputs(item: Utterance) -> np.ndarray:
    """Flattened blocks with a constant."""
    flat = item.mfcc.reshape(-1, MFCC_STEPS * MFCC_COEFFICIENTS).astype(np.float64)
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)


def fit_ridge(utterances: list[Utterance], penalty: float = 1e-3) -> np.ndarray:
    """Linear baseline from block to actions, penalty relative to the mean squared input."""
    inputs = np.concatenate([ridge_inputs(item) for item in utterances])
    gram = inputs.T @ inputs
    actions = np.concatenate([item.actions for item in utterances])
    return np.linalg.solve(gram + penalty * np.trace(gram) / len(gram) * np.eye(len(gram)), inputs.T @ actions)


def write_card(path: Path, arguments: argparse.Namespace, results: dict[str, dict], counts: dict[str, str]) -> None:
    """The card beside the weights: what, how made, measured how."""
    command = f"python training/train_audio_encoder.py --utterances {arguments.utterances} --epochs {arguments.epochs}"
    command += f" --seed {arguments.seed}"
    names = list(results)
    rows = [f"| {key} | " + " | ".join(_cell(results[name][key]) for name in names) + " |" for key in results[names[0]]]
    text = f"""# audio_encoder_open.safetensors

An MFCC block (28 steps of 10 ms × coefficients 1–12) to 256 features, at least 0: AT-net's layer order, narrowed. It is
not AT-net's checkpoint and shares no weight with it.

- Made by: `{command}`
- Trained on: synthetic speech only (espeak-ng formant voices), recorded again with random throats, rooms, microphones,
  noise and level; targets are the actions of the project's viseme teacher. No recording of a person was used.
- Machine: {platform.machine()}, 1 thread, torch {torch.__version__}
{"".join(f"- {name}: {value}{chr(10)}" for name, value in counts.items())}
Measured on sentences that were never trained on. R² is over all 52 actions against the teacher, 1 is perfect, 0 is the
training mean; r is a correlation over frames.

| | {" | ".join(names)} |
|---|{"---|" * len(names)}
{chr(10).join(rows)}

Limits: the truth here is the teacher's, and the voices are synthetic. Nothing on this card says how well real voices
work.
Licence: as the project; the weights hold no third party's data.
"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "metatalk_lib" / "data")
    parser.add_argument("--utterances", type=int, default=600, help="spoken for training")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--test-utterances", type=int, default=40, help="spoken for each column of the card's table")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    training = make_utterances(
        TRAINING_SENTENCES, TRAINING_VOICES, count=arguments.utterances, seed=arguments.seed, is_degraded=True
    )
    tests = {
        "new sentences": (TRAINING_VOICES, 1, False),
        "new sentences, new voices": (HELD_OUT_VOICES, 2, False),
        "new sentences, new voices, degraded": (HELD_OUT_VOICES, 3, True),
    }
    encoder, heads, lips = train(training, epochs=arguments.epochs, seed=arguments.seed)
    ridge, results = fit_ridge(training), {}
    for name, (voices, offset, is_degraded) in tests.items():
        seed = arguments.seed + 1000 * offset
        count = arguments.test_utterances
        test = make_utterances(HELD_OUT_SENTENCES, voices, count=count, seed=seed, is_degraded=is_degraded)
        results[name] = measure(encoder, heads, lips, test, ridge)
    save_weights(arguments.output / "audio_encoder_open.safetensors", encoder.state_dict())
    frames = sum(len(item.mfcc) for item in training)
    counts = {
        "Training data": f"{len(training)} utterances, {frames} frames, {frames / FPS / 60:.1f} minutes, "
        f"{len(TRAINING_SENTENCES)} sentences, {len(TRAINING_VOICES)} voices",
        "Training time": f"{(time.perf_counter() - started) / 60:.1f} minutes, speaking included",
        "Size": f"{sum(value.numel() for value in encoder.parameters())} weights",
    }
    write_card(arguments.output / "audio_encoder_open.md", arguments, results, counts)
    print((arguments.output / "audio_encoder_open.md").read_text("utf-8"))


def _part_at(phoneme: object, time_s: float) -> str:
    """The viseme of a phoneme at one instant; diphthongs have two."""
    parts = split_phoneme(phoneme.symbol)
    position = (time_s - phoneme.start_s) / max(phoneme.end_s - phoneme.start_s, 1e-6)
    return parts[min(len(parts) - 1, max(0, int(position * len(parts))))]


def _chunk_starts(length: int) -> list[int]:
    return list(range(0, length - CHUNK + 1, CHUNK - WINDOW + 1))


def _cut(utterances: list[Utterance], chunks: list[tuple], generator: np.random.Generator) -> tuple:
    """Stack chunks; the start moves at random, so that every frame meets every place in a chunk."""
    parts = []
    for index, start in chunks:
        item = utterances[index]
        start = min(start + int(generator.integers(CHUNK)), len(item.mfcc) - CHUNK)
        parts.append(
            (item.mfcc[start : start + CHUNK], item.actions[start : start + CHUNK], item.visemes[start : start + CHUNK])
        )
    return tuple(np.stack(column) for column in zip(*parts, strict=True))


def _step(encoder: OpenAudioEncoder, heads: EncoderHeads, lips: LipSpace, batch: tuple, optimiser: object) -> tuple:
    mfcc, actions, visemes = batch
    margin = WINDOW // 2
    features = encoder(torch.from_numpy(mfcc.reshape(-1, MFCC_STEPS, MFCC_COEFFICIENTS)))
    values, logits = heads(features.reshape(len(mfcc), CHUNK, -1))
    wanted = torch.from_numpy(lips.to_lips(actions[:, margin:-margin]))
    lip_loss = (values - wanted).square().sum(dim=2).mean()
    classes = torch.from_numpy(visemes[:, margin:-margin].reshape(-1))
    viseme_loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), classes)
    optimiser.zero_grad()
    (lip_loss + VISEME_LOSS_WEIGHT * viseme_loss).backward()
    optimiser.step()
    return lip_loss.item(), viseme_loss.item()


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    main()
