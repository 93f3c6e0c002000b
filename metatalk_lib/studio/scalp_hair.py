"""Hair of the head: strands grown step by step in a style's direction, kept off the skin and bound into locks."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.studio.base_mesh import SKIN
from metatalk_lib.studio.body_mesh import is_ear
from metatalk_lib.studio.skin import scalp_mask
from metatalk_lib.studio.strands import GREY, Bundle, head_shift, scatter


class Roots(NamedTuple):
    """The places on the scalp that the K strands grow from.

    Attributes:
        place: (K, 3) on the resting figure, dm.
        rest: (K, 3) on the template.
        normal: (K, 3) unit normal of the skin.
        density: (K,) 0 to 1, falls off at the hairline.
    """

    place: Float[np.ndarray, "K 3"]
    rest: Float[np.ndarray, "K 3"]
    normal: Float[np.ndarray, "K 3"]
    density: Float[np.ndarray, " K"]


def grow_scalp(figure, normals, character, generator) -> Bundle:
    """All strands of the head.

    Args:
        figure: the resting figure.
        normals: (N, 3) its unit normals.
        character: style, length, colour and number of the strands.
        generator: source of every choice.
    """
    hair = character.hair
    roots = _root_scalp(figure, normals, hair, generator)
    count = len(roots.place)
    steps = 6 if hair.length < 0.3 else (10 if hair.length < 1.2 else 16)
    length = hair.length * generator.uniform(0.72, 1.0, count) * (0.45 + 0.55 * roots.density)
    if hair.style in ("side", "forward", "back"):
        length *= 0.30 + 0.70 * smooth_step(7.0, 7.9, roots.rest[:, 1])
    points = _comb(figure, normals, roots, length, steps, hair, generator)
    colour = _colour(hair, count, generator)
    along = np.linspace(0.0, 1.0, steps + 1)
    tone = (0.75 + 0.35 * along)[None, :, None]
    opacity = np.broadcast_to(
        (0.85 - 0.25 * smooth_step(0.1, 0.4, along)) * smooth_step(1.02, 0.78, along), (count, steps + 1)
    )
    widths = np.broadcast_to(
        (0.0125 + 0.006 * smooth_step(0.5, 0.1, along)) * (1.0 - 0.6 * along**3), (count, steps + 1)
    )
    return Bundle(
        points,
        np.full(points.shape, -1),
        np.zeros(points.shape),
        colour[:, None] * tone,
        widths,
        opacity * (0.10 + 0.90 * roots.density[:, None] ** 1.5),
        casts_shadow=True,
    )


def _root_scalp(figure, normals, hair, generator) -> Roots:
    """Roots at random, denser at the front; the back of the head, which no camera sees, stays bare."""
    mask = scalp_mask(figure.template).astype(np.float64)
    front = smooth_step(0.5, 1.0, figure.template[:, 2]) * smooth_step(7.6, 7.9, figure.template[:, 1])
    if hair.style != "bob":
        x, y, z = np.abs(figure.template[:, 0]), figure.template[:, 1], figure.template[:, 2]
        mask = mask * ~((x > 0.60) & (y > 6.7) & (y < 7.45) & (z > -0.1) & (z < 0.62))  # ears stay free
    seen = smooth_step(-0.30, 0.10, figure.template[:, 2])
    triangles, shares = scatter(figure, mask * seen * (0.6 + 1.6 * front), hair.strands, generator)
    normal = np.einsum("kc,kcd->kd", shares, normals[triangles])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return Roots(
        place=np.einsum("kc,kcd->kd", shares, figure.vertices[triangles]),
        rest=np.einsum("kc,kcd->kd", shares, figure.template[triangles]),
        normal=normal,
        density=np.einsum("kc,kc->k", shares, mask[triangles]),
    )


def _colour(hair, count, generator) -> Float[np.ndarray, "K 3"]:
    """Albedo of each strand: shades of the hair's colour, and some grey ones."""
    shade = np.exp(generator.normal(0.0, 0.20, count))[:, None] * (
        0.82 + 0.18 * np.sin(generator.random(count) * 6.28)[:, None]
    )
    colour = np.array(hair.colour) * shade
    silver = generator.random(count) < hair.grey
    colour[silver] = GREY * generator.uniform(0.75, 1.15, (int(silver.sum()), 1))
    return colour


class Scalp(NamedTuple):
    """The skin that hair lies on, without ears.

    Attributes:
        points: (M, 3) vertices at rest, dm.
        normals: (M, 3) unit normals.
        tree: finds the nearest of them.
    """

    points: Float[np.ndarray, "M 3"]
    normals: Float[np.ndarray, "M 3"]
    tree: cKDTree


