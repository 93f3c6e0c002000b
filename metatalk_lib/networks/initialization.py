"""Weight initialisation of the image networks."""

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def initialize_normal(network: nn.Module, *, seed: int, std: float = 0.02) -> nn.Module:
    """Draw convolution weights from N(0, std²), BatchNorm scales from N(1, std²), and set every bias to zero.

    Args:
        network: changed in place.
        seed: seed of a separate random generator; equal seeds give equal weights.
        std: standard deviation of the weights.

    Returns:
        The same network.

    Source: FACTS of AudioDVP's neural face renderer (init normal 0.02), after pix2pix.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, CONVOLUTIONS):
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * std)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(1 + torch.randn(module.weight.shape, generator=generator) * std)
            if isinstance(module, (*CONVOLUTIONS, nn.BatchNorm2d)) and module.bias is not None:
                module.bias.zero_()
    return network


def initialize_kaiming(network: nn.Module, *, seed: int, slope: float = 0.1) -> nn.Module:
    """Draw convolution weights so that a leaky ReLU keeps the variance of its input, and set every bias to zero.

    Args:
        network: changed in place.
        seed: seed of a separate random generator.
        slope: negative slope of the leaky ReLU.

    Returns:
        The same network.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, Eq. 10 with a leak.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                std = (2 / (1 + slope**2) / module.weight[0].numel()) ** 0.5
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * std)
                if module.bias is not None:
                    module.bias.zero_()
    return network
