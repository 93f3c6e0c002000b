"""Descriptions of the effect of each of the 257 coefficients, computed from the face model.

A mode of a principal-component basis has no name. It is described by its effect: the facial actions that move the face
in a similar way, the distance by which it moves each region, and the colours it changes.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from metatalk_lib.face3d import camera
from metatalk_lib.face3d.camera import MM_PER_DM
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.illumination import compute_harmonics
from metatalk_lib.visualization.coefficient_changes import check_numbers

REGIONS = ("jaw", "chin", "brows", "nose", "eyes", "lips", "cheeks", "forehead")
# Region of each of the 68 landmarks (iBUG order), as a position in REGIONS.
_LANDMARK_REGION = np.repeat((0, 1, 0, 2, 3, 4, 5), (6, 5, 6, 10, 9, 12, 20))
# A vertex farther than this from every landmark belongs to the forehead or the cheeks, decimetres.
_REGION_RADIUS = 0.22
ACTIONS_NAMED = 3
LEAST_CORRELATION = 0.3  # weaker facial actions are named only if there is no stronger one
SIDEWAYS = ("jaw", "mouth")  # their Left and Right are two directions, not two halves of one action
LEAST_DIRECTION = 0.5  # a direction is named if the region's mean moves this share of its distance in it
LEAST_TONE = 0.5  # a smaller mean change of colour is called none, grey levels of 255

COLOURS = ("red", "green", "blue")
# The nine terms of `compute_harmonics`, and the effect of a positive coefficient.
HARMONICS = (
    ("constant", "lights everything alike"),
    ("up-down", "lights from below"),
    ("front-back", "lights from the camera"),
    ("left-right", "lights from the picture's left"),
    ("2nd x·y", "second order, lights upper right and lower left"),
    ("2nd y·z", "second order, lights what faces down and front, darkens what faces up"),
    ("2nd z²", "second order, lights what faces the camera, darkens the rim"),
    ("2nd x·z", "second order, lights what faces left and front, darkens what faces right"),
    ("2nd x²−y²", "second order, lights the sides, darkens brow and chin"),
)
ROTATIONS = (
    ("nod", "+ looks down, − up"),
    ("turn", "+ to the picture's right, − to its left"),
    ("tilt", "+ counter-clockwise in the picture, − clockwise"),
)
TRANSLATIONS = ("right", "up", "closer")


def label_coefficient(part: str, number: int) -> str:
    """Return a short name, such as `expression 12`, `red, up-down`, `nod`, `right`.

    Raises:
        ParameterError: there is no such part or coefficient.
    """
    check_numbers(part, {number: 0.0})
    if part == "illumination":
        return f"{COLOURS[number // 9]}, {HARMONICS[number % 9][0]}"
    if part == "rotation":
        return ROTATIONS[number][0]
    return TRANSLATIONS[number] if part == "translation" else f"{part} {number}"


@lru_cache(maxsize=24)
def describe_effects(model: FaceModel, part: str) -> tuple[str, ...]:
    """Describe the effect of a positive unit (one sigma) of every coefficient of a part, one line each.

    Expression: the facial actions whose movement correlates most with that of the mode (cosine between the two
    displacement fields), and the regions that move most. Identity, and expression of a model without actions: mean
    movement and the regions that move most. Texture: mean colour change and the region where it is strongest.
    Illumination, rotation, translation: the meaning of the number and the size of its effect.

    Args:
        model: the face model.
        part: one of the six parts.

    Raises:
        ParameterError: the part is unknown.

    Source: original to this project.
    """
    check_numbers(part, {})
    if part == "expression":
        moves = _surface_moves(model, model.expression_basis)
        if not model.action_names:
            return _describe_all_moves(model, moves)
        correlations = correlate_actions(model)
        return tuple(
            "; ".join((_name_actions(model, row), _strongest_regions(model, field, 1)))
            for row, field in zip(correlations, moves, strict=True)
        )
    if part == "identity":
        return _describe_all_moves(model, _surface_moves(model, model.identity_basis))
    if part == "texture":
        return tuple(_describe_colours(model, 255 * field) for field in model.texture_basis.cpu().numpy())
    if part == "illumination":
        return _describe_lights(model)
    return _describe_rotations() if part == "rotation" else _describe_translations()


def correlate_actions(model: FaceModel) -> Float[np.ndarray, "64 A"]:
    """Compute the cosine between the movement of each expression mode and each facial action; 1 is the same movement.

        r[k, a] = D_k . D_a / (|D_k| |D_a|),  D_a = sum over k of actions_to_expression[a, k] D_k

    Args:
        model: the face model; D_k is its expression basis. An action that moves nothing gets 0.
    """
    modes = model.expression_basis.flatten(1)
    actions = model.actions_to_expression @ modes
    # the floor keeps the division finite for an action that moves nothing, such as the tongue's
    unit_modes, unit_actions = (part / part.norm(dim=1, keepdim=True).clamp_min(1e-9) for part in (modes, actions))
    return (unit_modes @ unit_actions.T).cpu().numpy()


def label_regions(model: FaceModel) -> Int[np.ndarray, " N"]:
    """Label every surface vertex with its region, a position in `REGIONS`: that of the mean face's nearest landmark.

    Vertices far from all landmarks are forehead above the landmarks of the brows, and cheeks elsewhere.

    Args:
        model: the face model.
    """
    return _surface(model)[0]


@lru_cache(maxsize=4)
def _surface(model: FaceModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute, for the mean face, region (N,), share of the area (N,), and sign of x (N,) for inwards and outwards."""
    points = (model.subdivision @ model.mean_shape).cpu()
    landmarks = (model.landmark_matrix @ model.mean_shape).cpu()
    distance, nearest = torch.cdist(points, landmarks).min(dim=1)
    region = _LANDMARK_REGION[nearest.numpy()]
    is_far = distance.numpy() > _REGION_RADIUS
    is_above = points[:, 1].numpy() > landmarks[17:27, 1].max().item()
    region = np.where(is_far, np.where(is_above, REGIONS.index("forehead"), REGIONS.index("cheeks")), region)
    triangles = model.triangles.cpu()
    corner = [points[triangles[:, i]] for i in range(3)]
    area = torch.linalg.cross(corner[1] - corner[0], corner[2] - corner[0]).norm(dim=-1)
    weight = torch.zeros(len(points)).index_add(0, triangles.reshape(-1), area.repeat_interleave(3)).numpy()
    return region, weight / weight.sum(), np.sign(points[:, 0].numpy())


