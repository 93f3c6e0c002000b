"""Brows, lashes and beard: strands that hang on the skin and move with it."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.studio.base_mesh import SKIN
from metatalk_lib.studio.skin import beard_mask
from metatalk_lib.studio.strands import Bundle, scatter, shades

BROW_PATH = np.array([[0.085, 7.455], [0.17, 7.485], [0.27, 7.52], [0.36, 7.525], [0.46, 7.485], [0.545, 7.405]])
BROW_HALF_WIDTH = np.array([0.036, 0.040, 0.034, 0.028, 0.020, 0.008])
LID_LINE_Y = 7.285  # dm on the template: between upper and lower lashes
FULL_LASH = 0.085  # dm: lash length that is drawn at full strength
LASHES_PER_QUAD = 4
BROW_POINTS = 5  # points of a strand of a brow


def grow_brows(figure, normals, character, generator) -> Bundle:
    """Strands of both brows: along `BROW_PATH` and across its width at random, combed upwards inside and flat outside.

    Args:
        figure: the resting figure.
        normals: (N, 3) its unit normals.
        character: density, colour and grey of the brows.
        generator: source of every choice.
    """
    hair = character.hair
    count = 2 * int(360 * hair.brow_density)
    where = np.sort(generator.random(count)) * (len(BROW_PATH) - 1)
    generator.shuffle(where)
    across = np.clip(generator.normal(0, 0.48, count), -1, 1)
    share = where / (len(BROW_PATH) - 1)
    side = np.where(np.arange(count) < count // 2, 1.0, -1.0)
    roots = _root_brows(figure, normals, side, where, across)
    normal = roots.normal
    angle = 1.25 - 1.45 * share**0.6 - 0.25 * across + generator.normal(0, 0.13, count)
    heading = np.stack([side * np.cos(angle), np.sin(angle), np.zeros(count)], axis=1)
    heading -= normal * (heading * normal).sum(1, keepdims=True)
    length = generator.uniform(0.055, 0.105, count) * (1 - 0.35 * share)
    steps = np.linspace(0.0, 1.0, BROW_POINTS)
    curl = np.stack([np.zeros(count), -0.03 * np.ones(count), np.zeros(count)], axis=1)
    points = roots.slide[:, None] + normal[:, None] * (0.006 + 0.03 * steps * (1 - 0.7 * steps))[None, :, None]
    points = (
        points + heading[:, None] * (length[:, None] * steps)[..., None] + curl[:, None] * (steps**2)[None, :, None]
    )
    colour = shades(np.array(hair.brow_colour), hair.grey * 0.35, count, generator)
    shape = points.shape[:2]
    fade = smooth_step(0.0, 0.10, share) * 0.6 + 0.4
    return Bundle(
        points,
        np.repeat(roots.anchors[:, None], BROW_POINTS, 1),
        np.repeat(roots.shares[:, None], BROW_POINTS, 1),
        np.repeat(colour[:, None], BROW_POINTS, 1),
        np.broadcast_to(0.0065 * (1 - 0.5 * steps), shape),
        np.broadcast_to(0.62 * (1 - 0.6 * steps**2), shape) * fade[:, None],
    )


class BrowRoots(NamedTuple):
    """The places on the skin that the K strands of the brows grow from.

    Attributes:
        anchors: (K, 3) the nearest vertices of the skin.
        shares: (K, 3) their weights.
        slide: (K, 3) from the weighted mean of the vertices to the root, within the skin, dm.
        normal: (K, 3) unit normal of the skin.
    """

    anchors: np.ndarray
    shares: np.ndarray
    slide: np.ndarray
    normal: np.ndarray


def _root_brows(figure, normals, side, where, across) -> BrowRoots:
    """Roots on a side of the face (1 or -1), `where` along the brow in knots and `across` it (-1 to 1)."""
    knots = np.arange(len(BROW_PATH))
    x = np.interp(where, knots, BROW_PATH[:, 0])
    y = np.interp(where, knots, BROW_PATH[:, 1]) + across * np.interp(where, knots, BROW_HALF_WIDTH)
    skin_ids = np.unique(figure.triangles[figure.part == SKIN])
    front = skin_ids[(figure.template[skin_ids, 2] > 0.9) & (normals[skin_ids, 2] > 0.1)]
    target = np.stack([side * x, y], axis=1)
    distance, near = cKDTree(figure.template[front, :2]).query(target, k=3)
    anchors = front[near]
    shares = 1.0 / (distance + 0.004) ** 2
    shares /= shares.sum(axis=1, keepdims=True)
    mean = np.einsum("kc,kcd->kd", shares, figure.template[anchors])
    slide = np.zeros((len(x), 3))
    slide[:, :2] = target - mean[:, :2]
    normal = np.einsum("kc,kcd->kd", shares, normals[anchors])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    slide -= normal * (slide * normal).sum(1, keepdims=True)
    return BrowRoots(anchors, shares, slide, normal)


def grow_lashes(figure, character, generator) -> list[Bundle]:
    """Strands along the quads of the lash strips, from the edge near the eyeball outwards; they close with the lids."""
    quads = figure.lashes
    centre = np.array([0.308, 7.284, 1.245])  # of the left eyeball on the template
    rest = figure.template[quads]
    rest = np.concatenate([np.abs(rest[..., :1]), rest[..., 1:]], axis=2)
    radius = np.linalg.norm(rest - centre, axis=2)
    inner = (0.5 * (radius + np.roll(radius, -1, 1))).argmin(axis=1)
    rows = np.arange(len(quads))
    a, b, c, d = (quads[rows, (inner + corner) % 4] for corner in range(4))
    # Lashes thin out within a millimetre of the lid's edge; the lower ones are faint.
    ends = np.clip(1.0 - (np.stack([radius.min(axis=1), radius.max(axis=1)], axis=1) - 0.15) / 0.11, 0.0, 1.0) ** 0.7
    strength = np.where(rest[:, 0, 1] > LID_LINE_Y, 0.95, 0.16) * character.hair.lash_length / FULL_LASH
    opacity = np.clip(ends * strength[:, None], 0.0, 1.0)
    bundles = []
    for part in range(LASHES_PER_QUAD):
        t = (part + generator.uniform(0.15, 0.85, len(quads))) / LASHES_PER_QUAD
        anchors = np.stack([np.stack([a, b, b], 1), np.stack([d, c, c], 1)], axis=1)
        shares = np.stack([1 - t, t, 0 * t], axis=1)[:, None].repeat(2, axis=1)
        colours = np.full((*opacity.shape, 3), 0.012)
        points = np.zeros((*opacity.shape, 3))
        bundles.append(Bundle(points, anchors, shares, colours, np.full(opacity.shape, 0.0085), opacity))
    return bundles


def grow_beard(figure, normals, character, generator) -> Bundle:
    """Strands of a beard and moustache, combed down and outwards; arguments as of `grow_brows`."""
    hair = character.hair
    mask = beard_mask(figure.template)
    triangles, shares = scatter(figure, mask, int(9000 * min(1.0, hair.beard)), generator)
    normal = np.einsum("kc,kcd->kd", shares, normals[triangles])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    density = np.einsum("kc,kc->k", shares, mask[triangles])
    rest = np.einsum("kc,kcd->kd", shares, figure.template[triangles])
    down = np.stack([0.15 * np.sign(rest[:, 0]), -np.ones(len(rest)), 0.25 * np.ones(len(rest))], axis=1)
    down = down + generator.normal(0, 0.35, down.shape)
    down -= 0.75 * normal * (down * normal).sum(1, keepdims=True)
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    length = generator.uniform(0.04, 0.11, len(rest)) * (0.5 + hair.beard)
    above_lip = np.einsum("kc,kc->k", shares, figure.template[triangles][..., 1]) > 6.66
    length *= np.where(above_lip & (np.abs(rest[:, 0]) < 0.4), 0.38, 1.0)
    steps = np.linspace(0.0, 1.0, 4)
    points = normal[:, None] * (0.004 + 0.045 * hair.beard * steps)[None, :, None]
    points = points + down[:, None] * (length[:, None] * steps)[..., None]
    colour = shades(np.array(hair.brow_colour), min(1.0, hair.grey * 1.2), len(rest), generator)
    shape = points.shape[:2]
    opacity = np.broadcast_to(0.62 * (1 - 0.65 * steps**2), shape) * density[:, None]
    return Bundle(
        points,
        np.repeat(triangles[:, None], 4, 1),
        np.repeat(shares[:, None], 4, 1),
        np.repeat(colour[:, None], 4, 1),
        np.broadcast_to(0.0075 * (1 - 0.5 * steps), shape),
        opacity,
    )
