"""How the image networks are initialised: normal weights, as pix2pix does."""

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def initialize_normal(network: nn.Module, *, seed: int, std: float = 0.02) -> nn.Module:
    """Draw convolution weights from N(0, std²), BatchNorm scales from N(1, std²), and set every bias to zero.

    Args:
        network: changed in place.
        seed: of the generator; equal seeds give equal weights whatever was drawn before.
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
