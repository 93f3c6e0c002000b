"""A small network that places many landmarks with uncertainty, from a view of the face and a close-up of the mouth."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

VIEW_PX = 128
WIDTHS = (16, 32, 64, 128)  # channels after each downsampling
_BLOCKS = (0, 1, 2, 2)  # residual blocks after each downsampling
HEAT_PX, HEAT_WIDTH = 32, 48
LOG_DOUBT_RANGE = (-7.0, 2.0)


class _Residual(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return torch.relu(x + self.second(self.first(x)))


def _convolution(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _ViewNet(nn.Module):
    """Network from one view to a likelihood map of each point and features of the whole view."""

    def __init__(self, points: int) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(a, b, stride=2), *(_Residual(b) for _ in range(blocks)))
            for a, b, blocks in zip(inputs, WIDTHS, _BLOCKS, strict=True)
        )
        _, quarter, eighth, sixteenth = WIDTHS
        self.narrow = _convolution(sixteenth, eighth, size=1)
        self.middle = _Residual(eighth)
        self.narrower = _convolution(eighth, HEAT_WIDTH, size=1)
        self.beside = _convolution(quarter, HEAT_WIDTH, size=1)
        self.fine = _convolution(HEAT_WIDTH, HEAT_WIDTH)
        self.heat = nn.Conv2d(HEAT_WIDTH, points, 1)
        centres = (torch.arange(HEAT_PX) + 0.5) * (2 / HEAT_PX) - 1
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        # cell centres of the map, in half sides of the view
        self.register_buffer("cells", torch.stack([x.flatten(), y.flatten()], dim=1), persistent=False)

    def forward(self, view: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B F"]]:
        levels = []
        for stage in self.down:
            view = stage(view)
            levels.append(view)
        _, quarter, eighth, sixteenth = levels
        x = self.middle(_double(self.narrow(sixteenth)) + eighth)
        x = self.fine(_double(self.narrower(x)) + self.beside(quarter))
        # cells before points, as the maps are stored; expectations lose digits in half precision
        heat = self.heat(x).permute(0, 2, 3, 1).flatten(1, 2).float().softmax(dim=1)
        places = heat.transpose(1, 2) @ self.cells
        return places, sixteenth.mean(dim=(2, 3)).float()


def _double(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


class DenseLandmarkNet(nn.Module):
    """Network from two aligned views of a face to 2-D points, each with the logarithm of its standard deviation.

    A point is the mean of its likelihood map plus a small offset predicted from both whole views, so it may also lie
    outside its view.

    Args:
        face_points: number of points placed in the face view.
        mouth_points: number of points placed in the mouth view.

    Source: many landmarks with Gaussian uncertainty, learnt from renders alone: E. Wood et al., 3D Face
    Reconstruction with Dense Landmarks, ECCV 2022; points as means of maps: X. Sun et al., Integral Human Pose
    Regression, ECCV 2018. The network is original to this project.
    """

    def __init__(self, face_points: int, mouth_points: int) -> None:
        super().__init__()
        self.face_points, self.mouth_points = face_points, mouth_points
        self.face, self.mouth = _ViewNet(face_points), _ViewNet(mouth_points)
        self.whole = nn.Linear(2 * WIDTHS[-1], 3 * (face_points + mouth_points))

    def forward(
        self, face: Float[Tensor, "B 3 128 128"], mouth: Float[Tensor, "B 3 128 128"]
    ) -> tuple[Float[Tensor, "B K 2"], Float[Tensor, "B K"]]:
        """Place points in half sides of their view (-1 left or top edge, 1 right or bottom edge), face points first.

        Args:
            face: view of the whole face, RGB in [-1, 1].
            mouth: close-up of the mouth, RGB in [-1, 1].

        Returns:
            Points, and the log of the standard deviation of each coordinate in the same unit.
        """
        (face_places, face_features), (mouth_places, mouth_features) = self.face(face), self.mouth(mouth)
        whole = self.whole(torch.cat([face_features, mouth_features], dim=1)).float().unflatten(1, (-1, 3))
        places = torch.cat([face_places, mouth_places], dim=1) + whole[..., :2]
        return places, whole[..., 2].clamp(*LOG_DOUBT_RANGE)
