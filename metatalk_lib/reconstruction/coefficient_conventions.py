"""Conversion of the 257 coefficients of bfm09 between three conventions: ours, Deep3DFaceRecon's and AudioDVP's.

Identity, expression and texture have the same values in all three. The rest differs:

    ours          identity, expression, texture, illumination, rotation, translation
                  light (3 colours, 9 terms), +0.8; v_cam = M v + t, decimetres; depth 10 - z; focal length 4.531 sides
    Deep3D        identity 80, expression 64, texture 80, angle 3, gamma 27, trans 3, in one vector
                  light, pose and camera as ours; picture of 224 px with rows counted upwards from pixel corners
    AudioDVP      alpha (identity), delta (expression), beta (texture), gamma, rotation, translation, apart
                  light (9 terms, 3 colours), +0.7; w = E (k (v + c) - t); depth 8 - z; focal length 2.255 sides;
                  picture of 256 px, mirrored

with M = E = Rz Ry Rx of the same angles, v our vertex, c the centre of the published mean shape (which ours is free
of), and k = 1e5 / 92156.7, since AudioDVP divides the model by another number.

**Exact for Deep3D**: every vertex in camera space, every projected point (`deep3d_to_crop`), the shading at a given
normal. **Not exact**: the vertex normals. Deep3D sums the unit normals of the neighbouring triangles; we weight them by
area, as AudioDVP does. A Deep3D picture is a crop aligned by five points; another crop of the same frame, such as ours,
has another optical axis and focal length, and no pose compensates for that exactly.

**Exact for AudioDVP**: depth and position in front of the camera up to the factor k, every projected point
(`audiodvp_to_crop`), shading and normals. Two things differ in the pictures. First, AudioDVP's focal length is half of
ours, so our crop with the same geometry is the middle of its picture, `AUDIODVP_SIDE_IN_CROPS` times smaller; no pose
makes one crop serve both cameras, since moving the face nearer is not the same as zooming. Second, AudioDVP draws the
face mirrored: its fit to a video describes the person's mirror image, and so do the converted coefficients, which
reproduce the video flipped left to right. `mirror_pose_and_light` mirrors pose and light exactly; identity, expression
and texture have no exact mirror image, because the model's modes are not symmetric, and none is made here.

In both cases our albedo is clamped to [0, 1] before it is lit, theirs is not.

Source: sicxu/Deep3DFaceRecon_pytorch@9167c71 models/bfm.py (MIT); xinwen-cs/AudioDVP@54aafc9 renderer/face_model.py,
renderer/camera.py, renderer/build_data.py (BSD). The code is original.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.camera import DISTANCE, FOCAL, euler_to_matrix
from metatalk_lib.face3d.coefficients import SLICES
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.illumination import AMBIENT
from metatalk_lib.networks.face_regressors import DEEP3D_INPUT_SIZE, AudioDVPCoefficients

# Order of the parts in Deep3D's vector, by our names.
DEEP3D_ORDER = ("identity", "expression", "texture", "rotation", "illumination", "translation")
AUDIODVP_SIDE_PX = 256
# AudioDVP's model units per decimetre of ours: 1e5 / 92156.7.
AUDIODVP_UNITS_PER_DM = 1e5 / 92156.7
AUDIODVP_AMBIENT = 0.7
# Distance of AudioDVP's camera from the origin, in its model units.
AUDIODVP_DISTANCE = 8.0
# AudioDVP's focal length in units of the picture's side: field of view 25 degrees.
AUDIODVP_FOCAL = 0.5 / math.tan(math.radians(25 / 2))
# Side of AudioDVP's picture in units of the side of our crop with the same geometry.
AUDIODVP_SIDE_IN_CROPS = FOCAL / AUDIODVP_FOCAL
# Harmonics that change sign with the normal, and those that change sign with the normal's x.
_ODD_TERMS = (1, 2, 3)
_X_TERMS = (3, 4, 7)


class PublishedFrame(NamedTuple):
    """Offset and orientation of the published model relative to ours; see `FaceModel`."""

    centre: Float[Tensor, "3"]
    normals_sign: int


def published_frame(model: FaceModel) -> PublishedFrame:
    """Return the published centre (decimetres) and the sign of the published normals, both relative to our model.

    Raises:
        ParameterError: the model is published nowhere else, so its coefficients have only one convention.
    """
    if len(model.published_centre) == 0:
        raise ParameterError(
            "this face model has no other conventions: its modes are not those of the Basel Face Model. "
            "Convert coefficients of load_face_model('bfm09')."
        )
    return PublishedFrame(model.published_centre, model.published_normals_sign)


def _turn_normals(light: Float[Tensor, "B 3 9"], sign: int) -> Float[Tensor, "B 3 9"]:
    """Return the light that shades opposite normals as the given light shades the given ones, if sign is -1. Exact."""
    factors = torch.ones(9, dtype=light.dtype, device=light.device)
    factors[list(_ODD_TERMS)] = sign
    return light * factors


def _split(coefficients: Float[Tensor, "B 257"]) -> dict[str, Tensor]:
    return {name: coefficients[:, part] for name, part in SLICES.items()}


# ------------------------------------------------------------------------------------------------------------- Deep3D


def to_deep3d(coefficients: Float[Tensor, "B 257"], model: FaceModel) -> Float[Tensor, "B 257"]:
    """Convert our coefficients to Deep3DFaceRecon's order: id 80, exp 64, tex 80, angle 3, gamma 27, trans 3.

    Args:
        coefficients: our coefficients, in the order of `coefficients.SLICES`.
        model: the face model bfm09.

    Raises:
        ParameterError: the model is not bfm09.
    """
    parts = _split(coefficients)
    light = _turn_normals(parts["illumination"].reshape(-1, 3, 9), published_frame(model).normals_sign)
    parts["illumination"] = light.flatten(1)
    return torch.cat([parts[name] for name in DEEP3D_ORDER], dim=1)


def from_deep3d(coefficients: Float[Tensor, "B 257"], model: FaceModel) -> Float[Tensor, "B 257"]:
    """Convert Deep3DFaceRecon's vector to our order; the inverse of `to_deep3d`.

    The pose refers to the aligned crop that the network received.

    Args:
        coefficients: output of the Deep3D network.
        model: the face model bfm09.

    Raises:
        ParameterError: the model is not bfm09.
    """
    sizes = [SLICES[name].stop - SLICES[name].start for name in DEEP3D_ORDER]
    parts = dict(zip(DEEP3D_ORDER, coefficients.split(sizes, dim=1), strict=True))
    light = _turn_normals(parts["illumination"].reshape(-1, 3, 9), published_frame(model).normals_sign)
    parts["illumination"] = light.flatten(1)
    return torch.cat([parts[name] for name in SLICES], dim=1)


def deep3d_to_crop(points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Convert Deep3D's (u, v), v upwards, to (column, row) of the same 224 px picture: (u - 0.5, 223.5 - v)."""
    u, v = points.unbind(-1)
    return torch.stack((u - 0.5, DEEP3D_INPUT_SIZE - 0.5 - v), dim=-1)


