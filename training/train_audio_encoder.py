"""Train the open audio encoder on speech of many voices and write its weights and its card.

    python -m training.train_audio_encoder --output metatalk_lib/data

Every value on the card is measured by the run that writes it. Needs Flite and Festival with their voices: the Debian
packages that training/README.md lists.
"""

import argparse
import hashlib
import pickle
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.fft import dct
from torch import nn

from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.networks.audio_to_expression import A2E_WINDOW
from metatalk_lib.networks.open_audio_encoder import LIP_SIZE, OpenAudioEncoder, SpeechHeads
from metatalk_lib.reconstruction.lip_curves import compute_r2
from metatalk_lib.speech import augmentation as speech_augmentation
from metatalk_lib.speech import mfcc, recorded_voices, synthesis, visemes, words
from metatalk_lib.speech.audio_encoder import OPEN_FILE
from metatalk_lib.speech.mfcc import LIFTER, MEL_FILTERS
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED
from metatalk_lib.speech.sentences import HELD_OUT_SENTENCES, SENTENCES_SEEN
from metatalk_lib.speech.visemes import VISEMES
from metatalk_lib.speech.words import WORDS
from metatalk_lib.tracking.landmarks import mouth_opening
from training import speech_corpus
from training.licences import describe_licence
from training.speech_corpus import (
    FPS,
    RECORDED,
    SHORTEST_FRAMES,
    SYNTHETIC,
    VARIANTS,
    TrainingUtterance,
    make_test,
    make_training,
)

MARGIN = A2E_WINDOW // 2
CHUNKS_PER_STEP = 16
RATE = 2e-3
VISEME_LOSS_WEIGHT = 0.1
LIP_SHARE = 0.8
"""Weight of the lip landmarks, in shares of their variance, against 0.6 for the facial actions."""
ACTION_SHARE = 0.6


class LipTargets:
    """Targets of the lips head: principal components of lip landmarks (mm) and facial actions, weighted together.

    A squared error of 1, summed over the components, equals their total variance.
    """

    def __init__(self, actions: np.ndarray) -> None:
        model = load_face_model()
        mean, _, expression_rows = model.landmark_bases()
        moved = np.tensordot(model.actions_to_expression.numpy(), expression_rows, axes=1)
        self.still_mm = 100 * mean
        self.lip_rows = 100 * moved[:, 48:68].reshape(actions.shape[1], -1)
        self.scales = [np.sqrt(part.var(axis=0).sum()) for part in (actions @ self.lip_rows, actions)]
        joined = self._join(actions)
        self.mean = joined.mean(axis=0)
        basis = np.linalg.eigh(np.cov(joined.T))[1][:, ::-1][:, :LIP_SIZE]
        self.scale = float(np.sqrt(np.square(joined - self.mean).sum(axis=1).mean()))
        self.basis = basis * self.scale

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Convert (T, 52) actions to (T, LIP_SIZE) targets."""
        return ((self._join(actions) - self.mean) @ self.basis / self.scale**2).astype(np.float32)

    def opening_mm(self, actions: np.ndarray) -> np.ndarray:
        """Compute the mouth opening of the mean face, mm."""
        landmarks = np.repeat(self.still_mm[None], len(actions), axis=0)
        landmarks[:, 48:68] += (actions @ self.lip_rows).reshape(len(actions), 20, 3)
        return mouth_opening(landmarks[..., :2])

    def action_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Return basis (LIP_SIZE, 52) and mean (52,): actions = targets @ basis + mean."""
        share = self.scales[1] / ACTION_SHARE
        return self.basis[-self.lip_rows.shape[0] :].T * share, self.mean[-self.lip_rows.shape[0] :] * share

    def _join(self, actions: np.ndarray) -> np.ndarray:
        lips = LIP_SHARE / self.scales[0] * (actions @ self.lip_rows)
        return np.concatenate([lips, ACTION_SHARE / self.scales[1] * actions], axis=1)


