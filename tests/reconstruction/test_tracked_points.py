"""tracked_points and surface_points: MediaPipe's points on the open face, and their weights in a fit."""

from dataclasses import replace

import numpy as np
import pytest

from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.reconstruction import fit_video, tracked_points
from metatalk_lib.reconstruction.face_clip import FaceClip
from metatalk_lib.reconstruction.fit_quality import check_fit, measure_contours, measure_fit
from metatalk_lib.reconstruction.fit_video import ReconstructionSettings, place_points
from metatalk_lib.reconstruction.landmark_fit import fit_landmarks
from metatalk_lib.reconstruction.priors import SCORES_NAME, add_scores, frame_prior, load_score_map
from metatalk_lib.reconstruction.surface_points import SurfacePoints, join_points, surface_operator
from metatalk_lib.reconstruction.tracked_points import TABLE_NAME, predicted_points, read_table, weigh_tracked
from metatalk_lib.tracking.face_landmarker import BLENDSHAPES
from metatalk_lib.tracking.face_points import FACE_OVAL, INNER_CONTOUR, OUTER_CONTOUR, derive_landmarks

SIZE, FRAMES = 512, 12


@pytest.fixture(scope="module")
def model():
    return load_face_model()


def performance(model, seed: int = 0) -> tuple[Coefficients, np.ndarray]:
    """A face that turns while it speaks and grins, and the exact places of its tracked points, px."""
    generator = np.random.default_rng(seed)
    identity = 0.5 * generator.normal(size=80)
    actions = np.zeros((FRAMES, 52))
    names = list(model.action_names)
    actions[:, names.index("jawOpen")] = np.linspace(0, 0.8, FRAMES)
    actions[:, names.index("mouthSmileLeft")] = actions[:, names.index("mouthSmileRight")] = np.linspace(0.9, 0, FRAMES)
    expression = actions @ np.asarray(model.actions_to_expression, dtype=np.float64)
    pose = np.zeros((FRAMES, 6))
    pose[:, 1] = np.linspace(-0.2, 0.2, FRAMES)
    pose[:, 5] = -1.5
    known = Coefficients(
        frame_id=np.arange(FRAMES),
        identity=identity.astype(np.float32),
        texture=np.zeros(80, np.float32),
        expression=expression.astype(np.float32),
        illumination=np.zeros((FRAMES, 27), np.float32),
        rotation=pose[:, :3].astype(np.float32),
        translation=pose[:, 3:].astype(np.float32),
        valid=np.ones(FRAMES, bool),
        landmark_error_px=np.zeros(FRAMES, np.float32),
    )
    return known, predicted_points(model, known, SIZE)


def with_irises(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points, np.zeros((len(points), 10, 2))], axis=1)


def test_the_table_is_symmetric_and_within_the_face(model):
    vertices, doubts = read_table(len(model.mirror))
    mirror = model.mirror.numpy()
    assert len(vertices) == len(doubts) == 468
    assert set(mirror[vertices].tolist()) == set(vertices.tolist())
    places = surface_operator(model)[vertices] @ model.mean_shape.double().numpy()
    corners = places[[OUTER_CONTOUR[0], OUTER_CONTOUR[10]]]
    np.testing.assert_allclose(corners[0], corners[1] * (-1, 1, 1), atol=1e-3)
    assert places[152, 1] == places[:, 1].min()  # the chin
    assert 0.005 < np.median(doubts) < 0.03
    assert doubts[list(INNER_CONTOUR)].max() < np.median(doubts[list(FACE_OVAL)])


def test_a_table_of_another_face_is_refused(model, tmp_path, monkeypatch: pytest.MonkeyPatch):
    table = load_json(PACKAGE_DATA_DIR / TABLE_NAME)
    save_json(tmp_path / TABLE_NAME, table | {"surface_vertices": 7})
    monkeypatch.setattr(tracked_points, "PACKAGE_DATA_DIR", tmp_path)
    read_table.cache_clear()
    with pytest.raises(DataError, match="belongs to a face of 7 vertices"):
        read_table(len(model.mirror))
    read_table.cache_clear()


def test_points_are_free_to_slide_along_their_contour(model):
    _, points = performance(model)
    surface = weigh_tracked(model, with_irises(points), np.zeros(478, np.float32), 150.0)
    top, beside = OUTER_CONTOUR[5], OUTER_CONTOUR[6]
    along = points[0, beside] - points[0, OUTER_CONTOUR[4]]
    along /= np.linalg.norm(along)
    across = np.array([-along[1], along[0]])
    weight = surface.weights[0, top]
    ratio = np.linalg.norm(weight @ across) / np.linalg.norm(weight @ along)
    assert ratio == pytest.approx(tracked_points.SLIDING, rel=0.01)
    noisy = weigh_tracked(model, with_irises(points), np.full(478, 30.0, np.float32), 150.0)
    assert (np.abs(noisy.weights).sum((2, 3)) < np.abs(surface.weights).sum((2, 3))).all()


