"""Rendering of the face model: from the coefficients of a frame to a picture of the whole face or the lower face."""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.jit import compile_loop
from metatalk_lib.face3d import camera, illumination
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.rasterizer import Raster, interpolate, rasterize

Window = tuple[int, int, int, int]
MaskRegion = Literal["lower", "speech"]
"""The whole lower face, as in the paper, or the part of it that speech moves: without nose, ears and lower lids."""
MOVED_SHARE = 0.25
"""Speech moves the surface where the expression modes move it by this share of what they move the most, or more."""
# Albedo of the plug that represents the inside of the mouth: dark red-brown, RGB in [0, 1].
MOUTH_COLOUR = np.array((0.22, 0.07, 0.06), dtype=np.float32)


class Render(NamedTuple):
    """A rendered face.

    Attributes:
        image: (H, W, 3) RGB, black where nothing is drawn.
        mask: (H, W) whether a pixel shows the face (the eyes are holes; the inside of the mouth is part of the face).
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]


class DrawnFace(NamedTuple):
    """A rendered face with the rasterised surface.

    Attributes:
        render: picture and mask.
        raster: visible triangle and barycentric weights of each pixel.
        points: (V, 2) projected vertices of the skin and the plug, px of the crop.
    """

    render: Render
    raster: Raster
    points: Float[np.ndarray, "V 2"]


class MouthMasks(NamedTuple):
    """Masks of the lower face with the mouth closed and wide open, for one identity and pose.

    Attributes:
        closed: (H, W) silhouette with closed lips, expression 0.
        opened: (H, W) silhouette with the jaw wide open, `expression_open_mouth`.
        union: (H, W) union of both: every pixel that the lower face can cover.
    """

    closed: Bool[np.ndarray, "H W"]
    opened: Bool[np.ndarray, "H W"]
    union: Bool[np.ndarray, "H W"]


class _Person(NamedTuple):
    """Quantities shared by all frames of a person."""

    neutral_base: np.ndarray  # (Nb, 3) control vertices without expression
    albedo: np.ndarray  # (N, 3)


class Topology(NamedTuple):
    """Triangles of the drawn mesh; its vertices are those of the surface, then copies of the plug's.

    Attributes:
        triangles: (F, 3) triangles of the skin.
        plug_vertices: (P,) surface vertices that the plug of the mouth copies.
        face: triangles of skin and plug.
        lower: triangles of the lower skin and the plug.
    """

    triangles: Int[np.ndarray, "F 3"]
    plug_vertices: Int[np.ndarray, " P"]
    face: Int[np.ndarray, "K 3"]
    lower: Int[np.ndarray, "J 3"]


@lru_cache(maxsize=4)
def face_topology(model: FaceModel) -> Topology:
    """Collect the triangles to draw and the vertices that the plug of the mouth adds to the surface."""
    triangles = model.triangles.cpu().numpy()
    plug_vertices, plug = np.unique(model.mouth_interior_triangles.cpu().numpy(), return_inverse=True)
    plug = plug.reshape(-1, 3) + model.vertex_count
    # both windings, so that back-face culling never leaves a hole in the plug
    plug = np.concatenate((plug, plug[:, ::-1]))
    lower = triangles[model.lower_face.cpu().numpy()]
    face, lower = (np.concatenate((part, plug)).astype(np.int32) for part in (triangles, lower))
    return Topology(triangles.astype(np.int32), plug_vertices, face, lower)


@lru_cache(maxsize=4)
def moved_triangles(model: FaceModel) -> Bool[np.ndarray, " J"]:
    """Find the triangles of `Topology.lower` that speech moves, the inside of the mouth among them.

    Args:
        model: the face model.

    Source: original to this project.
    """
    with torch.no_grad():
        modes = model.expression_basis.transpose(0, 1).flatten(1)
        reach = (model.subdivision @ modes).norm(dim=1).cpu().numpy()
    topology = face_topology(model)
    reach = np.concatenate((reach, np.full(len(topology.plug_vertices), np.inf)))
    largest = reach[topology.lower][np.isfinite(reach[topology.lower])].max()
    return np.asarray((reach[topology.lower] >= MOVED_SHARE * largest).all(axis=1))


def _person_of(model: FaceModel, coefficients: Coefficients) -> _Person:
    shared = (coefficients.identity, coefficients.texture)
    return _person(model, *(np.ascontiguousarray(part, dtype=np.float32).tobytes() for part in shared))


@lru_cache(maxsize=4)
def _person(model: FaceModel, identity: bytes, texture: bytes) -> _Person:
    identity_row = torch.from_numpy(np.frombuffer(identity, dtype=np.float32).copy())[None]
    texture_row = torch.from_numpy(np.frombuffer(texture, dtype=np.float32).copy())[None]
    with torch.no_grad():
        base = model.compute_base(identity_row, torch.zeros(1, model.expression_basis.shape[0]))[0]
        albedo = model.compute_texture(texture_row)[0]
    return _Person(base.numpy(), albedo.numpy())


@compile_loop
def _add_normals(vertices, triangles, normals):
    for face in range(triangles.shape[0]):
        a, b, c = triangles[face, 0], triangles[face, 1], triangles[face, 2]
        ux, vx = vertices[b, 0] - vertices[a, 0], vertices[c, 0] - vertices[a, 0]
        uy, vy = vertices[b, 1] - vertices[a, 1], vertices[c, 1] - vertices[a, 1]
        uz, vz = vertices[b, 2] - vertices[a, 2], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for vertex in range(normals.shape[0]):
        length = np.sqrt(normals[vertex, 0] ** 2 + normals[vertex, 1] ** 2 + normals[vertex, 2] ** 2)
        if length > 0:
            for i in range(3):
                normals[vertex, i] /= length


def compute_normals(vertices: Float[np.ndarray, "N 3"], triangles: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "N 3"]:
    """Compute the normals of `FaceModel.compute_normals` for one frame, in compiled code."""
    normals = np.zeros((len(vertices), 3), dtype=np.float32)
    _add_normals(np.ascontiguousarray(vertices, dtype=np.float32), triangles.astype(np.int32, copy=False), normals)
    return normals


def expression_open_mouth(model: FaceModel, strength: float = 1.0) -> Float[np.ndarray, "64"]:
    """Compute the expression with the jaw wide open and everything else neutral.

    Args:
        model: the face model.
        strength: 1 is the model's widest opening: the action `jawOpen` of the open model, AudioDVP's rule for bfm09.
    """
    return (strength * model.open_mouth).cpu().numpy()


def _camera_vertices(
    model: FaceModel, person: _Person, expression: np.ndarray, coefficients: Coefficients, index: int
) -> Float[np.ndarray, "N 3"]:
    """Surface vertices of one frame in camera space."""
    with torch.no_grad():
        moved = torch.from_numpy(np.asarray(expression, dtype=np.float32)) @ model.expression_basis.flatten(1)
        base = torch.from_numpy(person.neutral_base) + moved.reshape(-1, 3)
        # the pose is affine and subdivision keeps affine maps, so posing the control vertices is enough
        posed = camera.transform(
            base[None],
            torch.from_numpy(coefficients.rotation[index : index + 1].astype(np.float32)),
            torch.from_numpy(coefficients.translation[index : index + 1].astype(np.float32)),
        )[0]
        return (model.subdivision @ posed).numpy()


def _project(vertices: np.ndarray, topology: Topology, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Project the vertices of skin and plug to pixels and depths."""
    extended = torch.from_numpy(np.concatenate((vertices, vertices[topology.plug_vertices])))[None]
    return camera.project(extended, size)[0].numpy(), camera.depth(extended)[0].numpy()


