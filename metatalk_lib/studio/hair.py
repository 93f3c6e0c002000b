"""Grow all strands of a character and bake their light; deterministic by seed."""

import numpy as np
from jaxtyping import Float

from metatalk_lib.studio.base_mesh import Figure
from metatalk_lib.studio.body_mesh import head_weight
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.face_hair import grow_beard, grow_brows, grow_lashes
from metatalk_lib.studio.occlusion import spread_cone, spread_directions
from metatalk_lib.studio.scalp_hair import grow_scalp
from metatalk_lib.studio.strands import (
    CELL,
    GRID_SHAPE,
    MARCH_STEPS,
    ORIGIN,
    Bundle,
    Strands,
    fill_density,
    head_shift,
    march,
)

VIEWS = np.array([[0.0, 0.0, 1.0], [0.45, 0.1, 0.89], [-0.45, 0.1, 0.89]], dtype=np.float32)
SEEN = 0.12  # share of light below which a strand counts as hidden


def grow_strands(figure: Figure, normals: Float[np.ndarray, "N 3"], character: StudioCharacter, seed: int) -> Strands:
    """All strands of a character with their baked light, sorted from far to near.

    Args:
        figure: the resting figure.
        normals: (N, 3) its unit normals.
        character: style, colours and densities.
        seed: chooses roots and noise.
    """
    generator = np.random.default_rng(seed + 201)
    bundles = [grow_brows(figure, normals, character, generator), *grow_lashes(figure, character, generator)]
    if character.hair.beard > 0:
        bundles.append(grow_beard(figure, normals, character, generator))
    if character.hair.style != "bald" and character.clothes.scarf is None:
        bundles.append(grow_scalp(figure, normals, character, generator))
    return _assemble(bundles, figure, character)


def _assemble(bundles: list[Bundle], figure, character) -> Strands:
    """Concatenate, sort far to near, and bake the light along the strands."""
    starts, places, follow, order_key = [0], [], [], []
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("anchors", "shares", "points", "colours", "widths", "opacity")
    }
    shadow = []
    for bundle in bundles:
        count, size = bundle.points.shape[:2]
        rigid = bundle.anchors[..., 0] < 0
        hung = np.einsum("sqc,sqcd->sqd", bundle.shares, figure.vertices[np.maximum(bundle.anchors, 0)])
        place = np.where(rigid[..., None], bundle.points, hung + bundle.points)
        places.append(place.reshape(-1, 3))
        follow.append(head_weight(place.reshape(-1, 3) - head_shift(figure)))
        order_key.append(np.repeat(place[..., 2].mean(axis=1), size))
        starts += (starts[-1] + size * np.arange(1, count + 1)).tolist()
        shadow.append(np.full(count * size, bundle.casts_shadow))
        for name in columns:
            values = getattr(bundle, name)
            columns[name].append(np.asarray(values).reshape(count * size, *values.shape[2:]))
    merged = {name: np.concatenate(values) for name, values in columns.items()}
    place, key = np.concatenate(places), np.concatenate(order_key)
    density = _density(place[np.concatenate(shadow)])
    starts_array = np.array(starts)
    strand_order = np.argsort(key[starts_array[:-1]], kind="stable")
    strand_order = strand_order[_is_seen(place, starts_array, np.concatenate(shadow), density)[strand_order]]
    sizes = np.diff(starts_array)[strand_order]
    index = np.concatenate([np.arange(starts_array[s], starts_array[s + 1]) for s in strand_order])
    place = place[index].astype(np.float32)
    ambient, direct = _bake(place, density, character)
    return Strands(
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        anchors=merged["anchors"][index].astype(np.int32),
        shares=merged["shares"][index].astype(np.float32),
        offsets=merged["points"][index].astype(np.float32),
        follow=np.concatenate(follow)[index].astype(np.float32),
        colours=merged["colours"][index].astype(np.float32),
        widths=merged["widths"][index].astype(np.float32),
        opacity=merged["opacity"][index].astype(np.float32),
        occlusion=ambient,
        visible=direct,
        density=density,
    )


def _density(points) -> np.ndarray:
    grid = np.zeros(GRID_SHAPE, dtype=np.float32)
    if len(points):
        fill_density(points.astype(np.float32), np.float32(0.045), ORIGIN, np.float32(CELL), grid)
    return np.minimum(grid, 0.9)


def _is_seen(points, starts, casts_shadow, density) -> np.ndarray:
    """(S,) true for strands that a camera in front can see past the others; hair deep inside is left out."""
    points = points.astype(np.float32)
    best, row = np.zeros((2, len(points)), dtype=np.float32)
    for direction in VIEWS:
        march(points, direction, density, ORIGIN, np.float32(CELL), MARCH_STEPS, np.float32(1.0), row)
        np.maximum(best, row, out=best)
    best[~casts_shadow] = 1.0
    return np.maximum.reduceat(best, starts[:-1]) > SEEN


def _bake(points, density, character):
    """Share of surroundings and key light at each strand point, past other strands."""
    ambient = np.zeros(len(points), dtype=np.float32)
    direct = np.zeros(len(points), dtype=np.float32)
    row = np.empty(len(points), dtype=np.float32)
    thinned = density * np.float32(0.55)  # light also scatters onwards from strand to strand
    key = spread_cone(np.array(character.light.key_direction), 0.2, 4)
    for target, directions in ((ambient, spread_directions(12)), (direct, key)):
        for direction in directions:
            march(points, direction, thinned, ORIGIN, np.float32(CELL), MARCH_STEPS, np.float32(0.8), row)
            target += row / len(directions)
    return ambient, direct
