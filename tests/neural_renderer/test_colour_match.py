"""Colour matching: known on the ring, continued inwards, and independent of all other pixels."""

import cv2
import numpy as np

from metatalk_lib.neural_renderer.colour_match import match_colours
from tests.neural_renderer.test_compositing import make_mask, make_source


def test_colours_are_matched_from_the_ring_alone():
    background, mask = make_source(96, 112), make_mask(96, 112)
    background = cv2.GaussianBlur(background, (0, 0), 4)
    tinted = np.clip(background.astype(int) + np.array([9, -6, 4]), 0, 255).astype(np.uint8)
    matched = match_colours(tinted, background, mask, 6)
    assert np.abs(matched[mask].astype(int) - background[mask]).mean() < 1
    vandalised = background.copy()
    vandalised[mask] ^= 255
    assert np.array_equal(match_colours(tinted, vandalised, mask, 6), matched)
    assert np.array_equal(match_colours(tinted, background, np.ones_like(mask), 6), tinted)
    black = np.zeros_like(background)
    assert match_colours(black, np.full_like(black, 255), mask, 6).max() <= 24
