"""The colour of every sample: skin, eyes, teeth, mouth and cloth under three lights and a soft surrounding.

All colours are linear RGB. Skin uses Lambert's cosine wrapped further round for red than for blue, which is how light
that scatters below the surface looks, and two highlights, one broad and one narrow.
"""

import numpy as np

from metatalk_lib.core.jit import compile_loop
from metatalk_lib.studio.base_mesh import CAVITY, CLOTH, EYE_LEFT, EYE_RIGHT, SCARF, TEETH_LOWER, TEETH_UPPER, TONGUE


@compile_loop
def _wrap(cosine, width):
    return max(np.float32(0.0), (cosine + width) / (np.float32(1.0) + width)) / (
        np.float32(1.0) + np.float32(0.5) * width
    )


@compile_loop
def _highlight(nx, ny, nz, lx, ly, lz, vx, vy, vz, power):
    """Normalised Blinn-Phong lobe times the cosine to the light."""
    cosine = nx * lx + ny * ly + nz * lz
    if cosine <= 0.0:
        return np.float32(0.0)
    hx, hy, hz = lx + vx, ly + vy, lz + vz
    scale = np.float32(1.0) / np.sqrt(hx * hx + hy * hy + hz * hz)
    half = max(np.float32(0.0), (nx * hx + ny * hy + nz * hz) * scale)
    fresnel = (
        np.float32(0.035)
        + np.float32(0.965) * (np.float32(1.0) - max(np.float32(0.0), (vx * hx + vy * hy + vz * hz) * scale)) ** 5
    )
    return (power + np.float32(8.0)) * np.float32(0.0398) * half**power * fresnel * cosine


@compile_loop
def _sample(texture, u, v, out):
    """Bilinear texture look-up into `out`; u to the right and v down, both 0 to 1."""
    height, width, channels = texture.shape
    x = min(max(u * width - np.float32(0.5), np.float32(0.0)), np.float32(width - 1.001))
    y = min(max(v * height - np.float32(0.5), np.float32(0.0)), np.float32(height - 1.001))
    column, row = int(x), int(y)
    fx, fy = x - column, y - row
    for k in range(channels):
        upper = texture[row, column, k] * (1 - fx) + texture[row, column + 1, k] * fx
        lower = texture[row + 1, column, k] * (1 - fx) + texture[row + 1, column + 1, k] * fx
        out[k] = upper * (1 - fy) + lower * fy


