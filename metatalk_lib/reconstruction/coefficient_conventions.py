"""The 257 coefficients of bfm09 in three systems: ours, Deep3DFaceRecon's and AudioDVP's.

Identity, expression and texture are the same numbers in all three. The rest differs:

    ours          identity, expression, texture, illumination, rotation, translation
                  light (3 colours, 9 terms), +0.8; v_cam = M v + t, decimetres; depth 10 - z; focal length 4.531 sides
    Deep3D        identity 80, expression 64, texture 80, angle 3, gamma 27, trans 3, in one vector
                  light, pose and camera as ours; picture of 224 px with rows counted upwards from pixel corners
    AudioDVP      alpha (identity), delta (expression), beta (texture), gamma, rotation, translation, apart
                  light (9 terms, 3 colours), +0.7; w = E (k (v + c) - t); depth 8 - z; focal length 2.255 sides;
                  picture of 256 px, mirrored

with M = E = Rz Ry Rx of the same angles, v our vertex, c the published mean shape's centre that ours is free of, and
k = 1e5 / 92156.7, since AudioDVP divides the model by another number.

**Exact, Deep3D**: every vertex in camera space, every projected point (`deep3d_to_crop`), the shading at a given
normal. **Not**: the vertex normals. Deep3D adds the neighbouring triangles' unit normals, we add them by area as
AudioDVP does. A picture of theirs is a crop aligned by five points; another crop of the same frame, such as ours, has
another optical axis and focal length, and no pose makes up for that exactly.

**Exact, AudioDVP**: depth and position in front of the camera up to the factor k, every projected point
(`audiodvp_to_crop`), shading and normals. Two things differ in the pictures. Their focal length is half of ours, so a
crop of ours with the same geometry is the middle of their picture, `AUDIODVP_SIDE_IN_CROPS` times smaller; no pose
makes one crop serve both cameras, since moving the face nearer is not the same as zooming. And they draw the face
mirrored: a fit of theirs to a video describes the person's mirror image, and so do the converted coefficients, which
reproduce the video flipped left to right. `mirror_pose_and_light` turns pose and light round exactly; for identity,
expression and texture there is no exact mirror image, because the model's modes are not symmetric, and none is made
here.

Against both: our albedo is clamped to [0, 1] before it is lit, theirs is not.

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

# Order of Deep3D's vector in our names.
DEEP3D_ORDER = ("identity", "expression", "texture", "rotation", "illumination", "translation")
AUDIODVP_SIDE_PX = 256
# AudioDVP's model units in a decimetre of ours: 1e5 / 92156.7.
AUDIODVP_UNITS_PER_DM = 1e5 / 92156.7
AUDIODVP_AMBIENT = 0.7
# Distance of its camera from the origin, in its model units.
AUDIODVP_DISTANCE = 8.0
# Focal length in units of the picture's side: field of view 25 degrees.
AUDIODVP_FOCAL = 0.5 / math.tan(math.radians(25 / 2))
# Side of AudioDVP's picture in units of the side of our crop with the same geometry.
AUDIODVP_SIDE_IN_CROPS = FOCAL / AUDIODVP_FOCAL
# Harmonics that change sign with the normal, and those that change sign with its x.
_ODD_TERMS = (1, 2, 3)
_X_TERMS = (3, 4, 7)


class PublishedFrame(NamedTuple):
    """How the published model lies to ours; see `FaceModel`."""

    centre: Float[Tensor, "3"]
    normals_sign: int


def published_frame(model: FaceModel) -> PublishedFrame:
    """Centre (decimetres) and sign of the normals that the published code has and ours has not.

    Raises:
        ParameterError: nobody else publishes the model, so its coefficients have one convention only.
    """
    if len(model.published_centre) == 0:
        raise ParameterError(
            "this face model has no other conventions: its modes are not those of the Basel Face Model. "
            "Convert coefficients of load_face_model('bfm09')."
        )
    return PublishedFrame(model.published_centre, model.published_normals_sign)


def _turn_normals(light: Float[Tensor, "B 3 9"], sign: int) -> Float[Tensor, "B 3 9"]:
    """The light that shades the opposite normals as this one does the given normals, where sign is -1. Exact."""
    factors = torch.ones(9, dtype=light.dtype, device=light.device)
    factors[list(_ODD_TERMS)] = sign
    return light * factors


def _split(coefficients: Float[Tensor, "B 257"]) -> dict[str, Tensor]:
    return {name: coefficients[:, part] for name, part in SLICES.items()}


# ------------------------------------------------------------------------------------------------------------- Deep3D


def to_deep3d(coefficients: Float[Tensor, "B 257"], model: FaceModel) -> Float[Tensor, "B 257"]:
    """Our coefficients in Deep3DFaceRecon's order: id 80, exp 64, tex 80, angle 3, gamma 27, trans 3.

    Args:
        coefficients: ours, in the order of `coefficients.SLICES`.
        model: bfm09.

    Raises:
        ParameterError: the model is not bfm09.
    """
    parts = _split(coefficients)
    light = _turn_normals(parts["illumination"].reshape(-1, 3, 9), published_frame(model).normals_sign)
    parts["illumination"] = light.flatten(1)
    return torch.cat([parts[name] for name in DEEP3D_ORDER], dim=1)


def from_deep3d(coefficients: Float[Tensor, "B 257"], model: FaceModel) -> Float[Tensor, "B 257"]:
    """Deep3DFaceRecon's vector in our order; the inverse of `to_deep3d`.

    The pose belongs to the aligned crop that the network saw.

    Args:
        coefficients: the network's output.
        model: bfm09.

    Raises:
        ParameterError: the model is not bfm09.
    """
    sizes = [SLICES[name].stop - SLICES[name].start for name in DEEP3D_ORDER]
    parts = dict(zip(DEEP3D_ORDER, coefficients.split(sizes, dim=1), strict=True))
    light = _turn_normals(parts["illumination"].reshape(-1, 3, 9), published_frame(model).normals_sign)
    parts["illumination"] = light.flatten(1)
    return torch.cat([parts[name] for name in SLICES], dim=1)


def deep3d_to_crop(points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Deep3D's (u, v), v upwards, to (column, row) of the same 224 px picture: (u - 0.5, 223.5 - v)."""
    u, v = points.unbind(-1)
    return torch.stack((u - 0.5, DEEP3D_INPUT_SIZE - 0.5 - v), dim=-1)


