"""The trained A2E network: its files and its predictions."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import nn

from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.checkpoints import load_strictly, load_weights, save_weights
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.networks.audio_to_expression import (
    A2E_WINDOW,
    AUDIO_FEATURE_SIZE,
    EXPRESSION_SIZE,
    AudioDVPA2E,
    MetaTalkA2E,
)
from metatalk_lib.speech.audio_encoder import AUDIO_ENCODERS, ENCODE_BATCH, fingerprint_encoder


@dataclass(frozen=True)
class TrainedA2E:
    """A trained A2E network with the scaling of its input and output.

    Attributes:
        network: maps scaled windows to scaled expressions.
        architecture: `meta_talk` (Table 1) or `audiodvp`.
        activation: activation function of the Table 1 network; `none` for AudioDVP's.
        feature_scale: scalar divisor of the features, their root mean square in training.
        expression_mean: (64,) mean of the training expressions, added to the scaled output.
        expression_scale: scalar factor of the network's output.
        audio_encoder: name of the encoder whose features the network was trained on.
    """

    network: nn.Module
    architecture: str
    activation: str
    feature_scale: float
    expression_mean: Float[np.ndarray, " 64"]
    expression_scale: float
    audio_encoder: str = "open"


def window_features(features: Float[np.ndarray, "T 256"]) -> Float[np.ndarray, "T 7 256"]:
    """Stack the features of frames t-3 … t+3 for every frame t, with zeros outside the clip as in AudioDVP."""
    margin = A2E_WINDOW // 2
    padded = np.pad(features, ((margin, margin), (0, 0)))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, A2E_WINDOW, axis=0).transpose(0, 2, 1))


def predict_expression(model: TrainedA2E, features: Float[np.ndarray, "T 256"]) -> Float[np.ndarray, "T 64"]:
    """Predict the expression coefficients of every frame, with windows zero-padded at both ends of the clip.

    Args:
        model: trained A2E network.
        features: features of consecutive frames.
    """
    return np.concatenate(list(stream_expression(model, [features])))


def stream_expression(
    model: TrainedA2E, features: Iterable[Float[np.ndarray, "_ 256"]]
) -> Iterator[Float[np.ndarray, "_ 64"]]:
    """Yield the same expressions as `predict_expression` for features that come in groups; at most one group is held.

    Args:
        model: trained A2E network.
        features: features of consecutive frames, from the first to the last, in groups.
    """
    margin = A2E_WINDOW // 2
    held = np.zeros((margin, AUDIO_FEATURE_SIZE), np.float32)
    for group in itertools.chain(features, [held]):
        held = np.concatenate([held, group.astype(np.float32)])
        if len(held) >= A2E_WINDOW:
            yield _apply(model, np.lib.stride_tricks.sliding_window_view(held, A2E_WINDOW, axis=0).transpose(0, 2, 1))
            held = held[1 - A2E_WINDOW :]


def _apply(model: TrainedA2E, windows: Float[np.ndarray, "T 7 256"]) -> Float[np.ndarray, "T 64"]:
    inputs = torch.from_numpy(np.ascontiguousarray(windows) / np.float32(model.feature_scale))
    with torch.no_grad():
        scaled = torch.cat([model.network(part) for part in inputs.split(ENCODE_BATCH)]).numpy()
    return scaled * np.float32(model.expression_scale) + model.expression_mean


def smooth_expression(
    expression: Float[np.ndarray, "T 64"], *, fps: float | Fraction, sigma_ms: float
) -> Float[np.ndarray, "T 64"]:
    """Smooth the expressions over time with a Gaussian; 0 ms returns a copy.

    At 25 fps, 30 ms removes single-frame jitter only.
    """
    if sigma_ms < 0:
        raise ParameterError(f"smooth_expression needs sigma_ms >= 0, got {sigma_ms}.")
    if sigma_ms == 0:
        return expression.copy()
    return gaussian_filter1d(expression, sigma_ms / 1000 * float(fps), axis=0, mode="nearest").astype(expression.dtype)


def save_a2e(model: TrainedA2E, folder: Path) -> None:
    """Write `a2e.safetensors` and `a2e.json` into `folder`; equal models produce equal bytes."""
    weights = {f"network.{key}": value for key, value in model.network.state_dict().items()}
    weights["expression_mean"] = torch.from_numpy(model.expression_mean.astype(np.float32))
    save_weights(folder / "a2e.safetensors", weights)
    save_json(
        folder / "a2e.json",
        {
            "architecture": model.architecture,
            "activation": model.activation,
            "feature_scale": model.feature_scale,
            "expression_scale": model.expression_scale,
            "audio_encoder": model.audio_encoder,
            "audio_encoder_sha256": fingerprint_encoder(model.audio_encoder),
        },
    )


def load_a2e(folder: Path) -> TrainedA2E:
    """Load a network that `save_a2e` wrote.

    Raises:
        DataError: a file is missing, unreadable, does not fit the architecture, or was trained on the features of
            another version of the audio encoder.
    """
    settings = load_json(folder / "a2e.json")
    encoder = settings.get("audio_encoder", "open")
    if encoder not in AUDIO_ENCODERS or settings.get("audio_encoder_sha256") != fingerprint_encoder(encoder):
        raise DataError(
            f"{folder / 'a2e.json'} was trained on the features of another version of the audio encoder `{encoder}`. "
            "Run stage 04_audio_to_expression again."
        )
    network = build_a2e(settings["architecture"], settings["activation"])
    holder = nn.Module()
    holder.network = network
    holder.register_buffer("expression_mean", torch.zeros(EXPRESSION_SIZE))
    path, advice = folder / "a2e.safetensors", "Run stage 04_audio_to_expression again."
    load_strictly(holder, load_weights(path, advice), path, advice)
    return TrainedA2E(
        network.eval(),
        settings["architecture"],
        settings["activation"],
        settings["feature_scale"],
        holder.get_buffer("expression_mean").numpy(),
        settings["expression_scale"],
        encoder,
    )


def build_a2e(architecture: str, activation: str) -> nn.Module:
    """Build the untrained network of an architecture.

    Raises:
        ParameterError: there is no such architecture.
    """
    if architecture == "meta_talk":
        return MetaTalkA2E(activation)
    if architecture == "audiodvp":
        return AudioDVPA2E()
    raise ParameterError(f"unknown A2E architecture `{architecture}`. There are: meta_talk, audiodvp.")
