"""The surface of one frame: arrays in bundles for compiled loops, projection, vertex normals, a z-buffer of samples."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from metatalk_lib.core.jit import compile_loop


class SampleBuffer(NamedTuple):
    """A supersampled id buffer from `surface.rasterize_surface`.

    Attributes:
        identifiers: (per_side H, per_side W) triangle of each sample, -1 where there is none.
        nearness: (per_side H, per_side W) its 1/depth.
        per_side: samples a pixel along each axis.
    """

    identifiers: Int[np.ndarray, "SH SW"]
    nearness: Float[np.ndarray, "SH SW"]
    per_side: int


class Surfaces(NamedTuple):
    """All triangles of a posed figure with the light that reaches their corners.

    Attributes:
        triangles: (F, 3) vertex ids.
        part: (F,) part number of `mesh`.
        coordinates: (F, 3, 2) place of the corners in the skin texture, 0 to 1.
        vertices: (N, 3) camera space.
        normals: (N, 3) unit normals, camera space.
        rest: (N, 3) place on the template, which patterns of cloth and teeth are tied to.
        screen: (N, 2) sample coordinates.
        inverse_depth: (N,) 1/depth.
        occlusion: (N,) share of the surroundings that reaches a vertex.
        visible: (N,) share of the key light that reaches it.
    """

    triangles: Int[np.ndarray, "F 3"]
    part: Int[np.ndarray, " F"]
    coordinates: Float[np.ndarray, "F 3 2"]
    vertices: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]
    rest: Float[np.ndarray, "N 3"]
    screen: Float[np.ndarray, "N 2"]
    inverse_depth: Float[np.ndarray, " N"]
    occlusion: Float[np.ndarray, " N"]
    visible: Float[np.ndarray, " N"]


class Materials(NamedTuple):
    """The materials of the parts, with the axes of head and eyes that they are tied to.

    Attributes:
        texture: (R, R, 8) the skin's texels: red, green, blue, gloss, slope of the relief in head axes.
        rotation: (3, 3) from head axes to camera axes.
        eyes: (2, 4, 3) for each eye its centre, and its axes right, up, gaze, in camera space, over the radius.
        eye_colour: (3,) albedo of the iris.
        cloth, scarf: (3, 3) rows: colour, second colour, (pattern, scale, fuzz).
        mouth_light: share of the light that comes in between the lips.
    """

    texture: Float[np.ndarray, "R R 8"]
    rotation: Float[np.ndarray, "3 3"]
    eyes: Float[np.ndarray, "2 4 3"]
    eye_colour: Float[np.ndarray, "3"]
    cloth: Float[np.ndarray, "3 3"]
    scarf: Float[np.ndarray, "3 3"]
    mouth_light: np.float32


class Layers(NamedTuple):
    """A picture in linear light, in two layers.

    Attributes:
        image: (H, W, 3) mean colour of the surfaces.
        behind: (H, W, 3) colour of what is behind them, seen where `cover` is below 1.
        cover: (H, W) share of a pixel that surfaces cover.
        depth: (H, W) nearest 1/depth of the surfaces.
    """

    image: Float[np.ndarray, "H W 3"]
    behind: Float[np.ndarray, "H W 3"]
    cover: Float[np.ndarray, "H W"]
    depth: Float[np.ndarray, "H W"]


class Spot(NamedTuple):
    """The surface at one sample, in buffers that every sample fills anew.

    Attributes:
        normal: (3,) unit normal, camera space.
        toward_eye: (3,) unit direction to the eye.
        point: (3,) camera space.
        local: (3,) the point in the axes of its own part.
        texel: (8,) of the skin.
        colour: (3,) the result.
    """

    normal: Float[np.ndarray, "3"]
    toward_eye: Float[np.ndarray, "3"]
    point: Float[np.ndarray, "3"]
    local: Float[np.ndarray, "3"]
    texel: Float[np.ndarray, "8"]
    colour: Float[np.ndarray, "3"]


class Head(NamedTuple):
    """The movement of the head in one frame, in camera space.

    Attributes:
        rotation: (3, 3) from head axes to camera axes.
        pivot: (3,) the point of the resting head that the rotation leaves in place, dm.
        sway: (3,) shift of the head, dm.
        shift: (3,) from the person's place to the camera's axes, dm.
    """

    rotation: Float[np.ndarray, "3 3"]
    pivot: Float[np.ndarray, "3"]
    sway: Float[np.ndarray, "3"]
    shift: Float[np.ndarray, "3"]


class Lens(NamedTuple):
    """The pinhole of the camera: focal length and principal point, px as float32."""

    focal: np.float32
    centre_x: np.float32
    centre_y: np.float32


# Rounding may put a sample on a shared edge outside of both neighbours; the margin leaves no pinholes.
_MARGIN = np.float32(-1e-5)


@compile_loop
def project_surface(vertices, focal, centre_x, centre_y, samples, screen, inverse_depth):
    """Pixel coordinates (in samples of 1/samples pixel) and 1/depth of camera-space vertices; depth is 10 - z."""
    for i in range(vertices.shape[0]):
        w = 1.0 / (10.0 - vertices[i, 2])
        screen[i, 0] = (centre_x + focal * vertices[i, 0] * w + 0.5) * samples - 0.5
        screen[i, 1] = (centre_y - focal * vertices[i, 1] * w + 0.5) * samples - 0.5
        inverse_depth[i] = w


@compile_loop
def compute_surface_normals(vertices, triangles, normals):
    """Area-weighted unit vertex normals."""
    normals[:] = 0.0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(vertices.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + np.float32(1e-20)
        normals[i, 0] /= length
        normals[i, 1] /= length
        normals[i, 2] /= length


@compile_loop
def rasterize_surface(screen, nearness, triangles, clip, both_sides, identifiers, buffer):
    """Nearest triangle of every sample.

    Args:
        screen: (N, 2) sample coordinates.
        nearness: (N,) any quantity that is linear on the screen and larger nearer the eye, above 0.
        triangles: (F, 3); those turned away are skipped unless `both_sides`.
        clip: (N,) samples where its interpolation is below 0 are transparent.
        identifiers: (H, W) int32, filled with the triangle's number or -1.
        buffer: (H, W) float32, filled with the nearness or 0.
    """
    height, width = identifiers.shape
    identifiers[:] = -1
    buffer[:] = 0.0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f]
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0 or (area > 0.0 and not both_sides):
            continue
        if clip[a] < 0.0 and clip[b] < 0.0 and clip[c] < 0.0:
            continue
        left, right = max(0, int(np.ceil(min(ax, bx, cx)))), min(width - 1, int(np.floor(max(ax, bx, cx))))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy)))), min(height - 1, int(np.floor(max(ay, by, cy))))
        inverse = np.float32(1.0) / area
        cut = clip[a] < 0.0 or clip[b] < 0.0 or clip[c] < 0.0
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                w = np.float32(1.0) - u - v
                if u < _MARGIN or v < _MARGIN or w < _MARGIN:
                    continue
                near = u * nearness[a] + v * nearness[b] + w * nearness[c]
                if near > buffer[y, x] and not (cut and u * clip[a] + v * clip[b] + w * clip[c] < 0.0):
                    buffer[y, x] = near
                    identifiers[y, x] = f
