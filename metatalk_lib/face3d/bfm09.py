"""The Basel Face Model 2009 with the expressions of Guo et al., converted to the form that `FaceModel` expects.

    shape   = (shapeMU + identity . (shapePC shapeEV) + expression . (Exp_Pca std_exp)) / 1e5    decimetres
    texture = (texMU + texture . (texPC texEV)) / 255                                           RGB in [0, 1]

Six files are placed by hand (`FILES`). The model covers the whole head with 53490 vertices; the expressions cover 53215
of them, the face crop 35709. With i = `idx` - 1 of `BFM_front_idx.mat` and j = `trimIndex` - 1 of `BFM_exp_idx.mat`, a
vertex of the crop takes its expression from row i, its shape and texture from row j[i]. The first 80, 64 and 80 modes
are kept, and the mean shape is shifted so that the mean of its vertices is the origin.

The converted arrays contain licensed data: they stay in the cache folder and must never enter a repository.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from metatalk_lib.core import artifacts
from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import cache_dir
from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES

# Increased whenever the arrays change for equal files, so that old cache files are not read.
BFM09_BUILD_VERSION = 1
# Names of the six files in the table of assets.
FILES = ("bfm09", "exp_pca", "exp_std", "bfm_front_idx", "bfm_exp_idx", "facemodel_info")
# The files are in micrometres: 1e5 of their units are a decimetre.
UNITS_PER_DM = 1e5
# AudioDVP's widest mouth: expression coefficient 0 at -8 standard deviations, all others 0 (models/networks.py).
OPEN_MOUTH_SIGMA = -8.0
OUTER_LIPS = slice(48, 60)
# A hole belongs to the mouth if it lies in the outer lips' box widened by this fraction of the box's width.
_MOUTH_MARGIN = 0.1
_FOREIGN_STARTS = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself"),
    (b"\x89HDF", "it is an HDF5 file, the form of BFM 2017 and 2019; the published file is MATLAB 5"),
    (b"MATLAB 7.3", "it was saved anew as MATLAB 7.3; the published file is MATLAB 5"),
    (b"<", "it is a web page or another text"),
)


@dataclass(frozen=True)
class Layout:
    """Array sizes that the files must have; the defaults are those of the published files.

    Attributes:
        full_vertices: vertices of the whole head in `01_MorphableModel.mat`.
        trimmed_vertices: vertices of the expression modes in `Exp_Pca.bin`.
        front_vertices: vertices of the face crop, which are those of the resulting model.
        triangles: triangles of the face crop.
        shape_modes: modes of shape and of texture in `01_MorphableModel.mat`; at least 80.
        expression_modes: modes in `Exp_Pca.bin` and `std_exp.txt`; at least 64.
    """

    full_vertices: int = 53490
    trimmed_vertices: int = 53215
    front_vertices: int = 35709
    triangles: int = 70789
    shape_modes: int = 199
    expression_modes: int = 79


PUBLISHED = Layout()


# -------------------------------------------------------------------------------------------------------------- files


def locate_files() -> dict[str, Path]:
    """Return the paths of the six files by asset name, with their known checksums verified.

    Raises:
        DataError: files are missing, or a file is not the published one.
    """
    assets = [find_asset(name) for name in FILES]
    missing = [asset for asset in assets if not asset.is_present]
    if missing:
        listed = "; ".join(f"{a.places[0].name} from {a.source} (licence: {a.licence})" for a in missing)
        raise DataError(
            f"the face model bfm09 needs {len(missing)} more file{'s' * (len(missing) > 1)}: {listed}. "
            f"Place them in {missing[0].places[0].parent}, or use the face model `open`, which needs none."
        )
    return {name: require_file(name) for name in FILES}


def _wrong_file(name: str, path: Path, problem: str) -> DataError:
    asset = find_asset(name)
    return DataError(
        f"{path}: {problem}. It is not the file that {asset.source} publishes; fetch it again "
        f"(licence: {asset.licence})."
    )


def _refuse_foreign(name: str, path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(64)
    for signature, problem in _FOREIGN_STARTS:
        if start.startswith(signature):
            raise _wrong_file(name, path, problem)


def _load_matlab(name: str, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Load numeric arrays of a MATLAB file; a row or column of the right length is accepted as a vector."""
    _refuse_foreign(name, path)
    try:
        content = loadmat(path, variable_names=list(shapes))
    except (OSError, ValueError, TypeError, NotImplementedError, EOFError, zlib.error, MatReadError) as error:
        raise _wrong_file(name, path, f"it cannot be read as a MATLAB 5 file ({error})") from error
    arrays = {}
    for key, shape in shapes.items():
        if key not in content:
            raise _wrong_file(name, path, f"it has no `{key}`")
        array = content[key]
        fits = max(array.shape) == array.size == shape[0] if len(shape) == 1 else array.shape == shape
        if not fits or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise _wrong_file(
                name, path, f"`{key}` is {array.dtype} of shape {array.shape}, expected finite numbers of shape {shape}"
            )
        arrays[key] = array.reshape(shape)
    return arrays


