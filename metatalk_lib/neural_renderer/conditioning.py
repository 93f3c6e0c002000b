"""Input of the generator: synthetic faces, references, surroundings and mask, as arrays and as tensors."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


class Condition(NamedTuple):
    """Input of the generator for B frames, as arrays; see `assemble_input`.

    Attributes:
        windows: synthetic lower faces of K neighbouring frames, oldest first.
        known: True for the frames of `windows` that exist.
        images: real crop in the rectangle; only pixels outside the mask are used.
        masks: True where the network paints.
        references: R warped real frames, nearest first.
    """

    windows: UInt8[np.ndarray, "B K H W 3"]
    known: Bool[np.ndarray, "B K"]
    images: UInt8[np.ndarray, "B H W 3"]
    masks: Bool[np.ndarray, "B H W"]
    references: UInt8[np.ndarray, "B R H W 3"]


def stack_conditions(parts: Sequence[Condition]) -> Condition:
    """Concatenate several conditions into one batch."""
    return Condition(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def stack_window(
    images: Sequence[UInt8[np.ndarray, "H W 3"] | None],
) -> tuple[UInt8[np.ndarray, "K H W 3"], Bool[np.ndarray, " K"]]:
    """Stack synthetic faces of neighbouring frames, with zeros for missing ones, and return which of them exist."""
    known = np.array([image is not None for image in images])
    blank = np.zeros_like(images[int(np.argmax(known))])
    return np.stack([blank if image is None else image for image in images]), known


class GeneratorInput(NamedTuple):
    """The generator's tensors, in [-1, 1] and channels-last memory.

    Attributes:
        images: K synthetic frames, R references, the surroundings, and the mask; C = 3 K + 3 R + 4.
        references: the same R references as separate images, used for painting.
    """

    images: Float[Tensor, "B C H W"]
    references: Float[Tensor, "B R 3 H W"]


def assemble_input(condition: Condition, device: torch.device | None = None) -> GeneratorInput:
    """Assemble the generator's input: synthetic frames, references, the real surroundings, and the mask.

    Every pixel inside the mask is mid-grey in the surroundings, so the target's own mouth cannot reach the network.
    A synthetic frame outside the clip is mid-grey too, as in AudioDVP. The mask's channel is +1 inside, -1 outside.

    Args:
        condition: arrays of the frames.
        device: device of the tensors; the CPU by default.

    Source: paper section 2.4; the window is AudioDVP's; the other inputs are original to this project.
    """
    batch, count, height, width, _ = condition.windows.shape
    synthetic = to_tensor(condition.windows.reshape(-1, height, width, 3), device).reshape(
        batch, count, 3, height, width
    )
    synthetic = synthetic * torch.from_numpy(condition.known).to(device)[:, :, None, None, None]
    references = to_tensor(condition.references.reshape(-1, height, width, 3), device)
    references = references.reshape(batch, condition.references.shape[1], 3, height, width)
    inside = torch.from_numpy(condition.masks).to(device)[:, None].float()
    parts = [
        synthetic.flatten(1, 2),
        references.flatten(1, 2),
        to_tensor(condition.images, device) * (1 - inside),
        2 * inside - 1,
    ]
    return GeneratorInput(torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last), references)


def to_tensor(images: UInt8[np.ndarray, "B H W 3"], device: torch.device | None = None) -> Float[Tensor, "B 3 H W"]:
    """Convert RGB 0..255 to [-1, 1], channels first; bytes are transferred to the device, not floats."""
    bytes_there = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return bytes_there.permute(0, 3, 1, 2).float().mul_(1 / 127.5).sub_(1)


def to_images(tensor: Float[Tensor, "B 3 H W"]) -> UInt8[np.ndarray, "B H W 3"]:
    """Convert [-1, 1] to rounded RGB 0..255, channels last."""
    return ((tensor + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
