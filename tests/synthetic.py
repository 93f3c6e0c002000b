"""Small made-up data for fast tests: a 30-vertex face model, coefficients for it, a tone, a drawn clip, pictures."""

import numpy as np
import torch
from scipy.ndimage import convolve

from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.audio import Audio

COLUMNS, ROWS = 6, 5


def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bulging 6 x 5 sheet: vertices (30, 3), triangles counter-clockwise from the front, mirror partners."""
    x, y = np.meshgrid(np.linspace(-0.7, 0.7, COLUMNS), np.linspace(0.9, -0.9, ROWS))
    z = 0.5 - 0.5 * x**2 - 0.2 * y**2
    vertices = np.stack((x, y, z), axis=-1).reshape(-1, 3)
    ids = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = ids[:-1, :-1].ravel(), ids[:-1, 1:].ravel(), ids[1:, :-1].ravel(), ids[1:, 1:].ravel()
    triangles = np.concatenate((np.stack((a, c, b), axis=1), np.stack((b, c, d), axis=1)))
    return vertices, triangles, ids[:, ::-1].ravel()


def make_face_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays that `FaceModel` takes; S is the identity, the mouth is the middle square, only modes are random."""
    generator = np.random.default_rng(seed)
    vertices, triangles, mirror = _grid()
    count = len(vertices)
    # the middle quad of the row below the centre is the mouth's hole
    corners = {14, 15, 20, 21}
    in_mouth = np.array([set(triangle) <= corners for triangle in triangles.tolist()])
    landmark_vertices = np.arange(68) % count
    return {
        "mean_shape": vertices,
        "identity_basis": 0.01 * generator.standard_normal((80, count, 3)),
        "expression_basis": 0.01 * generator.standard_normal((64, count, 3)),
        "mean_texture": np.full((count, 3), (0.7, 0.5, 0.4)),
        "texture_basis": 0.01 * generator.standard_normal((80, count, 3)),
        "triangles": triangles[~in_mouth],
        "mouth_interior_triangles": triangles[in_mouth],
        "lower_face": (vertices[triangles[~in_mouth], 1] < 0).any(axis=1),
        "base_mirror": mirror,
        "mirror": mirror,
        "base_ids": np.arange(count),
        "actions_to_expression": 0.3 * generator.standard_normal((52, 64)),
        **_identity_rows("subdivision", np.arange(count), count),
        **_identity_rows("landmark_matrix", landmark_vertices, count),
    }


def _identity_rows(name: str, columns: np.ndarray, count: int) -> dict[str, np.ndarray]:
    return {
        f"{name}_data": np.ones(len(columns)),
        f"{name}_indices": columns,
        f"{name}_indptr": np.arange(len(columns) + 1),
        f"{name}_shape": np.array((len(columns), count)),
    }


def make_face_model(seed: int = 0) -> FaceModel:
    """A 30-vertex model with all the parts of the real one."""
    return FaceModel(make_face_arrays(seed))


def make_coefficients(frames: int = 4, seed: int = 1, scale: float = 0.5) -> Coefficients:
    """Random small coefficients; frame_id counts 10, 11, ..."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int, sigma: float = scale) -> np.ndarray:
        return (sigma * generator.standard_normal(shape)).astype(np.float32)

    return Coefficients(
        frame_id=np.arange(10, 10 + frames),
        identity=draw(80),
        texture=draw(80),
        expression=draw(frames, 64),
        illumination=draw(frames, 27, sigma=0.05),
        rotation=draw(frames, 3, sigma=0.05),
        translation=draw(frames, 3, sigma=0.05),
        valid=np.ones(frames, dtype=bool),
        landmark_error_px=np.ones(frames, dtype=np.float32),
    )


def make_tone(seconds: float = 2.0, rate: int = 16000, frequency_hz: float = 220.0) -> np.ndarray:
    """(S,) float32 sine of amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def make_tone_audio(seconds: float, rate: int, channels: int = 1, amplitude: float = 0.5) -> Audio:
    """The same tone of 440 Hz in every channel."""
    samples = amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(samples[:, None], (1, channels)).astype(np.float32), rate)


def reference_signal() -> np.ndarray:
    """The signal that the goldens of the audio front ends were made from: two seconds of a tone, a sweep and noise."""
    t = np.arange(32000) / 16000
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(7)).numpy().astype(np.float64)
    tone = 0.3 * np.sin(2 * np.pi * 220 * t) + 0.2 * np.sin(2 * np.pi * (300 + 150 * t) * t)
    return (tone + 0.05 * noise).astype(np.float32)


def make_drawn_frames(count: int = 4, size: int = 64) -> np.ndarray:
    """(count, size, size, 3) uint8: an oval with two eyes and a mouth that opens; no detector sees a face."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    frames = np.full((count, size, size, 3), (40, 60, 80), dtype=np.uint8)
    for i, frame in enumerate(frames):
        opening = 0.02 + 0.06 * (0.5 - 0.5 * np.cos(2 * np.pi * i / max(count, 1)))
        frame[(x / 0.3) ** 2 + (y / 0.4) ** 2 < 1] = (200, 150, 130)
        for side in (-0.12, 0.12):
            frame[((x - side) / 0.05) ** 2 + ((y + 0.1) / 0.025) ** 2 < 1] = (30, 30, 30)
        frame[(x / 0.1) ** 2 + ((y - 0.18) / opening) ** 2 < 1] = (90, 20, 20)
    return frames


def random_pair(height: int = 60, width: int = 72) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture and the smooth one below the noise, RGB."""
    rng = np.random.default_rng(3)
    smooth = convolve(rng.uniform(0, 255, (height, width, 3)), np.ones((5, 5, 1)) / 25)
    noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255)
    return noisy.astype(np.uint8), smooth.astype(np.uint8)


def centre_mask(shape: tuple[int, ...]) -> np.ndarray:
    """A rectangle in the middle of `random_pair`'s pictures."""
    mask = np.zeros(shape[:2], bool)
    mask[20:44, 18:50] = True
    return mask
