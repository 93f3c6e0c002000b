"""From audio features to expression coefficients: the A2E network's training and its use."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d
from torch import nn

from metatalk_lib.a2e_fitting import Pairs, optimise, split_frames, start_as_filters, start_from_ridge
from metatalk_lib.artifacts import load_json, load_weights, save_json, save_weights
from metatalk_lib.audio_encoder import ENCODE_BATCH, ENCODERS, fingerprint_encoder
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.networks.audio_to_expression import EXPRESSION_SIZE, FEATURE_SIZE, WINDOW, AudioDVPA2E, MetaTalkA2E
from metatalk_lib.official_weights import load_strictly

SILENCE_FADE_S = 0.08
"""Time in which the mouth closes after speech ends, and opens before it begins."""


@dataclass(frozen=True)
class TrainedA2E:
    """An A2E network with the scaling round it.

    Attributes:
        network: maps scaled windows to scaled expressions.
        architecture: `meta_talk` (Table 1) or `audiodvp`.
        activation: of the Table 1 network; `none` for AudioDVP's.
        feature_scale: features are divided by this one number, their root mean square in training.
        expression_mean: (64,) mean of the training expressions, added to what the network gives.
        expression_scale: the network's output is multiplied by this one number.
        audio_encoder: name of the encoder whose features it was trained on.
    """

    network: nn.Module
    architecture: str
    activation: str
    feature_scale: float
    expression_mean: Float[np.ndarray, " 64"]
    expression_scale: float
    audio_encoder: str = "open"


@dataclass(frozen=True)
class A2EHistory:
    """How a training went; losses are Eq. 1 in units of the expression coefficients squared.

    Attributes:
        training: mean loss of each epoch; entry 0 is the warm start.
        held_out: loss on the held-out frames after each epoch; entry 0 is the warm start.
        best_epoch: the epoch whose weights were kept.
        baseline: held-out loss of always giving the training mean.
        held_out_spans: (utterance, first frame) of what was not trained on; from that frame to the utterance's end.
    """

    training: tuple[float, ...]
    held_out: tuple[float, ...]
    best_epoch: int
    baseline: float
    held_out_spans: tuple[tuple[int, int], ...]


def window_features(features: Float[np.ndarray, "T 256"]) -> Float[np.ndarray, "T 7 256"]:
    """Features of frames t-3 … t+3 for every frame t; zero vectors outside the clip, as AudioDVP has them."""
    margin = WINDOW // 2
    padded = np.pad(features, ((margin, margin), (0, 0)))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0).transpose(0, 2, 1))


def train_a2e(
    features: Sequence[Float[np.ndarray, "_ 256"]],
    expressions: Sequence[Float[np.ndarray, "_ 64"]],
    *,
    valid: Sequence[Bool[np.ndarray, " _"]] | None = None,
    architecture: str = "meta_talk",
    activation: str = "leaky_relu",
    epochs: int = 60,
    patience: int = 12,
    batch_size: int = 32,
    learning_rate: float = 3e-4,
    held_out_fraction: float = 0.15,
    audio_encoder: str = "open",
    seed: int = 0,
    device: torch.device | None = None,
) -> tuple[TrainedA2E, A2EHistory]:
    """Fit A2E to pairs of features and expressions of several utterances.

    L_A2E = MSE(H(f) − α)    (Eq. 1), Adam with betas (0.5, 0.999).

    Expressions enter centred and divided by one common number, features divided by one number: this scales the loss of
    Eq. 1 and moves no minimum. The convolutions start as averages over time and the last layer at its ridge regression.
    Its penalty and the epoch that is kept are chosen on the held-out frames, so the held-out loss flatters a little.

    Args:
        features: of each utterance, (T, 256).
        expressions: of the same frames, (T, 64).
        valid: True for the frames whose expression is trusted, (T,); only these are trained on and measured. All frames
            where none is given.
        architecture: `meta_talk` (Table 1) or `audiodvp`.
        activation: of the Table 1 network; `audiodvp` has none.
        epochs: most passes over the training frames; 0 keeps the warm start.
        patience: epochs without a better held-out loss before training stops.
        batch_size: frames a step.
        learning_rate: Adam's; AudioDVP's 1e-3 overshoots from the closed-form start.
        held_out_fraction: share of the utterances that is held out, at least one; of a single utterance, its tail.
        audio_encoder: name of the encoder that gave the features, kept with the network.
        seed: of the initial weights and the order of frames; equal seeds give equal weights.
        device: where to train; the CPU where none is given.

    Returns:
        The trained network on the CPU, and its history.

    Raises:
        ParameterError: unequal lengths, fewer than 20 frames, an unknown architecture, or a number out of range.
        DataError: a feature or an expression is not finite.

    Source: Meta Talk 2.3, Eq. 1; optimiser of xinwen-cs/AudioDVP train_exp.py (BSD); the rest is original.
    """
    valid = [np.ones(len(item), bool) for item in features] if valid is None else valid
    _check_pairs(features, expressions, valid)
    if epochs < 0 or batch_size < 1 or not 0 < held_out_fraction < 1:
        raise ParameterError(
            f"train_a2e needs epochs >= 0, batch_size >= 1 and 0 < held_out_fraction < 1, got {epochs}, {batch_size} "
            f"and {held_out_fraction}."
        )
    split = split_frames([int(item.sum()) for item in valid], held_out_fraction)
    windows = np.concatenate([window_features(item)[good] for item, good in zip(features, valid, strict=True)])
    targets = np.concatenate([item[good] for item, good in zip(expressions, valid, strict=True)])
    model = _start_model(architecture, activation, windows[split.train], targets[split.train], seed)
    model = dataclasses.replace(model, audio_encoder=audio_encoder)
    inputs = torch.from_numpy(windows / np.float32(model.feature_scale)).to(device or torch.device("cpu"))
    scaled = torch.from_numpy((targets - model.expression_mean) / np.float32(model.expression_scale)).to(inputs)
    model.network.to(inputs.device)
    data = Pairs(*(part[torch.from_numpy(index)] for index in (split.train, split.test) for part in (inputs, scaled)))
    start_as_filters(model.network)
    start_from_ridge(model.network, data)
    training, held_out, best = optimise(
        model.network, data, epochs=epochs, patience=patience, batch_size=batch_size, rate=learning_rate, seed=seed
    )
    model.network.cpu().eval()
    unit = model.expression_scale**2
    baseline = float(np.square(targets[split.test] - model.expression_mean).mean())
    losses = (tuple(loss * unit for loss in course) for course in (training, held_out))
    spans = tuple((utterance, 0) for utterance in split.utterances) or (
        (0, int(np.flatnonzero(valid[0])[split.test[0]])),
    )
    return model, A2EHistory(*losses, best, baseline, spans)


def predict_expression(model: TrainedA2E, features: Float[np.ndarray, "T 256"]) -> Float[np.ndarray, "T 64"]:
    """Expression coefficients of every frame, windows zero-padded at both ends of the clip.

    Args:
        model: a trained A2E.
        features: of consecutive frames.
    """
    return np.concatenate(list(stream_expression(model, [features])))


def stream_expression(
    model: TrainedA2E, features: Iterable[Float[np.ndarray, "_ 256"]]
) -> Iterator[Float[np.ndarray, "_ 64"]]:
    """The expressions of `predict_expression`, for features that come in groups; at most one group is held.

    Args:
        model: a trained A2E.
        features: of consecutive frames, from the first to the last.
    """
    margin = WINDOW // 2
    held = np.zeros((margin, FEATURE_SIZE), np.float32)
    for group in itertools.chain(features, [held]):
        held = np.concatenate([held, group.astype(np.float32)])
        if len(held) >= WINDOW:
            yield _apply(model, np.lib.stride_tricks.sliding_window_view(held, WINDOW, axis=0).transpose(0, 2, 1))
            held = held[1 - WINDOW :]


def _apply(model: TrainedA2E, windows: Float[np.ndarray, "T 7 256"]) -> Float[np.ndarray, "T 64"]:
    inputs = torch.from_numpy(np.ascontiguousarray(windows) / np.float32(model.feature_scale))
    with torch.no_grad():
        scaled = torch.cat([model.network(part) for part in inputs.split(ENCODE_BATCH)]).numpy()
    return scaled * np.float32(model.expression_scale) + model.expression_mean


def predict_held_out(
    model: TrainedA2E,
    history: A2EHistory,
    features: Sequence[Float[np.ndarray, "_ 256"]],
    expressions: Sequence[Float[np.ndarray, "_ 64"]],
    valid: Sequence[Bool[np.ndarray, " _"]],
) -> tuple[Float[np.ndarray, "M 64"], Float[np.ndarray, "M 64"]]:
    """Predicted and fitted expressions of all valid held-out frames, one utterance after the other.

    Args:
        model: a trained A2E.
        history: its history, which knows what was held out.
        features: of all utterances, as for `train_a2e`; in another order of frames they make a control.
        expressions: of all utterances.
        valid: of all utterances.
    """
    predicted, fitted = [], []
    for utterance, first in history.held_out_spans:
        good = valid[utterance][first:]
        predicted.append(predict_expression(model, features[utterance])[first:][good])
        fitted.append(expressions[utterance][first:][good])
    return np.concatenate(predicted), np.concatenate(fitted)


def smooth_expression(
    expression: Float[np.ndarray, "T 64"], *, fps: float | Fraction, sigma_ms: float
) -> Float[np.ndarray, "T 64"]:
    """Gaussian smoothing in time; 0 ms returns a copy. At 25 fps, 30 ms takes out single-frame jitter only."""
    if sigma_ms < 0:
        raise ParameterError(f"smooth_expression needs sigma_ms >= 0, got {sigma_ms}.")
    if sigma_ms == 0:
        return expression.copy()
    return gaussian_filter1d(expression, sigma_ms / 1000 * float(fps), axis=0, mode="nearest").astype(expression.dtype)


def close_mouth_in_silence(
    expression: Float[np.ndarray, "T 64"],
    silence: Bool[np.ndarray, " _"],
    fps: float | Fraction,
    closed: Float[np.ndarray, " 64"] | None = None,
) -> Float[np.ndarray, "T 64"]:
    """Fade to the closed mouth where nothing is said.

    α'_t = (1 − w_t) α_t + w_t α_closed, with w a smooth step of the time to the nearest spoken frame, 1 after 80 ms.

    Args:
        expression: predicted coefficients.
        silence: True where nothing is said.
        fps: frames a second.
        closed: coefficients of the closed mouth; zeros, the mean face, where none are given.

    Returns:
        A new array; spoken frames are unchanged, silent ones further than 80 ms from speech are exactly `closed`.

    Raises:
        ParameterError: unequal lengths.

    Source: Original to this project.
    """
    if len(expression) != len(silence):
        raise ParameterError(f"close_mouth_in_silence: {len(expression)} expressions but {len(silence)} silence flags.")
    target = np.zeros(EXPRESSION_SIZE, np.float32) if closed is None else closed
    weight = compute_silence_weight(silence, fps)[:, None].astype(expression.dtype)
    return np.where(weight == 1, target, (1 - weight) * expression + weight * target).astype(expression.dtype)


def compute_silence_weight(silence: Bool[np.ndarray, " T"], fps: float | Fraction) -> Float[np.ndarray, " T"]:
    """Weight of the closed mouth: 0 in speech, 1 in silence further than 80 ms from any spoken frame.

    Args:
        silence: True where nothing is said.
        fps: frames a second.
    """
    spoken = np.flatnonzero(~silence)
    if not len(spoken):
        return np.ones(len(silence))
    frames = np.arange(len(silence))
    following = np.searchsorted(spoken, frames).clip(0, len(spoken) - 1)
    distance = np.minimum(abs(frames - spoken[following]), abs(frames - spoken[(following - 1).clip(0)]))
    ramp = np.clip(distance / max(1.0, SILENCE_FADE_S * float(fps)), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def save_a2e(model: TrainedA2E, folder: Path) -> None:
    """Write `a2e.safetensors` and `a2e.json` into `folder`; equal models give equal bytes."""
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
    """Read what `save_a2e` wrote.

    Raises:
        DataError: a file is missing, unreadable, does not fit the architecture, or was trained on the features of
            another version of the audio encoder.
    """
    settings = load_json(folder / "a2e.json")
    encoder = settings.get("audio_encoder", "open")
    if encoder not in ENCODERS or settings.get("audio_encoder_sha256") != fingerprint_encoder(encoder):
        raise DataError(
            f"{folder / 'a2e.json'} was trained on the features of another version of the audio encoder `{encoder}`. "
            "Run stage 04_audio_to_expression again."
        )
    network = _build_network(settings["architecture"], settings["activation"])
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
        holder.expression_mean.numpy(),
        settings["expression_scale"],
        encoder,
    )


def _start_model(architecture: str, activation: str, windows: np.ndarray, targets: np.ndarray, seed: int) -> TrainedA2E:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _build_network(architecture, activation)
    mean = targets.mean(axis=0).astype(np.float32)
    return TrainedA2E(
        network,
        architecture,
        activation if architecture == "meta_talk" else "none",
        max(float(np.sqrt(np.square(windows).mean())), 1e-6),
        mean,
        max(float(np.sqrt(np.square(targets - mean).mean())), 1e-6),
    )


def _build_network(architecture: str, activation: str) -> nn.Module:
    if architecture == "meta_talk":
        return MetaTalkA2E(activation)
    if architecture == "audiodvp":
        return AudioDVPA2E()
    raise ParameterError(f"unknown A2E architecture `{architecture}`. There are: meta_talk, audiodvp.")


def _check_pairs(
    features: Sequence[np.ndarray], expressions: Sequence[np.ndarray], valid: Sequence[np.ndarray]
) -> None:
    lengths = [[len(item) for item in items] for items in (features, expressions, valid)]
    if not lengths[0] == lengths[1] == lengths[2]:
        raise ParameterError(
            f"train_a2e: lengths of features {lengths[0]}, expressions {lengths[1]} and valid {lengths[2]} differ. "
            "Give one of each, of equal length, for every utterance."
        )
    frames = sum(int(good.sum()) for good in valid)
    if frames < 20:
        raise ParameterError(f"train_a2e: {frames} valid frames are too few. Give at least 20.")
    for index, (feature, expression, good) in enumerate(zip(features, expressions, valid, strict=True)):
        if not (np.isfinite(feature).all() and np.isfinite(expression[good]).all()):
            raise DataError(f"train_a2e: utterance {index} holds NaN or infinity. Look at its fit and its recording.")
