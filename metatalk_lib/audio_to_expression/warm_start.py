"""Fitting of an A2E network: held-out split, closed-form warm start, and Adam with early stopping."""

import copy
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

RIDGE_PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Ridge penalties tried for the warm start, relative to the mean variance of the last layer's inputs."""
FILTER_OFFSETS = (0.0, -1.5, 1.5, -3.0, 3.0)
"""Initial centres of the first convolution's channels, frames from the centre of the window."""
FILTER_SIGMA = 0.8
"""Standard deviation of the initial Gaussian filters, frames."""
RANDOM_SHARE = 0.1
"""Share of the random initial weights that is kept, so that equal channels can diverge during training."""


@dataclass(frozen=True)
class FrameSplit:
    """Training and held-out frames, as positions in the concatenation of all utterances.

    Attributes:
        train: frames used for training.
        test: held-out frames.
        utterances: indices of the held-out utterances; empty if only the tail of a single utterance is held out.
    """

    train: np.ndarray
    test: np.ndarray
    utterances: tuple[int, ...]


@dataclass(frozen=True)
class Pairs:
    """Scaled feature windows and expressions of the training and the held-out frames, on one device."""

    train_inputs: Float[Tensor, "N 7 256"]
    train_targets: Float[Tensor, "N 64"]
    test_inputs: Float[Tensor, "M 7 256"]
    test_targets: Float[Tensor, "M 64"]


def split_frames(lengths: list[int], fraction: float) -> FrameSplit:
    """Hold out utterances spread over the list, including the last one; of a single utterance, hold out its tail.

    Args:
        lengths: number of frames of each utterance.
        fraction: held-out share, between 0 and 1; at least one utterance is held out, and never all of them.

    Source: Original to this project.
    """
    if len(lengths) == 1:
        cut = lengths[0] - max(1, round(fraction * lengths[0]))
        frames = np.arange(lengths[0])
        return FrameSplit(frames[:cut], frames[cut:], ())
    count = min(len(lengths) - 1, max(1, round(fraction * len(lengths))))
    held_out = tuple(sorted({round((rank + 1) * len(lengths) / count) - 1 for rank in range(count)}))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    is_test = np.isin(owner, held_out)
    return FrameSplit(np.flatnonzero(~is_test), np.flatnonzero(is_test), held_out)


def start_as_filters(network: nn.Module) -> None:
    """Initialise the convolutions as smooth temporal averages, so that no activation clips its input at first.

    Channel c of the first convolution becomes a Gaussian over the seven frames, centred at its own offset (0 for the
    first channel); the later convolutions pass their first channels on. Features are at least 0, so every value stays
    at least 0. The previous random weights remain at a tenth of their size.

    Args:
        network: network whose convolutions are changed in place.

    Source: Original to this project.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv1d)]
    with torch.no_grad():
        for layer, convolution in enumerate(convolutions):
            convolution.weight.mul_(RANDOM_SHARE)
            if convolution.bias is not None:
                convolution.bias.zero_()
            for channel in range(convolution.out_channels):
                convolution.weight[channel, :, convolution.kernel_size[0] // 2] += (
                    _temporal_filter(FILTER_OFFSETS[channel], convolution.in_channels)
                    if layer == 0
                    else torch.eye(convolution.in_channels)[channel]
                )


def _temporal_filter(offset: float, frames: int) -> Float[Tensor, " frames"]:
    distance = torch.arange(frames) - frames // 2 - offset
    bump = torch.exp(-0.5 * (distance / FILTER_SIGMA) ** 2)
    return bump / bump.sum()


def start_from_ridge(network: nn.Module, data: Pairs) -> None:
    """Set the last layer by ridge regression on the outputs of the untrained layers before it.

    W = argmin |Z W - Y|² + N p v |W|²,   Z (N, 738) centred inputs of the last layer, Y (N, 64) centred targets,

    with v the mean variance of Z's columns and p the entry of `RIDGE_PENALTIES` with the lowest held-out loss.

    Args:
        network: network whose last layer is `fc`; changed in place.
        data: scaled pairs of windows and expressions.

    Source: Original to this project.
    """
    last = cast(nn.Linear, network.get_submodule("fc"))
    inside: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: inside.append(inputs[0].double()))
    with torch.no_grad():
        network(data.train_inputs)
        network(data.test_inputs)
    hook.remove()
    train, test = inside
    centre, target_centre = train.mean(dim=0), data.train_targets.double().mean(dim=0)
    values, vectors = torch.linalg.eigh((train - centre).T @ (train - centre) / len(train))
    moment = vectors.T @ (train - centre).T @ (data.train_targets.double() - target_centre) / len(train)
    candidates = [vectors @ (moment / (values + p * values.mean() + 1e-12)[:, None]) for p in RIDGE_PENALTIES]
    losses = [
        float(((test - centre) @ weight + target_centre - data.test_targets).square().mean()) for weight in candidates
    ]
    weight = candidates[int(np.argmin(losses))]
    with torch.no_grad():
        last.weight.copy_(weight.T)
        last.bias.copy_(target_centre - centre @ weight)


def optimise(
    network: nn.Module, data: Pairs, *, epochs: int, patience: int, batch_size: int, rate: float, seed: int
) -> tuple[list[float], list[float], int]:
    """Minimise Eq. 1 with Adam and early stopping; the network keeps the weights with the best held-out loss.

    Args:
        network: network to be trained; changed in place.
        data: scaled pairs of windows and expressions.
        epochs: maximum number of passes over the training frames.
        patience: number of epochs without a better held-out loss after which training stops.
        batch_size: frames per step.
        rate: learning rate.
        seed: seed of the order of frames.

    Returns:
        Training and held-out losses (entry 0 is before the first epoch) and the epoch whose weights were kept.

    Source: Meta Talk Eq. 1; betas of xinwen-cs/AudioDVP train_exp.py (BSD).
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999))
    training = [_evaluate(network, data.train_inputs, data.train_targets)]
    held_out = [_evaluate(network, data.test_inputs, data.test_targets)]
    best, best_epoch = copy.deepcopy(network.state_dict()), 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        for batch in torch.randperm(len(data.train_inputs), generator=generator).split(batch_size):
            batch = batch.to(data.train_inputs.device)
            loss = (network(data.train_inputs[batch]) - data.train_targets[batch]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        training.append(total / len(data.train_inputs))
        held_out.append(_evaluate(network, data.test_inputs, data.test_targets))
        if held_out[-1] < min(held_out[:-1]):
            best, best_epoch = copy.deepcopy(network.state_dict()), epoch
        elif epoch - best_epoch >= patience:
            break
    network.load_state_dict(best)
    return training, held_out, best_epoch


def _evaluate(network: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return float((network(inputs) - targets).square().mean())
