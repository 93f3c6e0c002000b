"""The linear face model and the 257 coefficients that drive it.

    vertices = S (mean + identity . B_identity + expression . B_expression)
    texture  = mean_texture + texture . B_texture

S is the subdivision from control vertices to the surface. All coefficients are in units of one standard deviation of
their mode; expression 0 is the neutral face with closed lips. The paper, AudioDVP and Deep3DFaceRecon denote the same
coefficients by different letters:

    ours          size  MetaTalk  AudioDVP  Deep3D
    identity        80  beta      alpha     id
    expression      64  alpha     delta     exp
    texture         80  gamma     beta      tex
    illumination    27  delta     gamma     gamma
    rotation         3  R         R         angle
    translation      3  T         T         trans
"""

import warnings
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metatalk_lib.core import artifacts
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.paths import cache_dir
from metatalk_lib.face3d import anny_data
from metatalk_lib.face3d.anny_data import ACTION_NAMES


class FaceModel(torch.nn.Module):
    """The linear face model with its bases as buffers.

    Attributes:
        mean_shape: (Nb, 3) control vertices, decimetres, model space.
        identity_basis: (80, Nb, 3); expression_basis: (64, Nb, 3) decimetres per sigma, control vertices.
        subdivision: (N, Nb) sparse CSR, control vertices to surface.
        mean_texture: (N, 3) RGB in [0, 1]; texture_basis: (80, N, 3).
        triangles: (F, 3) surface vertex ids, counter-clockwise seen from outside.
        landmark_matrix: (68, Nb) dense copy of the sparse rows.
        lower_face: (F,) whether a triangle belongs to the face below the middle of the nose.
        mouth_interior_triangles: (M, 3) plug that closes the mouth's hole.
        actions_to_expression: (A, 64), expression = actions @ actions_to_expression.
        open_mouth: (64,) expression with the jaw wide open and everything else neutral.
        base_mirror: (Nb,), mirror: (N,) each vertex's partner on the other side of the face, the nearest vertex if the
            model is not symmetric.
        base_ids: (Nb,) ids of the control vertices in the data that the model was built from.
        published_centre: (3,) vector subtracted from the published mean shape, decimetres; empty (0,) for a model that
            is published nowhere else.
        published_normals_sign: -1 if the normals of the published code point inwards, else 1.
        action_names: names of the A facial actions: 52, or none for a model without actions (`bfm09`).

    Args:
        arrays: arrays as built by `open_face_model` and `bfm09`; `open_mouth` may be omitted if there is the action
            `jawOpen`, `published_centre` and `published_normals_sign` if they do not apply.
        action_names: names of the actions, in the order of the rows of `actions_to_expression`.
        name: name of the model for `load_face_model`.

    Raises:
        ParameterError: names and rows of the actions differ in number, or the opening of the mouth is not defined.
    """

    mean_shape: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    subdivision: Tensor
    mean_texture: Tensor
    texture_basis: Tensor
    triangles: Tensor
    landmark_matrix: Tensor
    lower_face: Tensor
    mouth_interior_triangles: Tensor
    actions_to_expression: Tensor
    open_mouth: Tensor
    base_mirror: Tensor
    mirror: Tensor
    base_ids: Tensor
    published_centre: Tensor
    _landmark_columns: Tensor

    def __init__(
        self, arrays: dict[str, np.ndarray], action_names: tuple[str, ...] = ACTION_NAMES, name: str = "open"
    ) -> None:
        super().__init__()
        self.name = name
        rows = arrays["actions_to_expression"]
        if len(rows) != len(action_names):
            raise ParameterError(f"{len(action_names)} names for {len(rows)} facial actions. Give one name a row.")
        if "open_mouth" not in arrays and "jawOpen" not in action_names:
            raise ParameterError("a face model without the action jawOpen needs `open_mouth` among its arrays.")
        self.action_names = action_names
        opened = arrays["open_mouth"] if "open_mouth" in arrays else rows[action_names.index("jawOpen")]
        self._add("open_mouth", opened.astype(np.float32))
        self._add("published_centre", arrays.get("published_centre", np.zeros(0)).astype(np.float32))
        self.published_normals_sign = int(arrays.get("published_normals_sign", 1))
        for name in ("mean_shape", "identity_basis", "expression_basis", "mean_texture", "texture_basis"):
            self._add(name, arrays[name].astype(np.float32))
        for name in ("triangles", "mouth_interior_triangles", "base_mirror", "mirror", "base_ids"):
            self._add(name, arrays[name].astype(np.int64))
        self._add("lower_face", arrays["lower_face"].astype(bool))
        self._add("actions_to_expression", arrays["actions_to_expression"].astype(np.float32))
        landmarks = _unpack_sparse(arrays, "landmark_matrix").to_dense()
        self.register_buffer("landmark_matrix", landmarks, persistent=False)
        # a landmark depends on few vertices, and the product with all of them costs seconds where there are many
        self.register_buffer("_landmark_columns", landmarks.any(dim=0).nonzero()[:, 0], persistent=False)
        self.register_buffer("subdivision", _unpack_sparse(arrays, "subdivision"), persistent=False)

    def _add(self, name: str, array: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array)), persistent=False)

    @property
    def vertex_count(self) -> int:
        """Number of surface vertices, N."""
        return self.subdivision.shape[0]

    def compute_base(
        self, identity: Float[Tensor, "B 80"], expression: Float[Tensor, "B 64"]
    ) -> Float[Tensor, "B Nb 3"]:
        """Compute the control vertices: mean + identity . B_identity + expression . B_expression."""
        moved = identity @ self.identity_basis.flatten(1) + expression @ self.expression_basis.flatten(1)
        return self.mean_shape + moved.reshape(len(identity), -1, 3)

    def compute_vertices(
        self, identity: Float[Tensor, "B 80"], expression: Float[Tensor, "B 64"]
    ) -> Float[Tensor, "B N 3"]:
        """Compute the surface in model space, decimetres. Differentiable in both arguments."""
        base = self.compute_base(identity, expression)
        columns = base.transpose(0, 1).reshape(base.shape[1], -1)
        return (self.subdivision @ columns).reshape(-1, len(base), 3).transpose(0, 1)

    def compute_landmarks(
        self, identity: Float[Tensor, "B 80"], expression: Float[Tensor, "B 64"]
    ) -> Float[Tensor, "B 68 3"]:
        """Compute the 68 landmarks in model space, decimetres, without computing the surface."""
        mean, identity_rows, expression_rows = self._landmark_tensors()
        moved = identity @ identity_rows.flatten(1) + expression @ expression_rows.flatten(1)
        return mean + moved.reshape(len(identity), -1, 3)

    def _landmark_tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        rows, used = self.landmark_matrix[:, self._landmark_columns], self._landmark_columns
        parts = (self.mean_shape, self.identity_basis, self.expression_basis)
        mean, identity_rows, expression_rows = (rows @ part[..., used, :] for part in parts)
        return mean, identity_rows, expression_rows

    def landmark_bases(
        self,
    ) -> tuple[Float[np.ndarray, "68 3"], Float[np.ndarray, "80 68 3"], Float[np.ndarray, "64 68 3"]]:
        """Return mean, identity modes and expression modes of the 68 landmarks, decimetres (per sigma)."""
        mean, identity_rows, expression_rows = (part.cpu().numpy() for part in self._landmark_tensors())
        return mean, identity_rows, expression_rows

    def compute_texture(self, texture: Float[Tensor, "B 80"]) -> Float[Tensor, "B N 3"]:
        """Compute the albedo of every surface vertex, RGB clamped to [0, 1]."""
        moved = (texture @ self.texture_basis.flatten(1)).reshape(len(texture), -1, 3)
        return (self.mean_texture + moved).clamp(0, 1)

    def compute_normals(self, vertices: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Compute unit normals pointing outwards: the area-weighted sum of the neighbouring triangles' normals."""
        corner = [vertices[:, self.triangles[:, i]] for i in range(3)]
        face = torch.cross(corner[1] - corner[0], corner[2] - corner[0], dim=-1)
        total = torch.zeros_like(vertices)
        for i in range(3):
            total = total.index_add(1, self.triangles[:, i], face)
        # a vertex without triangles has no normal; the floor keeps its division finite
        return total / total.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _unpack_sparse(arrays: dict[str, np.ndarray], name: str) -> Tensor:
    with warnings.catch_warnings():
        # torch announces once a process that its CSR tensors are new; only their product with a matrix is used here
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(arrays[f"{name}_indptr"].astype(np.int64)),
            torch.from_numpy(arrays[f"{name}_indices"].astype(np.int64)),
            torch.from_numpy(arrays[f"{name}_data"].astype(np.float32)),
            size=tuple(arrays[f"{name}_shape"].tolist()),
            check_invariants=False,
        )


@lru_cache(maxsize=2)
def load_face_model(name: str = "open") -> FaceModel:
    """Load a face model; it is built on first use (tens of seconds), then read from the cache folder.

    Args:
        name: `open`, the model made from the CC0 head data; or `bfm09`, the Basel Face Model 2009, made from files
            placed by hand.

    Raises:
        ParameterError: there is no such model.
        DataError: the head data or a file of `bfm09` is missing or wrong, or the cache folder cannot be written.
    """
    if name == "bfm09":
        from metatalk_lib.face3d import bfm09

        return FaceModel(bfm09.load_bfm09_arrays(), action_names=(), name=name)
    if name != "open":
        raise ParameterError(f"there is no face model {name!r}. There are 'open' and 'bfm09'.")
    from metatalk_lib.face3d import open_model

    version = f"{open_model.OPEN_BUILD_VERSION}_anny{anny_data.package_version()}"
    path = cache_dir() / f"face_model_open_v{version}.npz"
    if not path.exists():
        artifacts.save_arrays(path, **open_model.build_open_face_model())
    return FaceModel(artifacts.load_arrays(path))
