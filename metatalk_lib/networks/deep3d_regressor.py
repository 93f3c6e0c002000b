"""Deep3DFaceRecon's R-Net: 257 face coefficients from one aligned picture."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.networks.resnet import FEATURE_SIZE, ResNet50

INPUT_SIZE = 224
"""Side of the aligned picture, px."""
HEAD_SIZES = (80, 64, 80, 3, 27, 2, 1)
"""Identity, expression, texture, angles, illumination, translation in x and y, translation in z."""


class Deep3DRegressor(nn.Module):
    """ResNet-50 and seven linear heads, key for key.

    The heads start at zero, so an untrained network answers with the mean face seen from the front. Put it in
    evaluation mode before use: BatchNorm would otherwise mix the pictures of a batch.

    Source: Meta Talk 2.2; keys and facts of sicxu/Deep3DFaceRecon_pytorch models/networks.py, class ReconNetWrapper
    (MIT).
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(FEATURE_SIZE, size, 1) for size in HEAD_SIZES)
        for weight in self.final_layers.parameters():
            nn.init.zeros_(weight)

    def forward(self, images: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B 257"]:
        """Coefficients in Deep3D's own order: identity, expression, texture, angles, illumination, translation.

        Args:
            images: RGB in [0, 1], aligned by five points; no mean is subtracted.

        Returns:
            (B, 257), unbounded; standard deviations, radians and decimetres in Deep3D's camera.
        """
        features = self.backbone(images)[:, :, None, None]
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)