def test_a_known_face_is_found_again_without_the_mouth_shrinking(model):
    _, points = performance(model)
    landmarks = derive_landmarks(with_irises(points))
    surface = weigh_tracked(model, with_irises(points), np.zeros(478, np.float32), 150.0)
    fit = fit_landmarks(model, landmarks, SIZE, np.arange(FRAMES), surface=surface)
    quality = measure_contours(model, fit, with_irises(points), SIZE)
    assert quality.opening_correlation > 0.995
    assert quality.width_correlation > 0.99
    assert 0.95 < quality.opening_slope < 1.05
    assert 0.95 < quality.width_slope < 1.05
    assert quality.lip_error_percent < 0.5
    assert quality.error_percent < 0.6


def test_contours_of_the_truth_are_exact_and_those_of_a_still_mouth_are_not(model):
    known, points = performance(model)
    quality = measure_contours(model, known, with_irises(points), SIZE)
    assert quality.lip_error_percent < 1e-3
    assert quality.opening_slope == pytest.approx(1, abs=1e-3)
    assert quality.explained_motion == pytest.approx(1, abs=1e-4)
    still = known.with_expression(np.zeros_like(known.expression))
    cheat = measure_contours(model, still, with_irises(points), SIZE)
    assert cheat.lip_error_percent > 1.5
    assert abs(cheat.opening_slope) < 0.3
    assert cheat.explained_motion == pytest.approx(0, abs=1e-6)
    with pytest.raises(ParameterError, match="3 frames of points for 12 coefficients"):
        measure_contours(model, known, with_irises(points)[:3], SIZE)


def test_a_face_unlike_all_that_the_regressor_knows_is_not_shown_to_it(model, monkeypatch):
    _, points = performance(model)
    shown = []

    def read(start: int, stop: int):
        shown.extend(range(start, stop))
        return (np.zeros((SIZE, SIZE, 3), np.uint8) for _ in range(start, stop))

    clip = FaceClip(
        derive_landmarks(with_irises(points)), SIZE, np.arange(FRAMES), read,
        dense=with_irises(points), dense_noise=np.zeros(478, np.float32),
    )  # fmt: skip
    surface = place_points(model, clip, ReconstructionSettings())
    assert surface.points.shape[1] == 468
    assert shown == list(range(FRAMES))
    monkeypatch.setattr(fit_video, "measure_familiarity", lambda *_: 1.0)
    both = place_points(model, clip, ReconstructionSettings())
    assert both.points.shape[1] > 468


def test_joined_points_keep_their_order_weights_and_matrix(model):
    _, points = performance(model)
    tracked = weigh_tracked(model, with_irises(points), np.zeros(478, np.float32), 150.0)
    other = SurfacePoints(points[:, :3], np.ones((FRAMES, 3, 2, 2)), surface_operator(model)[:3])
    both = join_points(other, tracked.scale(0.5)).select(slice(2, 5))
    assert both.points.shape == (3, 471, 2)
    assert both.matrix.shape[0] == 471
    assert both.replaces_landmarks
    np.testing.assert_array_equal(both.weights[:, 3:], 0.5 * tracked.weights[2:5])
    np.testing.assert_array_equal(both.points[:, :3], other.points[2:5])


def test_a_poor_fit_becomes_findings_with_advice(model):
    known, points = performance(model)
    good = measure_contours(model, known, with_irises(points), SIZE)
    landmarks = derive_landmarks(with_irises(points))
    quality = measure_fit(model, known, landmarks, SIZE)
    fine = replace(quality, inner_error_percent=1.0, opening_correlation=0.99)
    checks = check_fit(fine, good, colour_errors=(10.0, 8.0), taught_correlation=0.9)
    assert {check.status for check in checks} == {"ok"}
    poor = replace(quality, inner_error_percent=12.0, opening_correlation=0.38)
    bad = replace(good, lip_error_percent=4.0, opening_slope=0.5, width_slope=float("nan"))
    checks = check_fit(poor, bad, colour_errors=(8.0, 10.0), taught_correlation=0.2)
    assert {check.status for check in checks} == {"notice"}
    assert all(check.advice for check in checks)
    assert len(check_fit(fine, None, colour_errors=(10.0, 8.0), taught_correlation=None)) == 3


def test_scores_pull_the_expression_where_contours_tell_nothing(model):
    known = load_score_map()
    assert known.matrix.shape == (52, 64)
    table = load_json(PACKAGE_DATA_DIR / SCORES_NAME)
    assert 0.3 < table["explained"] < 1
    plain = frame_prior(model, np.zeros((3, 6)))
    scores = np.tile(known.mean_scores, (3, 1))
    scores[2, BLENDSHAPES.index("mouthPucker")] += 0.8
    prior = add_scores(plain, scores)
    assert prior.mean.shape == (3, 70)
    assert prior.select(slice(1, 3)).mean.shape == (2, 70)
    assert np.linalg.eigvalsh(prior.precision - plain.precision).min() > -1e-6
    np.testing.assert_array_equal(prior.change, plain.precision)
    lips = model.landmark_bases()[2][:, 48:60, 2].mean(axis=1)  # how far each mode moves the outer lip forwards
    forwards = (prior.mean[2] - prior.mean[1])[6:] @ lips
    assert forwards > 0
