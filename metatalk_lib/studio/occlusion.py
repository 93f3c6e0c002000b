"""Ambient occlusion and shadows of the resting figure, baked once: the share of light that reaches each vertex."""

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.jit import compile_loop
from metatalk_lib.studio.surface import rasterize_surface

_WINDOW = 5.6  # dm: width of the region that casts and receives shadows, centred on the throat
RESOLUTION = 448
BIAS = 0.035  # dm: keeps a surface from shading itself


def spread_directions(count: int) -> Float[np.ndarray, "D 3"]:
    """Evenly spread unit vectors (a Fibonacci sphere)."""
    index = np.arange(count) + 0.5
    height = 1.0 - 2.0 * index / count
    angle = np.pi * (1.0 + 5.0**0.5) * index
    ring = np.sqrt(1.0 - height**2)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], axis=1).astype(np.float32)


def spread_cone(axis: Float[np.ndarray, "3"], radius: float, count: int) -> Float[np.ndarray, "D 3"]:
    """Unit vectors filling a disc-shaped light of angular radius `radius` (radians) about an axis."""
    axis = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    side = np.cross(axis, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    up = np.cross(side, axis)
    index = np.arange(count)
    reach = np.tan(radius) * np.sqrt((index + 0.5) / count)
    angle = 2.39996323 * index
    points = axis + reach[:, None] * (np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * up)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@compile_loop
def _accumulate(x, y, near, buffer, bias, weight, total):
    """Add each vertex's share of light from one direction: the mean of the four nearest shadow tests."""
    size = buffer.shape[0]
    for i in range(x.shape[0]):
        column, row = int(np.floor(x[i])), int(np.floor(y[i]))
        if column < 0 or row < 0 or column >= size - 1 or row >= size - 1:
            total[i] += weight[i]
            continue
        lit = 0.0
        for dy in range(2):
            for dx in range(2):
                if buffer[row + dy, column + dx] <= near[i] + bias:
                    share_x = x[i] - column if dx else 1.0 - (x[i] - column)
                    share_y = y[i] - row if dy else 1.0 - (y[i] - row)
                    lit += share_x * share_y
        total[i] += weight[i] * lit


def gather_light(
    vertices: Float[np.ndarray, "N 3"],
    normals: Float[np.ndarray, "N 3"],
    triangles: np.ndarray,
    clip: np.ndarray,
    directions: Float[np.ndarray, "D 3"],
    transmittance: Float[np.ndarray, "D N"] | None,
    *,
    weighted: bool,
) -> Float[np.ndarray, " N"]:
    """Share (0 to 1) of the given directions that each vertex sees past the mesh.

    Args:
        vertices: (N, 3) at rest.
        normals: (N, 3) unit.
        triangles, clip: as in `base_mesh.Figure`.
        directions: unit vectors towards the light.
        transmittance: (D, N) share of the light that hair lets through, or none.
        weighted: weigh by the cosine to the normal (for surroundings) or evenly (for one light).
    """
    centre = np.array([0.0, np.median(vertices[:, 1]), 0.3], dtype=np.float32)
    total = np.zeros(len(vertices), dtype=np.float32)
    weights = np.zeros(len(vertices), dtype=np.float32)
    identifiers = np.empty((RESOLUTION, RESOLUTION), dtype=np.int32)
    buffer = np.empty((RESOLUTION, RESOLUTION), dtype=np.float32)
    for number, direction in enumerate(directions):
        side = np.cross([0.0, 1.0, 0.001], direction)
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(direction, side), direction]).astype(np.float32)
        local = (vertices - centre) @ frame.T
        screen = np.stack([local[:, 0], -local[:, 1]], axis=1) * (RESOLUTION / _WINDOW) + RESOLUTION / 2
        near = local[:, 2] + 20.0
        rasterize_surface(screen.astype(np.float32), near, triangles, clip, True, identifiers, buffer)
        weight = np.maximum(normals @ direction, 0.0) if weighted else np.ones(len(vertices), dtype=np.float32)
        weights += weight
        if transmittance is not None:
            weight = weight * transmittance[number]
        _accumulate(screen[:, 0], screen[:, 1], near + BIAS * 0.5, buffer, BIAS * 0.5, weight, total)
    return total / np.maximum(weights, 1e-6)
