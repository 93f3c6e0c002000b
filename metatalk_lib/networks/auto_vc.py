"""AutoVC as used by MakeItTalk: voice conversion of a mel spectrogram to a fixed target voice."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.networks.voice_encoder import VOICE_SIZE

AUTO_VC_MEL_BANDS, PITCH_BINS = 80, 257
CODE_STEPS = 16
"""Mel spectrogram steps for each code; the length of the spectrogram must be a multiple of this."""

_NECK, _WIDTH = 16, 512
"""Code size of one LSTM direction, and channels of the published network."""
_GROUPS, _LAST_GROUPS = 32, 5


class AutoVCOutput(NamedTuple):
    """Outputs of AutoVC.

    Attributes:
        mel: (B, L, 80) converted mel spectrogram before the final refinement.
        refined: (B, L, 80) refined mel spectrogram, the content feature of MakeItTalk.
        codes: (B, 32 · L / 16) concatenated content codes.
    """

    mel: Float[Tensor, "B L 80"]
    refined: Float[Tensor, "B L 80"]
    codes: Float[Tensor, "B C"]


class AutoVC(nn.Module):
    """AutoVC with the keys of `ckpt_autovc.pth`.

    Args:
        width: channels of convolutions and decoder, a multiple of 32; the published network has 512.

    Source: keys and facts of adobe-research/MakeItTalk src/autovc/retrain_version/model_vc_37_1.py, class Generator.
    """

    def __init__(self, *, width: int = _WIDTH) -> None:
        super().__init__()
        self.encoder = _Encoder(width)
        self.decoder = _Decoder(width)
        self.postnet = _Convolutions((AUTO_VC_MEL_BANDS, *[width] * 4, AUTO_VC_MEL_BANDS))

    def forward(
        self,
        mel: Float[Tensor, "B L 80"],
        voice: Float[Tensor, "B 256"],
        target_voice: Float[Tensor, "B 256"],
        pitch: Float[Tensor, "B L 257"],
    ) -> AutoVCOutput:
        """Convert speech to another voice.

        Args:
            mel: mel spectrogram, about [0, 1]; L is a multiple of 16.
            voice: embedding of the source speaker.
            target_voice: embedding of the target speaker.
            pitch: one-hot pitch bins; bin 0 is unvoiced.
        """
        steps = mel.shape[1]
        whose = voice[:, None].expand(-1, steps, -1)
        codes = self.encoder(torch.cat([mel, whose], dim=2).transpose(1, 2))
        said = codes.repeat_interleave(CODE_STEPS, dim=1)
        mel = self.decoder(torch.cat([said, target_voice[:, None].expand(-1, steps, -1), pitch], dim=2))
        refined = mel + self.postnet(mel.transpose(1, 2), torch.tanh, activates_last=False).transpose(1, 2)
        return AutoVCOutput(mel, refined, codes.flatten(1))


class _Named(nn.Module):
    """One layer under its name in the checkpoint."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__()
        self.add_module(name, layer)
        self._name = name

    def forward(self, values: Tensor) -> Tensor:
        return self.get_submodule(self._name)(values)


class _Convolutions(nn.Module):
    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                _Named("conv", nn.Conv1d(before, after, 5, padding=2)),
                nn.GroupNorm(_LAST_GROUPS if after == AUTO_VC_MEL_BANDS else _GROUPS, after),
            )
            for before, after in itertools.pairwise(channels)
        )

    def forward(self, values: Tensor, activate, *, activates_last: bool = True) -> Tensor:
        for index, layer in enumerate(self.convolutions, 1):
            values = layer(values)
            if activates_last or index < len(self.convolutions):
                values = activate(values)
        return values


class _Encoder(_Convolutions):
    """Encoder with a code of 32 for every 16 steps: the forward LSTM's last output and the backward LSTM's first."""

    def __init__(self, width: int) -> None:
        super().__init__((AUTO_VC_MEL_BANDS + VOICE_SIZE, *[width] * 3))
        self.lstm = nn.LSTM(width, _NECK, num_layers=2, batch_first=True, bidirectional=True)

    # an encoder is never called as its base class, so the signatures may differ
    def forward(self, values: Float[Tensor, "B 336 L"]) -> Float[Tensor, "B C 32"]:  # type: ignore[override]
        hidden, _ = self.lstm(super().forward(values, torch.relu).transpose(1, 2))
        return torch.cat([hidden[:, CODE_STEPS - 1 :: CODE_STEPS, :_NECK], hidden[:, ::CODE_STEPS, _NECK:]], dim=2)


class _Decoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2 * _NECK + VOICE_SIZE + PITCH_BINS, width, num_layers=3, batch_first=True)
        self.linear_projection = _Named("linear_layer", nn.Linear(width, AUTO_VC_MEL_BANDS))

    def forward(self, values: Float[Tensor, "B L 545"]) -> Float[Tensor, "B L 80"]:
        hidden, _ = self.lstm(values)
        return self.linear_projection(hidden)
