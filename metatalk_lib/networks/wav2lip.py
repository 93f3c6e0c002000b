"""Wav2Lip's generator: from a mel chunk and a face to the same face speaking the chunk."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

WAV2LIP_FACE_SIZE = 96
"""Side of the face, px."""
WAV2LIP_MEL_BANDS, WAV2LIP_MEL_STEPS = 80, 16
"""Size of a mel chunk: 80 bands by 16 columns, 0.2 s."""

_ENCODER = ((16, 0), (32, 2), (64, 3), (128, 2), (256, 2), (512, 1))
"""Width and residual layers of each face encoder block; all but the first halve the size."""
_DECODER = ((512, 1), (512, 2), (384, 2), (256, 2), (128, 2), (64, 2))
"""Width and residual layers of each decoder block after the first; all but the first of these double the size."""
_AUDIO = ((32, 1), (64, (3, 1)), (128, 3), (256, (3, 2)))
"""Width and stride (bands, columns) of each group of the audio encoder."""
_VALLEY, _LAST = 512, 32
"""Width between encoders and decoder, and before the output layer."""


class Wav2LipGenerator(nn.Module):
    """Wav2Lip's generator; at full width with the checkpoint's keys. Each chunk and face is processed independently.

    Args:
        width: number of channels relative to the published network.

    Source: keys and facts of Rudrabha/Wav2Lip models/wav2lip.py and models/conv.py (research only).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.face_encoder_blocks = _face_encoder(width)
        self.audio_encoder = audio_stream(width, last_residuals=1)
        self.face_decoder_blocks = _face_decoder(width)
        first, before, last = (round(width * channels) for channels in (_ENCODER[0][0], _DECODER[-1][0], _LAST))
        self.output_block = nn.Sequential(
            ConvolutionLayer(nn.Conv2d(first + before, last, 3, 1, 1), last), nn.Conv2d(last, 3, 1), nn.Sigmoid()
        )

    def forward(
        self, mel: Float[Tensor, "B *T 1 80 16"], faces: Float[Tensor, "B 6 *T 96 96"]
    ) -> Float[Tensor, "B 3 *T 96 96"]:
        """Generate speaking faces; a time axis T may follow the batch axis.

        Args:
            mel: mel chunks in [-4, 4].
            faces: BGR in [0, 1]; channels 0 to 2 with rows from 48 on set to zero, channels 3 to 5 complete.

        Returns:
            Faces, BGR in (0, 1).
        """
        if mel.ndim == 5:
            batch, length = mel.shape[:2]
            flat = faces.transpose(1, 2).reshape(-1, *faces.shape[1:2], WAV2LIP_FACE_SIZE, WAV2LIP_FACE_SIZE)
            out = self._speak(mel.reshape(-1, 1, WAV2LIP_MEL_BANDS, WAV2LIP_MEL_STEPS), flat)
            return out.reshape(batch, length, 3, WAV2LIP_FACE_SIZE, WAV2LIP_FACE_SIZE).transpose(1, 2)
        return self._speak(mel, faces)

    def _speak(self, mel: Tensor, faces: Tensor) -> Tensor:
        skipped, values = [], faces
        for block in self.face_encoder_blocks:
            values = block(values)
            skipped.append(values)
        values = self.audio_encoder(mel)
        for block in self.face_decoder_blocks:
            values = torch.cat([block(values), skipped.pop()], dim=1)
        return self.output_block(values)


class ConvolutionLayer(nn.Module):
    """Convolution, BatchNorm, optional residual connection, ReLU, under the checkpoint's name."""

    def __init__(self, convolution: nn.Module, channels: int, *, is_residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(convolution, nn.BatchNorm2d(channels))
        self.is_residual = is_residual

    def forward(self, values: Tensor) -> Tensor:
        out = self.conv_block(values)
        return torch.relu(out + values if self.is_residual else out)


def residual_layers(channels: int, count: int) -> list[nn.Module]:
    """Make `count` residual layers."""
    return [ConvolutionLayer(nn.Conv2d(channels, channels, 3, 1, 1), channels, is_residual=True) for _ in range(count)]


def valley_layers(before: int, after: int = _VALLEY) -> list[nn.Module]:
    """Make the last two layers of both encoders: from 3 × 3 positions to one, then a layer on that one."""
    return [ConvolutionLayer(nn.Conv2d(before, after, 3), after), ConvolutionLayer(nn.Conv2d(after, after, 1), after)]


def _face_encoder(share: float) -> nn.ModuleList:
    blocks, before = [], 6
    for index, (channels, residuals) in enumerate(_ENCODER):
        width = round(share * channels)
        first = nn.Conv2d(before, width, 3, 2, 1) if index else nn.Conv2d(before, width, 7, 1, 3)
        blocks.append(nn.Sequential(ConvolutionLayer(first, width), *residual_layers(width, residuals)))
        before = width
    return nn.ModuleList([*blocks, nn.Sequential(*valley_layers(before, round(share * _VALLEY)))])


def audio_stream(share: float = 1.0, *, last_residuals: int) -> nn.Sequential:
    """Make the audio encoder of the generator or the expert, which differ in the last group's residual layers."""
    layers, before = [], 1
    for channels, stride in _AUDIO:
        width, count = round(share * channels), last_residuals if channels == _AUDIO[-1][0] else 2
        layers += [ConvolutionLayer(nn.Conv2d(before, width, 3, stride, 1), width), *residual_layers(width, count)]
        before = width
    return nn.Sequential(*layers, *valley_layers(before, round(share * _VALLEY)))


def _face_decoder(share: float) -> nn.ModuleList:
    """Make the face decoder; each block's output is concatenated with the encoder's output of equal size."""
    before = round(share * _VALLEY)
    blocks = [nn.Sequential(ConvolutionLayer(nn.Conv2d(before, before, 1), before))]
    joined = [before, *(round(share * channels) for channels, _ in reversed(_ENCODER))]
    for index, (channels, residuals) in enumerate(_DECODER):
        width = round(share * channels)
        stride, padding = (2, 1) if index else (1, 0)
        first = nn.ConvTranspose2d(before + joined[index], width, 3, stride, padding, output_padding=padding)
        blocks.append(nn.Sequential(ConvolutionLayer(first, width), *residual_layers(width, residuals)))
        before = width
    return nn.ModuleList(blocks)