def _surface_moves(model: FaceModel, basis: Float[Tensor, "K Nb 3"]) -> Float[np.ndarray, "K N 3"]:
    """Compute the displacement of the surface by each mode, mm per sigma."""
    columns = basis.transpose(0, 1).reshape(basis.shape[1], -1)
    moves = (model.subdivision @ columns).reshape(-1, len(basis), 3).transpose(0, 1)
    return MM_PER_DM * moves.cpu().numpy()


def _describe_all_moves(model: FaceModel, moves: Float[np.ndarray, "K N 3"]) -> tuple[str, ...]:
    _, weight, _ = _surface(model)
    means = np.linalg.norm(moves, axis=-1) @ weight
    return tuple(
        f"mean {mean:.2g} mm; most at {_strongest_regions(model, field, 2)}"
        for mean, field in zip(means, moves, strict=True)
    )


def _strongest_regions(model: FaceModel, field: Float[np.ndarray, "N 3"], count: int) -> str:
    """Name the regions that move most, with mean distance and, if the region moves as one, the direction."""
    region, weight, side = _surface(model)
    size = np.linalg.norm(field, axis=-1)
    means = _region_means(model, size)
    words = []
    for number in sorted(means, key=means.__getitem__, reverse=True)[:count]:
        inside = region == number
        towards = _name_direction(field[inside], side[inside], weight[inside], float(means[number]))
        words.append(f"{REGIONS[number]} {means[number]:.2g} mm{towards}")
    return ", ".join(words)


def _region_means(model: FaceModel, values: Float[np.ndarray, " N *C"]) -> dict[int, Any]:
    """Map each region that the model has to the mean of the values over its area."""
    region, weight, _ = _surface(model)
    inside = {number: region == number for number in range(len(REGIONS)) if weight[region == number].sum() > 0}
    return {number: np.average(values[own], axis=0, weights=weight[own]) for number, own in inside.items()}


