"""Procedural skin: random albedos of the open face model, painted over three-dimensional position.

Skin acts as a filter: albedo = exp(-(base + melanin * a_melanin + haemoglobin * a_haemoglobin)) in each colour channel,
so tone and blush vary as they do in people rather than as arbitrary tints. Hair, lips and spots are layered on top.
Values are display-referred RGB in [0, 1].
"""

import cv2
import numpy as np
from jaxtyping import Float

from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.face3d import anny_data

# Absorbance of RGB: of the palest skin, per unit of melanin, per unit of haemoglobin. Chosen by eye so that melanin 0,
# 0.4 and 1 give pale, olive and dark skin.
BASE_ABSORBANCE = np.array((0.02, 0.15, 0.25))
_MELANIN_ABSORBANCE = np.array((0.95, 1.20, 1.40))
HAEMOGLOBIN_ABSORBANCE = np.array((0.04, 0.28, 0.24))
LIP_ABSORBANCE = np.array((0.12, 0.46, 0.34))
HAIR_COLOURS = np.array(((0.10, 0.08, 0.07), (0.24, 0.16, 0.11), (0.45, 0.32, 0.20), (0.50, 0.48, 0.46)))

# Landmark detectors mark the upper edge of a brow; its middle line lies this much lower, decimetres.
BROW_DROP = 0.02

_RIGHT_BROW, _LEFT_BROW = slice(17, 22), slice(22, 27)
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)
_NOSE_TIP, _NOSE_BASE, _CHIN = 30, 33, 8


