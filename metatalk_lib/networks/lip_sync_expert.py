"""Wav2Lip's lip-sync expert: embeddings of speech and of five lower faces, compared by their cosine."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from metatalk_lib.networks.wav2lip import ConvolutionLayer, audio_stream, residual_layers, valley_layers

_FACE = ((64, 5, (1, 2), 2), (128, 3, 2, 3), (256, 3, 2, 2), (512, 3, 2, 2))
"""Width, kernel, stride and residual layers of each group of the face encoder after its first layer."""


class LipSyncExpert(nn.Module):
    """Lip-sync expert with the keys of `lipsync_expert.pth`.

    Source: keys and facts of Rudrabha/Wav2Lip models/syncnet.py, class SyncNet_color (research only).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvolutionLayer(nn.Conv2d(15, 32, 7, padding=3), 32)]
        before = 32
        for width, kernel, stride, residuals in _FACE:
            first = nn.Conv2d(before, width, kernel, stride, padding=1)
            layers += [ConvolutionLayer(first, width), *residual_layers(width, residuals)]
            before = width
        layers.append(ConvolutionLayer(nn.Conv2d(before, before, 3, stride=2, padding=1), before))
        self.face_encoder = nn.Sequential(*layers, *valley_layers(before))
        self.audio_encoder = audio_stream(last_residuals=2)

    def forward(
        self, mel: Float[Tensor, "B 1 80 16"], faces: Float[Tensor, "B 15 48 96"]
    ) -> tuple[Float[Tensor, "B 512"], Float[Tensor, "B 512"]]:
        """Compute two unit vectors without negative entries; their dot product is the probability that they match.

        Args:
            mel: mel chunks in [-4, 4] that start with the first frame.
            faces: rows 48 to 95 of five consecutive 96 px faces, BGR in [0, 1], stacked along the channels by frame.

        Returns:
            The vectors of speech and faces.
        """
        return self._embed(self.audio_encoder, mel), self._embed(self.face_encoder, faces)

    def _embed(self, encoder: nn.Module, values: Tensor) -> Tensor:
        return normalize(encoder(values).flatten(1), dim=1)
