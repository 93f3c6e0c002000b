"""The colour of every sample: skin, eyes, teeth, mouth and cloth under three lights and a soft surrounding.

All colours are linear RGB. Skin uses Lambert's cosine wrapped further round for red than for blue, which is how light
that scatters below the surface looks, and two highlights, one broad and one narrow.
"""

import numpy as np

from metatalk_lib.core.jit import compile_loop, compile_part
from metatalk_lib.studio.base_mesh import CAVITY, CLOTH, EYE_LEFT, EYE_RIGHT, SCARF, TEETH_LOWER, TEETH_UPPER, TONGUE
from metatalk_lib.studio.surface import Spot

# Linear albedo of the parts of a mouth, and the strength of their wet highlight.
TOOTH_ALBEDO = (np.float32(0.50), np.float32(0.455), np.float32(0.37))
TONGUE_ALBEDO = (np.float32(0.36), np.float32(0.13), np.float32(0.12))
CAVITY_ALBEDO = (np.float32(0.20), np.float32(0.05), np.float32(0.045))
TOOTH_GLOSS, TONGUE_GLOSS, CAVITY_GLOSS = np.float32(0.8), np.float32(0.5), np.float32(0.2)
IRIS_RADIUS = np.float32(0.475)  # of the eyeball's radius
SMOOTH_DEPTH = np.float32(0.0008)  # spread of 1/depth in a pixel of one smooth surface, over its largest value


@compile_part
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compile_part
def _direction(lights, k):
    """Unit direction to light `k`: 0 key, 1 fill, 2 rim."""
    return lights[2 * k, 0], lights[2 * k, 1], lights[2 * k, 2]


@compile_part
def _wrap(cosine, width):
    return max(np.float32(0.0), (cosine + width) / (np.float32(1.0) + width)) / (
        np.float32(1.0) + np.float32(0.5) * width
    )


@compile_part
def _highlight(normal, light, view, power):
    """Normalised Blinn-Phong lobe times the cosine to the light; all three directions have unit length."""
    cosine = _dot(normal, light)
    if cosine <= 0.0:
        return np.float32(0.0)
    middle = light[0] + view[0], light[1] + view[1], light[2] + view[2]
    scale = np.float32(1.0) / np.sqrt(_dot(middle, middle))
    half = max(np.float32(0.0), _dot(normal, middle) * scale)
    fresnel = (
        np.float32(0.035)
        + np.float32(0.965) * (np.float32(1.0) - max(np.float32(0.0), _dot(view, middle) * scale)) ** 5
    )
    return (power + np.float32(8.0)) * np.float32(0.0398) * half**power * fresnel * cosine


@compile_part
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


