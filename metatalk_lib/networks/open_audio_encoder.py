"""The open audio encoder: AT-net's audio path from MFCC block to 256 features, narrower and factorised to be small."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.networks.at_net import AT_NET_FEATURE_SIZE, AT_NET_MFCC_COEFFICIENTS
from metatalk_lib.networks.audio_to_expression import A2E_WINDOW

CHANNELS = (32, 48, 64, 64, 96)
"""Widths of the five convolutions; AT-net has 64, 128, 256, 256, 512."""
RANK, HIDDEN = 128, 512
"""The first linear layer is a product of two with RANK values in between; AT-net has a full 12288 × 2048 matrix."""
POSITIONS = (7, 2)
"""Steps and bands of a 28 × 12 block after the convolutions and two poolings."""
STEPS_A_FRAME = 4
"""Steps of 10 ms between frames at 25 fps."""
CLAMP = 4.0
"""Limit to which normalised MFCC are clipped: digital silence is about ten deviations away."""
ACTIONS = 52
LIP_SIZE = 12
"""Number of lip targets of the heads; the viseme teacher's mouths vary in no more directions."""


class OpenAudioEncoder(nn.Module):
    """MFCC block → 256 features, at least 0: AT-net's layer order with other widths, and its own normalisation.

    Unlike AT-net's, the convolutions do not pad in time, so blocks of neighbouring frames share their values:
    consecutive frames are encoded at a fraction of the cost, with the same result (`encode_steps`).

    The buffers `mfcc_mean` and `mfcc_std` hold the statistics of each coefficient in the training speech, so callers
    pass MFCC without normalisation. Coefficient 0 is not among the twelve, so loudness has no effect.

    Source: layer order of AT-net (lelechen63/ATVGnet code/models.py, by its facts); widths and factoring are original.
    """

    mfcc_mean: Tensor
    mfcc_std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mfcc_mean", torch.zeros(AT_NET_MFCC_COEFFICIENTS))
        self.register_buffer("mfcc_std", torch.ones(AT_NET_MFCC_COEFFICIENTS))
        first, second, third, fourth, fifth = CHANNELS
        self.convolutions = nn.Sequential(
            *_convolution(1, first),
            *_convolution(first, second),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_convolution(second, third),
            *_convolution(third, fourth),
            *_convolution(fourth, fifth),
            nn.MaxPool2d(3, stride=(2, 2)),
        )
        self.linear = nn.Sequential(
            nn.Linear(fifth * POSITIONS[0] * POSITIONS[1], RANK, bias=False),
            nn.Linear(RANK, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(HIDDEN, AT_NET_FEATURE_SIZE),
            nn.ReLU(),
        )

    def forward(self, mfcc: Float[Tensor, "T 28 12"]) -> Float[Tensor, "T 256"]:
        """Compute the audio feature f of each frame from its own block alone.

        Args:
            mfcc: blocks of 28 steps of 10 ms by coefficients 1..12, centred on the frames.
        """
        return self.encode_steps(mfcc)[:, 0]

    def encode_steps(self, mfcc: Float[Tensor, "B S 12"]) -> Float[Tensor, "B T 256"]:
        """Compute the features of consecutive frames at 25 fps: frame i uses steps 4 i to 4 i + 27.

        Args:
            mfcc: S = 4 T + 24 steps of 10 ms by coefficients 1..12.
        """
        normalised = ((mfcc - self.mfcc_mean) / self.mfcc_std).clamp(-CLAMP, CLAMP)
        maps = self.convolutions(normalised[:, None])
        windows = maps.unfold(2, POSITIONS[0], STEPS_A_FRAME // 2)
        return self.linear(windows.permute(0, 2, 1, 4, 3).flatten(2))


class SpeechHeads(nn.Module):
    """Training heads of the encoder: lip targets, by a map that A2E can express, and the viseme class of the frame.

    Lips: three temporal filters shared by all features, then one linear layer. A2E of Table 1 without activation can
    express this map, so features that serve this head serve A2E. The buffers convert the targets to facial actions, so
    encoder and head also predict the lip movements of any speaker in a recording (`predict_actions`).

    Args:
        viseme_count: number of viseme classes.

    Source: Original to this project.
    """

    TEMPORAL_FILTERS = 3

    def __init__(self, viseme_count: int) -> None:
        super().__init__()
        self.register_buffer("action_basis", torch.zeros(LIP_SIZE, ACTIONS))
        self.register_buffer("action_mean", torch.zeros(ACTIONS))
        self.temporal = nn.Conv1d(A2E_WINDOW, self.TEMPORAL_FILTERS, 1, bias=False)
        self.lips = nn.Linear(self.TEMPORAL_FILTERS * AT_NET_FEATURE_SIZE, LIP_SIZE)
        self.visemes = nn.Linear(AT_NET_FEATURE_SIZE, viseme_count)

    def forward(self, features: Float[Tensor, "B T 256"]) -> tuple[Float[Tensor, "B T2 P"], Float[Tensor, "B T2 K"]]:
        """Predict lip targets and viseme logits of the frames with a complete window: T2 = T - 6.

        Args:
            features: features of consecutive frames.
        """
        windows = features.unfold(1, A2E_WINDOW, 1).transpose(2, 3)
        batch, frames = windows.shape[:2]
        mixed = self.temporal(windows.reshape(batch * frames, A2E_WINDOW, AT_NET_FEATURE_SIZE)).reshape(
            batch, frames, -1
        )
        margin = A2E_WINDOW // 2
        return self.lips(mixed), self.visemes(features[:, margin : features.shape[1] - margin])

    def predict_actions(self, features: Float[Tensor, "T 256"]) -> Float[Tensor, "T 52"]:
        """Predict facial actions of consecutive frames; features outside the clip are zero vectors, as for A2E.

        Args:
            features: features of a whole clip.
        """
        margin = A2E_WINDOW // 2
        padded = nn.functional.pad(features, (0, 0, margin, margin))
        return self(padded[None])[0][0] @ self.action_basis + self.action_mean


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv2d(in_channels, out_channels, 3, padding=(0, 1), bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