@compile_loop
def _shade_skin(n, view, texel, occlusion, visible, lights, tangle, out):
    """Skin, lips and scalp. `texel` is red, green, blue, gloss, and the slope of the relief in head axes."""
    gx = tangle[0, 0] * texel[4] + tangle[0, 1] * texel[5] + tangle[0, 2] * texel[6]
    gy = tangle[1, 0] * texel[4] + tangle[1, 1] * texel[5] + tangle[1, 2] * texel[6]
    gz = tangle[2, 0] * texel[4] + tangle[2, 1] * texel[5] + tangle[2, 2] * texel[6]
    along = gx * n[0] + gy * n[1] + gz * n[2]
    nx, ny, nz = n[0] - gx + along * n[0], n[1] - gy + along * n[1], n[2] - gz + along * n[2]
    scale = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    gloss = texel[3]
    broad, narrow = np.float32(0.0), np.float32(0.0)
    red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    sr, sg, sb = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for k in range(3):
        lx, ly, lz = lights[2 * k, 0], lights[2 * k, 1], lights[2 * k, 2]
        cosine = nx * lx + ny * ly + nz * lz
        smooth = n[0] * lx + n[1] * ly + n[2] * lz
        seen = visible if k == 0 else occlusion
        # Light bleeds into shadows, red the furthest.
        seen_r, seen_g, seen_b = seen ** np.float32(0.70), seen ** np.float32(0.95), seen
        red += (
            lights[2 * k + 1, 0]
            * seen_r
            * _wrap(np.float32(0.35) * cosine + np.float32(0.65) * smooth, np.float32(0.34))
        )
        green += (
            lights[2 * k + 1, 1]
            * seen_g
            * _wrap(np.float32(0.65) * cosine + np.float32(0.35) * smooth, np.float32(0.17))
        )
        blue += (
            lights[2 * k + 1, 2]
            * seen_b
            * _wrap(np.float32(0.75) * cosine + np.float32(0.25) * smooth, np.float32(0.11))
        )
        broad = _highlight(nx, ny, nz, lx, ly, lz, view[0], view[1], view[2], np.float32(14.0))
        narrow = _highlight(nx, ny, nz, lx, ly, lz, view[0], view[1], view[2], np.float32(70.0))
        shine = gloss * (np.float32(0.75) * broad + np.float32(0.45) * gloss * narrow) * seen
        sr += shine * lights[2 * k + 1, 0]
        sg += shine * lights[2 * k + 1, 1]
        sb += shine * lights[2 * k + 1, 2]
    high = np.float32(0.5) + np.float32(0.5) * ny
    rim = (
        (np.float32(1.0) - max(np.float32(0.0), nx * view[0] + ny * view[1] + nz * view[2])) ** 4
        * np.float32(0.22)
        * gloss
    )
    for k in range(3):
        ambient = lights[7, k] + (lights[6, k] - lights[7, k]) * high
        bounce = occlusion ** (np.float32(0.8) if k == 0 else np.float32(1.1))
        direct = red if k == 0 else (green if k == 1 else blue)
        mirror = sr if k == 0 else (sg if k == 1 else sb)
        out[k] = texel[k] * (direct + ambient * bounce) + mirror + rim * ambient * occlusion


@compile_loop
def _shade_eye(n, view, local, colour, occlusion, visible, lights, out):
    """An eyeball; `local` is the point on the unit sphere in the eye's own axes, z along the gaze."""
    radius = np.sqrt(local[0] ** 2 + local[1] ** 2)
    nx, ny, nz = n[0], n[1], n[2]
    iris = np.float32(0.475)
    angle = np.arctan2(local[1], local[0])
    white = np.float32(0.62) - np.float32(0.10) * min(radius, np.float32(1.0)) ** 2
    vein = np.float32(0.03) * np.sin(angle * 23.0 + np.sin(radius * 19.0) * 2.0) * radius
    r, g, b = white, white * np.float32(0.935) - vein, white * np.float32(0.90) - vein
    if local[2] > 0.0:
        edge = min(max((iris + np.float32(0.02) - radius) / np.float32(0.05), np.float32(0.0)), np.float32(1.0))
        inner = min(max((radius - np.float32(0.165)) / np.float32(0.03), np.float32(0.0)), np.float32(1.0))
        fibre = np.float32(0.78) + np.float32(0.22) * np.sin(angle * 37.0 + 3.0 * np.sin(angle * 11.0)) * np.sin(
            angle * 71.0 + radius * 20.0
        )
        share = radius / iris
        ring = (
            np.float32(1.0)
            - np.float32(0.88) * max(np.float32(0.0), (share - np.float32(0.66)) / np.float32(0.34)) ** 2
        )
        warm = max(np.float32(0.0), np.float32(1.0) - abs(share - np.float32(0.45)) * np.float32(3.5)) * np.float32(
            0.35
        )
        # The iris is a bowl behind the cornea: the side away from the key light is brighter.
        bowl = np.float32(1.0) - np.float32(1.1) * (local[0] * lights[0, 0] + local[1] * lights[0, 1])
        base = fibre * ring * inner * bowl
        r += edge * (colour[0] * base * (np.float32(1.0) + warm * 2) - r)
        g += edge * (colour[1] * base * (np.float32(1.0) + warm) - g)
        b += edge * (colour[2] * base - b)
    direct = visible * _wrap(nx * lights[0, 0] + ny * lights[0, 1] + nz * lights[0, 2], np.float32(0.25))
    fill = occlusion * _wrap(nx * lights[2, 0] + ny * lights[2, 1] + nz * lights[2, 2], np.float32(0.25))
    facing = np.float32(2.0) * (nx * view[0] + ny * view[1] + nz * view[2])
    mx, my, mz = facing * nx - view[0], facing * ny - view[1], facing * nz - view[2]
    glint = np.float32(0.0)
    for k in range(2):
        toward = mx * lights[2 * k, 0] + my * lights[2 * k, 1] + mz * lights[2 * k, 2]
        spot = min(max((toward - np.float32(0.972)) / np.float32(0.012), np.float32(0.0)), np.float32(1.0))
        glint += spot * (np.float32(0.42) if k == 0 else np.float32(0.10))
    up = np.float32(0.5) + np.float32(0.5) * my
    for k in range(3):
        ambient = lights[7, k] + (lights[6, k] - lights[7, k]) * (np.float32(0.5) + np.float32(0.5) * ny)
        body = r if k == 0 else (g if k == 1 else b)
        out[k] = body * (lights[1, k] * direct + lights[3, k] * fill + ambient * occlusion)
        out[k] += (
            glint * lights[1, k] * min(np.float32(1.0), occlusion * 2)
            + np.float32(0.035) * up * lights[6, k] * occlusion
        )


