"""cw_ssim: forgives a shift of a pixel, but not blur; the formula by an independent, direct computation."""

import cv2
import numpy as np
import pytest
from skimage import data

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics import cw_ssim as module
from metatalk_lib.metrics.cw_ssim import cw_ssim, cw_ssim_map
from metatalk_lib.metrics.image_quality import ssim

ROWS, COLUMNS = slice(60, 252), slice(120, 312)


def portrait(shift: float = 0.0) -> np.ndarray:
    """A piece of a photograph, of the same scene moved by some pixels."""
    moved = cv2.warpAffine(data.astronaut(), np.array([[1, 0, shift], [0, 1, 0.0]]), (512, 512))
    return np.ascontiguousarray(moved[ROWS, COLUMNS])


def test_an_identical_image_scores_one():
    assert cw_ssim(portrait(), portrait()) == pytest.approx(1, abs=1e-6)


def test_a_shift_of_a_pixel_is_forgiven_and_blur_is_not():
    real, shifted = portrait(), portrait(1.0)
    blurred = cv2.GaussianBlur(real, (0, 0), 1.0)
    assert cw_ssim(shifted, real) > 0.85
    assert cw_ssim(blurred, real) < 0.7
    # SSIM ranks them the other way round
    assert ssim(shifted, real) < ssim(blurred, real)


def test_light_and_contrast_hardly_matter_and_noise_does():
    real = portrait()
    brighter = np.clip(real.astype(int) + 10, 0, 255).astype(np.uint8)
    assert cw_ssim(brighter, real) > 0.99
    assert cw_ssim((real * 0.9).astype(np.uint8), real) > 0.97
    noise = np.random.default_rng(0).normal(0, 10, real.shape)
    assert cw_ssim(np.clip(real + noise, 0, 255).astype(np.uint8), real) < 0.65


def test_more_blur_scores_less():
    real = portrait()
    scores = [cw_ssim(cv2.GaussianBlur(real, (0, 0), sigma), real) for sigma in (0.5, 1.0, 2.0, 4.0)]
    assert scores == sorted(scores, reverse=True)


def test_the_formula_at_one_pixel():
    """The paper's equation, summed over a window by hand, from coefficients filtered by a full complex transform."""
    real, other = portrait(), portrait(2.0)
    pad = module._PAD_PX
    total, bands = 0.0, None
    padded = []
    for picture in (other, real):
        luma = picture.astype(np.float64) @ (0.299, 0.587, 0.114)
        shape = [module.scipy.fft.next_fast_len(length + 2 * pad) for length in luma.shape]
        after = [side - length - pad for side, length in zip(shape, luma.shape, strict=True)]
        padded.append(np.pad(luma, ((pad, after[0]), (pad, after[1])), mode="reflect"))
    bands = module._filters(*padded[0].shape).astype(np.float64)
    row, column = 90, 80
    for band in bands:
        x, y = (np.fft.ifft2(np.fft.fft2(picture) * band) for picture in padded)
        window = np.s_[pad + row - 3 : pad + row + 4, pad + column - 3 : pad + column + 4]
        x, y = x[window], y[window]
        shared, energy = abs((x * y.conj()).sum()), (abs(x) ** 2).sum() + (abs(y) ** 2).sum()
        total += (2 * shared + module.STABILISER) / (energy + module.STABILISER)
    assert cw_ssim_map(other, real)[row, column] == pytest.approx(total / len(bands), abs=1e-3)


def test_a_mask_counts_its_own_pixels():
    real = portrait()
    damaged = real.copy()
    damaged[100:140, 100:140] = cv2.GaussianBlur(real, (0, 0), 4)[100:140, 100:140]
    mask = np.zeros(real.shape[:2], bool)
    mask[10:50, 10:50] = True
    assert cw_ssim(damaged, real, mask=mask) == pytest.approx(1, abs=1e-4)
    elsewhere = np.zeros_like(mask)
    elsewhere[104:136, 104:136] = True
    assert cw_ssim(damaged, real, mask=elsewhere) < 0.5
    tiny = np.zeros_like(mask)
    tiny[0, 0] = True
    assert cw_ssim(damaged, real, mask=tiny) == pytest.approx(1, abs=1e-4)


def test_bad_input_is_named():
    real = portrait()
    with pytest.raises(ParameterError, match="at least 32 px a side"):
        cw_ssim(real[:20, :20], real[:20, :20])
    with pytest.raises(ParameterError, match="empty"):
        cw_ssim(real, real, mask=np.zeros(real.shape[:2], bool))
