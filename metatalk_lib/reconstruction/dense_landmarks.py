"""Dense landmarks of the face on a picture, each with its uncertainty, by the open face regressor.

The network receives two views that are cut out of the picture by 68 coarse landmarks, both upright and of one scale:
the whole face, and the mouth at twice the resolution. Its points lie on the surface of the open face model, so that the
model can be fitted to them directly.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy import sparse
from scipy.sparse import csr_matrix
from skimage.measure import points_in_poly

from metatalk_lib.core.checkpoints import load_weights
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.networks.dense_landmark_net import VIEW_PX, DenseLandmarkNet
from metatalk_lib.reconstruction.surface_points import SurfacePoints, surface_operator
from metatalk_lib.tracking.landmarks import MOUTH

WEIGHTS_PATH = PACKAGE_DATA_DIR / "face_regressor_open.safetensors"
FACE_SIDE_DM, MOUTH_SIDE_DM = 2.1, 0.95  # sides of the views on the mean face
FACE_CENTRE = 28  # landmark on the bridge of the nose above the centre of the face view
FACE_DROP_DM = 0.25  # distance of the centre below that landmark
ALIGNED = slice(17, 68)  # landmarks that determine rotation, scale and position of the views: all but the jaw
OUTER_LIP = slice(48, 60)
SURFACE_POINTS, MOUTH_SURFACE_POINTS = 120, 60
LIP_MARGIN = 1.25  # the mouth's points extend to this multiple of the lips
INDEPENDENT = 80.0
"""Number of independent points that all points count as: the errors of neighbours are correlated."""
SMALLEST_DOUBT = 0.004
"""Lower limit of a point's doubt in a fit, as a fraction of the outer-eye distance."""
FAMILIAR_DOUBT = 0.005
"""Doubt about the lips, in outer-eye distances, that the regressor has at most on rendered people it never saw."""
_BATCH = 32
REMEDY = "Install the project again, or make it with training/train_face_regressor.py."


class PointSet(NamedTuple):
    """Points on the surface of the face model, those of the face view first.

    Attributes:
        matrix: (K, Nb) sparse: points = matrix @ control vertices.
        mirror: (K,) position of each point's mirror partner.
        face_count: number of points in the face view; the others belong to the mouth view.
        landmark: (68,) positions of the landmarks among the points.
    """

    matrix: csr_matrix
    mirror: Int[np.ndarray, " K"]
    face_count: int
    landmark: Int[np.ndarray, "68"]


class DenseLandmarks(NamedTuple):
    """Dense landmarks on T pictures.

    Attributes:
        points: (T, K, 2) positions, px of the picture.
        doubt_px: (T, K) standard deviation of each coordinate, px.
    """

    points: Float[np.ndarray, "T K 2"]
    doubt_px: Float[np.ndarray, "T K"]


def weigh_predicted(model: FaceModel, dense: DenseLandmarks, eye_px: float) -> SurfacePoints:
    """Turn the regressor's points into weighted observations; a point's weight is 1 over its doubt.

    Args:
        model: the open face model.
        dense: points and doubts, px of the crop.
        eye_px: outer-eye distance, px of the crop.
    """
    share = np.sqrt(min(INDEPENDENT / dense.points.shape[1], 1.0))
    doubt = np.maximum(dense.doubt_px, SMALLEST_DOUBT * eye_px)
    weights = (share / doubt)[..., None, None] * np.eye(2)
    return SurfacePoints(dense.points.astype(np.float64), weights.astype(np.float64), choose_points(model).matrix)


def measure_familiarity(model: FaceModel, dense: DenseLandmarks, eye_px: float) -> float:
    """Measure how much a face is like those that the regressor was trained on, by its own doubt about the lips.

        familiarity = min(1, (FAMILIAR_DOUBT / median doubt of the lip landmarks)^30)

    Args:
        model: the open face model.
        dense: points and doubts, px of the crop.
        eye_px: outer-eye distance, px of the crop.

    Returns:
        About 1 for rendered people; near 0 for most filmed ones.

    Source: original to this project.
    """
    lips = choose_points(model).landmark[MOUTH]
    doubt = float(np.median(dense.doubt_px[:, lips])) / eye_px
    return min(1.0, (FAMILIAR_DOUBT / doubt) ** 30)


class FaceViews(NamedTuple):
    """The two views of a picture and the maps from their half sides to its pixels, (2, 3) each."""

    face: UInt8[np.ndarray, "128 128 3"]
    mouth: UInt8[np.ndarray, "128 128 3"]
    face_to_picture: Float[np.ndarray, "2 3"]
    mouth_to_picture: Float[np.ndarray, "2 3"]