def _draw(
    vertices: np.ndarray, topology: Topology, region: str, size: int, window: Window | None
) -> tuple[Raster, np.ndarray]:
    window = (0, 0, size, size) if window is None else window
    points, depth = _project(vertices, topology, size)
    triangles = topology.face if region == "face" else topology.lower
    return rasterize(points, depth, triangles, window, cull_backfaces=True), points


def project_vertices(model: FaceModel, coefficients: Coefficients, index: int, size: int) -> Float[np.ndarray, "V 2"]:
    """Project the vertices of skin and plug in one frame, px of the crop: the `points` of its `DrawnFace`.

    Arguments and errors are those of `render_face`.
    """
    _check(coefficients, index)
    person = _person_of(model, coefficients)
    vertices = _camera_vertices(model, person, coefficients.expression[index], coefficients, index)
    return _project(vertices, face_topology(model), size)[0]


def _check(coefficients: Coefficients, index: int, region: str = "face") -> None:
    if not 0 <= index < len(coefficients):
        raise ParameterError(f"there is no row {index} in coefficients of {len(coefficients)} frames.")
    if region not in ("face", "lower"):
        raise ParameterError(f"region must be 'face' or 'lower', got {region!r}.")


def render_face(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    region: Literal["face", "lower"] = "face",
    window: Window | None = None,
) -> Render:
    """Render one frame as the camera of a crop of `size` x `size` sees it.

    Colour = clamp(albedo * spherical-harmonics shading); no antialiasing, no background.

    Args:
        model: the face model.
        coefficients: coefficients of a clip.
        index: ROW of `coefficients` (not the frame_id; use `select` to find frames by id).
        size: side of the crop, pixels. The coefficients do not depend on it.
        region: `face` for the whole face, `lower` for the triangles below the middle of the nose.
        window: (x0, y0, x1, y1) crop pixels, exclusive ends; only this rectangle is drawn. The result equals
            that part of the full picture.

    Returns:
        Picture and mask of the window's shape, or (size, size) without a window.

    Raises:
        ParameterError: no such row or region, an empty window, or a size below 1.

    Source: paper section 2.2 and xinwen-cs/AudioDVP renderer (lower face only); the code is original.
    """
    return draw_face(model, coefficients, index, size, region=region, window=window).render


