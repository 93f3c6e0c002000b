"""A compiled z-buffer on the CPU: which triangle covers each pixel centre, how deep, and where inside the triangle.

Single-threaded and free of the interpreter lock, so that frames can be drawn from several threads; the same input gives
the same bytes. Shared edges are watertight: a pixel centre on an edge belongs to both neighbours and goes to the nearer
one, at equal depth to the one with the lower number.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from metatalk_lib.compiled import compile_loop
from metatalk_lib.errors import ParameterError

# A barycentric weight counts as inside from here on. Rounding may push a pixel centre on a shared edge outside of both
# neighbours; without the margin such a pixel would stay empty.
EDGE_MARGIN = 1e-9
# Triangles thinner than this (px², doubled area) cover no pixel centre reliably and are skipped.
MIN_DOUBLED_AREA = 1e-12


class Raster(NamedTuple):
    """What each pixel of a window shows.

    Attributes:
        face_id: (H, W) int32 index of the visible triangle, -1 where there is none.
        barycentric: (H, W, 3) float32 perspective-correct weights of the triangle's corners, 0 where there is none.
        depth: (H, W) float32 depth in the unit of the input, infinite where there is none.
    """

    face_id: Int[np.ndarray, "H W"]
    barycentric: Float[np.ndarray, "H W 3"]
    depth: Float[np.ndarray, "H W"]


@compile_loop
def _fill(points, inverse_depth, triangles, left, top, cull, face_id, barycentric, depth):
    height, width = face_id.shape
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        wa, wb, wc = inverse_depth[a], inverse_depth[b], inverse_depth[c]
        if not (wa > 0.0 and wb > 0.0 and wc > 0.0):
            continue
        ax, ay = points[a, 0] - left, points[a, 1] - top
        bx, by = points[b, 0] - left, points[b, 1] - top
        cx, cy = points[c, 0] - left, points[c, 1] - top
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # y runs down, so a triangle that is counter-clockwise to the viewer has negative area here
        if abs(area) < MIN_DOUBLED_AREA or (cull and area > 0.0):
            continue
        first_row = max(0, int(np.ceil(min(ay, by, cy) - 1e-6)))
        last_row = min(height - 1, int(np.floor(max(ay, by, cy) + 1e-6)))
        first_column = max(0, int(np.ceil(min(ax, bx, cx) - 1e-6)))
        last_column = min(width - 1, int(np.floor(max(ax, bx, cx) + 1e-6)))
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                ea = ((bx - column) * (cy - row) - (by - row) * (cx - column)) / area
                eb = ((cx - column) * (ay - row) - (cy - row) * (ax - column)) / area
                ec = 1.0 - ea - eb
                if ea < -EDGE_MARGIN or eb < -EDGE_MARGIN or ec < -EDGE_MARGIN:
                    continue
                ua, ub, uc = ea * wa, eb * wb, ec * wc
                total = ua + ub + uc
                distance = np.float32(1.0 / total)
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
    """Draw triangles into the pixels of a window.

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
        float(x0),
        float(y0),
        cull_backfaces,
        raster.face_id,
        raster.barycentric,
        raster.depth,
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
    """Spread per-vertex values over the pixels: value(p) = sum over the 3 corners of barycentric(p) * values[corner].

    Args:
        raster: from `rasterize` with the same triangles.
        triangles: (F, 3) vertex ids.
        values: (N, C) any per-vertex quantity.

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