@lru_cache(maxsize=2)
def choose_points(model: FaceModel) -> PointSet:
    """Choose 68 landmarks, 60 further points on and around the lips, and 120 on the rest of the face; mirror-symmetric.

    The further points are spread by farthest-point sampling of the surface vertices.

    Args:
        model: the open face model.
    """
    surface = (model.subdivision @ model.mean_shape).numpy()
    landmarks = model.landmark_matrix.numpy()
    mirror = model.mirror.numpy()
    places = landmarks @ model.mean_shape.numpy()
    outer = places[OUTER_LIP, :2]
    near_lips = points_in_poly(surface[:, :2], outer.mean(0) + LIP_MARGIN * (outer - outer.mean(0)))
    near_lips &= surface[:, 2] > places[MOUTH, 2].min() - 0.05
    lips = _spread(surface, mirror, near_lips, places[MOUTH], MOUTH_SURFACE_POINTS)
    rest = _spread(surface, mirror, ~near_lips, places, SURFACE_POINTS)
    operator = surface_operator(model)
    dense = csr_matrix(landmarks)
    matrix = sparse.vstack([dense[:48], operator[rest], dense[48:], operator[lips]]).tocsr()
    landmark = np.concatenate([np.arange(48), 48 + len(rest) + np.arange(20)])
    return PointSet(matrix, _mirror_of(matrix @ model.mean_shape.numpy()), 48 + len(rest), landmark)


def cut_views(
    image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"], template: Float[np.ndarray, "68 2"]
) -> FaceViews:
    """Cut both views out of a picture, upright and of equal scale.

    Args:
        image: RGB picture.
        landmarks: landmarks, px of the picture; approximate positions suffice.
        template: template from `mean_template`.
    """
    turn, scale = align_to_template(landmarks, template)
    offset = template[FACE_CENTRE] + (0.0, FACE_DROP_DM)
    reference = landmarks[ALIGNED].mean(0) - scale * turn @ template[ALIGNED].mean(0)
    face_map = _view_map(scale * turn @ offset + reference, turn, scale * FACE_SIDE_DM / 2)
    mouth_map = _view_map(landmarks[MOUTH].mean(0), turn, scale * MOUTH_SIDE_DM / 2)
    return FaceViews(warp_view(image, face_map, VIEW_PX), warp_view(image, mouth_map, VIEW_PX), face_map, mouth_map)


def align_to_template(
    landmarks: Float[np.ndarray, "68 2"], template: Float[np.ndarray, "68 2"]
) -> tuple[Float[np.ndarray, "2 2"], float]:
    """Compute rotation and scale (px per dm) of the similarity that maps the template's inner points to the landmarks.

    Source: S. Umeyama, IEEE PAMI 13, 1991, in two dimensions.
    """
    a = template[ALIGNED] - template[ALIGNED].mean(0)
    b = landmarks[ALIGNED] - landmarks[ALIGNED].mean(0)
    cosine, sine = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    length = float(np.hypot(cosine, sine))
    turn = np.array([[cosine, -sine], [sine, cosine]]) / length
    return turn, length / float((a * a).sum())


def mean_template(model: FaceModel) -> Float[np.ndarray, "68 2"]:
    """Return the mean face's landmarks seen from the front, dm, y down."""
    return (model.landmark_matrix @ model.mean_shape).numpy()[:, :2].astype(np.float64) * (1.0, -1.0)


def _view_map(centre: np.ndarray, turn: np.ndarray, half_side: float) -> Float[np.ndarray, "2 3"]:
    return np.concatenate([half_side * turn, np.asarray(centre)[:, None]], axis=1)


