"""Hair as strands: lines of points that are moved with the head or with the skin, lit along their length, and blended.

Growing them is in `hair`; here they are lit once, placed and drawn in every frame, far ones first.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from metatalk_lib.core.jit import compile_loop, compile_part
from metatalk_lib.studio.base_mesh import SKIN, Figure
from metatalk_lib.studio.surface import Head, Layers, Lens

CELL = 0.055  # dm: edge of a cell of the density grid
ORIGIN = np.array([-2.2, 4.2, -1.6], dtype=np.float32)
GRID_SHAPE = (80, 90, 70)
MARCH_STEPS = 16


class Strands(NamedTuple):
    """Many strands, stored one after the other in the order of drawing.

    Attributes:
        starts: (S + 1,) first point of each strand.
        anchors: (P, 3) vertex ids that a point hangs on, -1 where it moves rigidly with the head.
        shares: (P, 3) weights of the anchors.
        offsets: (P, 3) what is added to the anchors in head axes; for rigid points the place at rest.
        follow: (P,) for rigid points: 1 moves with the head, 0 stays.
        colours: (P, 3) linear albedo.
        widths: (P,) dm.
        opacity: (P,) 0 to 1.
        occlusion: (P,) share of the surroundings that reaches the point.
        visible: (P,) share of the key light that reaches it.
        density: grid of strand length per cell, for shadows on the skin.
    """

    starts: Int[np.ndarray, " S1"]
    anchors: Int[np.ndarray, "P 3"]
    shares: Float[np.ndarray, "P 3"]
    offsets: Float[np.ndarray, "P 3"]
    follow: Float[np.ndarray, " P"]
    colours: Float[np.ndarray, "P 3"]
    widths: Float[np.ndarray, " P"]
    opacity: Float[np.ndarray, " P"]
    occlusion: Float[np.ndarray, " P"]
    visible: Float[np.ndarray, " P"]
    density: Float[np.ndarray, "X Y Z"]


@compile_loop
def fill_density(points, amount, origin, cell, grid):
    """Add `amount` to the grid cell of every point."""
    for i in range(points.shape[0]):
        x = int((points[i, 0] - origin[0]) / cell)
        y = int((points[i, 1] - origin[1]) / cell)
        z = int((points[i, 2] - origin[2]) / cell)
        if 0 <= x < grid.shape[0] and 0 <= y < grid.shape[1] and 0 <= z < grid.shape[2]:
            grid[x, y, z] += amount


@compile_loop
def march(points, direction, grid, origin, cell, steps, skip, result):
    """exp(-sum of density) along a ray from each point; `skip` is the distance left out at its start, in cells."""
    nx, ny, nz = grid.shape
    for i in range(points.shape[0]):
        total = np.float32(0.0)
        for step in range(steps):
            reach = (skip + step) * cell
            x = int((points[i, 0] + direction[0] * reach - origin[0]) / cell)
            y = int((points[i, 1] + direction[1] * reach - origin[1]) / cell)
            z = int((points[i, 2] + direction[2] * reach - origin[2]) / cell)
            if x < 0 or y < 0 or z < 0 or x >= nx or y >= ny or z >= nz:
                break
            total += grid[x, y, z]
        result[i] = np.exp(-total)


def transmittance(
    strands: Strands,
    vertices: Float[np.ndarray, "N 3"],
    normals: Float[np.ndarray, "N 3"],
    directions: Float[np.ndarray, "D 3"],
) -> Float[np.ndarray, "D N"]:
    """Share of light from each direction that hair lets through to each vertex of the resting figure."""
    result = np.ones((len(directions), len(vertices)), dtype=np.float32)
    lifted = (vertices + 0.02 * normals).astype(np.float32)
    for row, direction in zip(result, directions, strict=True):
        march(lifted, direction, strands.density, ORIGIN, np.float32(CELL), MARCH_STEPS, np.float32(0.7), row)
    return result


@compile_loop
def _place(strands, vertices, head, placed):
    """Put every strand point where the frame has it, in camera space."""
    anchors, shares, offsets, follow = strands.anchors, strands.shares, strands.offsets, strands.follow
    rotation, pivot, sway, shift = head.rotation, head.pivot, head.sway, head.shift
    for i in range(anchors.shape[0]):
        if anchors[i, 0] >= 0:
            for k in range(3):
                value = np.float32(0.0)
                for j in range(3):
                    value += shares[i, j] * vertices[anchors[i, j], k] + rotation[k, j] * offsets[i, j]
                placed[i, k] = value
        else:
            for k in range(3):
                turned = pivot[k] + sway[k]
                for j in range(3):
                    turned += rotation[k, j] * (offsets[i, j] - pivot[j])
                placed[i, k] = follow[i] * turned + (1 - follow[i]) * offsets[i, k] + shift[k]


@compile_part
def _reflect(tangent, view, light):
    """The parts of one light that a hair sends to the eye.

    Args:
        tangent: unit direction of the hair.
        view: unit direction to the eye.
        light: unit direction to the light.

    Returns:
        Sine between hair and light, and the strengths of the coloured and of the white cone of reflection.
    """
    along = tangent[0] * light[0] + tangent[1] * light[1] + tangent[2] * light[2]
    across = np.sqrt(max(np.float32(0.0), np.float32(1.0) - along * along))
    toward = tangent[0] * view[0] + tangent[1] * view[1] + tangent[2] * view[2]
    eye_across = np.sqrt(max(np.float32(0.0), np.float32(1.0) - toward * toward))
    # cos of the angle between the viewing direction and the cone of reflection, shifted towards root and tip
    mirror = max(np.float32(0.0), across * eye_across - along * toward)
    second = mirror * mirror
    second *= second
    second *= second
    first = second * second
    first *= first * first
    return across, np.float32(0.50) * second, np.float32(0.05) * first


@compile_part
def _light_point(strands, i, tangent, view, lights, out):
    """Hair reflects in cones about its direction: one white lobe, one coloured, and a soft sine falloff."""
    colours, occlusion, visible = strands.colours, strands.occlusion[i], strands.visible[i]
    for k in range(3):
        ambient = np.float32(0.55) * lights[6, k] + np.float32(0.45) * lights[7, k]
        out[k] = colours[i, k] * ambient * occlusion * np.float32(0.9)
    for light in range(3):
        direction = lights[2 * light, 0], lights[2 * light, 1], lights[2 * light, 2]
        across, second, first = _reflect(tangent, view, direction)
        seen = visible if light == 0 else occlusion
        back = np.float32(1.0) if light != 2 else np.float32(1.4)
        for k in range(3):
            out[k] += (
                lights[2 * light + 1, k]
                * seen
                * back
                * (
                    colours[i, k] * (np.float32(0.42) * across + second)
                    + first * min(np.float32(1.0), np.float32(12.0) * colours[i, k])
                )
            )


@compile_part
def _light_along(strands, placed, i, end, lights, out):
    """Light point `i` of a strand that ends before point `end`: its tangent comes from the next or the last points."""
    j = i + 1 if i + 1 < end else i
    h = i if i + 1 < end else i - 1
    tx, ty, tz = placed[j, 0] - placed[h, 0], placed[j, 1] - placed[h, 1], placed[j, 2] - placed[h, 2]
    scale = np.float32(1.0) / (np.sqrt(tx * tx + ty * ty + tz * tz) + np.float32(1e-9))
    vx, vy, vz = -placed[i, 0], -placed[i, 1], np.float32(10.0) - placed[i, 2]
    reach = np.float32(1.0) / np.sqrt(vx * vx + vy * vy + vz * vz)
    tangent, view = (tx * scale, ty * scale, tz * scale), (vx * reach, vy * reach, vz * reach)
    _light_point(strands, i, tangent, view, lights, out)


@compile_part
def _blend(layers, spot, near, amount, before, lit):
    """Blend one pixel of a strand over the surfaces, where they do not hide it, and over the layer behind them.

    Args:
        layers: the picture.
        spot: row, column, and the place along the segment, 0 to 1.
        near: 1/depth of the strand.
        amount: its opacity, 0 to 1.
        before, lit: (3,) colours at the two ends of the segment.
    """
    y, x, share = spot
    hidden = near < layers.depth[y, x] * np.float32(0.9985)
    cover = layers.cover[y, x]
    if hidden and cover >= 1.0:
        return
    for k in range(3):
        value = before[k] + (lit[k] - before[k]) * share
        if not hidden:
            layers.image[y, x, k] += amount * (value - layers.image[y, x, k])
        if cover < 1.0:
            layers.behind[y, x, k] += amount * (value - layers.behind[y, x, k])


@compile_part
def _draw_segment(strands, placed, i, lens, layers, before, lit):
    """Draw the segment between points `i - 1` and `i`, stepping along the axis in which it is longer."""
    height, width = layers.depth.shape
    widths, opacity = strands.widths, strands.opacity
    focal, centre_x, centre_y = lens
    near_a = np.float32(1.0) / (np.float32(10.0) - placed[i - 1, 2])
    near_b = np.float32(1.0) / (np.float32(10.0) - placed[i, 2])
    ax, ay = centre_x + focal * placed[i - 1, 0] * near_a, centre_y - focal * placed[i - 1, 1] * near_a
    bx, by = centre_x + focal * placed[i, 0] * near_b, centre_y - focal * placed[i, 1] * near_b
    steep = abs(by - ay) > abs(bx - ax)
    major_a, major_b = (ay, by) if steep else (ax, bx)
    minor_a, minor_b = (ax, bx) if steep else (ay, by)
    span = major_b - major_a
    slope = (minor_b - minor_a) / (span if abs(span) > np.float32(1e-6) else np.float32(1e-6))
    limit = height if steep else width
    across = width if steep else height
    first, last = min(major_a, major_b), max(major_a, major_b)
    line = max(np.float32(0.5) * (widths[i] + widths[i - 1]) * focal * near_b, np.float32(0.02)) * np.sqrt(
        np.float32(1.0) + slope * slope
    )
    thin = min(np.float32(1.0), line)
    half = np.float32(0.5) * max(line, np.float32(1.0))
    # Pixels whose centres lie in [first, last): neighbouring segments share none.
    for m in range(max(0, int(np.ceil(first))), min(limit, int(np.ceil(last)))):
        share = (np.float32(m) - major_a) / span
        middle = minor_a + slope * (np.float32(m) - major_a)
        near = near_a + (near_b - near_a) * share
        alpha = (opacity[i - 1] + (opacity[i] - opacity[i - 1]) * share) * thin
        edge = half + np.float32(0.5)
        start = max(0, int(np.ceil(middle - half - np.float32(0.5))))
        for q in range(start, min(across, int(np.floor(middle + half + np.float32(0.5))) + 1)):
            spot = (m, q, share) if steep else (q, m, share)
            amount = alpha * max(np.float32(0.0), min(np.float32(1.0), edge - abs(np.float32(q) - middle)))
            _blend(layers, spot, near, amount, before, lit)


@compile_loop
def _draw(strands, placed, lens, lights, layers):
    """Light every strand point and draw every segment, strand by strand in their order."""
    starts = strands.starts
    lit, before = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for s in range(starts.shape[0] - 1):
        for i in range(starts[s], starts[s + 1]):
            for k in range(3):
                before[k] = lit[k]
            _light_along(strands, placed, i, starts[s + 1], lights, lit)
            if i > starts[s]:
                _draw_segment(strands, placed, i, lens, layers, before, lit)


def draw(
    strands: Strands,
    vertices: Float[np.ndarray, "N 3"],
    head: Head,
    lens: Lens,
    lights: Float[np.ndarray, "8 3"],
    layers: Layers,
) -> None:
    """Blend all strands over a picture in two layers, in place.

    Args:
        strands: the strands.
        vertices: (N, 3) posed, camera space.
        head: the movement of the head in this frame.
        lens: the pinhole of the camera.
        lights: as in `shading.shade_image`.
        layers: the picture; strands behind its surfaces touch only `behind`.
    """
    placed = np.empty_like(strands.offsets)
    _place(strands, vertices, head, placed)
    _draw(strands, placed, lens, lights, layers)


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
    """Shift (dm) from the head of the base mesh to the person's; hair styles are drawn on the base mesh's head."""
    head = (figure.part == SKIN) & (figure.template[figure.triangles].mean(axis=1)[:, 1] > 7.0)
    chosen = np.unique(figure.triangles[head])
    return (figure.vertices[chosen] - figure.template[chosen]).mean(axis=0)