@compile_loop
def _shade_plain(n, view, r, g, b, gloss, occlusion, visible, lights, out):
    """Teeth, tongue and mouth: a soft Lambert with a wet highlight."""
    direct = visible * _wrap(n[0] * lights[0, 0] + n[1] * lights[0, 1] + n[2] * lights[0, 2], np.float32(0.5))
    fill = occlusion * _wrap(n[0] * lights[2, 0] + n[1] * lights[2, 1] + n[2] * lights[2, 2], np.float32(0.5))
    shine = (
        gloss
        * visible
        * _highlight(
            n[0], n[1], n[2], lights[0, 0], lights[0, 1], lights[0, 2], view[0], view[1], view[2], np.float32(50.0)
        )
    )
    for k in range(3):
        ambient = np.float32(0.5) * (lights[7, k] + lights[6, k])
        base = r if k == 0 else (g if k == 1 else b)
        out[k] = base * (lights[1, k] * direct + lights[3, k] * fill + ambient * occlusion) + shine * lights[1, k]


@compile_loop
def _tooth_gaps(x, upper):
    """Darkening between neighbouring teeth, by the distance from the middle line in decimetres."""
    position = abs(x)
    gap = np.float32(1.0)
    width = np.float32(0.084) if upper else np.float32(0.058)
    edge = np.float32(0.0)
    for k in range(6):
        gap = min(gap, abs(position - edge) / np.float32(0.011))
        edge += width * (np.float32(1.0) - np.float32(0.13) * k)
    return np.float32(0.74) + np.float32(0.26) * min(np.float32(1.0), gap)


