"""Pinhole camera of a face crop, and the definition of all coordinate frames.

Model space (decimetres): x points to the right of the picture, which is the subject's left; y up; z from the face to
the camera. A pose maps it to camera space, v_cam = M v + t with M = Rz Ry Rx; the camera sits on the z axis at
DISTANCE and looks along -z, so that the depth of a vertex is d = DISTANCE - z_cam. In a square crop of side S

    column = (S - 1) / 2 + FOCAL * S * x_cam / d
    row    = (S - 1) / 2 - FOCAL * S * y_cam / d

and (0, 0) is the centre of the top-left pixel. FOCAL is in units of the side, so coefficients do not depend on S.

            y                     column ->
            |   z (to camera)   +----------+
            |  /              r |   face   |
            | /               o |    .     |   optical axis at ((S-1)/2, (S-1)/2)
            +------ x         w |          |
       subject's left           +----------+
"""

import torch
from jaxtyping import Float
from torch import Tensor

from metatalk_lib.core.errors import ParameterError

MM_PER_DM = 100.0

# Focal length in units of the crop's side, and camera distance in decimetres (the paper's reconstruction network).
FOCAL = 1015 / 224
DISTANCE = 10.0


def euler_to_matrix(rotation: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Compute the rotation matrices M = Rz(c) Ry(b) Rx(a) of angles (a, b, c), right-handed, for column vectors.

    Args:
        rotation: radians about x (positive: nod down), y (positive: turn to the picture's right), z (positive: tilt
            counter-clockwise in the picture).

    Source: convention of sicxu/Deep3DFaceRecon_pytorch models/bfm.py, whose R is the transpose of this M.
    """
    sin_x, sin_y, sin_z = torch.sin(rotation).unbind(-1)
    cos_x, cos_y, cos_z = torch.cos(rotation).unbind(-1)
    rows = (
        (cos_z * cos_y, cos_z * sin_y * sin_x - sin_z * cos_x, cos_z * sin_y * cos_x + sin_z * sin_x),
        (sin_z * cos_y, sin_z * sin_y * sin_x + cos_z * cos_x, sin_z * sin_y * cos_x - cos_z * sin_x),
        (-sin_y, cos_y * sin_x, cos_y * cos_x),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def rotate(vectors: Float[Tensor, "B N 3"], rotation: Float[Tensor, "B 3"]) -> Float[Tensor, "B N 3"]:
    """Rotate vectors (such as normals) into camera space: M v."""
    return vectors @ euler_to_matrix(rotation).transpose(-1, -2)


def transform(
    vertices: Float[Tensor, "B N 3"], rotation: Float[Tensor, "B 3"], translation: Float[Tensor, "B 3"]
) -> Float[Tensor, "B N 3"]:
    """Transform model space to camera space: v_cam = M v + t.

    Args:
        vertices: vertices in model space, decimetres.
        rotation: rotation angles, radians, see `euler_to_matrix`.
        translation: translation, decimetres.
    """
    return rotate(vertices, rotation) + translation[:, None, :]


def depth(camera_vertices: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
    """Return the distance along the optical axis, d = DISTANCE - z_cam, decimetres."""
    return DISTANCE - camera_vertices[..., 2]


def project(camera_vertices: Float[Tensor, "B N 3"], size: int) -> Float[Tensor, "B N 2"]:
    """Project camera space to pixels (column, row) of a `size` x `size` crop; the module's docstring has the equations.

    Args:
        camera_vertices: vertices in camera space, decimetres; depth must be positive for a meaningful result.
        size: side of the square crop, pixels.

    Raises:
        ParameterError: the size is not positive.

    Source: sicxu/Deep3DFaceRecon_pytorch models/bfm.py (projection), rows turned down and pixel centres at integers.
    """
    if size <= 0:
        raise ParameterError(f"size must be a positive number of pixels, got {size}.")
    scale = FOCAL * size / depth(camera_vertices)
    centre = (size - 1) / 2
    column = centre + scale * camera_vertices[..., 0]
    row = centre - scale * camera_vertices[..., 1]
    return torch.stack((column, row), dim=-1)
