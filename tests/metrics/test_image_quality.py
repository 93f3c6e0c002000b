"""Metrics against the golden file, scikit-image, independent formulas and known answers."""

import inspect

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics import correlation, image_quality
from tests.reference import REFERENCE_DIR
from tests.synthetic import centre_mask, random_pair

GOLDEN = REFERENCE_DIR / "front_ssim_fid.npz"


def golden_pair() -> tuple[np.ndarray, np.ndarray]:
    generator = torch.Generator().manual_seed(7)
    blocks = torch.rand((1, 3, 12, 16), generator=generator)
    first = blocks.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    second = (first + 0.08 * torch.randn(first.shape, generator=generator)).clamp(0, 1)
    return tuple((image[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy() for image in (first, second))


@pytest.mark.parametrize(
    ("variant", "key"),
    [
        ("gaussian", "skimage_gaussian_sigma1_5"),
        ("uniform", "skimage_default_uniform7"),
        ("zero_padded", "pytorch_ssim"),
    ],
)
def test_ssim_reproduces_the_golden_values_of_all_three_variants(variant: str, key: str) -> None:
    first, second = golden_pair()
    with np.load(GOLDEN) as golden:
        assert image_quality.ssim(first, second, variant=variant) == pytest.approx(float(golden[key]), abs=2e-5)


def test_ssim_reproduces_the_golden_value_of_grey_images() -> None:
    grey = [np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2) for image in golden_pair()]
    with np.load(GOLDEN) as golden:
        assert image_quality.ssim(*grey, variant="uniform") == pytest.approx(
            float(golden["skimage_gray_default"]), abs=2e-5
        )


def test_ssim_map_equals_scikit_image_everywhere() -> None:
    image, reference = random_pair()
    _, expected = structural_similarity(
        image, reference, channel_axis=2, data_range=255, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    np.testing.assert_allclose(image_quality.ssim_map(image, reference), expected.mean(axis=2), atol=2e-5)


def test_ssim_is_one_for_equal_images_and_falls_with_noise() -> None:
    image, reference = random_pair()
    assert image_quality.ssim(reference, reference) == pytest.approx(1.0, abs=1e-6)
    assert image_quality.ssim(reference, reference, mask=centre_mask(image.shape)) == pytest.approx(1.0, abs=1e-6)
    assert image_quality.ssim(image, reference) < 0.95


@pytest.mark.parametrize("variant", ["gaussian", "uniform", "zero_padded"])
@pytest.mark.parametrize("corner", [(0, 0), (20, 18), (52, 60)])
def test_ssim_of_a_region_is_the_mean_of_the_map_over_it(variant: str, corner: tuple[int, int]) -> None:
    image, reference = random_pair()
    mask = np.zeros(image.shape[:2], bool)
    mask[corner[0] : corner[0] + 8, corner[1] : corner[1] + 12] = True
    expected = image_quality.ssim_map(image, reference, variant=variant)[mask].mean()
    assert image_quality.ssim(image, reference, mask=mask, variant=variant) == pytest.approx(expected, abs=1e-6)


def test_a_whole_crop_hides_what_the_region_shows() -> None:
    _, reference = random_pair(200, 200)
    mask = np.zeros((200, 200), bool)
    mask[90:110, 90:110] = True
    cheat = reference.copy()
    cheat[mask] = 128
    assert image_quality.ssim(cheat, reference) > 0.95
    assert image_quality.ssim(cheat, reference, mask=mask) < 0.7


def test_psnr_against_scikit_image_and_a_known_answer() -> None:
    image, reference = random_pair()
    assert image_quality.psnr(image, reference) == pytest.approx(peak_signal_noise_ratio(reference, image), abs=1e-9)
    offset = np.full((16, 16, 3), 100, np.uint8)
    assert image_quality.psnr(offset, offset + np.uint8(5)) == pytest.approx(20 * np.log10(255 / 5))
    assert image_quality.psnr(image, image) == float("inf")


def test_psnr_of_a_region_ignores_the_rest() -> None:
    reference = np.full((32, 32, 3), 100, np.uint8)
    image = reference.copy()
    image[:16] += 10
    lower, upper = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    lower[20:], upper[:16] = True, True
    assert image_quality.psnr(image, reference, mask=lower) == float("inf")
    assert image_quality.psnr(image, reference, mask=upper) == pytest.approx(20 * np.log10(255 / 10))


def test_sharpness_of_a_ramp_is_its_slope() -> None:
    ramp = np.repeat((np.arange(60) * 4).astype(np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert image_quality.sharpness(ramp) == pytest.approx(4.0)
    assert image_quality.sharpness(np.full((8, 8, 3), 7, np.uint8)) == 0.0


def test_gradient_energy_is_the_squared_slope_and_weighs_strong_edges_more() -> None:
    ramp = np.repeat((np.arange(60) * 4).astype(np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert image_quality.gradient_energy(ramp) == pytest.approx(16.0)
    mask = np.zeros(ramp.shape[:2], bool)
    mask[:, :30] = True
    steep = ramp.copy()
    steep[:, 30:] = 7
    assert image_quality.gradient_energy(steep, mask=mask & (np.arange(60) < 28)) == pytest.approx(16.0)
    lost = image_quality.gradient_energy(ramp // 2) / image_quality.gradient_energy(ramp)
    assert lost < image_quality.sharpness(ramp // 2) / image_quality.sharpness(ramp) < 0.51


@pytest.mark.parametrize("corner", [(0, 0), (20, 18), (52, 60)])
def test_sharpness_of_a_region_is_the_mean_over_it(corner: tuple[int, int]) -> None:
    image, _ = random_pair()
    mask = np.zeros(image.shape[:2], bool)
    mask[corner[0] : corner[0] + 8, corner[1] : corner[1] + 12] = True
    down, right = np.gradient(image @ np.array([0.299, 0.587, 0.114]))
    assert image_quality.sharpness(image, mask=mask) == pytest.approx(np.hypot(down, right)[mask].mean())


def test_sharpness_ratio_falls_under_blur() -> None:
    reference, _ = random_pair()
    blurred = convolve(reference.astype(float), np.ones((7, 7, 1)) / 49).astype(np.uint8)
    assert image_quality.sharpness_ratio(reference, reference) == 1.0
    assert image_quality.sharpness_ratio(blurred, reference, mask=centre_mask(reference.shape)) < 0.5


def test_landmark_distance_known_answer() -> None:
    zeros = np.zeros((4, 68, 2), np.float32)
    assert image_quality.landmark_distance(zeros + np.float32([3, 4]), zeros) == pytest.approx(5.0)
    assert image_quality.landmark_distance(zeros, zeros) == 0.0


def test_correlation_against_numpy_and_limits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.normal(size=50)
    assert correlation.correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation.correlation(x, 3 * x + 7) == pytest.approx(1.0)
    assert correlation.correlation(x, -x) == pytest.approx(-1.0)
    assert correlation.correlation(np.full(50, 4.2), y) == 0.0
    assert correlation.correlation(x, np.zeros(50)) == 0.0


def unchecked(function):
    """The function without the shape check of the test run, so that its own messages show."""
    return inspect.unwrap(function)


def test_bad_input_is_refused() -> None:
    image, reference = random_pair()
    with pytest.raises(ParameterError, match="differ in size"):
        unchecked(image_quality.ssim_map)(image, reference[:-1])
    with pytest.raises(ParameterError, match="at least 11 px"):
        unchecked(image_quality.ssim_map)(image[:8], reference[:8])
    with pytest.raises(ParameterError, match="mask is empty"):
        unchecked(image_quality.ssim)(image, reference, mask=np.zeros(image.shape[:2], bool))
    with pytest.raises(ParameterError, match="mask has the size"):
        unchecked(image_quality.psnr)(image, reference, mask=np.ones((4, 4), bool))
    with pytest.raises(ParameterError, match="constant in the region"):
        unchecked(image_quality.sharpness_ratio)(image, np.zeros_like(image))
    with pytest.raises(ParameterError, match="non-empty shapes"):
        unchecked(image_quality.landmark_distance)(np.zeros((2, 68, 2)), np.zeros((3, 68, 2)))
    with pytest.raises(ParameterError, match="one length"):
        unchecked(correlation.correlation)(np.zeros(5), np.zeros(6))
    with pytest.raises(ParameterError, match="not finite"):
        unchecked(correlation.correlation)(np.array([0.0, np.nan, 1.0]), np.arange(3.0))
