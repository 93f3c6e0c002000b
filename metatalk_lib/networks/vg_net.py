"""VG-net of ATVG: generates a face with given landmarks from one picture of it and its own landmarks."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

VG_NET_FACE_SIZE = 128
"""Side of the face, px."""
_PLACES = 8
"""Side of the innermost feature maps, px."""
_RESIDUAL_BLOCKS = 9
_DROPOUT = 0.5


class VGNetOutput(NamedTuple):
    """Outputs of VG-net for each of T landmark sets.

    Attributes:
        images: (B, T, 3, 128, 128) RGB in [-1, 1]: attention · colour + (1 − attention) · face.
        attention: (B, T, 1, 128, 128) in (0, 1).
        colour: (B, T, 3, 128, 128) in (-1, 1).
        landmark_attention: (B, T, 1, 32, 32) in (0, 1): high where features are regenerated.
    """

    images: Float[Tensor, "B T 3 128 128"]
    attention: Float[Tensor, "B T 1 128 128"]
    colour: Float[Tensor, "B T 3 128 128"]
    landmark_attention: Float[Tensor, "B T 1 32 32"]


class VGNet(nn.Module):
    """VG-net; at full width with the keys of `generator_23.pth`.

    Args:
        width: number of hidden channels relative to the published network; the open weights have 0.25. Landmarks always
            become 64 numbers, which are laid out as 8 × 8 positions.

    Source: keys and facts of lelechen63/ATVGnet code/models.py, class VG_net (MIT).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c32, c64, c128, c256, c512 = (round(width * channels) for channels in (32, 64, 128, 256, 512))
        self.image_encoder1 = nn.Sequential(
            nn.ReflectionPad2d(3), _layer(3, c64, 7, padding=0), _layer(c64, c64, stride=2), _layer(c64, c128, stride=2)
        )
        self.image_encoder2 = nn.Sequential(_layer(c128, c256, stride=2), _layer(c256, c512, stride=2))
        self.landmark_encoder = nn.Sequential(nn.Linear(136, _PLACES * _PLACES), nn.ReLU())
        self.landmark_encoder_stage2 = nn.Sequential(_layer(1, c256))
        attention = nn.Sequential(nn.Conv2d(c128, 1, 3, padding=1), nn.Sigmoid())
        self.lmark_att = nn.Sequential(
            *_doubling(2 * c256, c256, has_bias=True), *_doubling(c256, c128, has_bias=True), attention
        )
        self.lmark_feature = nn.Sequential(_layer(c256, c512))
        blocks = [ResidualBlock(c512) for _ in range(_RESIDUAL_BLOCKS)]
        self.generator1 = nn.Sequential(*blocks, *_doubling(c512, c256), *_doubling(c256, c128))
        self.base = nn.Sequential(*_doubling(c128, c64), *_doubling(c64, c32))
        self.generator_color = nn.Sequential(nn.Conv2d(c32, 3, 7, padding=3), nn.Tanh())
        self.generator_attention = nn.Sequential(nn.Conv2d(c32, 1, 7, padding=3), nn.Sigmoid())
        self.bottle_neck = nn.Sequential(_layer(2 * c512, c128))
        self.convGRU = BatchGRU(c128, c512)

    def forward(
        self,
        face: Float[Tensor, "B 3 128 128"],
        landmarks: Float[Tensor, "B T 136"],
        example: Float[Tensor, "B 136"],
        *,
        is_independent: bool = False,
    ) -> VGNetOutput:
        """Generate the face with other landmarks.

        Args:
            face: RGB in [-1, 1].
            landmarks: wanted landmarks, each x, y, in the normalised space of the training data.
            example: landmarks of the given face.
            is_independent: whether faces of the batch are independent: each gets the same result as in a batch of its
                own, and all B · T pictures are generated at once. In training, BatchNorm's statistics are over all.
        """
        shallow = self.image_encoder1(face)
        own = self._lay_out(example)
        seen = _Seen(face, shallow, self.image_encoder2(shallow), own, self.lmark_feature(own))
        if not is_independent:
            steps = [self._draw(seen, wanted) for wanted in landmarks.unbind(1)]
            return VGNetOutput(*(torch.stack(part, dim=1) for part in zip(*steps, strict=True)))
        count = landmarks.shape[1]
        repeated = _Seen(*(part.repeat_interleave(count, dim=0) for part in seen))
        drawn = self._draw(repeated, landmarks.flatten(0, 1), is_independent=True)
        return VGNetOutput(*(part.unflatten(0, (-1, count)) for part in drawn))

    def _draw(self, seen: "_Seen", wanted: Tensor, *, is_independent: bool = False) -> tuple[Tensor, ...]:
        """Generate image, attention, colour and landmark attention of each face with the landmarks (B, 136)."""
        new = self._lay_out(wanted)
        gate = self.lmark_att(torch.cat([new, seen.own], dim=1))
        moved = self.bottle_neck(torch.cat([seen.deep, self.lmark_feature(new) - seen.own_feature], dim=1))
        features = self.generator1(self.convGRU(moved, is_independent=is_independent))
        base = self.base(seen.shallow * (1 - gate) + features * gate)
        colour, attention = self.generator_color(base), self.generator_attention(base)
        return attention * colour + (1 - attention) * seen.face, attention, colour, gate

    def _lay_out(self, landmarks: Tensor) -> Tensor:
        """Convert (B, 136) landmarks to (B, 256, 8, 8) features."""
        return self.landmark_encoder_stage2(self.landmark_encoder(landmarks).reshape(-1, 1, _PLACES, _PLACES))


