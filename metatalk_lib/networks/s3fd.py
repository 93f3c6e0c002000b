"""S3FD, the face detector of Wav2Lip and SyncNet's pipeline, with the checkpoint keys of each."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu, softmax

CHANNEL_MEANS = (104.0, 117.0, 123.0)
"""Means subtracted from the channels, 0..255, in the order blue, green, red."""
VARIANCES = (0.1, 0.2)
"""Scale of the predicted centres and of the logarithms of the sizes."""

_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Width and number of convolutions of each block of the trunk; each is followed by a pooling by two."""
_HEADS = (256, 512, 512, 1024, 512, 256)
"""Channels of the detection maps: the ends of blocks 3 to 5, fc7, and two extra layers."""
_NORM_SCALES = (10.0, 8.0, 5.0)
_EPSILON = 1e-10


class ScaledNorm(nn.Module):
    """L2 normalisation over the channels of each position, then a learnt scale for each channel."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, values: Tensor) -> Tensor:
        return values / (values.norm(dim=1, keepdim=True) + _EPSILON) * self.weight[:, None, None]


class S3FDWav2Lip(nn.Module):
    """S3FD with the keys of `s3fd-619a316812.pth`, face-alignment's file, of which Wav2Lip has a copy.

    Source: keys and facts of Rudrabha/Wav2Lip face_detection/detection/sfd/net_s3fd.py.
    """

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for block, (width, count) in enumerate(_BLOCKS, 1):
            for index in range(1, count + 1):
                self.add_module(f"conv{block}_{index}", nn.Conv2d(before, width, 3, padding=1))
                before = width
        self.fc6 = nn.Conv2d(before, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1, self.conv6_2 = nn.Conv2d(1024, 256, 1), nn.Conv2d(256, 512, 3, 2, 1)
        self.conv7_1, self.conv7_2 = nn.Conv2d(512, 128, 1), nn.Conv2d(128, 256, 3, 2, 1)
        names = ("conv3_3_norm", "conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2", "conv7_2")
        for name, channels, scale in zip(names, _HEADS, _NORM_SCALES, strict=False):
            self.add_module(name, ScaledNorm(channels, scale))
        for index, (name, channels) in enumerate(zip(names, _HEADS, strict=True)):
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(channels, 2 if index else 4, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))
        self._names = names

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> list[tuple[Tensor, Tensor]]:
        """Compute face logits and offsets of the six maps.

        Args:
            images: 0..255 less `CHANNEL_MEANS`.

        Returns:
            For each map (B, 2, h, w) logits (background, face) and (B, 4, h, w) offsets.
        """
        blocks = [
            [self.get_submodule(f"conv{block}_{index}") for index in range(1, count + 1)]
            for block, (_, count) in enumerate(_BLOCKS, 1)
        ]
        norms = [self.get_submodule(name) for name in self._names[:3]]
        tail = [self.fc6, self.fc7, self.conv6_1, self.conv6_2, self.conv7_1, self.conv7_2]
        maps = _read_maps(images, blocks, norms, tail, ceils_third_pool=False)
        return [
            (
                _best_background(self.get_submodule(f"{name}_mbox_conf")(values)),
                self.get_submodule(f"{name}_mbox_loc")(values),
            )
            for name, values in zip(self._names, maps, strict=True)
        ]


class S3FDSyncNet(nn.Module):
    """S3FD with the keys of `sfd_face.pth` in SyncNet's pipeline; fc6 is dilated and the third pooling rounds up.

    Source: keys and facts of joonson/syncnet_python detectors/s3fd/nets.py, class S3FDNet.
    """

    def __init__(self) -> None:
        super().__init__()
        layers, before = [], 3
        for width, count in _BLOCKS:
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Conv2d(before, 1024, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()]
        self.vgg = nn.ModuleList(layers)
        for block, channels, scale in zip((3, 4, 5), _HEADS, _NORM_SCALES, strict=False):
            self.add_module(f"L2Norm{block}_3", ScaledNorm(channels, scale))
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, 2, 1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, 2, 1),
            ]
        )
        self.loc = nn.ModuleList(nn.Conv2d(channels, 4, 3, padding=1) for channels in _HEADS)
        self.conf = nn.ModuleList(
            nn.Conv2d(channels, 2 if index else 4, 3, padding=1) for index, channels in enumerate(_HEADS)
        )

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B P 4"], Float[Tensor, "B P 2"]]:
        """Compute offsets and probabilities (background, face) of all anchors, map by map, row by row.

        Args:
            images: 0..255 less `CHANNEL_MEANS`.
        """
        convolutions = [layer for layer in self.vgg if isinstance(layer, nn.Conv2d)]
        blocks = []
        for _, count in _BLOCKS:
            blocks.append([convolutions.pop(0) for _ in range(count)])
        norms = [self.get_submodule(f"L2Norm{block}_3") for block in (3, 4, 5)]
        maps = _read_maps(images, blocks, norms, [*convolutions, *self.extras], ceils_third_pool=True)
        offsets = [_as_rows(head(values), 4) for head, values in zip(self.loc, maps, strict=True)]
        logits = [_as_rows(_best_background(head(values)), 2) for head, values in zip(self.conf, maps, strict=True)]
        return torch.cat(offsets, dim=1), softmax(torch.cat(logits, dim=1), dim=2)


def _read_maps(
    images: Tensor,
    blocks: Sequence[Sequence[nn.Module]],
    norms: Sequence[nn.Module],
    tail: Sequence[nn.Module],
    *,
    ceils_third_pool: bool,
) -> list[Tensor]:
    """Compute the six detection maps, the finest first."""
    maps, values = [], images
    for index, block in enumerate(blocks):
        for convolution in block:
            values = relu(convolution(values))
        if index >= 2:
            maps.append(norms[index - 2](values))
        values = max_pool2d(values, 2, ceil_mode=ceils_third_pool and index == 2)
    for index, convolution in enumerate(tail):
        values = relu(convolution(values))
        if index % 2:
            maps.append(values)
    return maps


def _best_background(logits: Tensor) -> Tensor:
    """Reduce the finest map's four logits to two: the highest of the first three is the background."""
    return torch.cat([logits[:, :-1].amax(dim=1, keepdim=True), logits[:, -1:]], dim=1)


def _as_rows(values: Tensor, size: int) -> Tensor:
    return values.permute(0, 2, 3, 1).reshape(len(values), -1, size)
