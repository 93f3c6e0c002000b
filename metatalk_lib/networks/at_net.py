"""AT-net: landmarks driven by MFCC blocks and an example landmark set; its 256 audio features are the input of A2E."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

AT_NET_FEATURE_SIZE = 256
"""Length of the audio feature f."""
AT_NET_MFCC_STEPS, AT_NET_MFCC_COEFFICIENTS = 28, 12
"""Size of an MFCC block: 28 steps of 10 ms, coefficients 1..12."""


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


class ATNet(nn.Module):
    """AT-net with its LSTM; keys match the checkpoint (the misspelt `audio_eocder` is the checkpoint's).

    Args:
        coefficients: MFCC coefficients of a step: 12 for the published weights, 80 as the paper states.
        width: number of hidden channels relative to the published network; the open weights have 0.25.

    Source: Meta Talk 2.3; keys and facts of lelechen63/ATVGnet code/models.py, class AT_net (MIT), used by AudioDVP.
    """

    def __init__(self, coefficients: int = AT_NET_MFCC_COEFFICIENTS, width: float = 1.0) -> None:
        super().__init__()
        c64, c128, c256, c512, c2048 = (round(width * channels) for channels in (64, 128, 256, 512, 2048))
        self.lmark_encoder = nn.Sequential(nn.Linear(6, c256), nn.ReLU(), nn.Linear(c256, c512), nn.ReLU())
        self.audio_eocder = nn.Sequential(
            _convolution(1, c64),
            _convolution(c64, c128),
            nn.MaxPool2d(3, stride=(1, 2)),
            _convolution(c128, c256),
            _convolution(c256, c256),
            _convolution(c256, c512),
            nn.MaxPool2d(3, stride=(2, 2)),
        )
        feature_size = round(width * AT_NET_FEATURE_SIZE)
        self.audio_eocder_fc = nn.Sequential(
            nn.Linear(c512 * 12 * _pooled(coefficients), c2048), nn.ReLU(), nn.Linear(c2048, feature_size), nn.ReLU()
        )
        self.lstm = nn.LSTM(feature_size + c512, c256, num_layers=3, batch_first=True)
        self.lstm_fc = nn.Sequential(nn.Linear(c256, 6))

    def encode_audio(self, mfcc: Float[Tensor, "B T 28 C"]) -> Float[Tensor, "B T D"]:
        """Compute the high-level audio feature f of each frame from its own block, without landmarks.

        Args:
            mfcc: blocks of 28 steps of 10 ms by coefficients 1..C, centred on the frames.

        Returns:
            (B, T, 256 · width), at least 0 because the encoder ends in a ReLU.
        """
        batch, frames = mfcc.shape[:2]
        maps = self.audio_eocder(mfcc.reshape(batch * frames, 1, AT_NET_MFCC_STEPS, mfcc.shape[3]))
        return self.audio_eocder_fc(maps.flatten(1)).unflatten(0, (batch, frames))

    def forward(self, landmark: Float[Tensor, "B 6"], mfcc: Float[Tensor, "B T 28 C"]) -> Float[Tensor, "B T 6"]:
        """Predict landmarks from the audio, as six PCA coefficients.

        Args:
            landmark: PCA coefficients of the example face.
            mfcc: MFCC blocks.

        Returns:
            (B, T, 6) PCA coefficients, unbounded.
        """
        return self.drive(landmark, self.encode_audio(mfcc))

    def drive(self, landmark: Float[Tensor, "B 6"], features: Float[Tensor, "B T D"]) -> Float[Tensor, "B T 6"]:
        """Predict landmarks from the features of `encode_audio`; the LSTM runs over all T frames.

        Args:
            landmark: PCA coefficients of the example face.
            features: audio features of all frames.
        """
        example = self.lmark_encoder(landmark)[:, None].expand(-1, features.shape[1], -1)
        hidden, _ = self.lstm(torch.cat([example, features], dim=2))
        return self.lstm_fc(hidden)


def _pooled(coefficients: int) -> int:
    """Number of coefficients left after two poolings of size 3 and stride 2."""
    for _ in range(2):
        coefficients = (coefficients - 3) // 2 + 1
    return coefficients
