"""Alignment of a warped picture's surroundings with those of the painted frame."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from metatalk_lib.neural_renderer.background_flow import Surroundings, fit_surroundings
from metatalk_lib.neural_renderer.warping import pixel_places, sample_pixels

SIDE = 192
HERE = pixel_places(SIDE, SIDE)
FACE = np.hypot(HERE[..., 0] - 96, HERE[..., 1] - 80) < 40
MASK = np.hypot(HERE[..., 0] - 96, HERE[..., 1] - 80) < 60


def make_picture() -> np.ndarray:
    """Smooth texture without repetition."""
    noise = np.random.default_rng(3).integers(0, 255, (SIDE // 6, SIDE // 6, 3), np.uint8)
    return cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def moved_by(shift: tuple[float, float]) -> np.ndarray:
    return sample_pixels(make_picture(), HERE + np.float32(shift))


@pytest.mark.parametrize("reduction", [1, 2])
def test_moved_surroundings_are_found_and_the_face_stays(reduction: int):
    """The frame's background lies 5 px further left than where the face's own motion, none, would bring it."""
    picture, frame = make_picture(), moved_by((5, -2))
    surroundings = Surroundings(np.where(MASK[..., None], 0, frame).astype(np.uint8), MASK, reduction)
    (places,) = fit_surroundings(HERE[None], [picture], FACE, surroundings)
    error_before = np.abs(picture.astype(float) - frame)[~MASK].mean()
    brought = sample_pixels(picture, places).astype(float)
    assert np.abs(brought - frame)[~MASK].mean() < 0.25 * error_before
    inner = cv2.erode(FACE.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert np.array_equal(places[inner], HERE[inner])
    rim = MASK & ~(cv2.dilate(FACE.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0)
    assert np.abs(brought - frame)[rim].mean() < 0.6 * np.abs(picture.astype(float) - frame)[rim].mean()


def test_what_is_withheld_makes_no_difference():
    frame, generator = moved_by((3, 1)), np.random.default_rng(0)
    other = np.where(MASK[..., None], generator.integers(0, 255, frame.shape), frame).astype(np.uint8)
    one, two = (
        fit_surroundings(HERE[None], [make_picture()], FACE, Surroundings.of(image, MASK, 512))
        for image in (frame, other)
    )
    # where the reduced picture is shown, no pixel of it may be a mixture with what is withheld
    assert np.array_equal(one, two)


def test_equal_surroundings_move_nothing_and_without_any_everything_stays():
    picture = make_picture()
    (places,) = fit_surroundings(HERE[None], [picture], FACE, Surroundings(picture, MASK, 2))
    np.testing.assert_allclose(places, HERE, atol=0.2)
    everywhere = Surroundings(picture, np.ones_like(MASK), 2)
    assert np.array_equal(fit_surroundings(HERE[None], [picture], FACE, everywhere)[0], HERE)


def test_several_pictures_and_threads_give_what_one_gives():
    pictures = [make_picture(), moved_by((1, 2)), moved_by((-4, 0))]
    surroundings = Surroundings.of(moved_by((2, 2)), MASK, 512)
    places = np.repeat(HERE[None], 3, axis=0)
    together = fit_surroundings(places, pictures, FACE, surroundings)
    with ThreadPoolExecutor(3) as pool:
        alone = pool.map(lambda picture: fit_surroundings(HERE[None], [picture], FACE, surroundings)[0], pictures)
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
