"""Training of the network that turns audio features into expression coefficients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from metatalk_lib.audio_to_expression.model import TrainedA2E, build_a2e, predict_expression, window_features
from metatalk_lib.audio_to_expression.warm_start import (
    FrameSplit,
    Pairs,
    optimise,
    split_frames,
    start_as_filters,
    start_from_ridge,
)
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.stage_configs import AudioToExpressionConfig


@dataclass(frozen=True)
class A2EHistory:
    """Loss history of a training; losses are Eq. 1 in squared units of the expression coefficients.

    Attributes:
        training: mean training loss of each epoch; entry 0 is the warm start.
        held_out: loss on the held-out frames after each epoch; entry 0 is the warm start.
        best_epoch: the epoch whose weights were kept.
        baseline: held-out loss of the constant prediction of the training mean.
        held_out_spans: (utterance, first frame) of each held-out span, which extends to the utterance's end.
    """

    training: tuple[float, ...]
    held_out: tuple[float, ...]
    best_epoch: int
    baseline: float
    held_out_spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class A2ESettings:
    """Choices of an A2E training.

    Attributes:
        architecture: `meta_talk` (Table 1) or `audiodvp`.
        activation: activation function of the Table 1 network; `audiodvp` has no such choice.
        epochs: maximum number of passes over the training frames; 0 keeps the warm start.
        patience: number of epochs without a better held-out loss after which training stops.
        batch_size: frames per step.
        learning_rate: Adam's learning rate; AudioDVP's 1e-3 overshoots from the closed-form start.
        held_out_fraction: share of the utterances that is held out, at least one; of a single utterance, its tail.
        audio_encoder: name of the encoder that computed the features, stored with the network.
        seed: seed of the initial weights and the order of frames; equal seeds give equal weights.

    Raises:
        ParameterError: a number is out of range.
    """

    architecture: str = "meta_talk"
    activation: str = "leaky_relu"
    epochs: int = 60
    patience: int = 12
    batch_size: int = 32
    learning_rate: float = 3e-4
    held_out_fraction: float = 0.15
    audio_encoder: str = "open"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or not 0 < self.held_out_fraction < 1:
            raise ParameterError(
                "train_a2e needs epochs >= 0, batch_size >= 1 and 0 < held_out_fraction < 1, got "
                f"{self.epochs}, {self.batch_size} and {self.held_out_fraction}."
            )

    @classmethod
    def from_config(cls, config: AudioToExpressionConfig) -> "A2ESettings":
        """Take the settings from the parameters of stage 04."""
        return cls(
            activation=config.a2e_activation,
            epochs=config.a2e_epochs,
            patience=config.a2e_patience,
            batch_size=config.a2e_batch_size,
            learning_rate=config.a2e_learning_rate,
            held_out_fraction=config.a2e_held_out_fraction,
            audio_encoder=config.audio_encoder,
            seed=config.seed,
        )


def train_a2e(
    features: Sequence[Float[np.ndarray, "_ 256"]],
    expressions: Sequence[Float[np.ndarray, "_ 64"]],
    settings: A2ESettings | None = None,
    *,
    valid: Sequence[Bool[np.ndarray, " _"]] | None = None,
    device: torch.device | None = None,
) -> tuple[TrainedA2E, A2EHistory]:
    """Train A2E on pairs of features and expressions of several utterances.

    L_A2E = MSE(H(f) − α)    (Eq. 1), Adam with betas (0.5, 0.999).

    Expressions are centred and divided by one common scalar, and features are divided by one scalar: this scales the
    loss of Eq. 1 and moves no minimum. The convolutions start as temporal averages, and the last layer starts at its
    ridge regression. The ridge penalty and the kept epoch are chosen on the held-out frames, so the held-out loss is
    slightly optimistic.

    Args:
        features: audio features of each utterance, (T, 256).
        expressions: expression coefficients of the same frames, (T, 64).
        settings: choices of the training.
        valid: True for frames with a trusted expression, (T,), the only ones that are used; by default all.
        device: device used for training; the CPU by default.

    Returns:
        The trained network on the CPU, and its history.

    Raises:
        ParameterError: lengths differ, there are fewer than 20 frames, or the architecture is unknown.
        DataError: a feature or an expression is not finite.

    Source: Meta Talk 2.3, Eq. 1; optimiser of xinwen-cs/AudioDVP train_exp.py (BSD); the rest is original.
    """
    settings = settings or A2ESettings()
    valid = [np.ones(len(item), bool) for item in features] if valid is None else valid
    _check_pairs(features, expressions, valid)
    split = split_frames([int(item.sum()) for item in valid], settings.held_out_fraction)
    windows = np.concatenate([window_features(item)[good] for item, good in zip(features, valid, strict=True)])
    targets = np.concatenate([item[good] for item, good in zip(expressions, valid, strict=True)])
    model = _start_model(settings, windows[split.train], targets[split.train])
    data = _scale_pairs(model, windows, targets, split, device or torch.device("cpu"))
    model.network.to(data.train_inputs.device)
    start_as_filters(model.network)
    start_from_ridge(model.network, data)
    training, held_out, best = optimise(
        model.network,
        data,
        epochs=settings.epochs,
        patience=settings.patience,
        batch_size=settings.batch_size,
        rate=settings.learning_rate,
        seed=settings.seed,
    )
    model.network.cpu().eval()
    unit = model.expression_scale**2
    baseline = float(np.square(targets[split.test] - model.expression_mean).mean())
    kept, told = (tuple(loss * unit for loss in course) for course in (training, held_out))
    spans = tuple((utterance, 0) for utterance in split.utterances)
    spans = spans or ((0, int(np.flatnonzero(valid[0])[split.test[0]])),)
    return model, A2EHistory(kept, told, best, baseline, spans)


def predict_held_out(
    model: TrainedA2E,
    history: A2EHistory,
    features: Sequence[Float[np.ndarray, "_ 256"]],
    expressions: Sequence[Float[np.ndarray, "_ 64"]],
    valid: Sequence[Bool[np.ndarray, " _"]],
) -> tuple[Float[np.ndarray, "M 64"], Float[np.ndarray, "M 64"]]:
    """Return the predicted and the fitted expressions of all valid held-out frames, one utterance after the other.

    Args:
        model: trained A2E network.
        history: training history of the network, which records the held-out spans.
        features: features of all utterances, as for `train_a2e`; features in another frame order serve as a control.
        expressions: fitted expressions of all utterances.
        valid: True for frames with a trusted expression, for all utterances.
    """
    predicted, fitted = [], []
    for utterance, first in history.held_out_spans:
        good = valid[utterance][first:]
        predicted.append(predict_expression(model, features[utterance])[first:][good])
        fitted.append(expressions[utterance][first:][good])
    return np.concatenate(predicted), np.concatenate(fitted)


def _start_model(settings: A2ESettings, windows: np.ndarray, targets: np.ndarray) -> TrainedA2E:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_a2e(settings.architecture, settings.activation)
    mean = targets.mean(axis=0).astype(np.float32)
    return TrainedA2E(
        network,
        settings.architecture,
        settings.activation if settings.architecture == "meta_talk" else "none",
        max(float(np.sqrt(np.square(windows).mean())), 1e-6),
        mean,
        max(float(np.sqrt(np.square(targets - mean).mean())), 1e-6),
        settings.audio_encoder,
    )


def _scale_pairs(
    model: TrainedA2E, windows: np.ndarray, targets: np.ndarray, split: FrameSplit, device: torch.device
) -> Pairs:
    inputs = torch.from_numpy(windows / np.float32(model.feature_scale)).to(device)
    scaled = torch.from_numpy((targets - model.expression_mean) / np.float32(model.expression_scale)).to(inputs)
    return Pairs(*(part[torch.from_numpy(index)] for index in (split.train, split.test) for part in (inputs, scaled)))


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
