"""SyncNet: embeds 0.2 s of speech and five frames of a face in one space; matching pairs lie close together."""

from jaxtyping import Float
from torch import Tensor, nn

SYNCNET_MFCC_COEFFICIENTS, SYNCNET_MFCC_STEPS = 13, 20
"""Size of the speech input: 13 coefficients by 20 steps of 10 ms."""
WINDOW_FRAMES = 5
"""Number of video frames in the input at 25 fps, of the same length as the speech."""
SYNCNET_FACE_SIZE = 224
"""Side of the face, px."""
SYNCNET_EMBEDDING_SIZE = 1024


class SyncNet(nn.Module):
    """The two-stream network of LSE-D and LSE-C; at full width with the keys of `syncnet_v2.model`.

    Args:
        width: number of channels relative to the official network; the open weights have 0.5.

    Source: keys and facts of joonson/syncnet_python SyncNetModel.py, class S (MIT).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.netcnnaud = _audio_stream(width)
        self.netfcaud = _head(width)
        self.netfclip = _head(width)
        self.netcnnlip = _face_stream(width)

    def forward_aud(self, mfcc: Float[Tensor, "B 1 13 20"]) -> Float[Tensor, "B E"]:
        """Embed speech.

        Args:
            mfcc: coefficients of 16-bit samples by steps; coefficient 0 is the log energy.

        Returns:
            (B, 1024 · width), not normalised.
        """
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))

    def forward_lip(self, faces: Float[Tensor, "B 3 5 224 224"]) -> Float[Tensor, "B E"]:
        """Embed faces.

        Args:
            faces: five consecutive frames at 25 fps, BGR in [0, 255].

        Returns:
            (B, 1024 · width), not normalised.
        """
        return self.netfclip(self.netcnnlip(faces).flatten(1))


def _layer(convolution: nn.Module, norm: nn.Module) -> list[nn.Module]:
    return [convolution, norm, nn.ReLU()]


def _audio_stream(width: float) -> nn.Sequential:
    c64, c192, c384, c256, c512 = (round(width * channels) for channels in (64, 192, 384, 256, 512))
    return nn.Sequential(
        *_layer(nn.Conv2d(1, c64, 3, padding=1), nn.BatchNorm2d(c64)),
        nn.MaxPool2d(1),
        *_layer(nn.Conv2d(c64, c192, 3, padding=1), nn.BatchNorm2d(c192)),
        nn.MaxPool2d(3, stride=(1, 2)),
        *_layer(nn.Conv2d(c192, c384, 3, padding=1), nn.BatchNorm2d(c384)),
        *_layer(nn.Conv2d(c384, c256, 3, padding=1), nn.BatchNorm2d(c256)),
        *_layer(nn.Conv2d(c256, c256, 3, padding=1), nn.BatchNorm2d(c256)),
        nn.MaxPool2d(3, stride=2),
        *_layer(nn.Conv2d(c256, c512, (5, 4)), nn.BatchNorm2d(c512)),
    )


def _face_stream(width: float) -> nn.Sequential:
    c96, c256, c512 = (round(width * channels) for channels in (96, 256, 512))
    pool, halves = (1, 3, 3), (1, 2, 2)

    def middle() -> list[nn.Module]:
        return _layer(nn.Conv3d(c256, c256, (1, 3, 3), padding=(0, 1, 1)), nn.BatchNorm3d(c256))

    return nn.Sequential(
        *_layer(nn.Conv3d(3, c96, (WINDOW_FRAMES, 7, 7), stride=halves), nn.BatchNorm3d(c96)),
        nn.MaxPool3d(pool, stride=halves),
        *_layer(nn.Conv3d(c96, c256, (1, 5, 5), stride=halves, padding=(0, 1, 1)), nn.BatchNorm3d(c256)),
        nn.MaxPool3d(pool, stride=halves, padding=(0, 1, 1)),
        *middle(),
        *middle(),
        *middle(),
        nn.MaxPool3d(pool, stride=halves),
        *_layer(nn.Conv3d(c256, c512, (1, 6, 6)), nn.BatchNorm3d(c512)),
    )


def _head(width: float) -> nn.Sequential:
    c512, embedding = round(512 * width), round(SYNCNET_EMBEDDING_SIZE * width)
    return nn.Sequential(nn.Linear(c512, c512), nn.BatchNorm1d(c512), nn.ReLU(), nn.Linear(c512, embedding))