def train(utterances: Sequence[TrainingUtterance], targets: LipTargets, *, steps: int, seed: int) -> nn.ModuleDict:
    """Train by Adam with a one-cycle rate on squared lip error (in shares of variance) plus weighted viseme loss."""
    torch.manual_seed(seed)
    speech = nn.ModuleDict({"encoder": OpenAudioEncoder(), "heads": SpeechHeads(len(VISEMES))})
    _set_statistics(speech, utterances, targets)
    speech.to(memory_format=torch.channels_last).train()
    lips = [targets.encode(item.actions) for item in utterances]
    frames = np.array([len(item.actions) for item in utterances])
    usable = np.flatnonzero(frames >= SHORTEST_FRAMES)
    share = frames[usable] / frames[usable].sum()
    optimiser = torch.optim.AdamW(speech.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    augmentation = CepstrumAugmentation(speech["encoder"].mfcc_std.numpy())
    generator, losses = np.random.default_rng(seed), []
    for step in range(1, steps + 1):
        chosen = usable[generator.choice(len(usable), CHUNKS_PER_STEP, p=share)]
        losses.append(_step(speech, _cut(utterances, lips, chosen, generator, augmentation), optimiser))
        schedule.step()
        if step % 500 == 0 or step == steps:
            lip_loss, viseme_loss = np.mean(losses[-500:], axis=0)
            print(f"step {step}: lip error {lip_loss:.3f} of the variance, viseme loss {viseme_loss:.3f}", flush=True)
    return speech.to(memory_format=torch.contiguous_format).eval()


class CepstrumAugmentation:
    """Augmentation of chunks with other vocal tracts and microphones, applied directly to the cepstra.

    A vocal tract of another length stretches the mel axis by a factor, which is a matrix on the cepstra; a microphone
    adds a constant to each coefficient. So no chunk occurs twice.

    Source: vocal tract length perturbation after Jaitly and Hinton (2013); original in this form.
    """

    FACTORS = np.linspace(0.88, 1.12, 25)
    OFFSET_SHARE = 0.35
    """Standard deviation of the added constant relative to that of each coefficient."""

    def __init__(self, mfcc_std: np.ndarray) -> None:
        self.mfcc_std = mfcc_std
        self.matrices = np.stack([self._stretch(factor) for factor in self.FACTORS]).astype(np.float32)

    def __call__(self, chunks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Augment chunks of cepstra (B, S, 12)."""
        chosen = self.matrices[generator.integers(len(self.matrices), size=len(chunks))]
        offsets = self.OFFSET_SHARE * self.mfcc_std * generator.normal(size=(len(chunks), 1, len(self.mfcc_std)))
        return (chunks @ chosen.transpose(0, 2, 1) + offsets).astype(np.float32)

    def _stretch(self, factor: float) -> np.ndarray:
        size = len(self.mfcc_std)
        transform = dct(np.eye(MEL_FILTERS), axis=0, norm="ortho")[1 : size + 1]
        lifter = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(1, size + 1) / LIFTER)
        places = np.clip(np.arange(MEL_FILTERS) * factor, 0, MEL_FILTERS - 1)
        below = np.minimum(places.astype(int), MEL_FILTERS - 2)
        moved = np.zeros((MEL_FILTERS, MEL_FILTERS))
        moved[np.arange(MEL_FILTERS), below] = 1 - (places - below)
        moved[np.arange(MEL_FILTERS), below + 1] = places - below
        return (lifter[:, None] * transform) @ moved @ (transform.T / lifter)


def measure(speech: nn.ModuleDict, targets: LipTargets, test: Sequence[TrainingUtterance]) -> dict[str, float]:
    """Measure over all frames of a test set, against the viseme teacher."""
    predicted, classes = zip(*(_predict(speech, item) for item in test), strict=True)
    own, truth = np.concatenate(predicted), np.concatenate([item.actions for item in test])
    labels = np.concatenate([item.visemes for item in test])
    openings = targets.opening_mm(own), targets.opening_mm(truth)
    return {
        "frames": len(truth),
        "R2, lip landmarks": compute_r2(own @ targets.lip_rows, truth @ targets.lip_rows),
        "R2, training mean": compute_r2(
            np.tile(targets.action_map()[1], (len(truth), 1)) @ targets.lip_rows, truth @ targets.lip_rows
        ),
        "r, mouth opening": float(np.corrcoef(*openings)[0, 1]),
        "r, mouth opening, reversed in time": float(np.corrcoef(openings[0][::-1], openings[1])[0, 1]),
        "viseme accuracy": float(np.mean(np.concatenate(classes) == labels)),
        "most frequent viseme's share": float(np.bincount(labels).max() / len(labels)),
    }


def write_card(path: Path, command: str, results: dict[str, dict], counts: dict[str, str]) -> None:
    """Write the card beside the weights: contents, training and evaluation."""
    names = list(results)
    rows = [f"| {key} | " + " | ".join(_cell(results[name][key]) for name in names) + " |" for key in results[names[0]]]
    text = f"""# {OPEN_FILE}

An MFCC block (28 steps of 10 ms × coefficients 1–12) to 256 features, at least 0: AT-net's layer order, narrowed. It is
not AT-net's checkpoint and shares no weight with it. The file also holds the heads that it was trained through, which
tell the facial actions of an average mouth.

- Made by: `{command}`
- Trained on: espeak-ng's formant voices in {len(WORDS) + 1} languages, and voices that Flite and Festival built from
  people's recordings: {", ".join(RECORDED)}
- Recorded again with random throats, rooms, microphones, noise and level, among music, noise and silence. Targets are
  the actions of the project's viseme teacher without inertia, from the synthesisers' own segment times.
- Machine: {platform.machine()}, torch {torch.__version__}
{"".join(f"- {name}: {value}{chr(10)}" for name, value in counts.items())}
Measured on voices that were never trained on, and sentences that were not either; what the Italian voice says are the
training's words in another order. R² is over the positions of the twenty lip landmarks of the
mean face, 1 is perfect, 0 is the mean; r is a correlation over frames at zero lag.

| | {" | ".join(names)} |
|---|{"---|" * len(names)}
{chr(10).join(rows)}

Limits: the truth here is the teacher's. How real people's lips compare is what `make bench-lips` measures.

{describe_licence("movements", "texts", "synthetic voices", "recorded voices")}"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "metatalk_lib" / "data")
    parser.add_argument("--utterances", type=int, default=9000, help="spoken for training")
    parser.add_argument("--steps", type=int, default=12000, help="training steps of 16 chunks of 2.4 s")
    parser.add_argument("--test-utterances", type=int, default=24, help="spoken for each column of the card's table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="processes that speak, then threads that train")
    parser.add_argument("--corpus", type=Path, help="own file that keeps what was spoken, for another training")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training, speaking_s = _load_or_speak(arguments)
    targets = LipTargets(np.concatenate([item.actions for item in training]).astype(np.float64))
    started = time.perf_counter()
    speech = train(training, targets, steps=arguments.steps, seed=arguments.seed)
    minutes = speaking_s / 60, (time.perf_counter() - started) / 60
    publish(arguments, speech, targets, training, minutes)


def publish(
    arguments: argparse.Namespace,
    speech: nn.ModuleDict,
    targets: LipTargets,
    training: Sequence[TrainingUtterance],
    minutes: tuple[float, float],
) -> None:
    """Measure on held-out data, and write weights and card."""
    results = {}
    for offset, kind in enumerate(("synthetic", *HELD_OUT_RECORDED), start=1):
        for is_degraded in (False, True):
            seed = arguments.seed + 1000 * (2 * offset + is_degraded)
            test = make_test(kind, arguments.test_utterances, seed, arguments.threads, is_degraded=is_degraded)
            name = "new synthetic voices" if kind == "synthetic" else f"new recorded voice {kind}"
            results[name + (", degraded" if is_degraded else "")] = measure(speech, targets, test)
    save_weights(arguments.output / OPEN_FILE, speech.state_dict())
    frames = sum(len(item.actions) for item in training)
    counts = {
        "Training data": f"{len(training)} utterances, {frames} frames, {frames / FPS / 3600:.1f} hours; "
        f"{len(SENTENCES_SEEN)} English sentences ({len(HELD_OUT_SENTENCES)} held out), word lists of {len(WORDS)} "
        f"languages; {len(SYNTHETIC)} English synthetic voices, {len(VARIANTS)} variants, {len(RECORDED)} recorded",
        "Time": f"{minutes[0]:.1f} minutes of speaking, {minutes[1]:.1f} of training, {arguments.threads} threads",
        "Size": f"{sum(value.numel() for value in speech['encoder'].parameters())} weights of the encoder",
    }
    command = (
        f"python -m training.train_audio_encoder --utterances {arguments.utterances} --steps {arguments.steps} "
        f"--seed {arguments.seed} --threads {arguments.threads}"
    )
    card = (arguments.output / OPEN_FILE).with_suffix(".md")
    write_card(card, command, results, counts)
    print(card.read_text("utf-8"))


def _load_or_speak(arguments: argparse.Namespace) -> tuple[list[TrainingUtterance], float]:
    """Load or synthesise the utterances; also returns the time of their synthesis in this or an earlier run, s."""
    asked = {"utterances": arguments.utterances, "seed": arguments.seed, "code": _sources_digest()}
    if arguments.corpus and arguments.corpus.exists():
        kept = pickle.loads(arguments.corpus.read_bytes())
        if kept["asked"] != asked:
            raise ParameterError(f"{arguments.corpus} was made by other arguments or other code. Remove it.")
        return kept["training"], kept["seconds"]
    started = time.perf_counter()
    training = make_training(arguments.utterances, arguments.seed, arguments.threads)
    seconds = time.perf_counter() - started
    if arguments.corpus:
        with atomic_path(arguments.corpus) as temporary:
            temporary.write_bytes(pickle.dumps({"asked": asked, "training": training, "seconds": seconds}, protocol=5))
    return training, seconds


def _sources_digest() -> str:
    """Checksum of the code that determines the utterances."""
    modules = (speech_corpus, recorded_voices, words, synthesis, speech_augmentation, visemes, mfcc)
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in modules)).hexdigest()


def _set_statistics(speech: nn.ModuleDict, utterances: Sequence[TrainingUtterance], targets: LipTargets) -> None:
    steps = np.concatenate([item.mfcc for item in utterances])
    speech["encoder"].mfcc_mean.copy_(torch.from_numpy(steps.mean(axis=0)))
    speech["encoder"].mfcc_std.copy_(torch.from_numpy(steps.std(axis=0)))
    basis, mean = targets.action_map()
    speech["heads"].action_basis.copy_(torch.from_numpy(basis))
    speech["heads"].action_mean.copy_(torch.from_numpy(mean))


def _cut(
    utterances: Sequence[TrainingUtterance],
    lips: Sequence[np.ndarray],
    chosen: np.ndarray,
    generator: np.random.Generator,
    augmentation: CepstrumAugmentation,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut chunks of `SHORTEST_FRAMES` frames at random: their MFCC steps, and lips and visemes of the inner frames."""
    parts = []
    for index in chosen:
        item = utterances[index]
        start = int(generator.integers(len(item.actions) - SHORTEST_FRAMES + 1))
        inner = slice(start + MARGIN, start + SHORTEST_FRAMES - MARGIN)
        steps = item.mfcc[4 * start : 4 * (start + SHORTEST_FRAMES) + 24]
        parts.append((steps, lips[index][inner], item.visemes[inner]))
    steps, wanted, classes = (np.stack(column) for column in zip(*parts, strict=True))
    return tuple(map(torch.from_numpy, (augmentation(steps, generator), wanted, classes)))


def _step(speech: nn.ModuleDict, batch: tuple, optimiser: torch.optim.Optimizer) -> tuple[float, float]:
    steps, wanted, classes = batch
    values, logits = speech["heads"](speech["encoder"].encode_steps(steps))
    lip_loss = (values - wanted).square().sum(dim=2).mean()
    viseme_loss = nn.functional.cross_entropy(logits.flatten(0, 1), classes.flatten())
    optimiser.zero_grad()
    (lip_loss + VISEME_LOSS_WEIGHT * viseme_loss).backward()
    optimiser.step()
    return lip_loss.item(), viseme_loss.item()


def _predict(speech: nn.ModuleDict, item: TrainingUtterance) -> tuple[np.ndarray, np.ndarray]:
    """Predict actions and viseme indices of all frames."""
    with torch.no_grad():
        features = speech["encoder"].encode_steps(torch.from_numpy(item.mfcc)[None])[0]
        classes = speech["heads"].visemes(features).argmax(dim=1)
        return speech["heads"].predict_actions(features).numpy(), classes.numpy()


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    main()