@compile_part
def _relieve(n, texel, rotation):
    """Unit normal of the skin with its relief: the slope of the texel is subtracted within the tangent plane."""
    gx = rotation[0, 0] * texel[4] + rotation[0, 1] * texel[5] + rotation[0, 2] * texel[6]
    gy = rotation[1, 0] * texel[4] + rotation[1, 1] * texel[5] + rotation[1, 2] * texel[6]
    gz = rotation[2, 0] * texel[4] + rotation[2, 1] * texel[5] + rotation[2, 2] * texel[6]
    along = gx * n[0] + gy * n[1] + gz * n[2]
    nx, ny, nz = n[0] - gx + along * n[0], n[1] - gy + along * n[1], n[2] - gz + along * n[2]
    scale = np.float32(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * scale, ny * scale, nz * scale


@compile_part
def _scatter_light(cosine, smooth, seen, colour):
    """Diffuse light of one lamp on skin; `cosine` is with the relief and `smooth` without, red depends on it least.

    Light bleeds into shadows, red the furthest.
    """
    return (
        colour[0]
        * seen ** np.float32(0.70)
        * _wrap(np.float32(0.35) * cosine + np.float32(0.65) * smooth, np.float32(0.34)),
        colour[1]
        * seen ** np.float32(0.95)
        * _wrap(np.float32(0.65) * cosine + np.float32(0.35) * smooth, np.float32(0.17)),
        colour[2] * seen * _wrap(np.float32(0.75) * cosine + np.float32(0.25) * smooth, np.float32(0.11)),
    )


@compile_part
def _shade_skin(spot, rotation, occlusion, visible, lights):
    """Skin, lips and scalp. The texel is red, green, blue, gloss, and the slope of the relief in head axes."""
    view, texel = spot.toward_eye, spot.texel
    normal = _relieve(spot.normal, texel, rotation)
    gloss = texel[3]
    red = green = blue = sr = sg = sb = np.float32(0.0)
    for k in range(3):
        light, colour = _direction(lights, k), (lights[2 * k + 1, 0], lights[2 * k + 1, 1], lights[2 * k + 1, 2])
        seen = visible if k == 0 else occlusion
        r, g, b = _scatter_light(_dot(normal, light), _dot(spot.normal, light), seen, colour)
        red, green, blue = red + r, green + g, blue + b
        broad = _highlight(normal, light, view, np.float32(14.0))
        narrow = _highlight(normal, light, view, np.float32(70.0))
        shine = gloss * (np.float32(0.75) * broad + np.float32(0.45) * gloss * narrow) * seen
        sr, sg, sb = sr + shine * colour[0], sg + shine * colour[1], sb + shine * colour[2]
    high = np.float32(0.5) + np.float32(0.5) * normal[1]
    rim = (np.float32(1.0) - max(np.float32(0.0), _dot(normal, view))) ** 4 * np.float32(0.22) * gloss
    for k in range(3):
        ambient = lights[7, k] + (lights[6, k] - lights[7, k]) * high
        bounce = occlusion ** (np.float32(0.8) if k == 0 else np.float32(1.1))
        direct = red if k == 0 else (green if k == 1 else blue)
        mirror = sr if k == 0 else (sg if k == 1 else sb)
        spot.colour[k] = texel[k] * (direct + ambient * bounce) + mirror + rim * ambient * occlusion


@compile_part
def _iris(local, radius, angle, light):
    """Shade of the iris (fibres, dark rim, pupil), and the strength of its warm ring.

    The iris is a bowl behind the cornea: the side away from the key light is brighter.
    """
    inner = min(max((radius - np.float32(0.165)) / np.float32(0.03), np.float32(0.0)), np.float32(1.0))
    fibre = np.float32(0.78) + np.float32(0.22) * np.sin(angle * 37.0 + 3.0 * np.sin(angle * 11.0)) * np.sin(
        angle * 71.0 + radius * 20.0
    )
    share = radius / IRIS_RADIUS
    ring = np.float32(1.0) - np.float32(0.88) * max(np.float32(0.0), (share - np.float32(0.66)) / np.float32(0.34)) ** 2
    warm = max(np.float32(0.0), np.float32(1.0) - abs(share - np.float32(0.45)) * np.float32(3.5)) * np.float32(0.35)
    bowl = np.float32(1.0) - np.float32(1.1) * (local[0] * light[0] + local[1] * light[1])
    return fibre * ring * inner * bowl, warm


@compile_part
def _eye_albedo(local, colour, light):
    """Albedo of an eyeball: the white with veins, and the iris in front."""
    radius = np.sqrt(local[0] ** 2 + local[1] ** 2)
    angle = np.arctan2(local[1], local[0])
    white = np.float32(0.62) - np.float32(0.10) * min(radius, np.float32(1.0)) ** 2
    vein = np.float32(0.03) * np.sin(angle * 23.0 + np.sin(radius * 19.0) * 2.0) * radius
    r, g, b = white, white * np.float32(0.935) - vein, white * np.float32(0.90) - vein
    if local[2] > 0.0:
        edge = min(max((IRIS_RADIUS + np.float32(0.02) - radius) / np.float32(0.05), np.float32(0.0)), np.float32(1.0))
        base, warm = _iris(local, radius, angle, light)
        r += edge * (colour[0] * base * (np.float32(1.0) + warm * 2) - r)
        g += edge * (colour[1] * base * (np.float32(1.0) + warm) - g)
        b += edge * (colour[2] * base - b)
    return r, g, b


@compile_part
def _shade_eye(spot, colour, occlusion, visible, lights):
    """An eyeball; `spot.local` is the point on the unit sphere in the eye's own axes, z along the gaze."""
    n, view = spot.normal, spot.toward_eye
    r, g, b = _eye_albedo(spot.local, colour, _direction(lights, 0))
    direct = visible * _wrap(_dot(n, _direction(lights, 0)), np.float32(0.25))
    fill = occlusion * _wrap(_dot(n, _direction(lights, 1)), np.float32(0.25))
    facing = np.float32(2.0) * _dot(n, view)
    mirror = facing * n[0] - view[0], facing * n[1] - view[1], facing * n[2] - view[2]
    glint = np.float32(0.0)
    for k in range(2):
        toward = _dot(mirror, _direction(lights, k))
        bright = min(max((toward - np.float32(0.972)) / np.float32(0.012), np.float32(0.0)), np.float32(1.0))
        glint += bright * (np.float32(0.42) if k == 0 else np.float32(0.10))
    up = np.float32(0.5) + np.float32(0.5) * mirror[1]
    for k in range(3):
        ambient = lights[7, k] + (lights[6, k] - lights[7, k]) * (np.float32(0.5) + np.float32(0.5) * n[1])
        body = r if k == 0 else (g if k == 1 else b)
        spot.colour[k] = body * (lights[1, k] * direct + lights[3, k] * fill + ambient * occlusion)
        spot.colour[k] += (
            glint * lights[1, k] * min(np.float32(1.0), occlusion * 2)
            + np.float32(0.035) * up * lights[6, k] * occlusion
        )


@compile_part
def _shade_plain(spot, albedo, gloss, occlusion, visible, lights):
    """Teeth, tongue and mouth: a soft Lambert with a wet highlight."""
    n, key = spot.normal, _direction(lights, 0)
    direct = visible * _wrap(_dot(n, key), np.float32(0.5))
    fill = occlusion * _wrap(_dot(n, _direction(lights, 1)), np.float32(0.5))
    shine = gloss * visible * _highlight(n, key, spot.toward_eye, np.float32(50.0))
    for k in range(3):
        ambient = np.float32(0.5) * (lights[7, k] + lights[6, k])
        base = albedo[0] if k == 0 else (albedo[1] if k == 1 else albedo[2])
        diffuse = lights[1, k] * direct + lights[3, k] * fill + ambient * occlusion
        spot.colour[k] = base * diffuse + shine * lights[1, k]


@compile_part
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


@compile_part
def _mix_pattern(rest, pattern, scale):
    """Share of the second colour in a cloth at a place on the template: plain, stripes, check or knit."""
    mix = np.float32(0.0)
    if pattern == 1:
        mix = np.float32(1.0) if np.sin(rest[1] * scale) > 0.55 else np.float32(0.0)
    elif pattern == 2:
        mix = np.float32(0.35) * (np.sin(rest[0] * scale) > 0.6) + np.float32(0.35) * (np.sin(rest[1] * scale) > 0.6)
    elif pattern == 3:
        mix = np.float32(0.5) + np.float32(0.5) * np.sin(rest[0] * 110.0) * np.sin(
            rest[1] * 90.0 + 2.0 * abs(np.sin(rest[0] * 55.0))
        )
        mix *= np.float32(0.22)
    return mix


@compile_part
def _shade_cloth(spot, cloth, occlusion, visible, lights):
    """Woven or knitted cloth; `spot.local` is the place on the template."""
    n, rest = spot.normal, spot.local
    mix = _mix_pattern(rest, int(cloth[2, 0]), cloth[2, 1])
    weave = np.float32(1.0) + np.float32(0.05) * np.sin(rest[0] * 260.0) * np.sin(rest[1] * 260.0)
    fuzz = (np.float32(1.0) - max(np.float32(0.0), _dot(n, spot.toward_eye))) ** 3 * cloth[2, 2]
    key = visible * _wrap(_dot(n, _direction(lights, 0)), np.float32(0.15))
    fill = occlusion * _wrap(_dot(n, _direction(lights, 1)), np.float32(0.15))
    rim = occlusion * _wrap(_dot(n, _direction(lights, 2)), np.float32(0.10))
    for k in range(3):
        ambient = lights[7, k] + (lights[6, k] - lights[7, k]) * (np.float32(0.5) + np.float32(0.5) * n[1])
        colour = (cloth[0, k] * (1 - mix) + cloth[1, k] * mix) * weave + fuzz * (
            np.float32(0.25) * cloth[0, k] + np.float32(0.01)
        )
        spot.colour[k] = colour * (lights[1, k] * key + lights[3, k] * fill + lights[5, k] * rim + ambient * occlusion)


@compile_part
def _shade_mouth(spot, kind, middle_distance, occlusion, visible, lights):
    """Teeth, tongue or the inside of the cheeks; `middle_distance` (dm) from the middle line places tooth gaps."""
    if kind in (TEETH_UPPER, TEETH_LOWER):
        shade = _tooth_gaps(middle_distance, kind == TEETH_UPPER)
        albedo = TOOTH_ALBEDO[0] * shade, TOOTH_ALBEDO[1] * shade, TOOTH_ALBEDO[2] * shade
        _shade_plain(spot, albedo, TOOTH_GLOSS, occlusion, visible, lights)
    elif kind == TONGUE:
        _shade_plain(spot, TONGUE_ALBEDO, TONGUE_GLOSS, occlusion, visible, lights)
    else:
        _shade_plain(spot, CAVITY_ALBEDO, CAVITY_GLOSS, occlusion, visible, lights)


@compile_part
def _weigh_corners(surfaces, f, sx, sy):
    """Perspective-correct weights of the corners of triangle `f` at a place on the screen, none below 0, of sum 1."""
    screen, inverse_depth = surfaces.screen, surfaces.inverse_depth
    a, b, c = surfaces.triangles[f, 0], surfaces.triangles[f, 1], surfaces.triangles[f, 2]
    ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    u = ((bx - sx) * (cy - sy) - (by - sy) * (cx - sx)) / area * inverse_depth[a]
    v = ((cx - sx) * (ay - sy) - (cy - sy) * (ax - sx)) / area * inverse_depth[b]
    w = ((ax - sx) * (by - sy) - (ay - sy) * (bx - sx)) / area * inverse_depth[c]
    u, v, w = max(u, np.float32(0.0)), max(v, np.float32(0.0)), max(w, np.float32(0.0))
    scale = np.float32(1.0) / (u + v + w)
    return u * scale, v * scale, w * scale


@compile_part
def _mix_corners(values, corners, weights, k):
    """Column `k` of a per-vertex quantity within a triangle."""
    return weights[0] * values[corners[0], k] + weights[1] * values[corners[1], k] + weights[2] * values[corners[2], k]


@compile_part
def _place_spot(surfaces, corners, weights, spot):
    """Fill in normal, point and view of a sample."""
    n, view, point = spot.normal, spot.toward_eye, spot.point
    length = reach = np.float32(0.0)
    for k in range(3):
        n[k] = _mix_corners(surfaces.normals, corners, weights, k)
        point[k] = _mix_corners(surfaces.vertices, corners, weights, k)
        view[k] = (np.float32(10.0) if k == 2 else np.float32(0.0)) - point[k]
        length += n[k] * n[k]
        reach += view[k] * view[k]
    for k in range(3):
        n[k] /= np.sqrt(length)
        view[k] /= np.sqrt(reach)


@compile_part
def _turn_into_eye(eyes, eye, spot):
    """Fill in the point in the axes of an eyeball of unit radius."""
    local, point = spot.local, spot.point
    for k in range(3):
        local[k] = np.float32(0.0)
        for j in range(3):
            local[k] += eyes[eye, k + 1, j] * (point[j] - eyes[eye, 0, j])


@compile_part
def _shade_sample(surfaces, f, weights, materials, lights, spot):
    """Fill in the colour of a sample on triangle `f`, by the material of its part."""
    a, b, c = corners = surfaces.triangles[f, 0], surfaces.triangles[f, 1], surfaces.triangles[f, 2]
    u, v, w = weights
    _place_spot(surfaces, corners, weights, spot)
    hidden = u * surfaces.occlusion[a] + v * surfaces.occlusion[b] + w * surfaces.occlusion[c]
    lit = u * surfaces.visible[a] + v * surfaces.visible[b] + w * surfaces.visible[c]
    kind = surfaces.part[f]
    if kind in (EYE_LEFT, EYE_RIGHT):
        _turn_into_eye(materials.eyes, kind - EYE_LEFT, spot)
        _shade_eye(spot, materials.eye_colour, hidden, lit, lights)
    elif kind in (TEETH_UPPER, TEETH_LOWER, TONGUE, CAVITY):
        light = materials.mouth_light
        _shade_mouth(spot, kind, _mix_corners(surfaces.rest, corners, weights, 0), hidden * light, lit * light, lights)
    elif kind in (CLOTH, SCARF):
        for k in range(3):
            spot.local[k] = _mix_corners(surfaces.rest, corners, weights, k)
        _shade_cloth(spot, materials.cloth if kind == CLOTH else materials.scarf, hidden, lit, lights)
    else:
        places = surfaces.coordinates
        tu = u * places[f, 0, 0] + v * places[f, 1, 0] + w * places[f, 2, 0]
        tv = u * places[f, 0, 1] + v * places[f, 1, 1] + w * places[f, 2, 1]
        _sample(materials.texture, tu, tv, spot.texel)
        _shade_skin(spot, materials.rotation, hidden, lit, lights)


@compile_part
def _scan_pixel(samples, part, row, column):
    """Number of covered samples of a pixel, whether all show one smooth surface, and the nearest 1/depth."""
    identifiers, nearness, per_side = samples.identifiers, samples.nearness, samples.per_side
    first = identifiers[row * per_side, column * per_side]
    uniform = first >= 0
    low, high, filled = np.float32(1e9), np.float32(0.0), 0
    for s in range(per_side * per_side):
        y, x = row * per_side + s // per_side, column * per_side + s % per_side
        f = identifiers[y, x]
        if f >= 0:
            filled += 1
            low, high = min(low, nearness[y, x]), max(high, nearness[y, x])
            uniform = uniform and part[f] == part[first]
        else:
            uniform = False
    return filled, uniform and (high - low) < SMOOTH_DEPTH * high, high


@compile_part
def _shade_pixel(samples, surfaces, materials, lights, place, uniform, spot):
    """Sum of the colours of a pixel's covered samples; of a uniform pixel the colour at its centre."""
    row, column = place
    identifiers, per_side = samples.identifiers, samples.per_side
    total_r = total_g = total_b = np.float32(0.0)
    for s in range(1 if uniform else per_side * per_side):
        y, x = row * per_side + s // per_side, column * per_side + s % per_side
        f = identifiers[y, x]
        if f < 0:
            continue
        sx = np.float32(column * per_side + 0.5 * (per_side - 1)) if uniform else np.float32(x)
        sy = np.float32(row * per_side + 0.5 * (per_side - 1)) if uniform else np.float32(y)
        _shade_sample(surfaces, f, _weigh_corners(surfaces, f, sx, sy), materials, lights, spot)
        r, g, b = spot.colour[0], spot.colour[1], spot.colour[2]
        total_r, total_g, total_b = total_r + r, total_g + g, total_b + b
    return total_r, total_g, total_b


@compile_loop
def shade_image(samples, surfaces, materials, lights, layers):
    """Shade a supersampled id buffer.

    A pixel whose samples show one smooth surface is shaded once, others a sample at a time.

    Args:
        samples: what each sample shows.
        surfaces: the posed figure.
        materials: the materials of its parts.
        lights: (8, 3) direction and colour of key, fill, rim; sky; ground.
        layers: the picture, of which `image`, `cover` and `depth` are written.
    """
    height, width = layers.depth.shape
    count = samples.per_side * samples.per_side
    normal, toward_eye, point = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    local, texel, colour = np.zeros(3, np.float32), np.zeros(8, np.float32), np.zeros(3, np.float32)
    spot = Spot(normal, toward_eye, point, local, texel, colour)
    for row in range(height):
        for column in range(width):
            filled, uniform, nearest = _scan_pixel(samples, surfaces.part, row, column)
            layers.depth[row, column] = nearest
            layers.cover[row, column] = np.float32(filled) / np.float32(count)
            if filled == 0:
                continue
            r, g, b = _shade_pixel(samples, surfaces, materials, lights, (row, column), uniform, spot)
            share = np.float32(1.0) if uniform else np.float32(1.0) / np.float32(filled)
            layers.image[row, column, 0] = r * share
            layers.image[row, column, 1] = g * share
            layers.image[row, column, 2] = b * share