def _name_direction(field: np.ndarray, side: np.ndarray, weight: np.ndarray, mean_size: float) -> str:
    """Name a direction (` down`, ` outwards`, …); empty if the parts of a region move in different directions."""
    x, y, z = np.average(field, axis=0, weights=weight)
    outwards = np.average(field[:, 0] * side, weights=weight)
    # a region on one side moves sideways and outwards at once; only the stronger word is used
    sideways = {("inwards", "outwards"): outwards} if abs(outwards) > abs(x) else {("left", "right"): x}
    ways = sideways | {("down", "up"): y, ("back", "forwards"): z}
    ordered = sorted(ways.items(), key=lambda item: -abs(item[1]))
    named = [names[int(amount > 0)] for names, amount in ordered if abs(amount) > LEAST_DIRECTION * mean_size]
    return f" {' and '.join(named[:2])}" if named else ""


def _name_actions(model: FaceModel, correlations: Float[np.ndarray, " A"]) -> str:
    """List the strongest actions, as `mouthSmile +0.64, mouthPucker −0.66`; equal left and right ones named once."""
    merged: dict[str, float] = {}
    by_name = dict(zip(model.action_names, correlations.tolist(), strict=True))
    for name, value in by_name.items():
        both = name.removesuffix("Left").removesuffix("Right")
        left, right = by_name.get(f"{both}Left"), by_name.get(f"{both}Right")
        if both in SIDEWAYS or left is None or right is None or abs(left - right) > 0.1:
            merged[name] = value
        else:
            merged[both] = (left + right) / 2
    ordered = sorted(merged, key=lambda name: -abs(merged[name]))[:ACTIONS_NAMED]
    named = [f"{name} {_signed(merged[name], 2)}" for name in ordered]
    strong = [text for name, text in zip(ordered, named, strict=True) if abs(merged[name]) >= LEAST_CORRELATION]
    return ", ".join(strong) or f"weakly {named[0]}"


def _describe_colours(model: FaceModel, field: Float[np.ndarray, "N 3"]) -> str:
    """Describe the mean change of the albedo and the region that changes most, in grey levels of 255."""
    _, weight, _ = _surface(model)
    means, sizes = _region_means(model, field), _region_means(model, np.abs(field).mean(axis=1))
    most = max(sizes, key=sizes.__getitem__)
    overall = np.average(field, axis=0, weights=weight)
    tone = f"mean {_rgb(overall)}" if np.abs(overall).max() >= LEAST_TONE else "mean colour stays"
    odd = np.sum(field * field[model.mirror.cpu().numpy()]) < -0.5 * np.sum(field * field)
    where = "opposite on left and right" if odd else _rgb(means[most])
    return f"{tone}; most at {REGIONS[most]}, ±{sizes[most]:.2g} of 255 ({where})"


def _describe_lights(model: FaceModel) -> tuple[str, ...]:
    """Describe the 27 numbers, with the range of light that +0.1 adds to the mean face seen from the front."""
    points = (model.subdivision @ model.mean_shape)[None]
    normals = model.compute_normals(points)[0]
    terms = 0.1 * compute_harmonics(normals[normals[:, 2] > 0]).cpu().numpy()
    lines = []
    for colour in COLOURS:
        for (_, meaning), values in zip(HARMONICS, terms.T, strict=True):
            low, high = (_signed(float(value), 2) for value in (values.min(), values.max()))
            span = low if low == high else f"{low} to {high}"
            lines.append(f"+ {meaning}; +0.1 adds {span} of {colour} light")
    return tuple(lines)


def _describe_rotations() -> tuple[str, ...]:
    degrees = np.degrees(0.1)
    return tuple(f"{meaning}; 0.1 rad is {degrees:.1f}°" for _, meaning in ROTATIONS)


def _describe_translations() -> tuple[str, ...]:
    share = 100 * camera.FOCAL * 0.1 / camera.DISTANCE
    growth = 100 * (camera.DISTANCE / (camera.DISTANCE - 0.1) - 1)
    shift = f"0.1 dm is 1 cm, {share:.1f} % of the crop's side"
    growing = f"+ towards the camera, − away; 0.1 dm is 1 cm, enlarges by {growth:.1f} %"
    return f"+ right in the picture, − left; {shift}", f"+ up, − down; {shift}", growing


def _rgb(colour: Float[np.ndarray, "3"]) -> str:
    return " ".join(f"{name} {_signed(float(value), 1)}" for name, value in zip("RGB", colour, strict=True))


def _signed(value: float, decimals: int) -> str:
    """Format with a sign and a true minus; values that round to zero are `+0.0`."""
    rounded = round(value, decimals) + 0.0
    return f"{rounded:+.{decimals}f}".replace("-", "−")
