"""The Inception network of FID: 2048 features of a picture, computed exactly as in `pytorch-fid`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

INCEPTION_FEATURE_SIZE = 2048
INCEPTION_INPUT_SIZE = 299
"""Side to which every picture is resized, px, without keeping its aspect ratio."""
_CLASSES = 1008


class FIDInception(nn.Module):
    """Inception with the keys of `pt_inception-2015-12-05-6726825d.pth`.

    It differs from the usual Inception v3 in three ways: average pooling excludes the padding, the last block uses max
    pooling, and there are 1008 classes, which are not used.

    Source: keys and facts of mseitzer/pytorch-fid src/pytorch_fid/inception.py (Apache 2.0).
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Layer(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Layer(32, 32, 3)
        self.Conv2d_2b_3x3 = _Layer(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Layer(64, 80, 1)
        self.Conv2d_4a_3x3 = _Layer(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB()
        self.Mixed_6b = _BlockC(128)
        self.Mixed_6c = _BlockC(160)
        self.Mixed_6d = _BlockC(160)
        self.Mixed_6e = _BlockC(192)
        self.Mixed_7a = _BlockD()
        self.Mixed_7b = _BlockE(1280, pools_by_maximum=False)
        self.Mixed_7c = _BlockE(2048, pools_by_maximum=True)
        self.fc = nn.Linear(INCEPTION_FEATURE_SIZE, _CLASSES)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        """Compute the features before the classifier (`pool3`), at least 0.

        Args:
            images: RGB in [0, 1], of any size.
        """
        values = interpolate(images, (INCEPTION_INPUT_SIZE, INCEPTION_INPUT_SIZE), mode="bilinear", align_corners=False)
        values = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(2 * values - 1)))
        values = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(max_pool2d(values, 3, stride=2)))
        values = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(max_pool2d(values, 3, stride=2))))
        values = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(values)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(values))).mean(dim=(2, 3))


class _Layer(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(values)))


def _average(values: Tensor) -> Tensor:
    return avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)


def _row(before: int, after: int) -> _Layer:
    return _Layer(before, after, (1, 7), padding=(0, 3))


def _column(before: int, after: int) -> _Layer:
    return _Layer(before, after, (7, 1), padding=(3, 0))


class _BlockA(nn.Module):
    def __init__(self, before: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Layer(before, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Layer(before, 48, 1), _Layer(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Layer(before, 64, 1), _Layer(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Layer(96, 96, 3, padding=1)
        self.branch_pool = _Layer(before, pooled, 1)

    def forward(self, values: Tensor) -> Tensor:
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(values)))
        wide = self.branch5x5_2(self.branch5x5_1(values))
        return torch.cat([self.branch1x1(values), wide, twice, self.branch_pool(_average(values))], dim=1)


class _BlockB(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = _Layer(288, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Layer(288, 64, 1), _Layer(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Layer(96, 96, 3, stride=2)

    def forward(self, values: Tensor) -> Tensor:
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(values)))
        return torch.cat([self.branch3x3(values), twice, max_pool2d(values, 3, stride=2)], dim=1)


class _BlockC(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = _Layer(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = (
            _Layer(768, width, 1),
            _row(width, width),
            _column(width, 192),
        )
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Layer(768, width, 1), _column(width, width)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _row(width, width), _column(width, width)
        self.branch7x7dbl_5 = _row(width, 192)
        self.branch_pool = _Layer(768, 192, 1)

    def forward(self, values: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(values)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(values)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(values), once, twice, self.branch_pool(_average(values))], dim=1)


class _BlockD(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Layer(768, 192, 1), _Layer(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Layer(768, 192, 1), _row(192, 192)
        self.branch7x7x3_3, self.branch7x7x3_4 = _column(192, 192), _Layer(192, 192, 3, stride=2)

    def forward(self, values: Tensor) -> Tensor:
        once = self.branch3x3_2(self.branch3x3_1(values))
        twice = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(values))))
        return torch.cat([once, twice, max_pool2d(values, 3, stride=2)], dim=1)


class _BlockE(nn.Module):
    def __init__(self, before: int, *, pools_by_maximum: bool) -> None:
        super().__init__()
        self.pools_by_maximum = pools_by_maximum
        self.branch1x1 = _Layer(before, 320, 1)
        self.branch3x3_1 = _Layer(before, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _fork()
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Layer(before, 448, 1), _Layer(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _fork()
        self.branch_pool = _Layer(before, 192, 1)

    def forward(self, values: Tensor) -> Tensor:
        once = self.branch3x3_1(values)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(values))
        pooled = max_pool2d(values, 3, stride=1, padding=1) if self.pools_by_maximum else _average(values)
        branches = [self.branch1x1(values), self.branch3x3_2a(once), self.branch3x3_2b(once)]
        branches += [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice), self.branch_pool(pooled)]
        return torch.cat(branches, dim=1)


def _fork() -> tuple[_Layer, _Layer]:
    return _Layer(384, 384, (1, 3), padding=(0, 1)), _Layer(384, 384, (3, 1), padding=(1, 0))
