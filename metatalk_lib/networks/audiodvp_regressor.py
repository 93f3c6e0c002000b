"""AudioDVP's face regressor, trained on one video: coefficients a frame, identity and texture shared by all frames."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.networks.resnet import FEATURE_SIZE, ResNet50

INPUT_SIZE = 224
"""Side of the picture, px."""
INPUT_MEAN = (0.5141, 0.4074, 0.3588)
"""Subtracted from RGB in [0, 1]; the deviation is 1."""
HEAD_SIZES = (64, 27, 3, 3)
"""Expression, illumination, rotation, translation in the fully connected layer's output."""
SHARED_SIZE = 80
"""Length of identity (alpha) and of texture (beta)."""


class AudioDVPCoefficients(NamedTuple):
    """AudioDVP's coefficients in AudioDVP's own conventions.

    Attributes:
        identity, texture: (B, 80), one vector repeated.
        expression: (B, 64).
        illumination: (B, 27), nine terms by three colours, coefficient-major.
        rotation: (B, 3) radians; translation: (B, 3), applied before the rotation.
    """

    identity: Float[Tensor, "B 80"]
    expression: Float[Tensor, "B 64"]
    texture: Float[Tensor, "B 80"]
    illumination: Float[Tensor, "B 27"]
    rotation: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]


class AudioDVPRegressor(nn.Module):
    """ResNet-50 of the VGGFace2 weights with one linear layer, and two vectors that belong to the person, key for key.

    The linear layer and both vectors start at zero. AudioDVP never leaves training mode: its BatchNorm uses the
    statistics of each batch of five, in the pass that writes the coefficients too. Evaluation mode, as in the golden,
    uses running statistics and gives other numbers.

    Source: Meta Talk 2.2; keys and facts of xinwen-cs/AudioDVP models/networks.py, class ResnetFaceModelOptimizer
    (BSD).
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, SHARED_SIZE, 1))
        self.beta = nn.Parameter(torch.zeros(1, SHARED_SIZE, 1))
        self.pretrained_model = ResNet50(is_caffe=True)
        self.fc = nn.Linear(FEATURE_SIZE, sum(HEAD_SIZES))
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Float[Tensor, "B 3 224 224"]) -> AudioDVPCoefficients:
        """Coefficients of a batch of frames.

        Args:
            images: RGB in [0, 1] minus `INPUT_MEAN`, a 256 px crop brought to 224 px.
        """
        parts = self.fc(self.pretrained_model(images)).split(HEAD_SIZES, dim=1)
        expression, illumination, rotation, translation = parts
        shared = [vector[..., 0].expand(len(images), -1) for vector in (self.alpha, self.beta)]
        return AudioDVPCoefficients(shared[0], expression, shared[1], illumination, rotation, translation)