def _to_ids(name: str, path: Path, key: str, numbers: np.ndarray, count: int) -> np.ndarray:
    """Convert 1-based numbers to 0-based ids."""
    ids = numbers.astype(np.int64)
    if np.any(ids != numbers) or ids.min() < 1 or ids.max() > count:
        raise _wrong_file(
            name, path, f"`{key}` runs from {numbers.min()} to {numbers.max()}, expected whole numbers 1 to {count}"
        )
    return ids - 1


def load_expression_modes(
    modes_path: Path, deviations_path: Path, layout: Layout = PUBLISHED
) -> Float[np.ndarray, "64 V 3"]:
    """Load the first 64 expression modes of the trimmed head, in file units per standard deviation.

    `Exp_Pca.bin` is little-endian: an int32 number of modes, a float32 mean (not used), then the modes as float32 rows.

    Raises:
        DataError: a file has a wrong size, a wrong number of modes, or values that are not numbers.
    """
    _refuse_foreign("exp_pca", modes_path)
    row = 3 * layout.trimmed_vertices
    expected = 4 + 4 * row * (1 + layout.expression_modes)
    size = modes_path.stat().st_size
    if size != expected:
        raise _wrong_file("exp_pca", modes_path, f"{size} bytes, expected {expected}")
    count = int(np.fromfile(modes_path, dtype="<i4", count=1)[0])
    if count != layout.expression_modes:
        raise _wrong_file("exp_pca", modes_path, f"{count} modes, expected {layout.expression_modes}")
    kept = COEFFICIENT_SIZES["expression"]
    modes = np.fromfile(modes_path, dtype="<f4", count=kept * row, offset=4 + 4 * row)
    if not np.isfinite(modes).all():
        raise _wrong_file("exp_pca", modes_path, "it holds values that are not finite")
    _refuse_foreign("exp_std", deviations_path)
    try:
        deviations = np.loadtxt(deviations_path, ndmin=1).ravel()
    except (ValueError, OSError) as error:
        raise _wrong_file("exp_std", deviations_path, f"it cannot be read as numbers ({error})") from error
    if len(deviations) != count or not np.all(deviations > 0):
        raise _wrong_file(
            "exp_std",
            deviations_path,
            f"{len(deviations)} numbers, the smallest {min(deviations, default=0)}, expected {count} above 0",
        )
    return (modes.reshape(kept, -1) * deviations[:kept, None]).reshape(kept, layout.trimmed_vertices, 3)


# ----------------------------------------------------------------------------------------------------------- topology


def _turn_outwards(mean: Float[np.ndarray, "N 3"], triangles: Int[np.ndarray, "F 3"]) -> tuple[np.ndarray, int]:
    """Orient the triangles counter-clockwise as seen from outside; return 1 if they were published so, else -1.

    The face looks towards +z, so the sum of the triangle normals must point there.
    """
    corner = mean[triangles]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]).sum(axis=0)
    return (triangles, 1) if normal[2] > 0 else (np.ascontiguousarray(triangles[:, ::-1]), -1)


