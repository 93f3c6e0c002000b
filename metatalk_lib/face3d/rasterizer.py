"""A compiled z-buffer on the CPU: the triangle that covers each pixel centre, its depth, and barycentric weights.

It is single-threaded and releases the interpreter lock, so frames can be drawn from several threads; the same input
gives the same bytes. Shared edges are watertight: a pixel centre on an edge belongs to both neighbours and goes to the
nearer one, at equal depth to the one with the lower index. This also holds for slivers and corners far outside the
window: a centre counts as inside where the rounding error of an edge function leaves its side undecided.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.jit import compile_loop, compile_part

# A barycentric weight counts as inside down to minus this, so that centres next to an edge do not depend on rounding.
EDGE_MARGIN = 1e-9
# An edge function, the difference of two products l - r, is off by up to this times |l| + |r| in double precision. A
# centre within that error counts as inside, or slivers, whose area is no larger than the error, would leave holes.
ROUNDING = 4 * 2.0**-53
# Bounding boxes are that much wider on every side, so that they hold the centres within the margins (px).
BOX_MARGIN = 1e-6


class Raster(NamedTuple):
    """Rasterisation result for each pixel of a window.

    Attributes:
        face_id: (H, W) int32 index of the visible triangle, -1 where there is none.
        barycentric: (H, W, 3) float32 perspective-correct weights of the triangle's corners, 0 where there is none.
        depth: (H, W) float32 depth in the unit of the input, infinite where there is none.
    """

    face_id: Int[np.ndarray, "H W"]
    barycentric: Float[np.ndarray, "H W 3"]
    depth: Float[np.ndarray, "H W"]


@compile_part
def _bounds(least, most, start, count):
    """Range [from, until) of pixels, counted from `start`, whose centres lie between two coordinates."""
    # compared as floats: coordinates may have any size, and only those inside the window become indices
    return (
        int(max(np.ceil(least - BOX_MARGIN) - start, 0.0)) if least < start + count else count,
        int(min(np.floor(most + BOX_MARGIN) - start + 1.0, count)) if most > start - 1.0 else 0,
    )


@compile_part
def _thin_weights(ax, ay, bx, by, cx, cy, x, y):
    """Weights of a centre in a triangle too thin to have a known orientation: the position along its longest edge."""
    ab, bc, ca = (bx - ax) ** 2 + (by - ay) ** 2, (cx - bx) ** 2 + (cy - by) ** 2, (ax - cx) ** 2 + (ay - cy) ** 2
    longest = max(ab, bc, ca)
    if longest == 0.0:
        return 1.0, 0.0, 0.0
    if longest == ab:
        along = min(max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ab, 0.0), 1.0)
        return 1.0 - along, along, 0.0
    if longest == bc:
        along = min(max(((x - bx) * (cx - bx) + (y - by) * (cy - by)) / bc, 0.0), 1.0)
        return 0.0, 1.0 - along, along
    along = min(max(((x - cx) * (ax - cx) + (y - cy) * (ay - cy)) / ca, 0.0), 1.0)
    return along, 0.0, 1.0 - along


@compile_part
def _weigh_centre(corners, sign, slack, is_thin, x, y):
    """Whether a pixel centre counts as inside a triangle, and its edge functions, none below 0."""
    ax, ay, bx, by, cx, cy = corners
    # a neighbour computes exactly the negative for the shared edge, so one of the two has the centre
    ea = sign * ((bx - x) * (cy - y) - (by - y) * (cx - x))
    eb = sign * ((cx - x) * (ay - y) - (cy - y) * (ax - x))
    ec = sign * ((ax - x) * (by - y) - (ay - y) * (bx - x))
    is_inside = not (min(ea, eb, ec) < -slack and not (is_thin and max(ea, eb, ec) <= slack))
    if is_inside and is_thin:
        ea, eb, ec = _thin_weights(ax, ay, bx, by, cx, cy, x, y)
    return is_inside, max(ea, 0.0), max(eb, 0.0), max(ec, 0.0)


@compile_loop
def _fill(points, inverse_depth, triangles, corner, cull, raster):
    """Draw all triangles into a window; `corner` is its x and y."""
    face_id, barycentric, depth = raster
    left, top = corner
    height, width = face_id.shape
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        # y runs down, so a triangle that is counter-clockwise to the viewer has negative area here
        plus, minus = (bx - ax) * (cy - ay), (by - ay) * (cx - ax)
        area = abs(plus - minus)
        is_thin = area <= ROUNDING * (abs(plus) + abs(minus))
        # the second condition leaves out what is not finite
        if (cull and plus > minus and not is_thin) or not area < np.inf:
            continue
        x0, y0, x1, y1 = min(ax, bx, cx), min(ay, by, cy), max(ax, bx, cx), max(ay, by, cy)
        first_row, end_row = _bounds(y0, y1, top, height)
        first_column, end_column = _bounds(x0, x1, left, width)
        if first_row >= end_row or first_column >= end_column:
            continue
        wa, wb, wc = inverse_depth[a], inverse_depth[b], inverse_depth[c]
        if not (wa > 0.0 and wb > 0.0 and wc > 0.0):
            continue
        # |l| + |r| of any centre in the box and any edge is at most twice the box's area
        slack = EDGE_MARGIN * area + 2.0 * ROUNDING * (x1 - x0 + 4.0 * BOX_MARGIN) * (y1 - y0 + 4.0 * BOX_MARGIN)
        sign = 1.0 if plus > minus else -1.0
        for row in range(first_row, end_row):
            y = top + row
            for column in range(first_column, end_column):
                corners = ax, ay, bx, by, cx, cy
                is_inside, ea, eb, ec = _weigh_centre(corners, sign, slack, is_thin, left + column, y)
                if not is_inside:
                    continue
                ua, ub, uc = ea * wa, eb * wb, ec * wc
                total = ua + ub + uc
                distance = np.float32((ea + eb + ec) / total)
                if distance < depth[row, column]:
                    depth[row, column] = distance
                    face_id[row, column] = face
                    barycentric[row, column, 0] = ua / total
                    barycentric[row, column, 1] = ub / total
                    barycentric[row, column, 2] = uc / total


def rasterize(
    points: Float[np.ndarray, "N 2"],
    depth: Float[np.ndarray, " N"],
    triangles: Int[np.ndarray, "F 3"],
    window: tuple[int, int, int, int],
    *,
    cull_backfaces: bool = False,
) -> Raster:
    """Rasterise triangles into a window.

    Args:
        points: projected vertices in pixels (x right, y down; (0, 0) is the centre of the picture's top-left pixel).
        depth: distance along the optical axis, positive in front of the camera; a triangle with a corner at depth <= 0
            is left out.
        triangles: vertex ids, counter-clockwise seen from outside.
        window: (x0, y0, x1, y1) in pixels of the picture, x1 and y1 exclusive; only its pixels are drawn, so a small
            window is cheap. It may reach outside the picture.
        cull_backfaces: leave out triangles seen from inside.

    Returns:
        Raster of shape (y1 - y0, x1 - x0).

    Raises:
        ParameterError: the window is empty, or a triangle names a vertex that does not exist.

    Source: conventions checked against facebookresearch/pytorch3d 0.7.9, rasterize_meshes; the code is original.
    """
    x0, y0, x1, y1 = window
    if x1 <= x0 or y1 <= y0:
        raise ParameterError(f"the window {window} is empty. Give (x0, y0, x1, y1) with x0 < x1 and y0 < y1.")
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= len(points)):
        raise ParameterError(
            f"triangles name vertices {triangles.min()} to {triangles.max()}, but there are {len(points)} points."
        )
    shape = (y1 - y0, x1 - x0)
    raster = Raster(
        np.full(shape, -1, dtype=np.int32),
        np.zeros((*shape, 3), dtype=np.float32),
        np.full(shape, np.inf, dtype=np.float32),
    )
    with np.errstate(divide="ignore"):
        inverse_depth = 1.0 / depth.astype(np.float64)
    inverse_depth[~np.isfinite(inverse_depth)] = -1.0
    _fill(
        points.astype(np.float64),
        inverse_depth,
        np.ascontiguousarray(triangles, dtype=np.int32),
        (float(x0), float(y0)),
        cull_backfaces,
        raster,
    )
    return raster


@compile_loop
def _interpolate(face_id, barycentric, triangles, values, out):
    height, width = face_id.shape
    for row in range(height):
        for column in range(width):
            face = face_id[row, column]
            if face >= 0:
                for channel in range(values.shape[1]):
                    total = np.float32(0.0)
                    for corner in range(3):
                        total += barycentric[row, column, corner] * values[triangles[face, corner], channel]
                    out[row, column, channel] = total


def interpolate(
    raster: Raster, triangles: Int[np.ndarray, "F 3"], values: Float[np.ndarray, "N C"]
) -> Float[np.ndarray, "H W C"]:
    """Interpolate per-vertex values: value(p) = sum over the 3 corners of barycentric(p) * values[corner].

    Args:
        raster: from `rasterize` with the same triangles.
        triangles: (F, 3) vertex ids.
        values: (N, C) values of the vertices.

    Returns:
        (H, W, C) float32, 0 where no triangle is seen.
    """
    out = np.zeros((*raster.face_id.shape, values.shape[1]), dtype=np.float32)
    _interpolate(
        raster.face_id,
        raster.barycentric,
        np.ascontiguousarray(triangles, dtype=np.int32),
        np.ascontiguousarray(values, dtype=np.float32),
        out,
    )
    return out
