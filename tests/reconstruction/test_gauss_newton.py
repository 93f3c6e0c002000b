"""The solver's derivatives against finite differences, its banded system against a dense one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from metatalk_lib.face3d import camera
from metatalk_lib.reconstruction.gauss_newton import (
    FitSettings,
    FramePrior,
    LandmarkBases,
    eye_distance,
    linearise,
    observe,
    project_landmarks,
    rotation_with_derivatives,
    step_shared_identity,
    step_smooth_frames,
)
from metatalk_lib.reconstruction.surface_points import SurfacePoints

FRAMES, SIZE, STEP, DENSE = 5, 512, 1e-6, 7


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    bases = LandmarkBases(
        0.5 * generator.normal(size=(68 + DENSE, 3)),
        0.05 * generator.normal(size=(7, 68 + DENSE, 3)),
        0.05 * generator.normal(size=(4, 68 + DENSE, 3)),
    )
    landmarks = generator.uniform(100, 400, (FRAMES, 68, 2))
    seen = np.ones(FRAMES, dtype=bool)
    surface = SurfacePoints(
        generator.uniform(100, 400, (FRAMES, DENSE, 2)),
        np.tile(np.eye(2) / 2, (FRAMES, DENSE, 1, 1)),
        csr_matrix((DENSE, 9)),
    )
    observation = observe(landmarks, SIZE, FitSettings(), seen, eye_distance(landmarks, seen), surface)
    frames = np.concatenate([0.2 * generator.normal(size=(FRAMES, 6)), generator.normal(size=(FRAMES, 4))], axis=1)
    return bases, observation, generator.normal(size=7), frames


def test_rotation_equals_the_cameras_and_its_derivative_is_right():
    angles = np.random.default_rng(1).normal(size=(FRAMES, 3))
    matrix, derivatives = rotation_with_derivatives(angles)
    np.testing.assert_allclose(matrix, camera.euler_to_matrix(torch.tensor(angles)).numpy(), atol=1e-12)
    for axis in range(3):
        moved = angles + STEP * np.eye(3)[axis]
        numeric = (rotation_with_derivatives(moved)[0] - matrix) / STEP
        np.testing.assert_allclose(derivatives[:, axis], numeric, atol=1e-5)


def test_projection_equals_the_cameras():
    generator = np.random.default_rng(2)
    points, pose = generator.normal(size=(FRAMES, 68, 3)), 0.3 * generator.normal(size=(FRAMES, 6))
    posed = camera.transform(*(torch.tensor(part) for part in (points, pose[:, :3], pose[:, 3:])))
    np.testing.assert_allclose(project_landmarks(points, pose, SIZE), camera.project(posed, SIZE).numpy(), atol=1e-9)


def test_jacobian_equals_finite_differences(problem):
    bases, observation, identity, frames = problem

    def residual(identity, frames):
        return linearise(bases, observation, identity, frames, by_identity=False).residual

    linear = linearise(bases, observation, identity, frames, by_identity=True)
    for column in range(frames.shape[1]):
        offset = STEP * np.eye(frames.shape[1])[column]
        numeric = (residual(identity, frames - offset) - residual(identity, frames + offset)) / (2 * STEP)
        np.testing.assert_allclose(linear.frame[..., column], numeric, atol=1e-4)
    for column in range(len(identity)):
        offset = STEP * np.eye(len(identity))[column]
        numeric = (residual(identity - offset, frames) - residual(identity + offset, frames)) / (2 * STEP)
        np.testing.assert_allclose(linear.identity[..., column], numeric, atol=1e-4)


def test_smooth_step_solves_the_dense_system_and_respects_gaps(problem):
    bases, observation, identity, frames = problem
    linear = linearise(bases, observation, identity, frames, by_identity=False)
    width = frames.shape[1]
    root = np.random.default_rng(3).normal(size=(width, width))
    prior, smoothness = FramePrior(np.full(width, 0.1), 2 * np.eye(width) + 0.1), root @ root.T
    frame_id = np.array([0, 1, 2, 3, 5])
    differences = np.zeros((2, FRAMES))
    differences[0, :3] = differences[1, 1:4] = (1, -2, 1)
    stiffness = np.kron(differences.T @ differences, smoothness)
    dense = stiffness.copy()
    right = -stiffness @ frames.ravel()
    for t in range(FRAMES):
        part = slice(t * width, (t + 1) * width)
        dense[part, part] += linear.frame[t].T @ linear.frame[t] + prior.precision
        right[part] += linear.frame[t].T @ linear.residual[t] - prior.precision @ (frames[t] - prior.mean)
    expected = frames + np.linalg.solve(dense, right).reshape(FRAMES, width)
    found = step_smooth_frames(linear, frames, prior, smoothness, frame_id)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_shared_step_solves_the_dense_system(problem):
    bases, observation, identity, frames = problem
    linear = linearise(bases, observation, identity, frames, by_identity=True)
    width, count = frames.shape[1], len(identity)
    prior = FramePrior(np.full(width, 0.1), 3 * np.eye(width))
    total = count + FRAMES * width
    jacobian = np.zeros((linear.residual.size, total))
    rows = linear.residual.shape[1]
    for t in range(FRAMES):
        own = slice(t * rows, (t + 1) * rows)
        jacobian[own, :count] = linear.identity[t]
        jacobian[own, count + t * width : count + (t + 1) * width] = linear.frame[t]
    precision = np.diag([float(FRAMES)] * count + [3.0] * (FRAMES * width))
    deviation = np.concatenate([identity, (frames - prior.mean).ravel()])
    right = jacobian.T @ linear.residual.ravel() - precision @ deviation
    step = np.linalg.solve(jacobian.T @ jacobian + precision, right)
    new_identity, new_frames = step_shared_identity(linear, identity, frames, prior)
    np.testing.assert_allclose(new_identity, identity + step[:count], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(new_frames, frames + step[count:].reshape(FRAMES, width), rtol=1e-7, atol=1e-8)


def test_contour_points_count_across_the_contour_only():
    landmarks = np.zeros((1, 68, 2))
    landmarks[0, :17, 0] = np.arange(17)  # a horizontal contour
    landmarks[0, 36], landmarks[0, 45] = (0, 50), (100, 50)
    settings = FitSettings(noise=0.01)  # of 100 px: one px
    weights = observe(landmarks, SIZE, settings, np.ones(1, dtype=bool), 100.0).weights
    np.testing.assert_allclose(weights[0, 8], np.diag([settings.jaw_along, settings.jaw]), atol=1e-12)
    np.testing.assert_allclose(weights[0, 62], settings.inner_lip * np.eye(2), atol=1e-12)


def test_unseen_frames_have_no_weight():
    landmarks = np.random.default_rng(4).uniform(0, 100, (2, 68, 2))
    observation = observe(landmarks, SIZE, FitSettings(), np.array([True, False]), 50.0)
    assert observation.weights[0].any()
    assert not observation.weights[1].any()
    assert observation.pair_weight[1] == 0


def test_landmarks_count_less_beside_surface_points_and_not_at_all_beside_those_they_come_from():
    landmarks = np.random.default_rng(4).uniform(0, 100, (2, 68, 2))
    own = np.random.default_rng(5).uniform(1, 2, (2, 3, 2, 2))
    surface = SurfacePoints(np.zeros((2, 3, 2)), own, csr_matrix((3, 9)))
    settings, seen = FitSettings(detector_weight=0.5, detector_edge_weight=0.25), np.array([True, False])
    alone = observe(landmarks, SIZE, settings, seen, 100.0)
    both = observe(landmarks, SIZE, settings, seen, 100.0, surface)
    on_edge = np.arange(68) >= 48
    on_edge[[37, 38, 40, 41, 43, 44, 46, 47]] = True  # lids between the corners of the eyes
    np.testing.assert_allclose(both.weights[:, :68][:, ~on_edge], 0.5 * alone.weights[:, ~on_edge])
    np.testing.assert_allclose(both.weights[:, :68][:, on_edge], 0.25 * alone.weights[:, on_edge])
    np.testing.assert_allclose(both.pair_weight, 0.25 * alone.pair_weight)
    np.testing.assert_array_equal(both.weights[0, 68:], own[0])
    assert not both.weights[1].any()
    replaced = observe(landmarks, SIZE, settings, seen, 100.0, replace(surface, replaces_landmarks=True))
    assert not replaced.weights[:, :68].any()
    assert not replaced.pair_weight.any()
    np.testing.assert_array_equal(replaced.weights[0, 68:], own[0])
