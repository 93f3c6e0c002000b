"""A small network that sees a face twice, whole and close to the mouth, and places many points with their doubt."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

FACE_VIEW_PX, MOUTH_VIEW_PX = 128, 96
WIDTHS = (24, 32, 64, 128, 192)
BLOCKS = (1, 2, 2, 0)  # residual blocks after each halving but the first
FEATURES = 256
LOG_DOUBT_RANGE = (-7.0, 2.0)


class _Residual(nn.Module):
    """x + two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 1)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return torch.relu(x + self.second(self.first(x)))


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _view_encoder(size_px: int) -> nn.Sequential:
    layers: list[nn.Module] = [_convolution(3, WIDTHS[0], 2)]
    for inputs, outputs, blocks in zip(WIDTHS[:-1], WIDTHS[1:], BLOCKS, strict=True):
        layers += [_convolution(inputs, outputs, 2), *(_Residual(outputs) for _ in range(blocks))]
    side = size_px // 2 ** len(WIDTHS)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * side * side, FEATURES), nn.ReLU())


class DenseLandmarkNet(nn.Module):
    """Two aligned views of a face to 2-D points, each with the logarithm of its standard deviation.

    Args:
        face_points: number of points placed in the face view.
        mouth_points: number of points placed in the mouth view.

    Source: the idea of many landmarks with a Gaussian doubt each, learnt from renders alone, is E. Wood et al., 3D Face
    Reconstruction with Dense Landmarks, ECCV 2022; the network is original to this project.
    """

    def __init__(self, face_points: int, mouth_points: int) -> None:
        super().__init__()
        self.face_points, self.mouth_points = face_points, mouth_points
        self.face, self.mouth = _view_encoder(FACE_VIEW_PX), _view_encoder(MOUTH_VIEW_PX)
        self.joint = nn.Sequential(nn.Linear(2 * FEATURES, 2 * FEATURES), nn.ReLU())
        self.head = nn.Linear(2 * FEATURES, 3 * (face_points + mouth_points))

    def forward(
        self, face: Float[Tensor, "B 3 128 128"], mouth: Float[Tensor, "B 3 96 96"]
    ) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
        """Points in half sides of their view (-1 left or top edge, 1 right or bottom edge), face points first.

        Args:
            face: RGB in [-1, 1], the whole face.
            mouth: RGB in [-1, 1], close to the mouth.

        Returns:
            Points, and the log of the standard deviation of each coordinate in the same unit.
        """
        features = self.joint(torch.cat([self.face(face), self.mouth(mouth)], dim=1))
        # the doubt's exponent must not lose its digits where the convolutions run in half precision
        values = self.head(features).float().reshape(len(face), -1, 3)
        return values[..., :2], values[..., 2].clamp(*LOG_DOUBT_RANGE)