def fill_mouth(
    surface: Float[np.ndarray, "N 3"], triangles: Int[np.ndarray, "F 3"], lips: Float[np.ndarray, "12 3"]
) -> Int[np.ndarray, "M 3"]:
    """Build triangles that close every hole between the lips, as a fan from the hole's corner on the subject's right.

    Args:
        surface: mean shape.
        triangles: triangles, counter-clockwise as seen from outside.
        lips: landmarks of the outer lips; a hole belongs to the mouth if it lies within their box.

    Returns:
        Triangles facing outwards; none if the surface is closed between the lips.

    Source: original to this project.
    """
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    count = len(surface)
    forward, backward = edges @ (count, 1), edges @ (1, count)
    border = edges[~np.isin(forward, backward)]
    graph = sparse.coo_matrix((np.ones(len(border)), border.T), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    margin = _MOUTH_MARGIN * np.ptp(lips[:, 0])
    low, high = lips[:, :2].min(axis=0) - margin, lips[:, :2].max(axis=0) + margin
    plug = [np.zeros((0, 3), dtype=np.int64)]
    for hole in np.unique(label[border]):
        rim = border[label[border[:, 0]] == hole]
        points = surface[rim[:, 0], :2]
        if np.all((points > low) & (points < high)):
            apex = rim[points[:, 0].argmin(), 0]
            away = rim[(rim != apex).all(axis=1)]
            plug.append(np.stack((np.full(len(away), apex), away[:, 1], away[:, 0]), axis=1))
    return np.concatenate(plug)


def _check_landmarks(path: Path, landmarks: Float[np.ndarray, "68 3"]) -> None:
    x, y, z = landmarks.T
    if not (x[0] < x[30] < x[16] and y[8] < y[30] < y[27] and z[30] > max(z[0], z[16])):
        raise _wrong_file("facemodel_info", path, "`keypoints` do not mark a face that looks towards +z")


# ----------------------------------------------------------------------------------------------------------- assembly


def build_bfm09_model(files: Mapping[str, Path], layout: Layout = PUBLISHED) -> dict[str, np.ndarray]:
    """Build all arrays of the face model, ready for `FaceModel` and for storing.

    Args:
        files: paths of the six files, keyed by the names in `FILES`.
        layout: array sizes that the files must have.

    Returns:
        float32 and integer arrays. There is no subdivision (identity matrix) and there are no facial actions. In
        addition to the arrays of every model: `open_mouth`; `published_centre`, the mean of the published mean shape's
        vertices (dm), which was subtracted; `published_normals_sign`, -1 if the published triangles are clockwise seen
        from outside, which makes the normals of the published code point inwards.

    Raises:
        DataError: a file is not the published one.

    Source: sicxu/Deep3DFaceRecon_pytorch@9167c71 util/load_mats.py, models/bfm.py (MIT), and for the lower face and the
    open mouth xinwen-cs/AudioDVP@54aafc9 renderer/build_data.py, models/networks.py (BSD); the code is original.
    """
    expression_rows, shape_rows = _load_rows(files, layout)
    info, info_path = _load_info(files, layout), files["facemodel_info"]
    shape, texture = _load_head(files["bfm09"], layout, shape_rows)
    centre = shape[0].mean(axis=0)
    mean = shape[0] - centre
    expression = load_expression_modes(files["exp_pca"], files["exp_std"], layout)[:, expression_rows] / UNITS_PER_DM
    _check_landmarks(info_path, mean[info["keypoints"]])
    triangles, normals_sign = _turn_outwards(mean, info["tri"])
    open_mouth = np.zeros(COEFFICIENT_SIZES["expression"])
    open_mouth[0] = OPEN_MOUTH_SIGMA
    mirror = cKDTree(mean).query(mean * (-1.0, 1.0, 1.0))[1]
    count = layout.front_vertices
    arrays = {
        "mean_shape": mean,
        "identity_basis": shape[1:],
        "expression_basis": expression,
        "mean_texture": texture[0],
        "texture_basis": texture[1:],
        "triangles": triangles,
        "mouth_interior_triangles": fill_mouth(mean, triangles, mean[info["keypoints"]][OUTER_LIPS]),
        "lower_face": (mean[triangles, 1] < 0).any(axis=1),
        "base_mirror": mirror,
        "mirror": mirror,
        "base_ids": shape_rows,
        "actions_to_expression": np.zeros((0, COEFFICIENT_SIZES["expression"])),
        "open_mouth": open_mouth,
        "published_centre": centre,
        "published_normals_sign": np.array(normals_sign),
        **_pick_rows("subdivision", np.arange(count), count),
        **_pick_rows("landmark_matrix", info["keypoints"], count),
    }
    return {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in arrays.items()}


def load_bfm09_arrays() -> dict[str, np.ndarray]:
    """Load the converted arrays, from the cache folder if the same six files were converted before.

    Raises:
        DataError: files are missing or wrong, or the cache folder cannot be written.
    """
    files = locate_files()
    checksums = "".join(artifacts.sha256_file(path) for path in files.values())
    key = hashlib.sha256(checksums.encode()).hexdigest()[:16]
    path = cache_dir() / f"face_model_bfm09_v{BFM09_BUILD_VERSION}_{key}.npz"
    if not path.exists():
        artifacts.save_arrays(path, **build_bfm09_model(files, PUBLISHED))
    return artifacts.load_arrays(path)


def _load_rows(files: Mapping[str, Path], layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return, for every vertex of the crop, its row in the expression modes and its row in the whole head."""
    front, trimmed = files["bfm_front_idx"], files["bfm_exp_idx"]
    idx = _load_matlab("bfm_front_idx", front, {"idx": (layout.front_vertices,)})["idx"]
    trim = _load_matlab("bfm_exp_idx", trimmed, {"trimIndex": (layout.trimmed_vertices,)})["trimIndex"]
    expression_rows = _to_ids("bfm_front_idx", front, "idx", idx, layout.trimmed_vertices)
    return expression_rows, _to_ids("bfm_exp_idx", trimmed, "trimIndex", trim, layout.full_vertices)[expression_rows]


def _load_info(files: Mapping[str, Path], layout: Layout) -> dict[str, np.ndarray]:
    """Load the triangles and landmarks of the crop, as 0-based ids."""
    path = files["facemodel_info"]
    content = _load_matlab("facemodel_info", path, {"tri": (layout.triangles, 3), "keypoints": (68,)})
    return {
        key: _to_ids("facemodel_info", path, key, numbers, layout.front_vertices) for key, numbers in content.items()
    }


def _load_head(path: Path, layout: Layout, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Load shape (81, N, 3) in decimetres and texture (81, N, 3) in [0, 1] of the crop: the mean, then the 80 modes."""
    values, modes = 3 * layout.full_vertices, layout.shape_modes
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("shape", "tex"):
        shapes |= {f"{part}MU": (values,), f"{part}PC": (values, modes), f"{part}EV": (modes,)}
    head = _load_matlab("bfm09", path, shapes)

    def scaled(part: str, keep: int, unit: float) -> np.ndarray:
        field = head[f"{part}PC"].reshape(-1, 3, modes)[rows, :, :keep] * head[f"{part}EV"][:keep].astype(np.float64)
        mean = head[f"{part}MU"].reshape(-1, 3)[rows].astype(np.float64)
        return np.concatenate((mean[None], np.moveaxis(field, 2, 0))) / unit

    return scaled("shape", COEFFICIENT_SIZES["identity"], UNITS_PER_DM), scaled(
        "tex", COEFFICIENT_SIZES["texture"], 255.0
    )


def _pick_rows(name: str, columns: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Build a sparse matrix that selects vertices, in the form that `FaceModel` unpacks."""
    return {
        f"{name}_data": np.ones(len(columns)),
        f"{name}_indices": columns,
        f"{name}_indptr": np.arange(len(columns) + 1),
        f"{name}_shape": np.array((len(columns), count)),
    }
