"""Differentiable rendering: a z-buffer finds the triangle visible in each pixel; torch computes the pixel's value.

For a pixel centre p that shows the triangle with projected corners p_i, depths d_i and values c_i

    e_i = cross(p_j - p, p_k - p)        (i, j, k) cyclic: the edge function opposite to corner i
    value(p) = sum_i (e_i / d_i) c_i / sum_i (e_i / d_i)

which is differentiable in p_i, d_i and c_i, so gradients reach the vertices (through `camera.project` also pose,
identity and expression) and the colours (texture and illumination). Memory is proportional to the covered pixels.

Only covered pixels carry gradients, as in the paper's photometric loss: the visible triangle of a pixel is held fixed,
and a silhouette that moves on or off a pixel changes no gradient. There are no soft silhouettes.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import camera, illumination, pytorch3d_backend
from metatalk_lib.face3d.coefficients import SLICES
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import MOUTH_COLOUR, Window, face_topology
from metatalk_lib.face3d.rasterizer import rasterize

Backend = Literal["cpu", "pytorch3d"]


class Coverage(NamedTuple):
    """The covered pixels of a batch, P in total, ordered by frame, row and column.

    Attributes:
        frame: (P,) frame in the batch.
        row, column: (P,) position in the window.
        corners: (P, 3) vertex ids of the visible triangle.
        frames: number of frames B.
        window: (x0, y0, x1, y1) pixels of the picture.
    """

    frame: Int[Tensor, " P"]
    row: Int[Tensor, " P"]
    column: Int[Tensor, " P"]
    corners: Int[Tensor, "P 3"]
    frames: int
    window: Window


class RenderedBatch(NamedTuple):
    """Rendered frames.

    Attributes:
        image: (B, H, W, C) interpolated values, 0 where nothing is drawn.
        mask: (B, H, W) True where a pixel is covered.
    """

    image: Float[Tensor, "B H W C"]
    mask: Bool[Tensor, "B H W"]


def choose_backend(name: Literal["auto", "cpu", "pytorch3d"], device: torch.device | str) -> Backend:
    """Choose the rasteriser for a device.

    Args:
        name: `cpu`, our compiled z-buffer; `pytorch3d`; or `auto`, which is `pytorch3d` on a CUDA device if it can be
            imported and `cpu` otherwise, since PyTorch3D on a CPU is far slower than ours.
        device: device of the tensors.

    Raises:
        ParameterError: the name is unknown, or `pytorch3d` cannot be imported.
    """
    if name not in ("auto", "cpu", "pytorch3d"):
        raise ParameterError(f"backend must be 'auto', 'cpu' or 'pytorch3d', got {name!r}.")
    if name == "auto":
        return "pytorch3d" if torch.device(device).type == "cuda" and pytorch3d_backend.is_installed() else "cpu"
    if name == "pytorch3d":
        pytorch3d_backend.require()
    return name


def find_coverage(
    points: Float[Tensor, "B N 2"],
    depth: Float[Tensor, "B N"],
    triangles: Int[Tensor, "F 3"],
    window: Window,
    *,
    backend: Backend = "cpu",
    cull_backfaces: bool = True,
) -> Coverage:
    """Find the triangle visible in each pixel of a window, without gradients.

    Args:
        points: projected vertices, pixels.
        depth: distance along the optical axis; a triangle with a corner at depth <= 0 is left out.
        triangles: vertex ids, counter-clockwise seen from outside, shared by the batch.
        window: (x0, y0, x1, y1) pixels, exclusive ends; it may extend beyond the picture.
        backend: the rasteriser, see `choose_backend`. `cpu` also accepts tensors on another device, by copying.
        cull_backfaces: leave out triangles seen from inside.

    Raises:
        ParameterError: the window is empty, the backend is unknown, or a triangle refers to no vertex.
    """
    if choose_backend(backend, points.device) == "pytorch3d":
        face_id = pytorch3d_backend.rasterize_batch(
            points, depth, triangles, window, cull_backfaces=cull_backfaces
        ).face_id
    else:
        arrays = (points.detach().cpu().numpy(), depth.detach().cpu().numpy())
        corner_ids = triangles.cpu().numpy().astype(np.int32)
        drawn = [
            rasterize(*frame, corner_ids, window, cull_backfaces=cull_backfaces).face_id
            for frame in zip(*arrays, strict=True)
        ]
        face_id = torch.from_numpy(np.stack(drawn)).to(points.device)
    frame, row, column = torch.nonzero(face_id >= 0, as_tuple=True)
    corners = triangles[face_id[frame, row, column].long()].long()
    return Coverage(frame, row, column, corners, len(points), window)


def interpolate_covered(
    coverage: Coverage, points: Float[Tensor, "B N 2"], depth: Float[Tensor, "B N"], values: Float[Tensor, "B N C"]
) -> Float[Tensor, "P C"]:
    """Interpolate values at the covered pixels by the equation above; differentiable in `points`, `depth` and `values`.

    Args:
        coverage: result of `find_coverage`; it may stem from slightly different points, whose pixels are then held
            fixed.
        points: projected vertices, pixels.
        depth: distance along the optical axis.
        values: any per-vertex quantity.
    """
    rows = (coverage.frame[:, None] * points.shape[1] + coverage.corners).flatten()
    x0, y0, _, _ = coverage.window
    pixel = torch.stack((coverage.column + x0, coverage.row + y0), dim=-1)
    # double precision, so that a sliver's weights are as accurate as a large triangle's
    corner = points.flatten(0, 1).index_select(0, rows).double().reshape(-1, 3, 2) - pixel[:, None]
    after, before = corner.roll(-1, dims=1), corner.roll(-2, dims=1)
    edge = after[..., 0] * before[..., 1] - after[..., 1] * before[..., 0]
    orientation = edge.detach().sum(-1, keepdim=True).sign()
    # a centre in the rasteriser's margin is outside by a rounding error; the clamp keeps weights in [0, 1]
    inside = (orientation * edge).clamp_min(0)
    weight = inside / depth.flatten().index_select(0, rows).double().reshape(-1, 3)
    weight = (weight / weight.sum(-1, keepdim=True)).to(values.dtype)
    corner_values = values.flatten(0, 1).index_select(0, rows).reshape(-1, 3, values.shape[-1])
    return (weight[..., None] * corner_values).sum(1)


def spread_covered(coverage: Coverage, values: Float[Tensor, "P C"]) -> RenderedBatch:
    """Arrange the values of the covered pixels in pictures."""
    x0, y0, x1, y1 = coverage.window
    shape = (coverage.frames, y1 - y0, x1 - x0)
    place = (coverage.frame, coverage.row, coverage.column)
    image = values.new_zeros((*shape, values.shape[-1])).index_put(place, values)
    mask = torch.zeros(shape, dtype=torch.bool, device=values.device).index_put(place, values.new_ones(()).bool())
    return RenderedBatch(image, mask)


def render_differentiably(
    vertices_camera: Float[Tensor, "B N 3"],
    colors: Float[Tensor, "B N C"],
    triangles: Int[Tensor, "F 3"],
    size: int,
    *,
    window: Window | None = None,
    backend: Backend = "cpu",
    cull_backfaces: bool = True,
    coverage: Coverage | None = None,
) -> RenderedBatch:
    """Render a batch of meshes as seen by the camera of a crop of `size` x `size`.

    The forward pass equals `rasterizer.interpolate`; the backward pass holds the visible triangles fixed.

    Args:
        vertices_camera: vertices in camera space, decimetres.
        colors: any per-vertex quantity, not clamped here.
        triangles: vertex ids, counter-clockwise seen from outside, shared by the batch.
        size: side of the crop, pixels.
        window: (x0, y0, x1, y1) crop pixels, exclusive ends; the whole crop by default.
        backend: the rasteriser, see `choose_backend`.
        cull_backfaces: leave out triangles seen from inside.
        coverage: visible triangles of an earlier call, to be reused instead of a new rasterisation; window, backend and
            culling are then those of that call.

    Raises:
        ParameterError: as in `find_coverage`; the size is below 1; or the coverage has another number of frames.
    """
    points, depth = camera.project(vertices_camera, size), camera.depth(vertices_camera)
    if coverage is None:
        window = (0, 0, size, size) if window is None else window
        coverage = find_coverage(points, depth, triangles, window, backend=backend, cull_backfaces=cull_backfaces)
    elif coverage.frames != len(points):
        raise ParameterError(f"the coverage is of {coverage.frames} frames, but there are {len(points)} to draw.")
    return spread_covered(coverage, interpolate_covered(coverage, points, depth, colors))


def render_coefficients_differentiably(
    model: FaceModel,
    coefficients: Float[Tensor, "B 257"],
    size: int,
    *,
    region: Literal["face", "lower"] = "face",
    window: Window | None = None,
    backend: Backend = "cpu",
) -> RenderedBatch:
    """Render the pictures of `face_renderer.render_face` as a differentiable function of the 257 coefficients.

    Args:
        model: the face model, on the device of the coefficients.
        coefficients: one row per frame, in the order of `coefficients.SLICES`.
        size: side of the crop, pixels.
        region: the whole face, or the triangles below the middle of the nose.
        window: (x0, y0, x1, y1) crop pixels, exclusive ends; the whole crop by default.
        backend: the rasteriser, see `choose_backend`.

    Returns:
        RGB in [0, 1] as floats, and the mask of the face.

    Raises:
        ParameterError: as in `render_differentiably`, or the region is unknown.
    """
    if region not in ("face", "lower"):
        raise ParameterError(f"region must be 'face' or 'lower', got {region!r}.")
    part = {name: coefficients[:, columns] for name, columns in SLICES.items()}
    topology = face_topology(model)
    vertices = model.compute_vertices(part["identity"], part["expression"])
    vertices = camera.transform(vertices, part["rotation"], part["translation"])
    shading = illumination.compute_shading(model.compute_normals(vertices), part["illumination"])
    plug_vertices = torch.from_numpy(topology.plug_vertices).to(vertices.device)
    mouth = torch.from_numpy(MOUTH_COLOUR).to(shading) * shading.mean(dim=1, keepdim=True)
    colors = torch.cat((model.compute_texture(part["texture"]) * shading, mouth.expand(-1, len(plug_vertices), -1)), 1)
    vertices = torch.cat((vertices, vertices[:, plug_vertices]), dim=1)
    triangles = torch.from_numpy(topology.face if region == "face" else topology.lower).to(vertices.device)
    return render_differentiably(vertices, colors.clamp(0, 1), triangles, size, window=window, backend=backend)