def _comb(figure, normals, roots, length, steps, hair, generator) -> np.ndarray:
    """Grow points step by step: start along the normal, bend to the combed direction and down, stay off the skin."""
    root, rest, normal, _ = roots
    skin_ids = np.unique(figure.triangles[figure.part == SKIN])
    skin_ids = skin_ids[~is_ear(figure.template[skin_ids])]
    scalp = Scalp(figure.vertices[skin_ids], normals[skin_ids], cKDTree(figure.vertices[skin_ids]))
    lift = hair.volume * generator.beta(1.6, 1.3, len(root)) * (0.12 + 0.88 * smooth_step(6.8, 7.7, rest[:, 1]))
    wave_phase = generator.uniform(0, 2 * np.pi, len(root))
    guides = generator.choice(len(root), size=max(8, len(root) // 45), replace=False)
    guide_of = guides[cKDTree(root[guides]).query(root)[1]]
    shift = head_shift(figure)
    direction = normal * (0.25 if hair.length > 0.3 else 0.8) + _flow(root - shift, rest, normal, hair, 0.0)
    direction += generator.normal(0.0, 0.10, direction.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = np.empty((len(root), steps + 1, 3))
    points[:, 0] = root - 0.01 * normal
    step_length = (length / steps)[:, None]
    for step in range(1, steps + 1):
        share = step / steps
        wanted = _flow(points[:, step - 1] - shift, rest, normal, hair, share)
        direction = (
            0.62 * direction
            + 0.38 * wanted
            + generator.normal(0.0, 0.035 if hair.wave < 0.05 else 0.10, direction.shape)
        )
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        position = _lift(points[:, step - 1] + direction * step_length, scalp, lift, share, hair)
        points[:, step] = _keep_off_face(position - shift, hair) + shift
        direction = points[:, step] - points[:, step - 1]
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    return _bind_locks(points, root, guide_of, wave_phase[guide_of][:, None], length, hair)


def _lift(position, scalp, lift, share, hair) -> np.ndarray:
    """Push points that lie too low out of the skin, to `lift` at most; short hair is pulled back to it too."""
    _, nearest = scalp.tree.query(position)
    outward = scalp.normals[nearest]
    height = ((position - scalp.points[nearest]) * outward).sum(axis=1)
    wanted_height = np.minimum(lift, 0.02 + lift * (share * 5.0))
    push = np.clip(wanted_height - height, 0.0, 0.25)
    if hair.style != "bob":
        push -= 0.75 * np.clip(height - wanted_height, 0.0, 0.4)  # short hair lies against the head
    return position + outward * push[:, None]


def _bind_locks(points, root, guide_of, phase, length, hair) -> np.ndarray:
    """Draw strands towards the guide of their lock, the more the nearer the tip, and bend each lock in its own wave."""
    along = np.linspace(0.0, 1.0, points.shape[1])[None, :, None]
    clump = 0.55 if hair.length > 0.3 else 0.25
    points = (
        points
        + clump * along**1.5 * (points[guide_of] - points) * (np.abs(root - root[guide_of]).sum(1) < 0.4)[:, None, None]
    )
    phase = phase + along[..., 0] * length[:, None] * 9.0
    sideways = np.stack([np.cos(phase), 0.3 * np.sin(phase), np.sin(phase * 0.9)], axis=-1)
    return points + hair.wave * along * sideways


def _flow(points, rest, normal, hair, share):
    """The direction that a style combs hair to, at points of strands rooted at `rest`."""
    x = points[:, 0] - hair.parting
    side = np.where(rest[:, 0] >= hair.parting, 1.0, -1.0)
    flow = np.zeros_like(points)
    if hair.style == "bob":
        top = smooth_step(7.5, 8.2, points[:, 1]) * smooth_step(0.85, 0.45, np.abs(points[:, 0]))
        flow[:, 0] = side * (0.06 + 1.2 * top)
        flow[:, 1] = -1.3 + 1.0 * top
        flow[:, 2] = -0.40 * top - 0.15 * (points[:, 2] > 0.3)
        tuck = smooth_step(0.8, 1.0, share)
        flow[:, 0] -= np.sign(points[:, 0]) * 1.0 * tuck
    elif hair.style == "side":
        top = smooth_step(7.6, 8.0, rest[:, 1])
        flow[:, 0] = side * 0.9 * top + np.sign(x) * 0.1
        flow[:, 1] = -1.0 + 0.95 * top
        flow[:, 2] = 0.15 * top - 0.6 * (1 - top)
        flow += 0.35 * normal * (1 - share) * top[:, None]
    elif hair.style == "forward":
        crown = np.array([0.05, 8.35, 0.0])
        flow = rest - crown
        flow /= np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-6)
        flow[:, 1] -= 0.8 * share
        flow[:, 0] += 0.25 * smooth_step(0.6, 1.2, rest[:, 2])
        flow += 0.25 * normal * (1 - share)
    elif hair.style == "back":
        flow[:, 2] = -1.0
        flow[:, 1] = 0.25 - 1.3 * smooth_step(0.2, -0.4, points[:, 2])
        flow[:, 0] = (
            0.35
            * np.sign(points[:, 0])
            * smooth_step(0.5, 0.0, points[:, 2])
            * smooth_step(0.70, 0.50, np.abs(points[:, 0]))
        )
        flow += 0.45 * normal * max(0.0, 1 - 2.5 * share)
    else:
        flow = normal + np.array([0.0, -0.15, 0.25])
    return flow


def _keep_off_face(position, hair):
    """Push long strands to the sides of the face."""
    if hair.style != "bob":
        return position
    position = position.copy()
    x, y, z = position.T
    wall = 0.60 + 0.12 * smooth_step(7.3, 6.7, y)
    inside = (z > 0.35) & (y < 7.85) & (np.abs(x) < wall)
    share = smooth_step(7.9, 7.5, y) * inside
    position[:, 0] += share * (np.where(x >= 0, 1.0, -1.0) * wall - x)
    position[:, 2] -= share * np.clip(z - 0.75, 0.0, None) * 0.8
    return position
