"""Small clips with a face that dlib finds: the open face model, drawn once, with painted eyes, moved over a wall."""

from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.face3d.camera import project, transform
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import expression_open_mouth, render_face

FPS = Fraction(25)
REAL_DIR = PROJECT_ROOT.parent / "shared" / "real"
WALL = 60


def real_clip(name: str) -> Path:
    """A clip of a real person; the test skips where there is none."""
    path = REAL_DIR / name
    if not path.exists():
        pytest.skip(f"the real clip {name} is not part of the project (looked for {path})")
    return path


@lru_cache(maxsize=32)
def drawn_face(size: int = 320, opening: float = 0.0, yaw: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A face in the middle of a wall, (size, size, 3), and its true landmarks (68, 2), px; it is about 180 px wide.

    `opening` is that of the mouth, 1 is wide open; `yaw` turns the head, rad.
    """
    light = np.zeros((1, 3, 9), np.float32)
    light[:, :, 2] = 0.4  # from above, which is what dlib's detector knows best
    pose = {"rotation": np.array([[0, yaw, 0]], np.float32), "translation": np.zeros((1, 3), np.float32)}
    model = load_face_model()
    expression = (opening * expression_open_mouth(model)[None]).astype(np.float32)
    shape = {"identity": np.zeros(80, np.float32), "expression": expression}
    coefficients = Coefficients(
        frame_id=np.arange(1),
        texture=np.zeros(80, np.float32),
        illumination=light.reshape(1, 27),
        valid=np.ones(1, bool),
        landmark_error_px=np.zeros(1, np.float32),
        **shape,
        **pose,
    )
    render = render_face(model, coefficients, 0, size)
    points = model.compute_landmarks(*(torch.from_numpy(np.atleast_2d(value)) for value in shape.values()))
    points = project(transform(points, *(torch.from_numpy(value) for value in pose.values())), size)[0].numpy()
    picture = np.where(render.mask[..., None], np.clip(render.image * 1.7, 0, 255), WALL).astype(np.uint8)
    for eye in (points[36:42], points[42:48]):
        cv2.fillConvexPoly(picture, cv2.convexHull(np.rint(eye).astype(np.int32)), (235, 230, 225))
        cv2.circle(picture, tuple(int(v) for v in np.rint(eye.mean(axis=0))), 6, (40, 25, 20), -1)
    return cv2.GaussianBlur(picture, (0, 0), 0.7), points.astype(np.float32)


def place_face(
    x: float, y: float, *, width: int, height: int, scale: float = 1.0, opening: float = 0.0, yaw: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """The face at `scale`, its picture's corner at (x, y) of a wall of width x height, and its true landmarks."""
    picture, points = drawn_face(opening=opening, yaw=yaw)
    if scale < 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / scale)
    matrix = np.array([[scale, 0, x + (scale - 1) / 2], [0, scale, y + (scale - 1) / 2]])
    frame = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=(WALL,) * 3)
    return frame, (points * scale + matrix[:, 2]).astype(np.float32)


def moving_face(count: int, *, width: int = 400, height: int = 360, scale: float = 1.0) -> tuple[list, np.ndarray]:
    """`count` frames of a face that sways by 20 px, and its true landmarks (count, 68, 2)."""
    angles = 2 * np.pi * np.arange(count) / 25
    placed = [
        place_face(20 + 20 * np.sin(a), 10 + 10 * np.cos(a), width=width, height=height, scale=scale) for a in angles
    ]
    return [frame for frame, _ in placed], np.stack([points for _, points in placed])


def wall(*, width: int = 400, height: int = 360) -> np.ndarray:
    """A frame without a face."""
    return np.full((height, width, 3), WALL, np.uint8)
