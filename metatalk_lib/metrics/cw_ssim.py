"""Complex wavelet structural similarity: forgives a shift of a pixel, but not blur."""

from functools import lru_cache

import cv2
import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex64, Float, Float32, Int, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics.image_quality import LUMA_WEIGHTS, check_mask, check_pair

OCTAVES = (0, 1)
"""Octaves of the pyramid that are compared, 0 the finest: where blur shows."""
ORIENTATIONS = 6
WINDOW_PX = 7
"""Side of the window in which coefficients are compared."""
STABILISER = 2.0
"""K, which keeps flat regions from dividing by nothing: the square of a coefficient that grain of one level has."""
_PAD_PX = 16
_SMALLEST_PX = 32


def cw_ssim(
    image: UInt8[np.ndarray, "H W 3"],
    reference: UInt8[np.ndarray, "H W 3"],
    *,
    mask: Bool[np.ndarray, "H W"] | None = None,
) -> float:
    """Mean complex wavelet structural similarity of the lumas, of the whole image or of a region.

        CW-SSIM = (2 |sum c_x c_y*| + K) / (sum |c_x|^2 + sum |c_y|^2 + K)

    with the complex coefficients c of both lumas in a window of 7 px, in each of six orientations of the two finest
    octaves of a steerable pyramid; the mean over bands and pixels. A small shift turns the phases of a window alike, so
    that the sum keeps its length; blur shortens c_y, and other structure has other phases.

    Args:
        image: the image to judge, RGB.
        reference: the true image, RGB.
        mask: the region; None is the whole image.

    Returns:
        CW-SSIM in [0, 1], no unit; higher is better, identical images score 1.

    Raises:
        ParameterError: sizes differ, are smaller than 32 px, or the mask is empty.

    Source: M. Sampat, Z. Wang, S. Gupta, A. Bovik and M. Markey, Complex wavelet structural similarity, IEEE TIP 18,
    2009, equation 10; the pyramid's filters are those of J. Portilla and E. Simoncelli, IJCV 40, 2000. Which octaves
    are compared, and the region mean, are original to this project.
    """
    check_pair(image, reference)
    if mask is not None:
        check_mask(mask, image)
        rows, columns = (_span(np.flatnonzero(mask.any(axis=axis)), mask.shape[1 - axis]) for axis in (1, 0))
        image, reference, mask = image[rows, columns], reference[rows, columns], mask[rows, columns]
    if min(image.shape[:2]) < _SMALLEST_PX:
        raise ParameterError(f"CW-SSIM needs images of at least {_SMALLEST_PX} px a side, got {image.shape[:2]}.")
    values = cw_ssim_map(image, reference)
    return float(values.mean() if mask is None else values[mask].mean())


def cw_ssim_map(image: UInt8[np.ndarray, "H W 3"], reference: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    """Complex wavelet structural similarity at every pixel, the mean over octaves and orientations; see `cw_ssim`.

    Args:
        image: the image to judge, RGB.
        reference: the true image, RGB.
    """
    first, second = (_transform(picture) for picture in (image, reference))
    total = np.zeros(image.shape[:2], np.float64)
    for one_band in _filters(*first.shape):
        x, y = (scipy.fft.ifft2(spectrum * one_band, workers=1) for spectrum in (first, second))
        inside = np.s_[_PAD_PX : _PAD_PX + image.shape[0], _PAD_PX : _PAD_PX + image.shape[1]]
        product = x * y.conj()
        shared = np.hypot(_sum(product.real), _sum(product.imag))
        energy = _sum(np.square(np.abs(x)) + np.square(np.abs(y)))
        total += ((2 * shared + STABILISER) / (energy + STABILISER))[inside]
    return total / (len(OCTAVES) * ORIENTATIONS)


def _transform(image: UInt8[np.ndarray, "H W 3"]) -> Complex64[np.ndarray, "P Q"]:
    """Transform the luma, mirrored beyond its border to a size that transforms fast."""
    luma = image.astype(np.float32) @ LUMA_WEIGHTS.astype(np.float32)
    sides = [scipy.fft.next_fast_len(length + 2 * _PAD_PX) for length in luma.shape]
    after = [side - length - _PAD_PX for side, length in zip(sides, luma.shape, strict=True)]
    padded = np.pad(luma, ((_PAD_PX, after[0]), (_PAD_PX, after[1])), mode="reflect")
    return np.asarray(scipy.fft.fft2(padded, workers=1), np.complex64)


@lru_cache(maxsize=8)
def _filters(height: int, width: int) -> Float32[np.ndarray, "B P Q"]:
    """Build the band filters in the frequency domain, one half-plane each, so that coefficients are complex."""
    y, x = np.meshgrid(2 * scipy.fft.fftfreq(height), 2 * scipy.fft.fftfreq(width), indexing="ij")
    octave = -np.log2(np.maximum(np.hypot(x, y), 1e-6))  # 0 at the highest frequency along an axis
    angle = np.arctan2(y, x)
    bands = []
    for level in OCTAVES:
        away = np.abs(octave - level - 0.5)  # half an octave below the band's upper end
        radial = np.where(away < 1, np.cos(np.pi / 2 * np.clip(away, 0, 1)), 0)
        for number in range(ORIENTATIONS):
            turned = np.angle(np.exp(1j * (angle - np.pi * number / ORIENTATIONS)))
            bands.append(radial * np.where(np.abs(turned) < np.pi / 2, 2 * np.cos(turned) ** (ORIENTATIONS - 1), 0))
    return np.asarray(bands, np.float32)


def _sum(values: Float[np.ndarray, "P Q"]) -> Float32[np.ndarray, "P Q"]:
    """Sum over the window round every pixel."""
    size = (WINDOW_PX, WINDOW_PX)
    return np.asarray(cv2.boxFilter(values.astype(np.float32), -1, size, normalize=False), np.float32)


def _span(occupied: Int[np.ndarray, " N"], length: int) -> slice:
    """Return the slice of the occupied rows with a margin, at least 32 px long where the picture is."""
    first, last = max(0, int(occupied[0]) - WINDOW_PX), min(length, int(occupied[-1]) + 1 + WINDOW_PX)
    first = max(0, min(first, last - _SMALLEST_PX))
    return slice(first, min(length, max(last, first + _SMALLEST_PX)))
