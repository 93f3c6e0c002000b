"""MakeItTalk's two landmark networks: the content branch moves the lips, the speaker branch the head."""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.networks.voice_encoder import VOICE_SIZE

WINDOW_STEPS, CONTENT_MEL_BANDS = 18, 80
"""Size of a window of the content feature: 18 steps at 62.5 Hz by 80 bands."""
LANDMARK_VALUES = 204
"""Number of landmark coordinates: 68 landmarks, each x, y, z."""
"""Length of the speaker embedding."""
NOISE_SIZE = 128
"""Length of the noise input of the speaker branch in training; zeros in inference."""
MAX_WINDOWS = 512
"""Largest number of windows in one pass of the speaker branch."""

_LSTM_INPUT, _LSTM_SIZE, _LSTM_LAYERS = 161, 256, 3
_MODEL_SIZE, _HEADS, _BLOCKS, _FORWARD_SIZE = 64, 2, 2, 2048


class ContentBranch(nn.Module):
    """Landmark displacements from speech content, with the keys of `ckpt_content_branch.pth`.

    Source: facts of adobe-research/MakeItTalk src/models/model_audio2landmark.py, class Audio2landmark_content.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fc_prior = nn.Sequential(*_normed(CONTENT_MEL_BANDS, 256), nn.Linear(256, _LSTM_INPUT))
        self.fc = nn.Sequential(
            *_normed(_LSTM_SIZE + LANDMARK_VALUES, 512), *_normed(512, 256), nn.Linear(256, LANDMARK_VALUES)
        )
        self.bilstm = nn.LSTM(_LSTM_INPUT, _LSTM_SIZE, _LSTM_LAYERS, batch_first=True, dropout=0.5)

    def forward(self, mel: Float[Tensor, "B 18 80"], face: Float[Tensor, "F 204"]) -> Float[Tensor, "B 204"]:
        """Predict displacements at the first step of each window; the other steps are look-ahead.

        Args:
            mel: standardised content features.
            face: normalised landmarks of the still image, one set for all windows or one for each.
        """
        prior = self.fc_prior(mel.reshape(-1, CONTENT_MEL_BANDS)).reshape(len(mel), WINDOW_STEPS, _LSTM_INPUT)
        hidden, _ = self.bilstm(prior)
        return self.fc(torch.cat([hidden[:, -1], face.expand(len(mel), -1)], dim=1))


class SpeakerBranch(nn.Module):
    """Landmark displacements in the speaker's style, with the keys of `ckpt_speaker_branch.pth`.

    Attention runs over the windows of a clip as one sequence. The decoder has weights but is never called.

    Source: keys and facts of adobe-research/MakeItTalk src/models/model_audio2landmark.py, class Audio2landmark_pos.
    """

    def __init__(self) -> None:
        super().__init__()
        self.audio_content_encoder = nn.LSTM(CONTENT_MEL_BANDS, _LSTM_SIZE, _LSTM_LAYERS, batch_first=True, dropout=0.5)
        self.spk_emb_encoder = _perceptron(VOICE_SIZE, 256, 128, 128)
        self.encoder = _Transformer(_LSTM_SIZE + 128 + NOISE_SIZE, ("attn",))
        self.decoder = _Transformer(LANDMARK_VALUES, ("attn_1", "attn_2"))
        self.out = _perceptron(_MODEL_SIZE + NOISE_SIZE, 512, 256, LANDMARK_VALUES)

    def forward(
        self,
        mel: Float[Tensor, "B 18 80"],
        voice: Float[Tensor, "B 256"],
        noise: Float[Tensor, "B 128"],
    ) -> tuple[Float[Tensor, "B 204"], Float[Tensor, "B 128"]]:
        """Predict displacements of B consecutive windows; also returns the network's embedding of the voices.

        Args:
            mel: standardised content features, at most `MAX_WINDOWS` windows.
            voice: three times the speaker embedding.
            noise: noise in training, zeros in inference.
        """
        return self.move(self.hear(mel), voice, noise)

    def hear(self, mel: Float[Tensor, "B 18 80"]) -> Float[Tensor, "B 256"]:
        """Encode the speech content of each window."""
        return self.audio_content_encoder(mel)[0][:, -1]

    def move(
        self, heard: Float[Tensor, "B 256"], voice: Float[Tensor, "B 256"], noise: Float[Tensor, "B 128"]
    ) -> tuple[Float[Tensor, "B 204"], Float[Tensor, "B 128"]]:
        """Predict displacements of consecutive encoded windows; also returns the network's embedding of the voices."""
        speaker = self.spk_emb_encoder(voice)
        seen = self.encoder(torch.cat([heard, speaker, noise], dim=1)[None])[0]
        return self.out(torch.cat([seen, noise], dim=1)), speaker


