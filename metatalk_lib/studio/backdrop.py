"""The room behind the person: painted once a video, in linear RGB, out of focus."""

import cv2
import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.studio.characters import StudioCharacter

BACKGROUNDS = ("gradient", "shelves", "window", "lights", "wall", "panels")


def paint_background(character: StudioCharacter, width: int, height: int, seed: int) -> Float[np.ndarray, "H W 3"]:
    """Linear RGB picture of the room.

    Raises:
        ParameterError: the character names a background that does not exist.
    """
    if character.background not in BACKGROUNDS:
        raise ParameterError(f"there is no background {character.background!r}. There are {', '.join(BACKGROUNDS)}.")
    generator = np.random.default_rng(seed + 101)
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    dark, bright = (np.array(colour) for colour in character.background_colours)
    glow = np.exp(-(((x - 0.40) / 0.42) ** 2) - ((y - 0.42) / 0.48) ** 2)
    picture = dark + (bright - dark) * glow[..., None]
    blur = 0.012
    if character.background == "shelves":
        picture, blur = _shelves(x, y, dark, bright, generator), 0.011
    elif character.background == "window":
        picture, blur = _window(x, y, dark, bright, generator), 0.022
    elif character.background == "lights":
        picture, blur = _lights(picture * 0.6, generator), 0.002
    elif character.background == "wall":
        noise = cv2.resize(generator.normal(size=(24, 32)), (width, height), interpolation=cv2.INTER_CUBIC)
        picture = picture * (1.0 + 0.04 * noise[..., None])
    elif character.background == "panels":
        seams = np.abs((x * 5.0 + 0.2) % 1.0 - 0.5) > 0.485
        picture, blur = picture * (1.0 - 0.45 * seams[..., None]), 0.007
    sigma = blur * width
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma)


def _shelves(x, y, dark, bright, generator):
    """Rows of books of various colours on shelves."""
    picture = np.broadcast_to(dark, (*x.shape, 3)).copy()
    rows = 4
    for row in range(rows):
        low, high = row / rows, (row + 1) / rows
        edge = 0.0
        while edge < 1.0:
            thick = generator.uniform(0.012, 0.035)
            tall = generator.uniform(0.62, 0.9)
            shade = bright * generator.uniform(0.25, 1.1) * (0.7 + 0.6 * generator.random(3))
            if generator.random() < 0.86:
                book = (
                    (x >= edge)
                    & (x < edge + thick)
                    & (y < high - 0.02)
                    & (y > high - 0.02 - tall * (high - low - 0.02))
                )
                picture[book] = shade
            edge += thick + 0.002
        picture[(y >= high - 0.02) & (y < high)] = bright * 0.55
    return picture * (0.55 + 0.5 * np.exp(-((x - 0.3) ** 2) / 0.15))[..., None]


def _window(x, y, dark, bright, generator):
    """A bright window with bars beside a dim wall."""
    picture = np.broadcast_to(dark, (*x.shape, 3)) * (0.8 + 0.4 * x[..., None])
    opening = (x > 0.58) & (x < 0.97) & (y > 0.04) & (y < 0.72)
    outside = bright * (1.25 - 0.55 * y[..., None]) + np.array([-0.05, 0.03, -0.08]) * (y > 0.45)[..., None]
    picture = np.where(opening[..., None], outside, picture)
    bars = opening & ((np.abs(x - 0.775) < 0.012) | (np.abs(y - 0.38) < 0.012))
    picture[bars] = dark * 1.6
    curtain = (x > 0.50) & (x < 0.60)
    picture[curtain] = dark * 1.3 + bright * 0.10 * (1 + np.sin(x[curtain] * 400.0))[:, None]
    return picture


def _lights(picture, generator):
    """Out-of-focus discs of light at night."""
    height, width = picture.shape[:2]
    for _ in range(60):
        centre = (int(generator.uniform(0, width) * 16), int(generator.uniform(0, 0.85 * height) * 16))
        radius = int(generator.uniform(0.012, 0.038) * width * 16)
        colour = np.array([1.0, generator.uniform(0.45, 0.85), generator.uniform(0.15, 0.75)]) * generator.uniform(
            0.06, 0.5
        )
        disc = np.zeros((height, width), dtype=np.float32)
        cv2.circle(disc, centre, radius, 0.75, -1, cv2.LINE_AA, 4)
        cv2.circle(disc, centre, radius, 1.0, max(1, width // 400), cv2.LINE_AA, 4)
        picture = picture + disc[..., None] * colour
    return picture
