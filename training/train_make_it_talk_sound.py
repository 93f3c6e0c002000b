"""Training of MakeItTalk's audio networks, the voice encoder and AutoVC, on utterances of `make_it_talk_speech`."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from metatalk_lib.baselines.make_it_talk_audio import convert_voice, embed_voice
from metatalk_lib.baselines.make_it_talk_weights import OPEN_AUTO_VC_WIDTH
from metatalk_lib.core.progress import track
from metatalk_lib.networks.auto_vc import AUTO_VC_MEL_BANDS, PITCH_BINS, AutoVC
from metatalk_lib.networks.open_audio_encoder import LIP_SIZE
from metatalk_lib.networks.voice_encoder import VOICE_MEL_STEPS, VoiceEncoder
from training.make_it_talk_speech import Spoken, list_voices
from training.precision import low_precision
from training.train_audio_encoder import LipTargets

RATE, VC_RATE = 1e-3, 3e-3
"""Largest learning rates; the second is AutoVC's."""
SAY_STEPS = 50
"""Steps between printed lines with the mean loss."""
VOICES, PIECES = 16, 3
"""Voices in one training step of the voice encoder, and pieces of each."""
SHORTEST_PIECE = 64
"""Smallest number of 10 ms steps of a piece: pieces last 0.64 to 1.6 s in training."""
LIKENESS = 10.0
"""Factor on the cosines before the softmax."""
POWER_GAIN = 100.0
"""Factor on the initial weights of the encoder's first layer, because mel power is small."""
CROPS, CROP_STEPS = 16, 128
"""Pieces in one training step of AutoVC, and their length in steps: 2 s."""
CODE_WEIGHT = 0.1
"""Weight of the difference between the codes of input and output, relative to squared errors of the mel spectrogram."""
LIP_WEIGHT, LIP_STEPS = 0.03, 15
"""Weight of the lips predicted from the output by a linear head, in shares of their variance; and the head's steps."""
TARGET_NAME, TARGET_THROAT = "slt", 0.98
"""The voice that all others are converted to."""


class Heard(NamedTuple):
    """One utterance after AutoVC.

    Attributes:
        feature: (M, 80) standardised content feature.
        voice: (256,) voice embedding.
    """

    feature: np.ndarray
    voice: np.ndarray


def optimise(network: nn.Module, steps: int, draw_loss: Callable[[], Tensor], name: str, *, rate: float = RATE) -> None:
    """Train a network by Adam with a one-cycle rate; it is left in evaluation mode.

    Args:
        network: changed in place.
        steps: optimiser steps.
        draw_loss: function that returns the loss of a random batch.
        name: label of the printed losses.
        rate: largest learning rate.
    """
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(steps, 2), pct_start=0.1)
    losses = []
    for step in track(range(1, steps + 1), f"training the {name}", unit="step"):
        loss = draw_loss()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % SAY_STEPS == 0 or step == steps:
            print(f"{name}, step {step}: loss {np.mean(losses[-SAY_STEPS:]):.5f}", flush=True)
    network.eval()


def train_voice_encoder(utterances: list[Spoken], steps: int, seed: int) -> VoiceEncoder:
    """Train the voice encoder: pieces of a voice lie nearer to the mean of its other pieces than to other means.

    Source: generalised end-to-end loss, Wan et al. 2018, with a fixed scale.
    """
    torch.manual_seed(seed)
    network, generator = VoiceEncoder(), np.random.default_rng([seed, 1])
    with torch.no_grad():
        network.lstm.weight_ih_l0 *= POWER_GAIN
    said: dict[int, list[np.ndarray]] = {}
    for item in utterances:
        if len(item.voice_mel) >= VOICE_MEL_STEPS:
            said.setdefault(int(item.voice[0]), []).append(item.voice_mel)
    people = list(said.values())

    def draw_loss() -> Tensor:
        length = int(generator.integers(SHORTEST_PIECE, VOICE_MEL_STEPS + 1))
        chosen = generator.choice(len(people), min(VOICES, len(people)), replace=False)
        pieces = [_cut(people[number], length, generator) for number in chosen for _ in range(PIECES)]
        with low_precision():
            found = network(torch.from_numpy(np.stack(pieces)))
        return compute_voice_loss(found.float().reshape(len(chosen), PIECES, -1))

    optimise(network, steps, draw_loss, "voice encoder")
    return network


def compute_voice_loss(embeddings: Tensor) -> Tensor:
    """Compute the cross-entropy of softmax(10 cos) over the voices' means; its own voice's mean excludes the piece.

    Args:
        embeddings: (voices, pieces, 256), unit vectors.
    """
    voices, pieces, _ = embeddings.shape
    means = nn.functional.normalize(embeddings.mean(dim=1), dim=1)
    others = (embeddings.sum(dim=1, keepdim=True) - embeddings) / (pieces - 1)
    scores = torch.einsum("vpe,we->vpw", embeddings, means)
    own = (embeddings * nn.functional.normalize(others, dim=2)).sum(dim=2)
    scores = torch.where(torch.eye(voices, dtype=torch.bool)[:, None], own[..., None], scores)
    labels = torch.arange(voices).repeat_interleave(pieces)
    return nn.functional.cross_entropy(LIKENESS * scores.reshape(-1, voices), labels)


def measure_voices(encoder: VoiceEncoder, utterances: list[Spoken]) -> dict[str, float]:
    """Measure how well embeddings, and mean power alone, tell whether two utterances have the same voice."""
    embeddings = [embed_voice(encoder, item.pcm_16k / 32768) for item in utterances]
    spectra = [item.voice_mel.mean(axis=0) / np.linalg.norm(item.voice_mel.mean(axis=0)) for item in utterances]
    voices = np.concatenate([item.voice for item in utterances])
    pairs = np.triu_indices(len(voices), 1)
    same = (voices[:, None] == voices)[pairs]
    if same.all() or not same.any():
        return {}
    return {
        "voice encoder: ROC AUC, one voice or two": roc_auc_score(
            same, (np.stack(embeddings) @ np.stack(embeddings).T)[pairs]
        ),
        "mean spectrum instead (cheat): ROC AUC": roc_auc_score(same, (np.stack(spectra) @ np.stack(spectra).T)[pairs]),
    }