@compile_loop
def _shade_cloth(n, view, rest, cloth, occlusion, visible, lights, out):
    """Woven or knitted cloth. `cloth` rows: colour, second colour, (pattern, scale, fuzz)."""
    pattern = int(cloth[2, 0])
    mix = np.float32(0.0)
    if pattern == 1:
        mix = np.float32(1.0) if np.sin(rest[1] * cloth[2, 1]) > 0.55 else np.float32(0.0)
    elif pattern == 2:
        mix = np.float32(0.35) * (np.sin(rest[0] * cloth[2, 1]) > 0.6) + np.float32(0.35) * (
            np.sin(rest[1] * cloth[2, 1]) > 0.6
        )
    elif pattern == 3:
        mix = np.float32(0.5) + np.float32(0.5) * np.sin(rest[0] * 110.0) * np.sin(
            rest[1] * 90.0 + 2.0 * abs(np.sin(rest[0] * 55.0))
        )
        mix *= np.float32(0.22)
    weave = np.float32(1.0) + np.float32(0.05) * np.sin(rest[0] * 260.0) * np.sin(rest[1] * 260.0)
    fuzz = (np.float32(1.0) - max(np.float32(0.0), n[0] * view[0] + n[1] * view[1] + n[2] * view[2])) ** 3 * cloth[2, 2]
    key = visible * _wrap(n[0] * lights[0, 0] + n[1] * lights[0, 1] + n[2] * lights[0, 2], np.float32(0.15))
    fill = occlusion * _wrap(n[0] * lights[2, 0] + n[1] * lights[2, 1] + n[2] * lights[2, 2], np.float32(0.15))
    rim = occlusion * _wrap(n[0] * lights[4, 0] + n[1] * lights[4, 1] + n[2] * lights[4, 2], np.float32(0.10))
    for k in range(3):
        ambient = lights[7, k] + (lights[6, k] - lights[7, k]) * (np.float32(0.5) + np.float32(0.5) * n[1])
        colour = (cloth[0, k] * (1 - mix) + cloth[1, k] * mix) * weave + fuzz * (
            np.float32(0.25) * cloth[0, k] + np.float32(0.01)
        )
        out[k] = colour * (lights[1, k] * key + lights[3, k] * fill + lights[5, k] * rim + ambient * occlusion)


