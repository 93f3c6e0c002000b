"""learn_tracked_points: the vertices that a detector means, and the map from its scores, are found again."""

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.reconstruction.surface_points import surface_operator
from metatalk_lib.reconstruction.tracked_points import read_table
from training.learn_tracked_points import Sample, learn_points, learn_scores, mirror_points, read_samples


@pytest.fixture(scope="module")
def model():
    return load_face_model()


def make_samples(model, count: int) -> tuple[list[Sample], np.ndarray]:
    """Pictures of a detector that means known vertices, with noise and scores that tell the expression linearly."""
    generator = np.random.default_rng(0)
    vertices, _ = read_table(len(model.mirror))
    mapping = generator.normal(size=(52, 64))
    operator = surface_operator(model)
    modes = model.expression_basis.double().numpy()
    samples = []
    for number in range(count):
        scores = generator.uniform(0, 1, 52)
        expression = 0.3 * scores @ mapping + generator.normal(0, 0.05, 64)
        control = model.mean_shape.double().numpy() + np.tensordot(expression, modes, axes=1)
        surface = (operator @ control)[:, :2]
        surface = surface * generator.uniform(0.95, 1.05)
        points = surface[vertices] + generator.normal(0, 0.004, (len(vertices), 2))
        samples.append(Sample(points, surface, scores, expression, number // 4))
    return samples, vertices


def test_known_vertices_are_found_again(model):
    samples, vertices = make_samples(model, 40)
    found, doubts = learn_points(samples, model)
    surface = (model.subdivision @ model.mean_shape).numpy()
    assert np.linalg.norm(surface[found] - surface[vertices], axis=1).max() < 0.03
    np.testing.assert_allclose(doubts, 0.004, rtol=0.4)
    partner = mirror_points(model, found)
    np.testing.assert_array_equal(found[partner], model.mirror.numpy()[found])


def test_the_map_from_scores_is_found_again(model):
    samples, _ = make_samples(model, 400)
    learnt = learn_scores(samples)
    assert learnt["explained"] > 0.9
    assert learnt["map"].shape == (52, 64)
    assert np.linalg.eigvalsh(learnt["left_covariance"]).min() > -1e-3  # rounded for the table


def test_an_empty_folder_is_named(model, tmp_path):
    with pytest.raises(DataError, match="holds no people"):
        next(read_samples(tmp_path, model))
