"""Illumination by spherical harmonics of three bands: nine coefficients per colour channel, 27 in all."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metatalk_lib.core.jit import compile_loop

# Cosine-lobe factors of the bands 0, 1, 2, and the harmonics' own normalisations.
_LOBE = (math.pi, 2 * math.pi / math.sqrt(3), 2 * math.pi / math.sqrt(8))
_NORM = (
    1 / math.sqrt(4 * math.pi),
    math.sqrt(3) / math.sqrt(4 * math.pi),
    3 * math.sqrt(5) / math.sqrt(12 * math.pi),
)
# Added to the first coefficient of every colour, so that 27 zeros give a plain white light.
AMBIENT = 0.8


class ShadedVertices(NamedTuple):
    """Shaded vertices of one frame.

    Attributes:
        colors: (N, 3) texture * shading, RGB clamped to [0, 1].
        mean_shading: (3,) shading before the albedo, averaged over the vertices, not clamped.
    """

    colors: Float[np.ndarray, "N 3"]
    mean_shading: Float[np.ndarray, "3"]


def compute_harmonics(normals: Float[Tensor, "*B N 3"]) -> Float[Tensor, "*B N 9"]:
    """Compute the nine basis functions at unit normals given in CAMERA space (x right, y up, z to the camera).

    With a_i c_i the product of lobe and norm of band i: [a0 c0, -a1 c1 y, a1 c1 z, -a1 c1 x, a2 c2 xy, -a2 c2 yz,
    a2 c2 (3 z² - 1) / (2 sqrt 3), -a2 c2 xz, a2 c2 (x² - y²) / 2].

    Args:
        normals: unit normals.

    Source: sicxu/Deep3DFaceRecon_pytorch models/bfm.py, compute_color (constants 0.886227, 1.772454, 2.427032, ...).
    """
    x, y, z = normals.unbind(-1)
    first, second = _LOBE[1] * _NORM[1], _LOBE[2] * _NORM[2]
    terms = (
        torch.full_like(x, _LOBE[0] * _NORM[0]),
        -first * y,
        first * z,
        -first * x,
        second * x * y,
        -second * y * z,
        second * (3 * z * z - 1) / (2 * math.sqrt(3)),
        -second * x * z,
        second * (x * x - y * y) / 2,
    )
    return torch.stack(terms, dim=-1)


def compute_shading(normals: Float[Tensor, "B N 3"], illumination: Float[Tensor, "B 27"]) -> Float[Tensor, "B N 3"]:
    """Compute the light that arrives at each normal, before the albedo.

    shading[b, n, colour] = sum over k of H[b, n, k] (gamma[b, colour, k] + 0.8 where k = 0)

    Args:
        normals: unit normals in camera space.
        illumination: 27 coefficients flattened colour-major, (3 colours, 9 terms).

    Returns:
        RGB factors; the colour of a point is texture * shading. Not clamped.
    """
    gamma = illumination.reshape(-1, 3, 9)
    ambient = torch.zeros(9, dtype=gamma.dtype, device=gamma.device)
    ambient[0] = AMBIENT
    return compute_harmonics(normals) @ (gamma + ambient).transpose(-1, -2)


def compute_colors(
    texture: Float[Tensor, "B N 3"], normals: Float[Tensor, "B N 3"], illumination: Float[Tensor, "B 27"]
) -> Float[Tensor, "B N 3"]:
    """Compute the shaded colour of every vertex: texture * shading.

    Args:
        texture: albedo in [0, 1], RGB.
        normals: unit normals in camera space.
        illumination: 27 coefficients, see `compute_shading`.

    Returns:
        RGB around [0, 1], not clamped: the caller clamps once, when making a picture.
    """
    return texture * compute_shading(normals, illumination)


@compile_loop
def _shade(texture, normals, light, colors, total):
    for vertex in range(normals.shape[0]):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        xy, yz, xz, zz, xx_yy = x * y, y * z, x * z, z * z, x * x - y * y
        for colour in range(3):
            shading = light[colour, 0] + light[colour, 1] * y + light[colour, 2] * z + light[colour, 3] * x
            shading += light[colour, 4] * xy + light[colour, 5] * yz + light[colour, 6] * zz
            shading += light[colour, 7] * xz + light[colour, 8] * xx_yy
            total[colour] += shading
            colors[vertex, colour] = min(max(texture[vertex, colour] * shading, np.float32(0)), np.float32(1))


def shade_vertices(
    texture: Float[np.ndarray, "N 3"], normals: Float[np.ndarray, "N 3"], illumination: Float[np.ndarray, "27"]
) -> ShadedVertices:
    """Compute the colours of `compute_colors` clamped to [0, 1], for one frame and without gradients; compiled.

    Args:
        texture: albedo in [0, 1], RGB.
        normals: unit normals in camera space.
        illumination: 27 coefficients, see `compute_shading`.
    """
    first, second = _LOBE[1] * _NORM[1], _LOBE[2] * _NORM[2]
    # the harmonics' factors enter the light once; what remains is a polynomial of 1, y, z, x, xy, yz, zz, xz, xx - yy
    zz = 3 * second / (2 * math.sqrt(3))
    factors = (_LOBE[0] * _NORM[0], -first, first, -first, second, -second, zz, -second, second / 2)
    light = illumination.astype(np.float64).reshape(3, 9)
    light[:, 0] += AMBIENT
    light *= factors
    light[:, 0] -= light[:, 6] / 3
    colors, total = np.empty(normals.shape, dtype=np.float32), np.zeros(3)
    _shade(
        np.ascontiguousarray(texture, dtype=np.float32),
        np.ascontiguousarray(normals, dtype=np.float32),
        light.astype(np.float32),
        colors,
        total,
    )
    return ShadedVertices(colors, (total / max(len(normals), 1)).astype(np.float32))
