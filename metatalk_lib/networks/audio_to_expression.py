"""A2E networks, from seven frames of audio features to expression coefficients: Meta Talk's Table 1 and AudioDVP's."""

from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.core.errors import ParameterError

A2E_WINDOW = 7
"""Input frames t-3 … t+3, one channel each."""
AUDIO_FEATURE_SIZE = 256
EXPRESSION_SIZE = 64
TABLE_1_CHANNELS = (5, 5, 3, 3, 3)
"""Output channels of the five convolutions of Table 1."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
}


class MetaTalkA2E(nn.Module):
    """The A2E network of Table 1: Conv1d 7→5→5→3→3→3 along the 256 features, flatten 3 × 246, Linear to 64.

    The table gives no activation. Taken literally (`none`), the network is a single affine map.

    Args:
        activation: `none`, `relu`, `leaky_relu` or `tanh`, between the convolutions and before the linear layer.

    Raises:
        ParameterError: the activation is unknown.

    Source: Meta Talk 2.3 and Table 1; the input's seven channels are AudioDVP's window (the paper gives no number).
    """

    def __init__(self, activation: str = "none") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ParameterError(f"unknown A2E activation `{activation}`. There are: {', '.join(ACTIVATIONS)}.")
        layers: list[nn.Module] = []
        channels = A2E_WINDOW
        for out_channels in TABLE_1_CHANNELS:
            layers += [nn.Conv1d(channels, out_channels, 3), ACTIVATIONS[activation]()]
            channels = out_channels
        self.convolutions = nn.Sequential(*layers)
        self.fc = nn.Linear(channels * (AUDIO_FEATURE_SIZE - 2 * len(TABLE_1_CHANNELS)), EXPRESSION_SIZE)

    def forward(self, window: Float[Tensor, "B 7 256"]) -> Float[Tensor, "B 64"]:
        """Predict the expression of the centre frame.

        Args:
            window: features of frames t-3 … t+3; zero vectors outside the clip.

        Returns:
            (B, 64), in the unit of the training targets.
        """
        return self.fc(self.convolutions(window).flatten(1))


class AudioDVPA2E(nn.Module):
    """AudioDVP's A2E with the checkpoint's keys: Conv1d 7→5→3→1 without activation, Linear 250 → 64.

    Source: keys and facts of xinwen-cs/AudioDVP models/networks.py, class AudioExpressionModule (BSD).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(A2E_WINDOW, 5, 3)
        self.conv2 = nn.Conv1d(5, 3, 3)
        self.conv3 = nn.Conv1d(3, 1, 3)
        self.fc = nn.Linear(AUDIO_FEATURE_SIZE - 6, EXPRESSION_SIZE)

    def forward(self, window: Float[Tensor, "B 7 256"]) -> Float[Tensor, "B 64"]:
        """Predict the expression of the centre frame; arguments and result as for `MetaTalkA2E`."""
        return self.fc(self.conv3(self.conv2(self.conv1(window))).flatten(1))