def crop_to_deep3d(points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Invert `deep3d_to_crop`."""
    column, row = points.unbind(-1)
    return torch.stack((column + 0.5, DEEP3D_INPUT_SIZE - 0.5 - row), dim=-1)


# ----------------------------------------------------------------------------------------------------------- AudioDVP


def to_audiodvp(coefficients: Float[Tensor, "B 257"], model: FaceModel) -> AudioDVPCoefficients:
    """Convert our coefficients to AudioDVP's parts, with which its renderer draws the face mirrored.

        t_AudioDVP = k (c - M^T (t - (0, 0, 10 - 8 / k)))
        gamma_AudioDVP[term, colour] = gamma[colour, term] + 0.1 where term = 0

    Args:
        coefficients: our coefficients, in the order of `coefficients.SLICES`.
        model: the face model bfm09.

    Raises:
        ParameterError: the model is not bfm09.
    """
    frame, parts = published_frame(model), _split(coefficients)
    shifted = (parts["translation"] - _camera_offset(coefficients))[:, None]
    translation = AUDIODVP_UNITS_PER_DM * (frame.centre - (shifted @ euler_to_matrix(parts["rotation"]))[:, 0])
    light = _turn_normals(parts["illumination"].reshape(-1, 3, 9) + _ambient_step(coefficients), frame.normals_sign)
    illumination = light.transpose(1, 2).flatten(1)
    return AudioDVPCoefficients(
        identity=parts["identity"],
        expression=parts["expression"],
        texture=parts["texture"],
        illumination=illumination,
        rotation=parts["rotation"],
        translation=translation,
    )


def from_audiodvp(parts: AudioDVPCoefficients, model: FaceModel) -> Float[Tensor, "B 257"]:
    """Convert AudioDVP's coefficients to our order; the inverse of `to_audiodvp`.

        t = M (c - t_AudioDVP / k) + (0, 0, 10 - 8 / k)

    Coefficients that AudioDVP fitted to a video describe its mirror image; see the module's docstring.

    Args:
        parts: AudioDVP's coefficients.
        model: the face model bfm09.

    Raises:
        ParameterError: the model is not bfm09.
    """
    frame = published_frame(model)
    offset = (frame.centre - parts.translation / AUDIODVP_UNITS_PER_DM)[:, None]
    turned = (offset @ euler_to_matrix(parts.rotation).transpose(1, 2))[:, 0]
    light = _turn_normals(parts.illumination.reshape(-1, 9, 3).transpose(1, 2), frame.normals_sign)
    ours = {
        **parts._asdict(),
        "illumination": (light - _ambient_step(parts.illumination)).flatten(1),
        "translation": turned + _camera_offset(parts.translation),
    }
    return torch.cat([ours[name] for name in SLICES], dim=1)


def audiodvp_to_crop(points: Float[Tensor, "*B 2"], size: int) -> Float[Tensor, "*B 2"]:
    """Convert pixels of AudioDVP's 256 px picture to (column, row) of our crop, the flipped middle of that picture.

        column = (S - 1) / 2 - S r (x / 256 - 1 / 2),  row = (S - 1) / 2 + S r (y / 256 - 1 / 2),  r = 2.009

    r is `AUDIODVP_SIDE_IN_CROPS`: our crop has the same centre and 1 / r of the side; points may lie outside the crop.

    Args:
        points: (x, y), x right, y down, (0, 0) the corner of the top-left pixel.
        size: side S of our crop, px.
    """
    offset = (points / AUDIODVP_SIDE_PX - 0.5) * AUDIODVP_SIDE_IN_CROPS * size
    return (size - 1) / 2 + offset * _flip(points)


def crop_to_audiodvp(points: Float[Tensor, "*B 2"], size: int) -> Float[Tensor, "*B 2"]:
    """Invert `audiodvp_to_crop`."""
    offset = (points - (size - 1) / 2) * _flip(points) / (AUDIODVP_SIDE_IN_CROPS * size)
    return (offset + 0.5) * AUDIODVP_SIDE_PX


def mirror_pose_and_light(coefficients: Float[Tensor, "B 257"]) -> Float[Tensor, "B 257"]:
    """Mirror pose and light as in the picture flipped left to right; identity, expression and texture stay unchanged.

    The angles (a, b, c) become (a, -b, -c), the translation becomes (-x, y, z), and the harmonics with an odd power of
    x change sign. With the mirror image of the vertices and their colours this draws exactly the flipped picture.
    Applying it twice returns the input.

    Args:
        coefficients: our coefficients, in the order of `coefficients.SLICES`.
    """
    parts = _split(coefficients)
    light = parts["illumination"].reshape(-1, 3, 9).clone()
    light[..., list(_X_TERMS)] *= -1
    parts["illumination"] = light.flatten(1)
    parts["rotation"] = parts["rotation"] * parts["rotation"].new_tensor((1, -1, -1))
    parts["translation"] = parts["translation"] * parts["translation"].new_tensor((-1, 1, 1))
    return torch.cat([parts[name] for name in SLICES], dim=1)


def _flip(like: Tensor) -> Float[Tensor, "2"]:
    return like.new_tensor((-1, 1))


def _camera_offset(like: Tensor) -> Float[Tensor, "3"]:
    """Return our camera's distance from the origin minus that of AudioDVP's camera, along z, decimetres."""
    return like.new_tensor((0, 0, DISTANCE - AUDIODVP_DISTANCE / AUDIODVP_UNITS_PER_DM))


def _ambient_step(like: Tensor) -> Float[Tensor, "9"]:
    """Return the difference of the ambient terms, ours minus AudioDVP's, in the first harmonic."""
    return like.new_tensor((AMBIENT - AUDIODVP_AMBIENT, *(0,) * 8))
