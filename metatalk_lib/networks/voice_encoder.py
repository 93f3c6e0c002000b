"""The voice encoder of Resemblyzer: embeds 1.6 s of speech as a unit vector that distinguishes voices."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

VOICE_MEL_BANDS, VOICE_MEL_STEPS = 40, 160
"""Size of the input: 40 mel bands of power, 160 steps of 10 ms."""
VOICE_SIZE = 256


class VoiceEncoder(nn.Module):
    """Voice encoder with the keys of Resemblyzer's `pretrained.pt`.

    Source: keys and facts of resemble-ai/Resemblyzer resemblyzer/voice_encoder.py (Apache 2.0).
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(VOICE_MEL_BANDS, VOICE_SIZE, num_layers=3, batch_first=True)
        self.linear = nn.Linear(VOICE_SIZE, VOICE_SIZE)

    def forward(self, mel: Float[Tensor, "B T 40"]) -> Float[Tensor, "B 256"]:
        """Compute unit vectors without negative entries.

        Args:
            mel: mel spectrogram of power, not its logarithm; 160 steps in inference.
        """
        _, (hidden, _) = self.lstm(mel)
        return normalize(torch.relu(self.linear(hidden[-1])), dim=1)
