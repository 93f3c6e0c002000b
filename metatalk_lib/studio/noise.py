"""Repeatable smooth noise over points in space, the grain of everything painted in the studio."""

import numpy as np

from metatalk_lib.compiled import compile_loop


@compile_loop
def _hash(x, y, z, seed):
    value = np.uint32(x * 374761393 + y * 668265263 + z * 2147483647 + seed * 1274126177)
    value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(1274126177))
    value = np.uint32((value ^ (value >> np.uint32(15))) * np.uint32(2246822519))
    return np.float32((value ^ (value >> np.uint32(16))) & np.uint32(0xFFFFFF)) * np.float32(
        2.0 / 16777215.0
    ) - np.float32(1.0)


@compile_loop
def lattice_noise(points, frequency, octaves, seed):
    """Sum of `octaves` smooth value noises, each twice as fine and half as strong; values about -1 to 1.

    Args:
        points: (K, 3) float32.
        frequency: lattice cells per unit of length in the coarsest octave.
        octaves: number of scales.
        seed: chooses the pattern.
    """
    result = np.empty(points.shape[0], np.float32)
    for i in range(points.shape[0]):
        total, weight, scale = np.float32(0.0), np.float32(1.0), np.float32(frequency)
        for octave in range(octaves):
            x, y, z = points[i, 0] * scale + 37.1 * octave, points[i, 1] * scale + 17.3, points[i, 2] * scale - 71.7
            ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
            fx, fy, fz = x - ix, y - iy, z - iz
            fx, fy, fz = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy), fz * fz * (3 - 2 * fz)
            value = np.float32(0.0)
            for corner in range(8):
                dx, dy, dz = corner & 1, (corner >> 1) & 1, corner >> 2
                share = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * (fz if dz else 1 - fz)
                value += share * _hash(ix + dx, iy + dy, iz + dz, seed + octave)
            total += weight * value
            weight *= np.float32(0.5)
            scale *= np.float32(2.0)
        result[i] = total
    return result
