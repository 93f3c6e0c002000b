"""From linear light to the camera's 8-bit picture: exposure, a soft shoulder, sRGB, grain."""

import numpy as np
from jaxtyping import Float, UInt8

from metatalk_lib.core.jit import compile_loop
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.surface import Layers

_SHOULDER = 0.55  # linear light above which highlights are compressed
_LEVELS = 4096
_linear = np.arange(_LEVELS) / (_LEVELS - 1)
SRGB = np.where(_linear <= 0.0031308, 12.92 * _linear, 1.055 * np.maximum(_linear, 1e-9) ** (1 / 2.4) - 0.055).astype(
    np.float32
)


@compile_loop
def _develop(layers, grain, shift, exposure, strength, table, picture):
    image, behind, cover = layers.image, layers.behind, layers.cover
    shift_x, shift_y = shift
    height, width = picture.shape[:2]
    knee = np.float32(_SHOULDER)
    room = np.float32(1.0) - knee
    for y in range(height):
        for x in range(width):
            noise = grain[(y + shift_y) & 255, (x + shift_x) & 255] * strength
            for k in range(3):
                value = (behind[y, x, k] + cover[y, x] * (image[y, x, k] - behind[y, x, k])) * exposure
                if value > knee:
                    value = knee + room * (np.float32(1.0) - np.exp(-(value - knee) / room))
                level = table[
                    int(min(max(value, np.float32(0.0)), np.float32(1.0)) * np.float32(4095.0) + np.float32(0.5))
                ]
                level += noise * (np.float32(1.2) - level)
                picture[y, x, k] = np.uint8(
                    min(max(level * np.float32(255.0) + np.float32(0.5), np.float32(0.0)), np.float32(255.0))
                )


def develop(
    layers: Layers, grain: Float[np.ndarray, "256 256"], character: StudioCharacter, frame_id: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Turn linear light into an sRGB picture with the character's exposure and grain.

    Args:
        layers: linear RGB of the surfaces and of what is behind them.
        grain: a tile of unit normal noise, shifted differently in every frame.
        character: exposure and grain strength.
        frame_id: chooses the grain's shift.
    """
    picture = np.empty(layers.image.shape, dtype=np.uint8)
    shift = (frame_id * 97 + 13) % 256, (frame_id * 57 + 71) % 256
    _develop(layers, grain, shift, np.float32(character.exposure), np.float32(character.grain), SRGB, picture)
    return picture
