"""Learn where MediaPipe's points lie on the open face model, from studio people with ground truth.

    python -m training.render_faces --output outputs/training/tracked --people 120 --frames 12
    python -m training.learn_tracked_points --people outputs/training/tracked

For every point, the surface vertex is chosen that the detector means on average: the one with the smallest squared
distance in the picture over all people, both halves of the face together. What remains is written beside it as the
point's standard deviation.

From the same pictures a linear map is learnt from the detector's 52 scores to the face model's expression.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from metatalk_lib.core.artifacts import load_arrays, save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.camera import euler_to_matrix
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.reconstruction.gauss_newton import OUTER_EYE
from metatalk_lib.reconstruction.priors import SCORES_NAME
from metatalk_lib.reconstruction.tracked_points import TABLE_NAME
from metatalk_lib.studio.base_mesh import load_figure_actions
from metatalk_lib.studio.ground_truth import fit_identity, project_points
from metatalk_lib.tracking.face_detector import box_about
from metatalk_lib.tracking.face_points import IRISES
from metatalk_lib.tracking.landmark_predictor import load_landmark_predictor
from training.people import split_jpegs

TEST_EVERY, RIDGE = 5, 1.0
SURE = 0.9  # least confidence of a picture that counts
POINTS = IRISES.start  # the irises move with the gaze, which the model does not have


class Sample(NamedTuple):
    """One picture, in units of the outer-eye distance from the middle between the eyes.

    Attributes:
        points: the detector's points.
        surface: the true surface vertices.
        scores: the detector's blendshape scores.
        expression: the true expression.
        person: number of the person.
    """

    points: Float[np.ndarray, "L 2"]
    surface: Float[np.ndarray, "N 2"]
    scores: Float[np.ndarray, "52"]
    expression: Float[np.ndarray, "64"]
    person: int


def read_samples(folder: Path, model: FaceModel) -> Iterator[Sample]:
    """Run the detector on every picture of `training.render_faces`.

    Raises:
        DataError: the folder holds no people.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DataError(f"{folder} holds no people. Run training.render_faces first.")
    predictor = load_landmark_predictor("mediapipe")
    actions = load_figure_actions()[:, model.base_ids.numpy()].astype(np.float64)
    for person, path in enumerate(track(paths, "placing points", unit="person")):
        known = load_arrays(path)
        fit = fit_identity(model, known["vertices_identity"])
        for row, image in enumerate(split_jpegs(known["jpeg"], known["jpeg_length"])):
            found = predictor.predict(np.ascontiguousarray(image), box_about(known["landmarks"][row]))
            if found.dense is None or found.scores is None or found.confidence < SURE:
                continue
            head = known["vertices_identity"] + np.tensordot(known["actions"][row].astype(np.float64), actions, axes=1)
            turn = euler_to_matrix(torch.from_numpy(known["rotation"][row][None])).numpy()[0]
            seen = (head - fit.translation) @ fit.rotation @ turn.T + known["translation"][row]
            surface = (model.subdivision @ torch.from_numpy(seen.astype(np.float32))).numpy().astype(np.float64)
            pixels = project_points(surface, known["focal_px"], known["principal_point_px"])
            left, right = known["landmarks"][row][list(OUTER_EYE)]
            unit, centre = np.linalg.norm(left - right), (left + right) / 2
            yield Sample(
                (found.dense[:POINTS, :2] - centre) / unit,
                (pixels - centre) / unit,
                found.scores.astype(np.float64),
                known["expression"][row].astype(np.float64),
                person,
            )


def learn_points(samples: list[Sample], model: FaceModel) -> tuple[np.ndarray, np.ndarray]:
    """Choose a vertex for every point, and measure the standard deviation of the point about it.

    Args:
        samples: pictures of many people.
        model: the open face model.

    Returns:
        Vertex ids (L,), and standard deviations of a coordinate (L,), in outer-eye distances.
    """
    points = np.stack([sample.points for sample in samples], axis=1).reshape(len(samples[0].points), -1)
    surface = np.stack([sample.surface for sample in samples], axis=1).reshape(len(samples[0].surface), -1)
    square = (points**2).sum(1)[:, None] - 2 * points @ surface.T + (surface**2).sum(1)[None]
    nearest = square.argmin(axis=1)
    mirror, partner = model.mirror.numpy(), mirror_points(model, nearest)
    both = square + square[partner][:, mirror]
    chosen = both.argmin(axis=1)
    first = np.flatnonzero(np.arange(len(partner)) < partner)  # of each pair; ties must not break the symmetry
    chosen[partner[first]] = mirror[chosen[first]]
    left = np.maximum(square[np.arange(len(chosen)), chosen], 0)
    return chosen, np.sqrt((left + left[partner]) / 2 / points.shape[1])


