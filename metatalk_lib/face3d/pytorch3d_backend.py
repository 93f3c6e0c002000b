"""PyTorch3D as a rasteriser, on the CPU or a GPU; an optional dependency, imported only on use.

PyTorch3D's normalised coordinates have +x left and +y up. A window is drawn as the top-left part of a square of its
longer side S, whose pixel (column, row) counted from the window's corner lies at

    x = 1 - (2 column + 1) / S        y = 1 - (2 row + 1) / S
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.rasterizer import Raster

# PyTorch3D draws a centre exactly on an edge for neither neighbour. A centre whose squared distance from a triangle is
# below this (normalised units: 1e-6 is 0.0001 px at 256 px) counts as inside, so that shared edges are watertight.
BLUR_RADIUS = 1e-12


class Fragments(NamedTuple):
    """Rasterisation result for each pixel of a batch; -1 where there is no triangle, as in PyTorch3D.

    Attributes:
        face_id: (B, H, W) index of the visible triangle.
        barycentric: (B, H, W, 3) perspective-correct weights.
        depth: (B, H, W) depth in the unit of the input.
    """

    face_id: Int[Tensor, "B H W"]
    barycentric: Float[Tensor, "B H W 3"]
    depth: Float[Tensor, "B H W"]


def is_installed() -> bool:
    """Whether PyTorch3D can be imported: it is installed and compatible with the installed torch."""
    try:
        _import()
    except (ImportError, OSError):
        return False
    return True


def _import() -> tuple:
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    return Meshes, rasterize_meshes


def require() -> tuple:
    """Import the class `Meshes` and the function `rasterize_meshes` of PyTorch3D.

    Raises:
        ParameterError: PyTorch3D cannot be imported.
    """
    try:
        return _import()
    except (ImportError, OSError) as cause:
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise ParameterError(
            f"backend 'pytorch3d' needs PyTorch3D, which does not import here ({reason}). Install it with conda, or "
            f"build it from its upstream source by pip install --no-build-isolation against the installed torch "
            f"{torch.__version__} (PyPI has no wheel for it); or choose backend 'cpu', which draws the same."
        ) from cause


def _drawable(points: Tensor, depth: Tensor, triangles: Tensor, cull_backfaces: bool) -> Int[Tensor, " K"]:
    """Indices of triangles fully in front of the camera, not degenerate, and, if culling, seen from outside."""
    a, b, c = points[triangles].double().unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    is_front = area < 0 if cull_backfaces else area != 0
    return torch.nonzero(is_front & (depth[triangles] > 0).all(1) & area.isfinite())[:, 0]


def rasterize_batch(
    points: Float[Tensor, "B N 2"],
    depth: Float[Tensor, "B N"],
    triangles: Int[Tensor, "F 3"],
    window: tuple[int, int, int, int],
    *,
    cull_backfaces: bool = False,
) -> Fragments:
    """Rasterise a batch of frames on the device of `points`, without gradients.

    Args:
        points: projected vertices, pixels, as `rasterizer.rasterize` takes them.
        depth: distance along the optical axis; a triangle with a corner at depth <= 0 is left out.
        triangles: vertex ids, counter-clockwise seen from outside.
        window: (x0, y0, x1, y1) pixels, exclusive ends.
        cull_backfaces: leave out triangles seen from inside.

    Raises:
        ParameterError: PyTorch3D is not installed, the window is empty, or a triangle names a vertex that does not
            exist.

    Source: facebookresearch/pytorch3d 0.7.9, rasterize_meshes, called as documented; the code is original.
    """
    meshes_class, rasterize_meshes = require()
    x0, y0, x1, y1 = window
    if x1 <= x0 or y1 <= y0:
        raise ParameterError(f"the window {window} is empty. Give (x0, y0, x1, y1) with x0 < x1 and y0 < y1.")
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= points.shape[1]):
        raise ParameterError(
            f"triangles name vertices {triangles.min()} to {triangles.max()}, but there are {points.shape[1]} points."
        )
    side = max(x1 - x0, y1 - y0)
    with torch.no_grad():
        kept = [_drawable(*frame, triangles, cull_backfaces) for frame in zip(points, depth, strict=True)]
        corner = torch.tensor((x0, y0), dtype=torch.float64, device=points.device)
        plane = 1 - (2 * (points.double() - corner) + 1) / side
        vertices = torch.cat((plane, depth.double()[..., None]), dim=-1).float()
        meshes = meshes_class(verts=list(vertices), faces=[triangles[ids] for ids in kept])
        packed_id, z, weights, _ = rasterize_meshes(
            meshes,
            image_size=(side, side),
            blur_radius=BLUR_RADIUS,
            faces_per_pixel=1,
            # a bin that can hold all triangles never overflows; an overflow would lose some
            max_faces_per_bin=max(len(triangles), 1),
            perspective_correct=True,
            clip_barycentric_coords=True,
        )
    part = (slice(None), slice(0, y1 - y0), slice(0, x1 - x0), 0)
    # PyTorch3D numbers triangles consecutively through the whole batch
    original_id = torch.cat((*kept, torch.full((1,), -1, device=triangles.device)))
    return Fragments(original_id[packed_id[part]], weights[part], z[part])


def rasterize_pytorch3d(
    points: Float[np.ndarray, "N 2"],
    depth: Float[np.ndarray, " N"],
    triangles: Int[np.ndarray, "F 3"],
    window: tuple[int, int, int, int],
    *,
    cull_backfaces: bool = False,
) -> Raster:
    """Rasterise with PyTorch3D on the CPU; arguments and result are those of `rasterizer.rasterize`.

    PyTorch3D computes in single precision and adds 1e-8 to areas: weights agree to about 2e-4, depths to about 1e-5.

    Raises:
        ParameterError: PyTorch3D is not installed, or the window is empty.
    """
    fragments = rasterize_batch(
        torch.from_numpy(points)[None],
        torch.from_numpy(depth)[None],
        torch.from_numpy(triangles.astype(np.int64)),
        window,
        cull_backfaces=cull_backfaces,
    )
    face_id, weights, z = (part[0].numpy() for part in fragments)
    seen = face_id >= 0
    return Raster(
        face_id.astype(np.int32),
        np.where(seen[..., None], weights, 0).astype(np.float32),
        np.where(seen, z, np.inf).astype(np.float32),
    )