def crop_to_deep3d(points: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """The inverse of `deep3d_to_crop`."""
    column, row = points.unbind(-1)
    return torch.stack((column + 0.5, DEEP3D_INPUT_SIZE - 0.5 - row), dim=-1)


# ----------------------------------------------------------------------------------------------------------- AudioDVP


def to_audiodvp(coefficients: Float[Tensor, "B 257"], model: FaceModel) -> AudioDVPCoefficients:
    """Our coefficients as AudioDVP's parts, with which its renderer draws the face mirrored.

        t_AudioDVP = k (c - M^T (t - (0, 0, 10 - 8 / k)))
        gamma_AudioDVP[term, colour] = gamma[colour, term] + 0.1 where term = 0

    Args:
        coefficients: ours, in the order of `coefficients.SLICES`.
        model: bfm09.

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
    """AudioDVP's coefficients in our order; the inverse of `to_audiodvp`.

        t = M (c - t_AudioDVP / k) + (0, 0, 10 - 8 / k)

    Coefficients that AudioDVP fitted to a video describe its mirror image; see the module's docstring.

    Args:
        parts: AudioDVP's.
        model: bfm09.

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
    """Pixels of AudioDVP's 256 px picture to (column, row) of our crop, the flipped middle of theirs.

        column = (S - 1) / 2 - S r (x / 256 - 1 / 2),  row = (S - 1) / 2 + S r (y / 256 - 1 / 2),  r = 2.009

    r is `AUDIODVP_SIDE_IN_CROPS`: our crop has the same centre and 1 / r of the side; points may lie outside of it.

    Args:
        points: (x, y), x right, y down, (0, 0) the corner of the top-left pixel.
        size: side S of our crop, px.
    """
    offset = (points / AUDIODVP_SIDE_PX - 0.5) * AUDIODVP_SIDE_IN_CROPS * size
    return (size - 1) / 2 + offset * _flip(points)


def crop_to_audiodvp(points: Float[Tensor, "*B 2"], size: int) -> Float[Tensor, "*B 2"]:
    """The inverse of `audiodvp_to_crop`."""
    offset = (points - (size - 1) / 2) * _flip(points) / (AUDIODVP_SIDE_IN_CROPS * size)
    return (offset + 0.5) * AUDIODVP_SIDE_PX


def mirror_pose_and_light(coefficients: Float[Tensor, "B 257"]) -> Float[Tensor, "B 257"]:
    """Pose and light of the picture flipped left to right; identity, expression and texture stay as they are.

    The angles (a, b, c) become (a, -b, -c), the translation (-x, y, z), the harmonics with an odd power of x change
    sign. With the mirror image of the vertices and their colours this draws exactly the flipped picture. Doing it twice
    gives the input.

    Args:
        coefficients: ours, in the order of `coefficients.SLICES`.
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
    """How much further than AudioDVP's our camera stands from the origin, decimetres."""
    return like.new_tensor((0, 0, DISTANCE - AUDIODVP_DISTANCE / AUDIODVP_UNITS_PER_DM))


def _ambient_step(like: Tensor) -> Float[Tensor, "9"]:
    """What our light adds to the first term more than AudioDVP's."""
    return like.new_tensor((AMBIENT - AUDIODVP_AMBIENT, *(0,) * 8))
