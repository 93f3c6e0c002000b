"""Estimation of a person's texture and illumination from the pixel colours under the fitted face.

The colour of a surface point is albedo times shading, and both are linear in their coefficients, so each of them is a
least-squares problem when the other is known. The texture and one light are shared by the whole clip; every frame has
one gain per colour channel, which follows exposure and white balance.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_matrix
from skimage.measure import points_in_poly
from threadpoolctl import threadpool_limits

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.camera import project, rotate, transform
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.illumination import AMBIENT, compute_harmonics

SAMPLED_VERTICES = 2000
GAIN_STRIDE = 2  # every second point is enough for the three gains of a frame
SAMPLE_FRAMES = 16
CHUNK = 128  # frames handled at once; bounds the memory of long clips
FACING = 0.4  # cosine between normal and camera axis above which a vertex counts as seen
ROUNDS = 6
COLOUR_NOISE = 0.06  # standard deviation that light and texture modes cannot explain, colours in [0, 1]
EFFECTIVE_SAMPLES = 1000.0  # errors of neighbouring vertices are correlated; more samples add no certainty
LIGHT_SPREAD = (0.35, *[0.2] * 8)  # standard deviations of the prior of the light, around plain white
GAIN_SMOOTHING = 6.0  # frames
SATURATED, BLACK = 0.985, 0.015
# Holes of the face (eyes and inner mouth), as landmark polygons.
HOLES = (tuple(range(36, 42)), tuple(range(42, 48)), tuple(range(60, 68)))
_NOSE_BASE = 33


class SurfaceLight(NamedTuple):
    """Lighting and visibility of surface points in some frames.

    Attributes:
        harmonics: the nine spherical harmonics at the points' normals.
        visible: True where the point faces the camera.
    """

    harmonics: Float[np.ndarray, "T P 9"]
    visible: Bool[np.ndarray, "T P"]


@dataclass(frozen=True)
class Surface:
    """Sampled points of a person's face outside the eyes and the inner mouth.

    Attributes:
        coefficients: fitted coefficients of the clip.
        size: side of the square crop, px.
        index: vertex ids of the sampled points.
        points: (V, 3) positions without expression, model space, dm.
        modes: (E, V, 3) displacements by the expression modes, dm.
        normals: (V, 3) normals at the clip's mean expression, model space.
        upper: (V,) True for points above the base of the nose.
    """

    coefficients: Coefficients
    size: int
    index: Int[np.ndarray, " V"]
    points: Float[torch.Tensor, "V 3"]
    modes: Float[torch.Tensor, "E V 3"]
    normals: Float[torch.Tensor, "V 3"]
    upper: Bool[np.ndarray, " V"]

    def locate(self, rows: slice | Int[np.ndarray, " T"]) -> Float[np.ndarray, "T V 2"]:
        """Return the positions of the points in some frames, px of the crop."""
        expression = torch.from_numpy(self.coefficients.expression[rows])
        rotation = torch.from_numpy(self.coefficients.rotation[rows])
        translation = torch.from_numpy(self.coefficients.translation[rows])
        points = self.points + (expression @ self.modes.flatten(1)).reshape(len(expression), -1, 3)
        return project(transform(points, rotation, translation), self.size).numpy()

    def light(self, rows: slice | Int[np.ndarray, " T"], points: Int[np.ndarray, " P"]) -> SurfaceLight:
        """Compute the harmonics and the visibility of some of the points in some frames."""
        rotation = torch.from_numpy(self.coefficients.rotation[rows])
        turned = rotate(self.normals[points].expand(len(rotation), -1, -1), rotation)
        return SurfaceLight(compute_harmonics(turned).numpy(), turned[..., 2].numpy() > FACING)


@threadpool_limits.wrap(limits=1, user_api="blas")  # many small systems: more threads would only wait for each other
def fit_appearance(
    model: FaceModel,
    coefficients: Coefficients,
    frames: Iterable[np.ndarray],
    sample_ids: Int[np.ndarray, " K"],
) -> Coefficients:
    """Fit the texture (shared) and the illumination (one light, a gain per frame and colour) to a face video.

        colour = (mean + sum_i beta_i T_i) * (H (gamma + 0.8 [k = 0])) * gain

    is solved alternately for beta and gamma with Gaussian priors. Samples that fit badly (hair, glasses, highlights)
    get a lower weight; saturated pixels count only where the model is darker than the picture.

    Args:
        model: the face model.
        coefficients: fitted coefficients with identity, expression and pose.
        frames: images of the crop, RGB uint8, one for each `frame_id` in order; iterated over once.
        sample_ids: frames that may be used to fit texture and light; at most 16 of them, evenly spread, are used.

    Returns:
        The same coefficients with texture and illumination filled in.

    Raises:
        ParameterError: there is no sample frame, a sample frame is unknown, or frames and coefficients differ in
            number.
        DataError: a frame is not a square RGB image, frame sizes differ, or no part of the face is visible.

    Source: paper section 2.2 (light); the alternating fit is original to this project.
    """
    chosen = _choose(coefficients.frame_id, sample_ids)
    frames, size = _peek_size(frames)
    surface = locate_surface(model, coefficients, size)
    gain_points = np.flatnonzero(surface.upper)[::GAIN_STRIDE]
    # everything that grows with the clip's length is kept small: few points, in half precision
    brightness = np.empty((len(coefficients), len(gain_points), 3), dtype=np.float16)
    sampled = {}
    for row, seen in enumerate(sample_colours(frames, surface)):
        brightness[row] = seen[gain_points]
        if row in chosen:
            sampled[row] = seen
    view = surface.light(chosen, np.arange(len(surface.index)))
    inside = ((surface.locate(chosen) >= 0) & (surface.locate(chosen) <= size - 1)).all(-1)
    view = view._replace(visible=view.visible & inside)
    if not view.visible.any():
        raise DataError("fit_appearance: no part of the face is visible in the sample frames. Look at the overlays.")
    mean = model.mean_texture.numpy()[surface.index].astype(np.float64)
    basis = model.texture_basis.numpy()[:, surface.index].astype(np.float64)
    texture, light = _fit_colours(np.stack([sampled[row] for row in chosen.tolist()]), view, mean, basis)
    albedo = mean + np.tensordot(texture, basis, axes=1)
    gain = _fit_gain(brightness, surface, gain_points, albedo.astype(np.float32), light.astype(np.float32))
    illumination = light[None] * gain[:, :, None]
    illumination[:, :, 0] -= AMBIENT
    return replace(
        coefficients,
        texture=texture.astype(np.float32),
        illumination=illumination.reshape(-1, 27).astype(np.float32),
    )


def locate_surface(model: FaceModel, coefficients: Coefficients, size: int, points: int = SAMPLED_VERTICES) -> Surface:
    """Choose the surface points of a person's face whose colours are compared.

    Args:
        model: the face model.
        coefficients: fitted coefficients with identity, expression and pose.
        size: side of the square crop, px.
        points: approximate number of points.
    """
    identity = torch.from_numpy(coefficients.identity)[None]
    average = torch.from_numpy(coefficients.expression.mean(0, keepdims=True))
    with torch.no_grad():
        mean_face = model.compute_vertices(identity, average)
        landmarks = model.compute_landmarks(identity, average)[0].numpy()
        index = _sample_vertices(mean_face[0].numpy(), landmarks, points)
        modes = _expression_at(model, index)
        neutral = mean_face[0, index] - torch.tensordot(average[0], modes, dims=1)
        normals = model.compute_normals(mean_face)[0, index]
    upper = mean_face[0, index, 1].numpy() > landmarks[_NOSE_BASE, 1]
    return Surface(coefficients, size, index, neutral, modes, normals, upper)


def sample_colours(frames: Iterable[np.ndarray], surface: Surface) -> Iterator[Float[np.ndarray, "V 3"]]:
    """Yield the bilinearly sampled colours of each frame at the surface points, in [0, 1].

    Points outside the frame take the colour of its border.

    Args:
        frames: square RGB images, one for each frame of the fit.
        surface: the sampled points.

    Raises:
        ParameterError: there are more or fewer frames than rows of coefficients.
        DataError: the shape of a frame differs from that of the first.
    """
    total = len(surface.coefficients.frame_id)
    count, shape = 0, None
    for count, frame in enumerate(frames, start=1):
        shape = frame.shape if shape is None else shape
        if frame.shape != shape or frame.ndim != 3 or shape[0] != shape[1] or shape[2] != 3:
            raise DataError(
                f"frame {count - 1} has shape {frame.shape}; expected square RGB frames of one size, {shape}."
            )
        if count <= total:
            row = (count - 1) % CHUNK
            if row == 0:
                pixels = surface.locate(slice(count - 1, count - 1 + CHUNK))
            yield _bilinear(frame, pixels[row])
    if count != total:
        raise ParameterError(f"{count} frames for {total} fitted ones. Pass the frames of the fitted video.")


def _bilinear(frame: UInt8[np.ndarray, "S S 3"], points: Float[np.ndarray, "V 2"]) -> Float[np.ndarray, "V 3"]:
    clipped = np.clip(points, 0, len(frame) - 1)
    corner = np.minimum(clipped.astype(np.int64), len(frame) - 2)
    (x, y), (u, v) = corner.T, (clipped - corner).T[..., None].astype(np.float32)
    top = frame[y, x] * (1 - u) + frame[y, x + 1] * u
    bottom = frame[y + 1, x] * (1 - u) + frame[y + 1, x + 1] * u
    return (top * (1 - v) + bottom * v) / np.float32(255)


def _choose(frame_id: np.ndarray, sample_ids: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(np.isin(frame_id, sample_ids))
    if len(rows) == 0 or len(rows) != len(np.unique(sample_ids)):
        raise ParameterError(
            f"fit_appearance: {len(np.unique(sample_ids))} sample frames asked for, {len(rows)} of them among the "
            f"{len(frame_id)} fitted ones. Take sample_ids from coefficients.frame_id."
        )
    return rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE_FRAMES).round().astype(int))]


def _peek_size(frames: Iterable[np.ndarray]) -> tuple[Iterable[np.ndarray], int]:
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise ParameterError("fit_appearance: no frames. Pass the frames of the fitted video.")

    def chained() -> Iterable[np.ndarray]:
        yield first
        yield from iterator

    return chained(), len(first)


def _sample_vertices(vertices: np.ndarray, landmarks: np.ndarray, count: int = SAMPLED_VERTICES) -> np.ndarray:
    """Pick evenly numbered vertices outside the eyes and the inner mouth (as seen from the front)."""
    stride = max(len(vertices) // count, 1)
    index = np.arange(0, len(vertices), stride)
    in_hole = np.zeros(len(index), dtype=bool)
    for hole in HOLES:
        corners = landmarks[list(hole), :2]
        centre = corners.mean(0)
        in_hole |= points_in_poly(vertices[index, :2], centre + 1.2 * (corners - centre))
    return index[~in_hole]


def _expression_at(model: FaceModel, index: np.ndarray) -> torch.Tensor:
    """Compute the displacement of some vertices by each expression mode, (64, V, 3)."""
    crow, column, value = (
        part.numpy()
        for part in (model.subdivision.crow_indices(), model.subdivision.col_indices(), model.subdivision.values())
    )
    rows = csr_matrix((value, column, crow), shape=tuple(model.subdivision.shape))[index]
    basis = model.expression_basis.numpy()
    moved = rows @ basis.transpose(1, 0, 2).reshape(basis.shape[1], -1)
    return torch.from_numpy(np.ascontiguousarray(moved.reshape(len(index), -1, 3).transpose(1, 0, 2)))


def _fit_colours(
    colours: np.ndarray, view: SurfaceLight, mean: np.ndarray, basis: np.ndarray
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "3 9"]]:
    """Fit light and texture alternately to the sample frames; the light includes the ambient term."""
    harmonics, visible = view
    texture = np.zeros(len(basis))
    weights = visible[..., None] * np.ones(3)
    scale = min(EFFECTIVE_SAMPLES / max(visible.sum(), 1), 1.0) / COLOUR_NOISE**2
    for _ in range(ROUNDS):
        albedo = mean + np.tensordot(texture, basis, axes=1)
        light = _solve_light(colours, harmonics, albedo, weights * scale)
        shading = np.einsum("tvk,ck->tvc", harmonics, light)
        texture = _solve_texture(colours, shading, mean, basis, weights * scale)
        error = (mean + np.tensordot(texture, basis, axes=1)) * shading - colours
        clipped = ((colours >= SATURATED) & (error > 0)) | ((colours <= BLACK) & (error < 0))
        worst = np.abs(error).max(-1, keepdims=True)
        weights = np.where(clipped, 0.0, visible[..., None] / (1 + (worst / COLOUR_NOISE) ** 2))
    return texture, light


def _solve_light(colours: np.ndarray, harmonics: np.ndarray, albedo: np.ndarray, weights: np.ndarray) -> np.ndarray:
    expected = np.zeros(9)
    expected[0] = AMBIENT
    precision = np.diag(np.array(LIGHT_SPREAD) ** -2.0)
    light = np.empty((3, 9))
    flat = harmonics.reshape(-1, 9).astype(np.float64)
    for channel in range(3):
        weighed = (weights[..., channel] * albedo[:, channel] ** 2).reshape(-1, 1) * flat
        target = (weights[..., channel] * albedo[:, channel] * colours[..., channel]).reshape(-1)
        light[channel] = np.linalg.solve(flat.T @ weighed + precision, flat.T @ target + precision @ expected)
    return light


def _solve_texture(
    colours: np.ndarray, shading: np.ndarray, mean: np.ndarray, basis: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    curvature = (weights * shading**2).sum(0)
    target = (weights * shading * colours).sum(0) - curvature * mean
    flat = basis.reshape(len(basis), -1)
    normal = (flat * curvature.reshape(-1)) @ flat.T
    return np.linalg.solve(normal + np.eye(len(basis)), flat @ target.reshape(-1))


def _fit_gain(
    colours: np.ndarray, surface: Surface, points: np.ndarray, albedo: np.ndarray, light: np.ndarray
) -> np.ndarray:
    """Fit the gain of every frame and colour, (T, 3), to the upper face alone, and smooth it over time."""
    gain = np.empty((len(colours), 3))
    for start in range(0, len(colours), CHUNK):
        rows = slice(start, start + CHUNK)
        harmonics, visible = surface.light(rows, points)
        predicted, seen = albedo[points] * (harmonics @ light.T), colours[rows].astype(np.float32)
        error = np.abs(predicted - seen).max(-1, keepdims=True)
        weights = visible[..., None] / (1 + (error / COLOUR_NOISE) ** 2)
        # the added 1 keeps the gain near 1 where almost nothing of the face is visible
        gain[rows] = ((weights * predicted * seen).sum(1) + 1) / ((weights * predicted**2).sum(1) + 1)
    valid, frames = surface.coefficients.valid, np.arange(len(gain))
    filled = np.stack([np.interp(frames, frames[valid], gain[valid, channel]) for channel in range(3)], axis=1)
    return gaussian_filter1d(filled, GAIN_SMOOTHING, axis=0, mode="nearest")
