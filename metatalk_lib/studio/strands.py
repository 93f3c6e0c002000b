"""Hair as strands: lines of points that are moved with the head or with the skin, lit along their length, and blended.

Growing them is in `hair`; here they are lit once, placed and drawn in every frame, far ones first.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from metatalk_lib.core.jit import compile_loop
from metatalk_lib.studio.base_mesh import PIVOT, SKIN, Figure

CELL = 0.055  # dm: edge of a cell of the density grid
ORIGIN = np.array([-2.2, 4.2, -1.6], dtype=np.float32)
GRID_SHAPE = (80, 90, 70)
MARCH_STEPS = 16


@dataclass(frozen=True)
class Strands:
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
def _place(anchors, shares, offsets, follow, vertices, rotation, pivot, sway, shift, placed):
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


@compile_loop
def _light_point(tx, ty, tz, vx, vy, vz, colour, occlusion, visible, lights, out):
    """Hair reflects in cones about its direction: one white lobe, one coloured, and a soft sine falloff."""
    for k in range(3):
        ambient = np.float32(0.55) * lights[6, k] + np.float32(0.45) * lights[7, k]
        out[k] = colour[k] * ambient * occlusion * np.float32(0.9)
    for light in range(3):
        lx, ly, lz = lights[2 * light, 0], lights[2 * light, 1], lights[2 * light, 2]
        seen = visible if light == 0 else occlusion
        along = tx * lx + ty * ly + tz * lz
        across = np.sqrt(max(np.float32(0.0), np.float32(1.0) - along * along))
        toward = tx * vx + ty * vy + tz * vz
        eye_across = np.sqrt(max(np.float32(0.0), np.float32(1.0) - toward * toward))
        # cos of the angle between the viewing direction and the cone of reflection, shifted towards root and tip
        mirror = max(np.float32(0.0), across * eye_across - along * toward)
        second = mirror * mirror
        second *= second
        second *= second
        first = second * second
        first *= first * first
        second, first = np.float32(0.50) * second, np.float32(0.05) * first
        back = np.float32(1.0) if light != 2 else np.float32(1.4)
        for k in range(3):
            out[k] += (
                lights[2 * light + 1, k]
                * seen
                * back
                * (
                    colour[k] * (np.float32(0.42) * across + second)
                    + first * min(np.float32(1.0), np.float32(12.0) * colour[k])
                )
            )


@compile_loop
def _draw(
    starts,
    placed,
    colours,
    widths,
    opacity,
    occlusion,
    visible,
    focal,
    centre_x,
    centre_y,
    lights,
    depth,
    cover,
    image,
    behind,
):
    height, width = depth.shape
    lit, before = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for s in range(starts.shape[0] - 1):
        for i in range(starts[s], starts[s + 1]):
            j = i + 1 if i + 1 < starts[s + 1] else i
            h = i if i + 1 < starts[s + 1] else i - 1
            tx, ty, tz = placed[j, 0] - placed[h, 0], placed[j, 1] - placed[h, 1], placed[j, 2] - placed[h, 2]
            scale = np.float32(1.0) / (np.sqrt(tx * tx + ty * ty + tz * tz) + np.float32(1e-9))
            vx, vy, vz = -placed[i, 0], -placed[i, 1], np.float32(10.0) - placed[i, 2]
            reach = np.float32(1.0) / np.sqrt(vx * vx + vy * vy + vz * vz)
            for k in range(3):
                before[k] = lit[k]
            _light_point(
                tx * scale,
                ty * scale,
                tz * scale,
                vx * reach,
                vy * reach,
                vz * reach,
                colours[i],
                occlusion[i],
                visible[i],
                lights,
                lit,
            )
            if i == starts[s]:
                continue
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
                for q in range(
                    max(0, int(np.ceil(middle - half - np.float32(0.5)))),
                    min(across, int(np.floor(middle + half + np.float32(0.5))) + 1),
                ):
                    x, y = (q, m) if steep else (m, q)
                    hidden = near < depth[y, x] * np.float32(0.9985)
                    if hidden and cover[y, x] >= 1.0:
                        continue
                    amount = alpha * max(
                        np.float32(0.0), min(np.float32(1.0), half + np.float32(0.5) - abs(np.float32(q) - middle))
                    )
                    for k in range(3):
                        value = before[k] + (lit[k] - before[k]) * share
                        if not hidden:
                            image[y, x, k] += amount * (value - image[y, x, k])
                        if cover[y, x] < 1.0:
                            behind[y, x, k] += amount * (value - behind[y, x, k])


def draw(strands: Strands, vertices, rotation, sway, camera, lights, depth, cover, image, behind) -> None:
    """Blend all strands over a picture in two layers.

    Args:
        strands: what to draw.
        vertices: (N, 3) posed, camera space.
        rotation, sway: the head's.
        camera: the scene's camera.
        lights: as in `shading.shade_image`.
        depth: (H, W) nearest 1/depth of the surfaces; strands behind it touch only `behind`.
        cover: (H, W) share of a pixel that surfaces cover.
        image: (H, W, 3) colour of the surfaces.
        behind: (H, W, 3) colour of what is behind them, seen where `cover` is below 1.
    """
    placed = np.empty_like(strands.offsets)
    _place(
        strands.anchors,
        strands.shares,
        strands.offsets,
        strands.follow,
        vertices,
        rotation,
        PIVOT,
        sway.astype(np.float32),
        np.array(camera.shift, dtype=np.float32),
        placed,
    )
    _draw(
        strands.starts,
        placed,
        strands.colours,
        strands.widths,
        strands.opacity,
        strands.occlusion,
        strands.visible,
        *np.float32([camera.focal_px, *camera.principal_point_px]),
        lights,
        depth,
        cover,
        image,
        behind,
    )


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
