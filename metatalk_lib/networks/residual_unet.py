"""MakeItTalk's image translation: from a drawing of landmarks and a still image to the face with these landmarks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

RESIDUAL_UNET_FACE_SIZE = 256
"""Side of the face, px."""
_LEVELS = 6
_WIDTH, _MAX_WIDTH = 64, 512


class ResidualUNet(nn.Module):
    """Generator with the keys of `G` in `ckpt_116_i2i_comb.pth`.

    The skip connection of a level is its input after the ReLU.

    Args:
        width: channels of the first level; the published network has 64.

    Source: keys and facts of adobe-research/MakeItTalk src/models/model_image_translation.py, class ResUnetGenerator.
    """

    def __init__(self, *, width: int = _WIDTH) -> None:
        super().__init__()
        channels = [3, *(min(width * 2**level, width * 8) for level in range(_LEVELS))]
        model = _Level(channels[-2], channels[-1], None, is_outermost=False)
        for level in reversed(range(_LEVELS - 1)):
            model = _Level(channels[level], channels[level + 1], model, is_outermost=level == 0)
        self.model = model

    def forward(self, images: Float[Tensor, "B 6 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Compute the face before the final activation, which is tanh clipped at 0 from below.

        Args:
            images: channels of the drawing, then of the still, BGR in [0, 1]; H and W multiples of 64.
        """
        return self.model(images)


class _Level(nn.Module):
    """One level: downsampling, the deeper levels, upsampling."""

    def __init__(self, outer: int, inner: int, deeper: nn.Module | None, *, is_outermost: bool) -> None:
        super().__init__()
        self.is_outermost = is_outermost
        down = nn.Conv2d(6 if is_outermost else outer, inner, 3, stride=2, padding=1, bias=False)
        has_norm = deeper is not None and not is_outermost
        layers: list[nn.Module] = [down, *([nn.BatchNorm2d(inner)] if has_norm else []), nn.ReLU()]
        layers += [_Residual(inner), _Residual(inner), *([deeper] if deeper else [])]
        layers += [
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * inner if deeper else inner, outer, 3, padding=1, bias=False),
        ]
        if not is_outermost:
            layers += [nn.BatchNorm2d(outer), nn.ReLU(), _Residual(outer), _Residual(outer)]
        self.model = nn.Sequential(*layers)

    def forward(self, values: Tensor) -> Tensor:
        out = self.model(values)
        return out if self.is_outermost else torch.cat([values, out], dim=1)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(values + self.block(values))
