"""Our generator: a U-Net that blends warped real frames pixel by pixel and adds what none of them shows."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

from metatalk_lib.core.errors import ParameterError

FOLD = 2
"""Factor of the space-to-depth folding of the input: each 2 x 2 block of pixels becomes channels of one position."""
GROWTH = (1.0, 1.5, 2.0, 3.0, 4.0)
"""Width of each level relative to the first."""
DEEPEST = len(GROWTH)
"""Largest number of downsamplings."""
SLOPE = 0.1


class ConvolutionPair(nn.Module):
    """Two 3×3 convolutions with leaky ReLU; the first may downsample by 2."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        return leaky_relu(self.second(leaky_relu(self.first(features), SLOPE)), SLOPE)


class ReferenceUNet(nn.Module):
    """Generator that composes its output from the pixels of reference frames.

        y = sum_k softmax(a)_k reference_k + b,   (a, b) = U-Net(x)

    The last layer starts at zero, so an untrained network outputs the mean of the references. Without normalisation
    layers, the network gives the same result on patches in training and on whole rectangles of any size.

    Args:
        in_channels: channels of x, including those of the references.
        references: number K of references, at least 1.
        width: channels of the first level.
        depth: number of downsamplings, including the folding; sides of the input are multiples of 2^depth.

    Raises:
        ParameterError: `references` or `width` below 1, or `depth` not within 2 to 5.

    Source: original to this project; Meta Talk 2.4 asks for a U-Net. Folding as in Shi et al., CVPR 2016 (sub-pixel
    convolution).
    """

    def __init__(self, in_channels: int, references: int, *, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        if references < 1 or width < 1 or not 2 <= depth <= DEEPEST:
            raise ParameterError(
                f"ReferenceUNet needs references >= 1, width >= 1 and depth 2 to {DEEPEST}, got {references}, "
                f"{width} and {depth}."
            )
        self.in_channels, self.references, self.depth = in_channels, references, depth
        widths = [round(width * growth) for growth in GROWTH[:depth]]
        self.entry = ConvolutionPair(in_channels * FOLD**2, widths[0])
        levels = list(pairwise(widths))
        self.down = nn.ModuleList(ConvolutionPair(outer, inner, stride=2) for outer, inner in levels)
        self.up = nn.ModuleList(ConvolutionPair(inner + outer, outer) for outer, inner in levels)
        self.exit = nn.Conv2d(widths[0], (references + 3) * FOLD**2, 3, padding=1)
        self.reset_exit()

    def reset_exit(self) -> None:
        """Reset the last layer so that the network outputs the mean of the references."""
        for values in self.exit.parameters():
            nn.init.zeros_(values)

    def forward(
        self, images: Float[Tensor, "B C H W"], references: Float[Tensor, "B K 3 H W"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Paint the picture.

        Args:
            images: (B, in_channels, H, W) in [-1, 1]; H and W multiples of 2^depth.
            references: (B, K, 3, H, W) in [-1, 1], warped to the face that is painted.

        Returns:
            (B, 3, H, W), about [-1, 1]; not clamped.

        Raises:
            ParameterError: other channels, another number of references, or a size that `depth` halvings do not divide.
        """
        step = 2**self.depth
        height, width = images.shape[2:]
        if (
            images.shape[1] != self.in_channels
            or references.shape[1] != self.references
            or height % step
            or width % step
        ):
            raise ParameterError(
                f"ReferenceUNet of depth {self.depth} takes {self.in_channels} channels, {self.references} references "
                f"and sides that are multiples of {step}, got {tuple(images.shape)} and {references.shape[1]}."
            )
        features = self.entry(pixel_unshuffle(images, FOLD))
        passed = [features]
        for level in self.down:
            passed.append(level(passed[-1]))
        features = passed.pop()
        for level in reversed(self.up):
            features = level(torch.cat([interpolate(features, scale_factor=2), passed.pop()], dim=1))
        out = pixel_shuffle(self.exit(features), FOLD)
        choice = torch.softmax(out[:, 3:], dim=1)
        return (references * choice[:, :, None]).sum(dim=1) + out[:, :3]