def learn_scores(samples: list[Sample]) -> dict[str, np.ndarray]:
    """Learn expression = mean + (scores - mean scores) map by ridge regression, and what it leaves open.

    The covariance of what is left, and the share of variance that is explained, are measured on every fifth person,
    whom the map for them has not seen.
    """
    scores, expression = (np.stack([getattr(sample, name) for sample in samples]) for name in ("scores", "expression"))
    unseen = np.array([sample.person % TEST_EVERY == 0 for sample in samples])
    guess = apply_map(*solve_map(scores[~unseen], expression[~unseen]), scores[unseen])
    left = expression[unseen] - guess
    explained = 1 - np.square(left).sum() / np.square(expression[unseen] - expression[~unseen].mean(axis=0)).sum()
    matrix, mean_scores, mean = solve_map(scores, expression)
    covariance = left.T @ left / len(left)
    values = {"map": matrix, "mean_scores": mean_scores, "mean_expression": mean, "left_covariance": covariance}
    return {name: value.round(4) for name, value in values.items()} | {"explained": np.array(explained.round(3))}


def solve_map(scores: np.ndarray, expression: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ridge regression; the map, and the means of scores and expressions."""
    mean_scores, mean = scores.mean(axis=0), expression.mean(axis=0)
    centred = scores - mean_scores
    gram = centred.T @ centred + RIDGE * np.eye(centred.shape[1])
    return np.linalg.solve(gram, centred.T @ (expression - mean)), mean_scores, mean


def apply_map(matrix: np.ndarray, mean_scores: np.ndarray, mean: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Expressions of some scores."""
    return mean + (scores - mean_scores) @ matrix


def mirror_points(model: FaceModel, vertices: np.ndarray) -> np.ndarray:
    """Pair the points left and right by the places of their vertices, mouth closed and open.

    Raises:
        DataError: the pairs are not mutual, so that the points do not lie on a face.
    """
    opened = model.mean_shape + torch.tensordot(model.open_mouth, model.expression_basis, dims=1)
    places = torch.cat([model.subdivision @ model.mean_shape, model.subdivision @ opened], dim=1).numpy()
    apart = np.linalg.norm(places[model.mirror.numpy()[vertices]][:, None] - places[vertices][None], axis=-1)
    _, partner = linear_sum_assignment((apart + apart.T) ** 2)
    if not np.array_equal(partner[partner], np.arange(len(partner))):
        raise DataError("points have no partner on the other side of the face. Render more people.")
    return partner


def main() -> None:
    """Learn the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, required=True, help="folder of training.render_faces")
    parser.add_argument("--output", type=Path, default=PACKAGE_DATA_DIR / TABLE_NAME)
    arguments = parser.parse_args()
    model = load_face_model()
    samples = list(read_samples(arguments.people, model))
    vertices, doubts = learn_points(samples, model)
    save_json(
        arguments.output,
        {
            "about": "vertex of the open face model's surface that each of MediaPipe's points means, and the standard "
            "deviation of a coordinate about it, in outer-eye distances; made by training.learn_tracked_points",
            "surface_vertices": len(model.mirror),
            "pictures": len(samples),
            "vertex": vertices.tolist(),
            "doubt": [round(float(doubt), 5) for doubt in doubts],
        },
    )
    learnt = learn_scores(samples)
    save_json(
        arguments.output.with_name(SCORES_NAME),
        {
            "about": "linear map from MediaPipe's 52 blendshape scores to the open face model's expression, the "
            "covariance of what it leaves open on unseen people, and the share that it explains; made by "
            "training.learn_tracked_points",
            **{name: value.tolist() for name, value in learnt.items()},
        },
    )
    print(f"{len(samples)} pictures; median {100 * np.median(doubts):.2f} % of the outer-eye distance")
    print(f"scores explain {learnt['explained']:.2f} of the expressions of unseen people")


if __name__ == "__main__":
    main()
