"""The paper's generator of the neural face renderer: a U-Net with a refinement block at every decoder level."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.core.errors import ParameterError

WIDEST = 8
"""Largest width of a level relative to the first one."""
DROPOUT_LEVELS = 3
"""Number of innermost levels with dropout."""


class RefineBlock(nn.Module):
    """Two 3×3 convolutions with BatchNorm and ReLU, of unchanged width; optional dropout between norm and ReLU."""

    def __init__(self, channels: int, *, dropout: float) -> None:
        super().__init__()
        self.model = nn.Sequential(*(self._convolution(channels, dropout) for _ in range(2)))

    @staticmethod
    def _convolution(channels: int, dropout: float) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        return nn.Sequential(*layers, nn.ReLU(inplace=True))

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return self.model(features)


class UNetLevel(nn.Module):
    """One level: downsampling, the deeper levels, upsampling; the input is concatenated as the skip connection."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None, *, dropout: float, refine: bool) -> None:
        super().__init__()
        joined = inner if below is None else 2 * inner
        down = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)]
        middle = [] if below is None else [nn.BatchNorm2d(inner), below]
        up = [
            nn.ReLU(),
            RefineBlock(joined, dropout=dropout) if refine else nn.Identity(),
            nn.ConvTranspose2d(joined, outer, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        ]
        self.model = nn.Sequential(*down, *middle, *up)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H W"]:
        return torch.cat([features, self.model(features)], dim=1)


class OuterLevel(nn.Module):
    """Outermost level: first downsampling and last upsampling; no skip connection, tanh at the end."""

    def __init__(self, in_channels: int, out_channels: int, inner: int, below: nn.Module, *, refine: bool) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, inner, 4, stride=2, padding=1, bias=False),
            below,
            nn.ReLU(),
            RefineBlock(2 * inner, dropout=0.0) if refine else nn.Identity(),
            nn.ConvTranspose2d(2 * inner, out_channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H W"]:
        return self.model(images)


class UNet(nn.Module):
    """Generator of the neural face renderer; the defaults have the keys of AudioDVP's.

    Level i (0 is outermost) has min(2^i, 8) · width channels at 1/2^(i+1) of the input's size.

    Args:
        in_channels: 21, seven RGB frames oldest first; 3 for a single frame.
        out_channels: 3, RGB of the centre frame.
        width: channels of the first level (`ngf`); the paper uses 64, two CPU cores can train 16.
        depth: number of downsamplings; height and width of the input must be multiples of 2^depth.
        dropout: probability in the three innermost levels' refinement (never in the outermost level).
        refine: whether to use refinement blocks.

    Raises:
        ParameterError: `depth` below 2 or `width` below 1.

    Source: Meta Talk 2.4; keys and facts of xinwen-cs/AudioDVP vendor/neural-face-renderer/models/networks.py (BSD).
    """

    def __init__(
        self,
        in_channels: int = 21,
        out_channels: int = 3,
        *,
        width: int = 64,
        depth: int = 8,
        dropout: float = 0.5,
        refine: bool = True,
    ) -> None:
        super().__init__()
        if depth < 2 or width < 1:
            raise ParameterError(f"UNet needs depth >= 2 and width >= 1, got depth {depth} and width {width}.")
        self.in_channels, self.depth = in_channels, depth
        channels = [width * min(2**level, WIDEST) for level in range(depth)]

        def make_level(level: int, below: nn.Module | None) -> UNetLevel:
            rate = dropout if level >= depth - DROPOUT_LEVELS else 0.0
            return UNetLevel(channels[level - 1], channels[level], below, dropout=rate, refine=refine)

        below = make_level(depth - 1, None)
        for level in range(depth - 2, 0, -1):
            below = make_level(level, below)
        self.model = OuterLevel(in_channels, out_channels, channels[0], below, refine=refine)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H W"]:
        """Translate a window of synthetic faces into the photo-real centre frame.

        Args:
            images: (B, in_channels, H, W) in [-1, 1]; H and W multiples of 2^depth, not necessarily equal. In training
                mode BatchNorm needs more than one value a channel in the innermost level (B·H·W > 4^depth).

        Returns:
            (B, out_channels, H, W) in (-1, 1).

        Raises:
            ParameterError: another channel count, or a size that `depth` halvings do not divide.
        """
        _, channels, height, width = images.shape
        step = 2**self.depth
        if channels != self.in_channels or height % step or width % step:
            raise ParameterError(
                f"UNet of depth {self.depth} takes {self.in_channels} channels and sides that are multiples of {step}, "
                f"got {tuple(images.shape)}. Pad the images or choose a smaller depth."
            )
        return self.model(images)
