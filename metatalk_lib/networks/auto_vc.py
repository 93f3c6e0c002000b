"""AutoVC as MakeItTalk uses it: the mel spectrogram of a sentence, said by one fixed voice."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

AUTO_VC_MEL_BANDS, VOICE_SIZE, PITCH_BINS = 80, 256, 257
CODE_STEPS = 16
"""Steps of the mel spectrogram to a code; its length must be a multiple of them."""

_NECK, _WIDTH = 16, 512
"""Size of one direction's code; channels of the published network."""
_GROUPS, _LAST_GROUPS = 32, 5


class AutoVCOutput(NamedTuple):
    """What AutoVC gives.

    Attributes:
        mel: (B, L, 80) before the last refinement.
        refined: (B, L, 80), the content feature of MakeItTalk.
        codes: (B, 32 · L / 16), code after code.
    """

    mel: Float[Tensor, "B L 80"]
    refined: Float[Tensor, "B L 80"]
    codes: Float[Tensor, "B C"]


class AutoVC(nn.Module):
    """`ckpt_autovc.pth`, key for key.

    Args:
        width: channels of convolutions and decoder, a multiple of 32; 512 is the published one.

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
        """Say it in another voice.

        Args:
            mel: about [0, 1]; L is a multiple of 16.
            voice: embedding of who speaks.
            target_voice: of who shall.
            pitch: one-hot; bin 0 is unvoiced.
        """
        steps = mel.shape[1]
        whose = voice[:, None].expand(-1, steps, -1)
        codes = self.encoder(torch.cat([mel, whose], dim=2).transpose(1, 2))
        said = codes.repeat_interleave(CODE_STEPS, dim=1)
        mel = self.decoder(torch.cat([said, target_voice[:, None].expand(-1, steps, -1), pitch], dim=2))
        refined = mel + self.postnet(mel.transpose(1, 2), torch.tanh, activates_last=False).transpose(1, 2)
        return AutoVCOutput(mel, refined, codes.flatten(1))


class _Named(nn.Module):
    """One layer under the name that the checkpoint has for it."""

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
    """One code of 32 for every 16 steps: how the forward pass ends them, and how the backward pass begins them."""

    def __init__(self, width: int) -> None:
        super().__init__((AUTO_VC_MEL_BANDS + VOICE_SIZE, *[width] * 3))
        self.lstm = nn.LSTM(width, _NECK, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, values: Float[Tensor, "B 336 L"]) -> Float[Tensor, "B C 32"]:
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