def warp_view(image: np.ndarray, to_picture: Float[np.ndarray, "2 3"], size: int) -> np.ndarray:
    """Draw the view whose half sides `to_picture` maps to pixels, with `size` pixels per side.

    Pixel i of the view lies at half sides (i + 0.5) 2 / size - 1. A view coarser than the picture averages over its
    pixels, so that fine grain does not alias into noise.
    """
    step = np.array([[2 / size, 0, 1 / size - 1], [0, 2 / size, 1 / size - 1], [0, 0, 1]])
    matrix = np.concatenate([to_picture, [[0, 0, 1]]]) @ step
    shrink = float(np.hypot(*matrix[:2, 0]))
    if shrink > 1.5:
        fine = warp_view(image, to_picture, size * round(shrink))
        return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix[:2], (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _spread(
    surface: np.ndarray, mirror: np.ndarray, allowed: np.ndarray, taken: np.ndarray, count: int
) -> Int[np.ndarray, " P"]:
    """Choose about `count` allowed vertices with their mirror partners, far from one another and from `taken`."""
    distance = np.full(len(surface), np.inf)
    for point in taken:
        distance = np.minimum(distance, np.linalg.norm(surface - point, axis=1))
    distance[~allowed | ~allowed[mirror]] = -1
    chosen: list[int] = []
    while len(chosen) < count:
        found = int(distance.argmax())
        for vertex in {found, int(mirror[found])}:
            chosen.append(vertex)
            near = np.linalg.norm(surface - surface[vertex], axis=1)
            distance = np.where(distance < 0, distance, np.minimum(distance, near))
    return np.array(chosen)


def _mirror_of(places: Float[np.ndarray, "K 3"]) -> Int[np.ndarray, " K"]:
    apart = np.linalg.norm(places[:, None] * (-1.0, 1.0, 1.0) - places[None], axis=-1)
    return apart.argmin(axis=1)


@lru_cache(maxsize=1)
def load_regressor(path: Path = WEIGHTS_PATH) -> DenseLandmarkNet:
    """Load the shipped network, in evaluation mode.

    Raises:
        DataError: the file is missing or has other keys or shapes.
    """
    weights = load_weights(path, REMEDY)
    if not {"face_points", "mouth_points"} <= set(weights):
        raise DataError(f"{path} holds no face regressor. {REMEDY}")
    face_points, mouth_points = (int(weights.pop(name)) for name in ("face_points", "mouth_points"))
    weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    network = DenseLandmarkNet(face_points, mouth_points)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} does not fit the face regressor: {reason}. {REMEDY}") from error
    channels_last = torch.channels_last
    return network.eval().to(memory_format=channels_last)  # type: ignore[call-overload]  # absent from torch's types


def to_input(views: Iterable[UInt8[np.ndarray, "S S 3"]]) -> Float[torch.Tensor, "B 3 S S"]:
    """Convert pictures to the network's input: RGB in [-1, 1]."""
    batch = torch.from_numpy(np.stack(list(views))).permute(0, 3, 1, 2)
    return batch.to(torch.float32).mul_(2 / 255).sub_(1).contiguous(memory_format=torch.channels_last)


def predict_points(
    network: DenseLandmarkNet,
    model: FaceModel,
    frames: Iterable[UInt8[np.ndarray, "S S 3"]],
    landmarks: Float[np.ndarray, "T 68 2"],
) -> DenseLandmarks:
    """Predict the dense landmarks of every frame of a video, streamed.

    Args:
        network: network from `load_regressor`.
        model: the open face model, which places the views.
        frames: RGB images, one for each row of landmarks.
        landmarks: coarse landmarks, px of the frames.

    Raises:
        ParameterError: the numbers of frames and of rows of landmarks differ.
    """
    template = mean_template(model)
    points: list[np.ndarray] = []
    doubts: list[np.ndarray] = []
    waiting: list[FaceViews] = []
    count = 0
    for frame in frames:
        if count < len(landmarks):
            waiting.append(cut_views(frame, landmarks[count].astype(np.float64), template))
        count += 1
        if len(waiting) == _BATCH:
            _predict(network, waiting, points, doubts)
    if waiting:
        _predict(network, waiting, points, doubts)
    if count != len(landmarks):
        raise ParameterError(f"{count} frames for {len(landmarks)} rows of landmarks. Pass the frames they belong to.")
    return DenseLandmarks(np.concatenate(points), np.concatenate(doubts))


def _predict(network: DenseLandmarkNet, views: list[FaceViews], points: list, doubts: list) -> None:
    with torch.inference_mode():
        placed, doubt = network(to_input(view.face for view in views), to_input(view.mouth for view in views))
    placed, doubt = placed.numpy().astype(np.float64), np.exp(doubt.numpy().astype(np.float64))
    for maps, part in (
        ([view.face_to_picture for view in views], slice(0, network.face_points)),
        ([view.mouth_to_picture for view in views], slice(network.face_points, None)),
    ):
        matrix = np.stack(maps)
        placed[:, part] = placed[:, part] @ matrix[:, :, :2].transpose(0, 2, 1) + matrix[:, None, :, 2]
        doubt[:, part] *= np.hypot(matrix[:, 0, 0], matrix[:, 1, 0])[:, None]
    points.append(placed.astype(np.float32))
    doubts.append(doubt.astype(np.float32))
    views.clear()
