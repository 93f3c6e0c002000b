"""ResNet-50 up to its pooled features: the backbone of both official face regressors, in the variant of each."""

from jaxtyping import Float
from torch import Tensor, nn

FEATURE_SIZE = 2048
"""Length of the pooled feature vector."""
BLOCKS = (3, 4, 6, 3)
"""Bottleneck blocks of the four stages."""
EXPANSION = 4
"""A block's output is this many times as wide as its 3×3 convolution."""


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution, each with BatchNorm, added to the input (through a 1×1 where the shapes differ)."""

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
        is_caffe: as the VGGFace2 weights and AudioDVP have it: a stage halves its maps in the first 1×1 convolution and
            not in the 3×3, and the first max-pool pads nothing. Keys and shapes are the same either way, so weights of
            one kind load into the other and give wrong features there.

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
        for stage, blocks in enumerate(BLOCKS):
            width, layers = 64 * 2**stage, []
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(channels, width, stride=stride, is_caffe=is_caffe))
                channels = EXPANSION * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        """Features averaged over the picture.

        Args:
            images: RGB, scaled as the weights expect; both official regressors take 224 × 224.
        """
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(len(BLOCKS)):
            maps = self.get_submodule(f"layer{stage + 1}")(maps)
        return maps.mean(dim=(2, 3))
