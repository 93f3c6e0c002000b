"""Loss functions of the neural renderer: pure functions of images in [-1, 1]."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from metatalk_lib.metrics.image_quality import LUMA_WEIGHTS

DETAIL_PX = 16
"""Side of the half-overlapping squares in which detail is compared, px."""
STEADY = 1e-5
"""Offset that keeps the root of the gradient energy differentiable where the image is flat."""

Features = Sequence[Sequence[Float[Tensor, "_ _ _ _"]]]


def masked_l1(
    image: Float[Tensor, "B 3 H W"], reference: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """Masked L1 loss: ‖M (image − reference)‖₁ / ‖M‖₁, mean over the colours.

    Source: paper section 2.4, Eq. 2.
    """
    return ((image - reference).abs() * mask).sum() / (3 * mask.sum()).clamp_min(1)


def edge_loss(image: Float[Tensor, "B 3 H W"], reference: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """Gradient difference loss: mean absolute error of the differences between neighbouring pixels.

    Source: the gradient difference loss of Mathieu et al., ICLR 2016, with exponent 1 and signed differences.
    """
    difference = image - reference
    down = difference[..., 1:, :] - difference[..., :-1, :]
    right = difference[..., 1:] - difference[..., :-1]
    return down.abs().mean() + right.abs().mean()


def detail_loss(image: Float[Tensor, "B 3 H W"], reference: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """Mean absolute error of local sharpness: the root of the luma's gradient energy in squares of `DETAIL_PX`.

    It rewards the right amount of detail regardless of its exact position, where L1 alone leads to blur. The root of
    the mean square emphasises strong edges, which blur affects most; the mean magnitude would leave them soft.

    Source: original to this project.
    """
    return (_local_sharpness(image) - _local_sharpness(reference)).abs().mean()


def _local_sharpness(image: Tensor) -> Tensor:
    weights = torch.tensor(LUMA_WEIGHTS, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    luma = (image * weights).sum(dim=1, keepdim=True)
    down = (luma[..., 2:, 1:-1] - luma[..., :-2, 1:-1]) / 2
    right = (luma[..., 1:-1, 2:] - luma[..., 1:-1, :-2]) / 2
    return (avg_pool2d(down**2 + right**2, DETAIL_PX, DETAIL_PX // 2) + STEADY).sqrt()


def verdict_loss(features: Features, *, is_real: bool) -> Float[Tensor, ""]:
    """Binary cross-entropy of a discriminator's logits against one label, mean over the scales.

    Source: paper section 2.4, Eq. 3; with logits as in pix2pix and AudioDVP.
    """
    losses = [
        binary_cross_entropy_with_logits(scale[-1], torch.full_like(scale[-1], float(is_real))) for scale in features
    ]
    return torch.stack(losses).mean()


def feature_loss(features: Features, real: Features) -> Float[Tensor, ""]:
    """Feature matching loss: mean absolute difference of the discriminator's activations on painted and real images.

    Source: Wang et al., CVPR 2018, Eq. 4 (feature matching); no downloaded network is needed.
    """
    pairs = [
        pair for scale, other in zip(features, real, strict=True) for pair in zip(scale[:-1], other[:-1], strict=True)
    ]
    return torch.stack([(painted - true.detach()).abs().mean() for painted, true in pairs]).mean()


def motion_loss(images: Float[Tensor, "B 2 3 H W"], references: Float[Tensor, "B 2 3 H W"]) -> Float[Tensor, ""]:
    """Mean absolute difference between painted and real changes from one frame to the next.

    Source: original to this project.
    """
    painted, real = images[:, 1] - images[:, 0], references[:, 1] - references[:, 0]
    return (painted - real).abs().mean()
