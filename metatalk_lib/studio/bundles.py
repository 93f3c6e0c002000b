"""A bundle of strands before it is lit and sorted, and where strands are rooted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from metatalk_lib.studio.mesh import SKIN, Figure

GREY = np.array([0.27, 0.27, 0.275])  # albedo of a grey hair


@dataclass
class Bundle:
    """Strands of equal point count Q: points (S, Q, 3), anchors and shares (S, Q, 3), the rest (S, Q) or (S, Q, 3)."""

    points: np.ndarray
    anchors: np.ndarray
    shares: np.ndarray
    colours: np.ndarray
    widths: np.ndarray
    opacity: np.ndarray
    casts_shadow: bool = False


def scatter(figure: Figure, mask: np.ndarray, count: int, generator: np.random.Generator):
    """Roots on the skin with probability proportional to area times the mask: triangles (K, 3) and weights (K, 3)."""
    triangles = figure.triangles[figure.part == SKIN]
    corners = figure.vertices[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = area * mask[triangles].mean(axis=1)
    if weight.sum() <= 0:
        return triangles[:0], np.zeros((0, 3))
    chosen = generator.choice(len(triangles), size=count, p=weight / weight.sum())
    a, b = generator.random((2, count))
    swap = a + b > 1
    a, b = np.where(swap, 1 - a, a), np.where(swap, 1 - b, b)
    return triangles[chosen], np.stack([a, b, 1 - a - b], axis=1)


def shades(colour: np.ndarray, grey: float, count: int, generator: np.random.Generator) -> np.ndarray:
    """Albedo (count, 3) of strands about one colour, a share of them grey."""
    tones = colour * np.exp(generator.normal(0.0, 0.25, (count, 1)))
    silver = generator.random(count) < grey
    tones[silver] = GREY * generator.uniform(0.7, 1.2, (int(silver.sum()), 1))
    return tones


def head_shift(figure: Figure) -> Float[np.ndarray, "3"]:
    """How far the person's head lies from the base mesh's; styles are drawn where the base mesh's head is."""
    head = (figure.part == SKIN) & (figure.template[figure.triangles].mean(axis=1)[:, 1] > 7.0)
    chosen = np.unique(figure.triangles[head])
    return (figure.vertices[chosen] - figure.template[chosen]).mean(axis=0)