def _distance_to_line(
    points: Float[np.ndarray, "N 2"], line: Float[np.ndarray, "K 2"]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of points to a polyline and the position along it, 0 at its start to 1 at its end."""
    best = np.full(len(points), np.inf)
    along = np.zeros(len(points))
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    for a, b, length, start in zip(line[:-1], line[1:], lengths, starts, strict=True):
        t = np.clip((points - a) @ (b - a) / length**2, 0, 1)
        distance = np.linalg.norm(points - (a + t[:, None] * (b - a)), axis=1)
        nearer = distance < best
        best[nearer] = distance[nearer]
        along[nearer] = (start + t[nearer] * length) / lengths.sum()
    return best, along


def _blob(surface, centre, radius) -> np.ndarray:
    return np.exp(-(((surface - centre) / radius) ** 2).sum(axis=1))


def paint_masks(
    surface: Float[np.ndarray, "N 3"],
    landmarks: Float[np.ndarray, "68 3"],
    texture_coordinates: Float[np.ndarray, "N 2"],
) -> dict[str, Float[np.ndarray, " N"]]:
    """Paint masks of lips, brows, lashes, sockets, cheeks, nose and beard on the mean face, each 0 to 1."""
    lips = cv2.GaussianBlur(anny_data.load_mask("lips"), (0, 0), 3)
    masks = {"lips": anny_data.sample_at_texture(lips, texture_coordinates) / 255.0}
    brow = np.zeros(len(surface))
    lash = np.full(len(surface), np.inf)
    socket = np.zeros(len(surface))
    for brow_points, eye in ((_RIGHT_BROW, _RIGHT_EYE), (_LEFT_BROW, _LEFT_EYE)):
        line = landmarks[brow_points, :2] - (0, BROW_DROP)
        line = line[::-1] if eye is _RIGHT_EYE else line
        distance, along = _distance_to_line(surface[:, :2], line)
        width = np.interp(along, (0, 0.15, 0.6, 1), (0.024, 0.040, 0.036, 0.012))
        brow = np.maximum(
            brow, (1 - smooth_step(0.5, 1.15, distance / width)) * np.interp(along, (0, 0.1, 1), (0.5, 1, 0.9))
        )
        ring = np.concatenate((landmarks[eye, :2], landmarks[eye, :2][:1]))
        lash = np.minimum(lash, _distance_to_line(surface[:, :2], ring)[0])
        socket = np.maximum(
            socket, _blob(surface, landmarks[eye].mean(axis=0) - (0, 0.04, 0), np.array((0.24, 0.13, 0.3)))
        )
    front = surface[:, 2] > landmarks[_NOSE_BASE, 2] - 0.5
    masks["brows"] = brow * front
    masks["lashes"] = (1 - smooth_step(0.004, 0.022, lash)) * front
    masks["sockets"] = socket
    side = np.array((0.42, (landmarks[_NOSE_BASE, 1] + landmarks[_NOSE_TIP, 1]) / 2, surface[:, 2].max() - 0.45))
    left, right = (_blob(surface, side * (sign, 1, 1), np.array((0.20, 0.20, 0.45))) for sign in (1, -1))
    masks["cheeks"] = left + right
    masks["nose"] = _blob(surface, landmarks[_NOSE_TIP], np.array((0.13, 0.14, 0.25)))
    masks["beard"] = _paint_beard(surface, landmarks) * (1 - masks["lips"])
    return masks


def _paint_beard(surface, landmarks) -> np.ndarray:
    """Mask of beard growth: below a line from the base of the nose to the ears, without the middle of the cheeks."""
    height = landmarks[_NOSE_BASE, 1] - landmarks[_CHIN, 1]
    line = landmarks[_NOSE_BASE, 1] - 0.05 * height
    across = np.abs(surface[:, 0])
    limit = line - np.interp(across, (0, 0.15, 0.35, 0.5, 0.75), (0.02, 0.06, 0.30, 0.22, -0.15))
    return 1 - smooth_step(-0.06, 0.05, surface[:, 1] - limit)


def _noise_basis(surface, generator) -> np.ndarray:
    """(K, N) smooth unit-variance random fields over position, from broad to fine."""
    fields = []
    for frequency, count in ((3.0, 8), (8.0, 8), (25.0, 6), (60.0, 6)):
        for _ in range(count):
            waves = generator.normal(0, frequency, (12, 3))
            phases = generator.uniform(0, 2 * np.pi, 12)
            fields.append(np.sin(surface @ waves.T + phases).sum(axis=1) / np.sqrt(6))
    return np.stack(fields)


def _paint_one(masks, noise, generator) -> Float[np.ndarray, "N 3"]:
    """Paint the albedo of one random person."""
    broad, patchy, mottled, fine = (noise[a:b].T @ generator.normal(0, 1 / np.sqrt(b - a), b - a)
                                    for a, b in ((0, 8), (8, 16), (16, 22), (22, 28)))  # fmt: skip
    melanin = generator.beta(1.1, 1.8) + 0.02 * broad + 0.015 * patchy + 0.012 * mottled + 0.010 * fine
    melanin = melanin + generator.uniform(0, 0.10) * masks["sockets"] + generator.uniform(0, 0.05) * masks["beard"]
    blush = generator.uniform(0.1, 0.5)
    blood = generator.uniform(0.2, 0.6) + 0.06 * broad + 0.05 * patchy + 0.05 * mottled
    blood = blood + blush * (masks["cheeks"] + 0.8 * masks["nose"]) + generator.uniform(0, 0.25) * masks["sockets"]
    spots = generator.uniform(0, 0.35) * smooth_step(1.3, 2.2, fine) * (masks["cheeks"] + masks["nose"]).clip(0, 1)
    melanin = (melanin + spots).clip(0, 1.3)
    absorbance = BASE_ABSORBANCE + melanin[:, None] * _MELANIN_ABSORBANCE + blood[:, None] * HAEMOGLOBIN_ABSORBANCE
    absorbance += (generator.uniform(0.35, 1.0) * masks["lips"])[:, None] * LIP_ABSORBANCE
    albedo = np.exp(-absorbance)
    mix = generator.dirichlet((1.0, 1.2, 0.6, 0.4))
    hair = mix @ HAIR_COLOURS
    stubble = max(0.0, generator.normal(0.0, 0.28)) * masks["beard"] * (1 + 0.3 * fine).clip(0.3, 1.7)
    layers = ((generator.uniform(0.35, 0.95) * masks["brows"], hair), (0.75 * masks["lashes"], 0.5 * hair),
              (stubble.clip(0, 0.85), hair))  # fmt: skip
    for density, colour in layers:
        albedo += density[:, None] * (np.minimum(colour, albedo) - albedo)
    return albedo


def sample_albedos(
    surface: Float[np.ndarray, "N 3"],
    landmarks: Float[np.ndarray, "68 3"],
    texture_coordinates: Float[np.ndarray, "N 2"],
    count: int,
    seed: int,
) -> Float[np.ndarray, "K N 3"]:
    """Sample random albedos of different people on the mean face.

    Args:
        surface: (N, 3) mean face, decimetres.
        landmarks: (68, 3) landmarks of the mean face, which place brows, lashes and blush.
        texture_coordinates: (N, 2) texture coordinates of the vertices, for the lip mask.
        count: number of people.
        seed: seed of the random generator.

    Returns:
        (count, N, 3) float32 RGB in [0, 1].

    Source: original to this project; the lip mask is part of the CC0 head data.
    """
    generator = np.random.default_rng(seed)
    masks = paint_masks(surface, landmarks, texture_coordinates)
    noise = _noise_basis(surface, generator)
    return np.stack([_paint_one(masks, noise, generator).astype(np.float32) for _ in range(count)])