def embed_all(encoder: VoiceEncoder, utterances: list[Spoken]) -> list[np.ndarray]:
    """Compute the voice embedding of each utterance."""
    return [embed_voice(encoder, item.pcm_16k / 32768) for item in track(utterances, "embedding", unit="utterance")]


def find_target_voice(utterances: list[Spoken], embeddings: list[np.ndarray]) -> np.ndarray:
    """Compute the mean embedding of the target voice, or of the first voice if a short trial does not contain it."""
    names = list_voices(for_test=False)
    number = next(
        index for index, voice in enumerate(names) if (voice.name, voice.throat) == (TARGET_NAME, TARGET_THROAT)
    )
    voices = [int(item.voice[0]) for item in utterances]
    wanted = number if number in voices else voices[0]
    mean = np.mean([value for voice, value in zip(voices, embeddings, strict=True) if voice == wanted], axis=0)
    return mean / np.linalg.norm(mean)


def train_auto_vc(utterances: list[Spoken], embeddings: list[np.ndarray], steps: int, seed: int) -> AutoVC:
    """Train AutoVC to reproduce each utterance in its own voice, with equal codes of input and output.

    During training, a linear head predicts the lips from the output, so the few codes carry what lips need; the head is
    then discarded.

    Source: losses of Qian et al. 2019 (AutoVC) and 2020 (with the pitch); the head is original to this project.
    """
    torch.manual_seed(seed)
    network, generator = AutoVC(width=OPEN_AUTO_VC_WIDTH), np.random.default_rng([seed, 2])
    # the refinement ends in a norm, whose unit variance would dominate the mel spectrogram at the start
    nn.init.zeros_(network.postnet.convolutions[-1][1].weight)
    head = nn.Conv1d(AUTO_VC_MEL_BANDS, LIP_SIZE, LIP_STEPS, padding=LIP_STEPS // 2)
    usable = [row for row, item in enumerate(utterances) if len(item.mel) >= CROP_STEPS]
    targets = LipTargets(np.concatenate([utterances[row].actions for row in usable]).astype(np.float64))
    lips_of = {row: targets.encode(utterances[row].actions) for row in usable}

    def draw_loss() -> Tensor:
        rows, parts = generator.choice(usable, CROPS), []
        for row in rows:
            start = int(generator.integers(len(utterances[row].mel) - CROP_STEPS + 1))
            own = (utterances[row].mel, utterances[row].pitch, lips_of[row])
            parts.append([values[start : start + CROP_STEPS] for values in own])
        mels, pitches, wanted = (np.stack(column) for column in zip(*parts, strict=True))
        mel, lips = torch.from_numpy(mels), torch.from_numpy(wanted)
        voice = torch.from_numpy(np.stack([embeddings[row] for row in rows]).astype(np.float32))
        pitch = nn.functional.one_hot(torch.from_numpy(pitches.astype(np.int64)), PITCH_BINS).float()
        with low_precision():
            said = network(mel, voice, voice, pitch)
            whose = voice[:, None].expand(-1, CROP_STEPS, -1)
            codes = network.encoder(torch.cat([said.refined.float(), whose], dim=2).transpose(1, 2)).flatten(1)
        told = head(said.refined.float().transpose(1, 2)).transpose(1, 2)
        errors = (said.refined.float() - mel).square().mean() + (said.mel.float() - mel).square().mean()
        apart = (said.codes.float() - codes.float()).abs().mean()
        return errors + CODE_WEIGHT * apart + LIP_WEIGHT * (told - lips).square().sum(dim=2).mean()

    optimise(nn.ModuleList([network, head]), steps, draw_loss, "voice conversion", rate=VC_RATE)
    return network


def convert_all(
    network: AutoVC, utterances: list[Spoken], embeddings: list[np.ndarray], target: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield the content feature of each utterance, not yet standardised."""
    one_hot = np.eye(PITCH_BINS, dtype=np.float32)
    both = zip(utterances, embeddings, strict=True)
    for item, voice in track(both, "converting", total=len(utterances), unit="utterance"):
        yield convert_voice(network, item.mel, one_hot[item.pitch], voice, target)


def measure_conversion(network: AutoVC, utterances: list[Spoken], embeddings: list[np.ndarray]) -> dict[str, float]:
    """Measure the share of mel variance lost in reproducing an utterance with its own voice and with others'."""
    one_hot, total, lost, exchanged = np.eye(PITCH_BINS, dtype=np.float32), 0.0, 0.0, 0.0
    for row, item in enumerate(utterances):
        again = convert_voice(network, item.mel, one_hot[item.pitch], embeddings[row], embeddings[row])
        other = utterances[row - 1]
        count = min(len(item.mel), len(other.mel))
        total += float(np.square(item.mel - item.mel.mean(axis=0)).mean())
        lost += float(np.square(again - item.mel).mean())
        exchanged += float(np.square(again[:count] - other.mel[:count]).mean())
    return {
        "AutoVC: share of the mel's variance lost": lost / total,
        "against another utterance (cheat): share lost": exchanged / total,
    }


def _cut(mels: list[np.ndarray], length: int, generator: np.random.Generator) -> np.ndarray:
    mel = mels[generator.integers(len(mels))]
    start = int(generator.integers(len(mel) - length + 1))
    return mel[start : start + length]