class _Seen(NamedTuple):
    """The input face, its encodings, and its own landmarks, laid out and as features."""

    face: Tensor
    shallow: Tensor
    deep: Tensor
    own: Tensor
    own_feature: Tensor


class BatchGRU(nn.Module):
    """A convolutional GRU that runs over the batch, as in the published network by mistake.

    The caller puts the batch before time, but the layer takes the first axis for time: the faces of a batch become
    steps of one recurrence, and frames are independent of each other. With one face the state is always zero.

    Equations: r = σ(W_r x + U_r h), z = σ(W_z x + U_z h), n = tanh(W_n x + r ⊙ U_n h), h' = (1 − z) ⊙ n + z ⊙ h.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * hidden, channels, 3, 3))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * hidden, hidden, 3, 3))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(3 * hidden))
        self.bias_hh_l0 = nn.Parameter(torch.zeros(3 * hidden))
        for weight in (self.weight_ih_l0, self.weight_hh_l0):
            nn.init.kaiming_uniform_(weight, a=5**0.5)

    def forward(self, values: Float[Tensor, "B C H W"], *, is_independent: bool = False) -> Float[Tensor, "B C2 H W"]:
        """Compute the state after each item of the batch.

        Args:
            values: input of each item.
            is_independent: whether every item starts from a zero state, as in a batch of its own.
        """
        given = conv2d(values, self.weight_ih_l0, self.bias_ih_l0, padding=2, dilation=2)
        if is_independent:
            # all that a state of zero keeps is the bias
            return self._advance(given, self.bias_hh_l0[None, :, None, None], given.new_zeros(()))
        state = given.new_zeros(1, given.shape[1] // 3, *given.shape[2:])
        states = []
        for item in given.split(1):
            kept = conv2d(state, self.weight_hh_l0, self.bias_hh_l0, padding=2, dilation=2)
            state = self._advance(item, kept, state)
            states.append(state)
        return torch.cat(states)

    @staticmethod
    def _advance(given: Tensor, kept: Tensor, state: Tensor) -> Tensor:
        (reset_in, update_in, new_in), (reset_h, update_h, new_h) = given.chunk(3, dim=1), kept.chunk(3, dim=1)
        update = torch.sigmoid(update_in + update_h)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_h) * new_h)
        return (1 - update) * new + update * state


class ResidualBlock(nn.Module):
    """Residual block of two convolutions, without an activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, values: Tensor) -> Tensor:
        return values + self.conv_block(values)


def _layer(before: int, after: int, kernel: int = 3, *, stride: int = 1, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )


def _doubling(before: int, after: int, *, has_bias: bool = False) -> list[nn.Module]:
    """Layers that double the size by a transposed convolution."""
    up = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=has_bias)
    return [up, nn.BatchNorm2d(after), nn.ReLU()]