@compile_loop
def shade_image(
    identifiers,
    buffer,
    samples,
    screen,
    inverse_depth,
    triangles,
    part,
    coordinates,
    vertices,
    normals,
    rest,
    occlusion,
    visible,
    texture,
    tangle,
    lights,
    eyes,
    eye_colour,
    cloth,
    scarf,
    mouth_light,
    image,
    cover,
    depth,
):
    """Shade a supersampled id buffer.

    A pixel whose samples show one smooth surface is shaded once, others a sample at a time.

    Args:
        identifiers, buffer: (samples H, samples W) from `rasterize`.
        eyes: (2, 4, 3): for each eye its centre, and its axes right, up, gaze, in camera space, over the radius.
        tangle: (3, 3) rotation from head axes to camera axes.
        lights: (8, 3) direction and colour of key, fill, rim; sky; ground.
        image: (H, W, 3) float32, receives the mean colour of the covered samples.
        cover: (H, W) float32, receives the covered share of each pixel.
        depth: (H, W) float32, receives the nearest 1/depth.
    """
    height, width = depth.shape
    n, view, point, local = (
        np.zeros(3, np.float32),
        np.zeros(3, np.float32),
        np.zeros(3, np.float32),
        np.zeros(3, np.float32),
    )
    colour, texel = np.zeros(3, np.float32), np.zeros(8, np.float32)
    count = samples * samples
    for row in range(height):
        for column in range(width):
            first = identifiers[row * samples, column * samples]
            uniform = first >= 0
            low, high, filled = np.float32(1e9), np.float32(0.0), 0
            for s in range(count):
                y, x = row * samples + s // samples, column * samples + s % samples
                f = identifiers[y, x]
                if f >= 0:
                    filled += 1
                    low, high = min(low, buffer[y, x]), max(high, buffer[y, x])
                    uniform = uniform and part[f] == part[first]
                else:
                    uniform = False
            depth[row, column] = high
            cover[row, column] = np.float32(filled) / np.float32(count)
            if filled == 0:
                continue
            uniform = uniform and (high - low) < np.float32(0.0008) * high
            total_r = total_g = total_b = np.float32(0.0)
            for s in range(1 if uniform else count):
                y, x = row * samples + s // samples, column * samples + s % samples
                f = first if uniform else identifiers[y, x]
                if f < 0:
                    continue
                sx = np.float32(column * samples + 0.5 * (samples - 1)) if uniform else np.float32(x)
                sy = np.float32(row * samples + 0.5 * (samples - 1)) if uniform else np.float32(y)
                a, b, c = triangles[f]
                ax, ay, bx, by, cx, cy = (
                    screen[a, 0],
                    screen[a, 1],
                    screen[b, 0],
                    screen[b, 1],
                    screen[c, 0],
                    screen[c, 1],
                )
                area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
                u = ((bx - sx) * (cy - sy) - (by - sy) * (cx - sx)) / area * inverse_depth[a]
                v = ((cx - sx) * (ay - sy) - (cy - sy) * (ax - sx)) / area * inverse_depth[b]
                w = ((ax - sx) * (by - sy) - (ay - sy) * (bx - sx)) / area * inverse_depth[c]
                u, v, w = max(u, np.float32(0.0)), max(v, np.float32(0.0)), max(w, np.float32(0.0))
                scale = np.float32(1.0) / (u + v + w)
                u, v, w = u * scale, v * scale, w * scale
                length, reach = np.float32(0.0), np.float32(0.0)
                for k in range(3):
                    n[k] = u * normals[a, k] + v * normals[b, k] + w * normals[c, k]
                    point[k] = u * vertices[a, k] + v * vertices[b, k] + w * vertices[c, k]
                    view[k] = (np.float32(10.0) if k == 2 else np.float32(0.0)) - point[k]
                    length += n[k] * n[k]
                    reach += view[k] * view[k]
                for k in range(3):
                    n[k] /= np.sqrt(length)
                    view[k] /= np.sqrt(reach)
                hidden = u * occlusion[a] + v * occlusion[b] + w * occlusion[c]
                lit = u * visible[a] + v * visible[b] + w * visible[c]
                kind = part[f]
                if kind in (EYE_LEFT, EYE_RIGHT):
                    e = kind - EYE_LEFT
                    for k in range(3):
                        local[k] = np.float32(0.0)
                        for j in range(3):
                            local[k] += eyes[e, k + 1, j] * (point[j] - eyes[e, 0, j])
                    _shade_eye(n, view, local, eye_colour, hidden, lit, lights, colour)
                elif kind in (TEETH_UPPER, TEETH_LOWER):
                    shade = _tooth_gaps(u * rest[a, 0] + v * rest[b, 0] + w * rest[c, 0], kind == TEETH_UPPER)
                    _shade_plain(
                        n,
                        view,
                        np.float32(0.50) * shade,
                        np.float32(0.455) * shade,
                        np.float32(0.37) * shade,
                        np.float32(0.8),
                        hidden * mouth_light,
                        lit * mouth_light,
                        lights,
                        colour,
                    )
                elif kind == TONGUE:
                    _shade_plain(
                        n,
                        view,
                        np.float32(0.36),
                        np.float32(0.13),
                        np.float32(0.12),
                        np.float32(0.5),
                        hidden * mouth_light,
                        lit * mouth_light,
                        lights,
                        colour,
                    )
                elif kind == CAVITY:
                    _shade_plain(
                        n,
                        view,
                        np.float32(0.20),
                        np.float32(0.05),
                        np.float32(0.045),
                        np.float32(0.2),
                        hidden * mouth_light,
                        lit * mouth_light,
                        lights,
                        colour,
                    )
                elif kind in (CLOTH, SCARF):
                    for k in range(3):
                        local[k] = u * rest[a, k] + v * rest[b, k] + w * rest[c, k]
                    _shade_cloth(n, view, local, cloth if kind == CLOTH else scarf, hidden, lit, lights, colour)
                else:
                    tu = u * coordinates[f, 0, 0] + v * coordinates[f, 1, 0] + w * coordinates[f, 2, 0]
                    tv = u * coordinates[f, 0, 1] + v * coordinates[f, 1, 1] + w * coordinates[f, 2, 1]
                    _sample(texture, tu, tv, texel)
                    _shade_skin(n, view, texel, hidden, lit, lights, tangle, colour)
                total_r += colour[0]
                total_g += colour[1]
                total_b += colour[2]
            share = np.float32(1.0) if uniform else np.float32(1.0) / np.float32(filled)
            image[row, column, 0] = total_r * share
            image[row, column, 1] = total_g * share
            image[row, column, 2] = total_b * share
