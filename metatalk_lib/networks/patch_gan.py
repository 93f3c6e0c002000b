"""PatchGAN, the discriminator of the neural face renderer: one logit for each overlapping patch."""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from metatalk_lib.core.errors import ParameterError


class PatchGAN(nn.Module):
    """Discriminator of pix2pix, with a logit for each 70×70 px patch; the defaults have the keys of AudioDVP's.

    Args:
        in_channels: channels of the generator's input (the condition) and the image, 21 + 3.
        width: channels of the first layer (`ndf`).
        layers: number of strided convolutions.

    Raises:
        ParameterError: `layers` or `width` below 1.

    Source: Meta Talk 2.4, eq. 3; keys and facts of xinwen-cs/AudioDVP
    vendor/neural-face-renderer/models/networks.py (BSD).
    """

    def __init__(self, in_channels: int = 24, *, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        if layers < 1 or width < 1:
            raise ParameterError(f"PatchGAN needs layers >= 1 and width >= 1, got layers {layers} and width {width}.")
        channels = [width * min(2**layer, 8) for layer in range(layers + 1)]
        stack: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for layer in range(1, layers + 1):
            stride = 2 if layer < layers else 1
            stack += [
                nn.Conv2d(channels[layer - 1], channels[layer], 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels[layer]),
                nn.LeakyReLU(0.2),
            ]
        self.model = nn.Sequential(*stack, nn.Conv2d(channels[-1], 1, 4, padding=1))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H2 W2"]:
        """Judge each patch.

        Args:
            images: (B, in_channels, H, W) in [-1, 1]: the condition's channels, then the image's.

        Returns:
            (B, 1, H/8 - 2, W/8 - 2) logits with three layers; positive means real. No sigmoid.
        """
        return self.model(images)

    def features(self, images: Float[Tensor, "B C H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Compute the output of every activation, followed by the logits."""
        found = []
        for layer in self.model:
            images = layer(images)
            if isinstance(layer, nn.LeakyReLU):
                found.append(images)
        return [*found, images]


class MultiScalePatchGAN(nn.Module):
    """PatchGANs on the picture at full size, half size, and so on: from texture to shape.

    Args:
        in_channels: channels of condition and image.
        width: channels of the first layer of each discriminator.
        scales: number of discriminators.

    Raises:
        ParameterError: `scales` below 1.

    Source: Wang et al., "High-resolution image synthesis with conditional GANs", CVPR 2018, section 3.2.
    """

    def __init__(self, in_channels: int, *, width: int = 64, scales: int = 1) -> None:
        super().__init__()
        if scales < 1:
            raise ParameterError(f"MultiScalePatchGAN needs at least one scale, got {scales}.")
        self.scales = nn.ModuleList(PatchGAN(in_channels, width=width) for _ in range(scales))

    def forward(self, images: Float[Tensor, "B C H W"]) -> list[list[Float[Tensor, "B _ _ _"]]]:
        """Compute `PatchGAN.features` of each scale, the finest first; the last entry of each is the logits."""
        found = []
        for judge in self.scales:
            found.append(cast(PatchGAN, judge).features(images))
            images = avg_pool2d(images, 2)
        return found
