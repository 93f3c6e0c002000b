"""Regressors of face coefficients: ResNet-50, the network of Deep3DFaceRecon, and AudioDVP's."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

RESNET_FEATURE_SIZE = 2048
"""Length of the pooled feature vector."""
_BLOCKS = (3, 4, 6, 3)
"""Bottleneck blocks of the four stages."""
EXPANSION = 4
"""Ratio of the width of a block's output to that of its 3×3 convolution."""


class Bottleneck(nn.Module):
    """Residual block: 1×1, 3×3 and 1×1 convolution with BatchNorm; the skip has a 1×1 convolution if shapes differ."""

    def __init__(self, in_channels: int, width: int, *, stride: int, is_caffe: bool) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        first, second = (stride, 1) if is_caffe else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if in_channels != out_channels or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        maps = self.relu(self.bn2(self.conv2(maps)))
        return self.relu(self.bn3(self.conv3(maps)) + shortcut)


class ResNet50(nn.Module):
    """ResNet-50 without a classifier.

    Args:
        is_caffe: whether to build the variant of the VGGFace2 weights and AudioDVP: a stage downsamples in the first
            1×1 convolution instead of the 3×3, and the first max-pool has no padding. Keys and shapes are equal in both
            variants, so weights of one load into the other but give wrong features there.

    Source: He et al. 2016, Table 1 (50 layers); keys and facts of sicxu/Deep3DFaceRecon_pytorch and xinwen-cs/AudioDVP,
    models/networks.py.
    """

    def __init__(self, *, is_caffe: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=0 if is_caffe else 1, ceil_mode=is_caffe)
        channels = 64
        for stage, blocks in enumerate(_BLOCKS):
            width, layers = 64 * 2**stage, []
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(channels, width, stride=stride, is_caffe=is_caffe))
                channels = EXPANSION * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        """Compute features averaged over the picture.

        Args:
            images: RGB, scaled as the weights expect; both official regressors take 224 × 224.
        """
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(len(_BLOCKS)):
            maps = self.get_submodule(f"layer{stage + 1}")(maps)
        return maps.mean(dim=(2, 3))


AUDIODVP_INPUT_SIZE = 224
"""Side of the input picture, px."""
INPUT_MEAN = (0.5141, 0.4074, 0.3588)
"""Mean subtracted from RGB in [0, 1]; the standard deviation is 1."""
AUDIODVP_HEAD_SIZES = (64, 27, 3, 3)
"""Sizes of expression, illumination, rotation and translation in the output of the fully connected layer."""
SHARED_SIZE = 80
"""Length of identity (alpha) and of texture (beta)."""


class AudioDVPCoefficients(NamedTuple):
    """AudioDVP's coefficients in AudioDVP's own conventions.

    Attributes:
        identity, texture: (B, 80), one vector repeated for all frames.
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
    """ResNet-50 of the VGGFace2 weights with one linear layer and two vectors of the person; keys match the checkpoint.

    The linear layer and both vectors start at zero. AudioDVP never leaves training mode: its BatchNorm uses the
    statistics of each batch of five, even in the pass that writes the coefficients. Evaluation mode, as in the golden
    file, uses running statistics and gives different numbers.

    Source: Meta Talk 2.2; keys and facts of xinwen-cs/AudioDVP models/networks.py, class ResnetFaceModelOptimizer
    (BSD).
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, SHARED_SIZE, 1))
        self.beta = nn.Parameter(torch.zeros(1, SHARED_SIZE, 1))
        self.pretrained_model = ResNet50(is_caffe=True)
        self.fc = nn.Linear(RESNET_FEATURE_SIZE, sum(AUDIODVP_HEAD_SIZES))
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Float[Tensor, "B 3 224 224"]) -> AudioDVPCoefficients:
        """Predict the coefficients of a batch of frames.

        Args:
            images: RGB in [0, 1] minus `INPUT_MEAN`; a 256 px crop resized to 224 px.
        """
        parts = self.fc(self.pretrained_model(images)).split(AUDIODVP_HEAD_SIZES, dim=1)
        expression, illumination, rotation, translation = parts
        shared = [vector[..., 0].expand(len(images), -1) for vector in (self.alpha, self.beta)]
        return AudioDVPCoefficients(shared[0], expression, shared[1], illumination, rotation, translation)


DEEP3D_INPUT_SIZE = 224
"""Side of the aligned picture, px."""
DEEP3D_HEAD_SIZES = (80, 64, 80, 3, 27, 2, 1)
"""Sizes of identity, expression, texture, angles, illumination, translation in x and y, translation in z."""


class Deep3DRegressor(nn.Module):
    """ResNet-50 with seven linear heads; keys match the checkpoint.

    The heads start at zero, so an untrained network predicts the mean face seen from the front. Put it in
    evaluation mode before use: BatchNorm would otherwise mix the pictures of a batch.

    Source: Meta Talk 2.2; keys and facts of sicxu/Deep3DFaceRecon_pytorch models/networks.py, class ReconNetWrapper
    (MIT).
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet50()
        self.final_layers = nn.ModuleList(nn.Conv2d(RESNET_FEATURE_SIZE, size, 1) for size in DEEP3D_HEAD_SIZES)
        for weight in self.final_layers.parameters():
            nn.init.zeros_(weight)

    def forward(self, images: Float[Tensor, "B 3 224 224"]) -> Float[Tensor, "B 257"]:
        """Predict coefficients in Deep3D's order: identity, expression, texture, angles, illumination, translation.

        Args:
            images: RGB in [0, 1], aligned by five points, without mean subtraction.

        Returns:
            (B, 257), unbounded; in standard deviations, radians, and decimetres in Deep3D's camera.
        """
        features = self.backbone(images)[:, :, None, None]
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)
