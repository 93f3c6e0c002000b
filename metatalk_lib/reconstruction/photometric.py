"""Photometric fine-tuning of the fit: move the face until its surface points land on pixels of their own colour.

For a surface point v with colour C (albedo times shading) and projection p(x) onto the picture,

    r_v = C_v - I(p_v(x)),        I(p_v(x + dx)) = I(p_v(x)) + grad I . (dp_v / dx) dx,

so each point adds three rows, grad I . dp/dx, to the Gauss-Newton step of `landmark_solver`. The rows of a frame are
replaced by X equivalent rows, a triangular root of their normal equations, which keeps windows of many frames small.

The albedo is not taken from the face model, whose modes represent neither freckles nor the lip line. It is the person's
own, averaged over frames of the video that the face has been fitted to, so that the face follows the skin.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.face3d.camera import DISTANCE, FOCAL
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.illumination import AMBIENT, compute_harmonics
from metatalk_lib.reconstruction.appearance import FACING, Surface, locate_surface
from metatalk_lib.reconstruction.gauss_newton import POSE, Linearisation, rotation_with_derivatives

# Reads rows start (inclusive) to stop (exclusive) of a video, in order.
FrameReader = Callable[[int, int], Iterable[UInt8[np.ndarray, "S S 3"]]]

POINTS = 700
ALBEDO_FRAMES = 24
BLUR = 0.0025  # standard deviation of the blur before gradients are taken, as a fraction of the crop's side
MINIMUM_SHADING = 0.15  # the albedo of darker points cannot be estimated


@dataclass(frozen=True)
class PhotometricSettings:
    """Weights of the photometric rows.

    Attributes:
        noise: standard deviation of colour differences, on a scale of 0 to 1; larger differences get less weight.
        count: number of independent points that all points together count as.
        iterations: Gauss-Newton steps.
    """

    noise: float = 0.08
    count: float = 150.0
    iterations: int = 3


class SkinModel(NamedTuple):
    """Surface points of a person with the person's own colours.

    Attributes:
        surface: surface points with their modes and normals.
        albedo: (V, 3) albedo averaged over frames of the video, on a scale of 0 to 1.
        known: (V,) whether a point was seen well enough for its albedo to be used.
    """

    surface: Surface
    albedo: Float[np.ndarray, "V 3"]
    known: Bool[np.ndarray, " V"]


def learn_skin(
    model: FaceModel, coefficients: Coefficients, read: FrameReader, size: int, rows: Int[np.ndarray, " K"]
) -> SkinModel:
    """Average the colours of each surface point over frames of the video, with the shading divided out.

    Args:
        model: the face model.
        coefficients: a fit with illumination.
        read: reads the frames of the video.
        size: side of the crop, px.
        rows: candidate frames; at most 24 of them, evenly spread, are used.
    """
    surface = locate_surface(model, coefficients, size, points=POINTS)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, ALBEDO_FRAMES).round().astype(int))]
    albedos, weights = [], []
    for row in chosen.tolist():
        place = surface.locate(slice(row, row + 1))[0]
        light = surface.light(slice(row, row + 1), np.arange(len(surface.index)))
        shading = light.harmonics[0] @ _light_of(coefficients, row).T
        image, corner = _prepare(next(iter(read(row, row + 1))), place)
        seen = _sample(image, place - corner)
        is_clear = light.visible[0] & (shading.min(axis=1) > MINIMUM_SHADING) & _inside(place, size)
        albedos.append(seen / np.maximum(shading, MINIMUM_SHADING))
        weights.append(is_clear)
    shares = np.stack(weights)[..., None].astype(np.float32)
    total = shares.sum(axis=0)
    mean = (np.stack(albedos) * shares).sum(axis=0) / np.maximum(total, 1)
    return SkinModel(surface, mean.astype(np.float32), total[:, 0] >= max(2, len(chosen) // 4))


def photometric_rows(
    skin: SkinModel,
    light: Float[np.ndarray, "T 3 9"],
    frames: Iterable[UInt8[np.ndarray, "S S 3"]],
    state: Float[np.ndarray, "T X"],
    seen: Bool[np.ndarray, " T"],
    size: int,
    settings: PhotometricSettings,
) -> tuple[Float[np.ndarray, "T X"], Float[np.ndarray, "T X X"], Float[np.ndarray, " T"]]:
    """Compute residual and Jacobian rows of each frame, and its weighted mean colour error (0 to 1) before the step.

    Args:
        skin: from `learn_skin`.
        light: lighting coefficients of every frame, including the ambient term.
        frames: pictures, one for each row of `state`.
        state: pose and expression of each frame.
        seen: whether a frame shows a face; others get rows of zeros.
        size: side of the crop, px.
        settings: weights of the rows.
    """
    count, width = state.shape
    residual, jacobian, error = np.zeros((count, width)), np.zeros((count, width, width)), np.zeros(count)
    known = skin.known
    points, normals = skin.surface.points.numpy()[known], skin.surface.normals.numpy()[known]
    modes = skin.surface.modes.numpy()[:, known]
    matrices, slopes = rotation_with_derivatives(state[:, :3])
    for row, frame in enumerate(frames):
        if not seen[row]:
            continue
        moved = points + np.tensordot(state[row, POSE:].astype(np.float32), modes, axes=1)
        matrix = matrices[row].astype(np.float32)
        camera = moved @ matrix.T + state[row, 3:POSE].astype(np.float32)
        place, gradient = _project_with_gradient(camera, size)
        turned = normals @ matrix.T
        colour = skin.albedo[known] * (_harmonics(turned) @ light[row].T)
        image, corner = _prepare(frame, place)
        observed, slope = _sample_with_slope(image, place - corner)
        difference = colour - observed
        is_seen = (turned[:, 2] > FACING) & _inside(place, size)
        weight = is_seen / (1 + np.square(difference).sum(axis=1) / settings.noise**2)
        error[row] = np.abs(difference[is_seen]).mean() if is_seen.any() else 0.0
        by_pose = np.einsum("kab,vb->vak", slopes[row].astype(np.float32), moved)
        in_camera = np.concatenate([by_pose, np.broadcast_to(np.eye(3, dtype=np.float32), (len(moved), 3, 3))], axis=2)
        by_modes = (modes.reshape(len(modes) * len(moved), 3) @ matrix.T).reshape(len(modes), len(moved), 3)
        in_camera = np.concatenate([in_camera, by_modes.transpose(1, 2, 0)], axis=2)
        chain = slope @ gradient  # (V, 3 colours, 3 axes)
        rows = chain @ in_camera
        scale = settings.count / len(moved) / settings.noise**2
        weighed = (rows * (scale * weight)[:, None, None]).reshape(-1, width)
        normal = weighed.T.astype(np.float64) @ rows.reshape(-1, width)
        # the root of a singular matrix needs a small diagonal; priors outweigh it by far
        root = np.linalg.cholesky(normal + 1e-6 * np.eye(width))
        right = weighed.T.astype(np.float64) @ difference.reshape(-1)
        jacobian[row] = root.T
        residual[row] = np.linalg.solve(root, right)
    return residual, jacobian, error


def append_rows(linear: Linearisation, residual: np.ndarray, jacobian: np.ndarray) -> Linearisation:
    """Append photometric rows to the landmark rows of a linearised problem."""
    return linear._replace(
        residual=np.concatenate([linear.residual, residual], axis=1),
        frame=np.concatenate([linear.frame, jacobian], axis=1),
    )


def light_with_ambient(coefficients: Coefficients, rows: slice) -> Float[np.ndarray, "T 3 9"]:
    """Lighting coefficients of a slice of frames, including the ambient term."""
    light = coefficients.illumination[rows].reshape(-1, 3, 9).copy()
    light[:, :, 0] += AMBIENT
    return light


def _light_of(coefficients: Coefficients, row: int) -> Float[np.ndarray, "3 9"]:
    return light_with_ambient(coefficients, slice(row, row + 1))[0]


def _harmonics(normals: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 9"]:
    return compute_harmonics(torch.from_numpy(np.ascontiguousarray(normals))).numpy()


def _prepare(
    frame: UInt8[np.ndarray, "S S 3"], place: Float[np.ndarray, "V 2"]
) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "2"]]:
    """Crop a frame to the surroundings of the points, scale it to 0 to 1 and blur it; with its first column and row."""
    size, sigma = len(frame), max(BLUR * len(frame), 0.6)
    margin = 3 * sigma + 2
    left, top = np.clip(place.min(axis=0) - margin, 0, size - 3).astype(int)
    right, bottom = np.clip(place.max(axis=0) + margin + 1, 3, size).astype(int)
    part = frame[top : max(bottom, top + 3), left : max(right, left + 3)].astype(np.float32)
    return cv2.GaussianBlur(part, (0, 0), sigma) / np.float32(255), np.array([left, top], dtype=np.float32)


def _sample(image: Float[np.ndarray, "H W 3"], place: Float[np.ndarray, "V 2"]) -> Float[np.ndarray, "V 3"]:
    x, y = np.ascontiguousarray(place.T, dtype=np.float32)[..., None]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]


def _sample_with_slope(
    image: Float[np.ndarray, "H W 3"], place: Float[np.ndarray, "V 2"]
) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "V 3 2"]]:
    """Sample colours, and their derivatives along x and y by central differences over two pixels."""
    steps = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], dtype=np.float32)
    taken = _sample(image, (place[None] + steps[:, None]).reshape(-1, 2)).reshape(5, len(place), 3)
    return taken[0], np.stack([taken[1] - taken[2], taken[3] - taken[4]], axis=-1) / 2


def _inside(place: Float[np.ndarray, "V 2"], size: int) -> Bool[np.ndarray, " V"]:
    return np.asarray(((place >= 0) & (place <= size - 1)).all(axis=1))


def _project_with_gradient(
    camera: Float[np.ndarray, "V 3"], size: int
) -> tuple[Float[np.ndarray, "V 2"], Float[np.ndarray, "V 2 3"]]:
    """Project camera-space points of one frame to pixels, with derivatives, in single precision."""
    inverse = np.float32(FOCAL * size) / (np.float32(DISTANCE) - camera[:, 2])
    x, y = camera[:, 0] * inverse, -camera[:, 1] * inverse
    gradient = np.zeros((len(camera), 2, 3), dtype=np.float32)
    gradient[:, 0, 0], gradient[:, 1, 1] = inverse, -inverse
    per_depth = 1 / (np.float32(DISTANCE) - camera[:, 2])
    gradient[:, 0, 2], gradient[:, 1, 2] = x * per_depth, y * per_depth
    return np.stack([x, y], axis=1) + np.float32((size - 1) / 2), gradient
