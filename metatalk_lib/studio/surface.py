"""Which triangle each sample of a picture shows: perspective screen coordinates, vertex normals, a z-buffer."""

import numpy as np

from metatalk_lib.core.jit import compile_loop

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