def draw_face(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    region: Literal["face", "lower"] = "face",
    window: Window | None = None,
) -> DrawnFace:
    """Render one frame and keep the rasterised surface; arguments and errors are those of `render_face`."""
    _check(coefficients, index, region)
    person = _person_of(model, coefficients)
    topology = face_topology(model)
    vertices = _camera_vertices(model, person, coefficients.expression[index], coefficients, index)
    normals = compute_normals(vertices, topology.triangles)
    colors, mean_shading = illumination.shade_vertices(person.albedo, normals, coefficients.illumination[index])
    plug = np.broadcast_to((MOUTH_COLOUR * mean_shading).clip(0, 1), (len(topology.plug_vertices), 3))
    raster, points = _draw(vertices, topology, region, size, window)
    triangles = topology.face if region == "face" else topology.lower
    image = interpolate(raster, triangles, np.concatenate((colors, plug)))
    return DrawnFace(Render(np.rint(image * 255).astype(np.uint8), raster.face_id >= 0), raster, points)


def lower_silhouette(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    expression: Float[np.ndarray, "64"],
    *,
    window: Window | None = None,
) -> Bool[np.ndarray, "H W"]:
    """Compute which pixels the lower face covers with another expression.

    Args:
        model: the face model.
        coefficients: coefficients of a clip.
        index: row of `coefficients`.
        size: side of the crop, pixels.
        expression: the expression in place of the row's.
        window: as in `render_face`.

    Raises:
        ParameterError: as in `render_face`.
    """
    return np.asarray(_lower_triangles(model, coefficients, index, size, expression, window) >= 0)


def _lower_triangles(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    expression: np.ndarray,
    window: Window | None,
) -> Int[np.ndarray, "H W"]:
    """Find the triangle of `Topology.lower` that each pixel shows with another expression; -1 off the face."""
    _check(coefficients, index)
    vertices = _camera_vertices(model, _person_of(model, coefficients), expression, coefficients, index)
    return _draw(vertices, face_topology(model), "lower", size, window)[0].face_id


def mouth_masks(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    window: Window | None = None,
    region: MaskRegion = "lower",
) -> MouthMasks:
    """Compute masks of the lower face with the mouth closed and wide open.

    They depend on the identity and pose of the frame but not on its expression, so training and test masks are equal.

    Args:
        model: the face model.
        coefficients: coefficients of a clip.
        index: row of `coefficients`.
        size: side of the crop, pixels.
        window: as in `render_face`.
        region: part of the lower face.

    Raises:
        ParameterError: as in `render_face`.

    Source: paper section 2.4; xinwen-cs/AudioDVP models/networks.py MouthMask (closed united with open); the region
    `speech` is original to this project.
    """
    wide_open = expression_open_mouth(model)
    drawn = (
        _lower_triangles(model, coefficients, index, size, expression, window)
        for expression in (np.zeros_like(wide_open), wide_open)
    )
    kept = moved_triangles(model) if region == "speech" else np.ones(len(face_topology(model).lower), bool)
    closed, opened = ((face_id >= 0) & kept[face_id] for face_id in drawn)
    return MouthMasks(closed, opened, closed | opened)


def lower_face_mask(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    window: Window | None = None,
    region: MaskRegion = "lower",
) -> Bool[np.ndarray, "H W"]:
    """Compute the mask of all pixels that the lower face can cover: the union of `mouth_masks`.

    Args:
        model: the face model.
        coefficients: coefficients of a clip.
        index: row of `coefficients`.
        size: side of the crop, pixels.
        window: as in `render_face`.
        region: part of the lower face.

    Raises:
        ParameterError: as in `render_face`.
    """
    return mouth_masks(model, coefficients, index, size, window=window, region=region).union