class _Transformer(nn.Module):
    """Embedding, positions, blocks and norm under the checkpoint's names."""

    def __init__(self, size: int, attentions: tuple[str, ...]) -> None:
        super().__init__()
        self.embed = nn.ModuleDict({"embed": nn.Linear(size, _MODEL_SIZE)})
        self.pe = _Positions()
        self.layers = nn.ModuleList(_Block(attentions) for _ in range(_BLOCKS))
        self.norm = _Norm()

    def forward(self, values: Tensor) -> Tensor:
        values = self.pe(self.embed["embed"](values))
        for layer in self.layers:
            values = layer(values)
        return self.norm(values)


class _Positions(nn.Module):
    """Positional encoding; its exponents grow twice as fast as usual, as in training of the published weights."""

    pe: Tensor

    def __init__(self) -> None:
        super().__init__()
        position = torch.arange(MAX_WINDOWS, dtype=torch.float64)[:, None]
        even = torch.arange(0, _MODEL_SIZE, 2, dtype=torch.float64)
        table = torch.empty(MAX_WINDOWS, _MODEL_SIZE)
        table[:, 0::2] = torch.sin(position / 10000 ** (2 * even / _MODEL_SIZE)).float()
        table[:, 1::2] = torch.cos(position / 10000 ** (2 * (even + 1) / _MODEL_SIZE)).float()
        self.register_buffer("pe", table[None])

    def forward(self, values: Tensor) -> Tensor:
        return values * math.sqrt(_MODEL_SIZE) + self.pe[:, : values.shape[1]]


class _Block(nn.Module):
    """Residual self-attention and residual perceptron. With two attentions, the block only holds the weights."""

    norm_1: "_Norm"
    norm_2: "_Norm"
    attn: "_Attention"

    def __init__(self, attentions: tuple[str, ...]) -> None:
        super().__init__()
        for index in range(1, len(attentions) + 2):
            self.add_module(f"norm_{index}", _Norm())
        for name in attentions:
            self.add_module(name, _Attention())
        self.ff = _Forward()

    def forward(self, values: Tensor) -> Tensor:
        values = values + self.attn(self.norm_1(values))
        return values + self.ff(self.norm_2(values))


class _Attention(nn.Module):
    q_linear: nn.Linear
    v_linear: nn.Linear
    k_linear: nn.Linear
    out: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        for name in ("q_linear", "v_linear", "k_linear", "out"):
            self.add_module(name, nn.Linear(_MODEL_SIZE, _MODEL_SIZE))

    def forward(self, values: Float[Tensor, "1 T 64"]) -> Float[Tensor, "1 T 64"]:
        query, key, value = (
            linear(values).unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for linear in (self.q_linear, self.k_linear, self.v_linear)
        )
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(found.transpose(1, 2).flatten(2))


class _Forward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(_MODEL_SIZE, _FORWARD_SIZE), nn.Linear(_FORWARD_SIZE, _MODEL_SIZE)

    def forward(self, values: Tensor) -> Tensor:
        return self.linear_2(torch.relu(self.linear_1(values)))


class _Norm(nn.Module):
    """Layer norm by the sample standard deviation, to which the epsilon is added."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha, self.bias = nn.Parameter(torch.ones(_MODEL_SIZE)), nn.Parameter(torch.zeros(_MODEL_SIZE))

    def forward(self, values: Tensor) -> Tensor:
        deviation = values.std(dim=-1, keepdim=True) + 1e-6
        return self.alpha * (values - values.mean(dim=-1, keepdim=True)) / deviation + self.bias


def _normed(before: int, after: int) -> list[nn.Module]:
    return [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2)]


def _perceptron(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.02)]
    return nn.Sequential(*layers[:-1])
