"""The landmark fit: known faces are recovered in vertex space; bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.reconstruction.face_clip import FaceClip
from metatalk_lib.reconstruction.fit_quality import measure_fit
from metatalk_lib.reconstruction.fit_video import ReconstructionSettings, reconstruct
from metatalk_lib.reconstruction.gauss_newton import FitSettings
from metatalk_lib.reconstruction.landmark_fit import (
    bridge_frames,
    choose_identity_frames,
    fit_landmarks,
    predicted_landmarks,
)
from metatalk_lib.reconstruction.priors import initial_pose, speech_covariance
from metatalk_lib.tracking.landmarks import mouth_opening
from tests.synthetic import make_coefficients, make_face_model

SIZE, FRAMES = 512, 60


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def truth(model) -> Coefficients:
    """A speaking, nodding person: jaw at 3 Hz, lips at 2 Hz, a shape of its own."""
    generator = np.random.default_rng(0)
    seconds = np.arange(FRAMES) / 25
    actions = np.zeros((FRAMES, 52), dtype=np.float32)
    names = model.action_names
    actions[:, names.index("jawOpen")] = 0.3 * np.sin(2 * np.pi * 3 * seconds) ** 2
    actions[:, names.index("mouthPucker")] = 0.4 * np.sin(2 * np.pi * 1 * seconds) ** 2
    rotation = np.stack([0.08 * np.sin(2 * seconds), 0.15 * np.sin(seconds + 1), 0.03 * np.sin(3 * seconds)], axis=1)
    translation = np.stack([0.1 * np.sin(seconds), 0.05 * np.cos(seconds), 0.2 * np.sin(seconds)], axis=1)
    return Coefficients(
        frame_id=np.arange(100, 100 + FRAMES),
        identity=(0.7 * generator.standard_normal(80)).astype(np.float32),
        texture=np.zeros(80, dtype=np.float32),
        expression=actions @ model.actions_to_expression.numpy(),
        illumination=np.zeros((FRAMES, 27), dtype=np.float32),
        rotation=rotation.astype(np.float32),
        translation=translation.astype(np.float32),
        valid=np.ones(FRAMES, dtype=bool),
        landmark_error_px=np.zeros(FRAMES, dtype=np.float32),
    )


@pytest.fixture(scope="module")
def clean(model, truth) -> np.ndarray:
    return predicted_landmarks(model, truth, SIZE)


def displacement_mm(model, coefficients) -> np.ndarray:
    """(T, Nb, 3) motion of the face about its mean, mm."""
    expression = coefficients.expression - coefficients.expression.mean(0)
    return 100 * np.tensordot(expression, model.expression_basis.numpy(), axes=1)


def mean_length(vectors: np.ndarray) -> float:
    return float(np.linalg.norm(vectors, axis=-1).mean())


def aligned_error_mm(model, identity: np.ndarray, reference: np.ndarray) -> float:
    """Mean vertex distance of two people's faces after the best rotation, scale and shift."""
    first, second = (
        model.mean_shape.numpy() + np.tensordot(own, model.identity_basis.numpy(), axes=1)
        for own in (identity, reference)
    )
    first, second = first - first.mean(0), second - second.mean(0)
    left, scale, right = np.linalg.svd(first.T @ second)
    return 100 * mean_length(first @ left @ right * scale.sum() / (first**2).sum() - second)


def test_clean_landmarks_give_back_motion_mouth_and_pose(model, truth, clean):
    fit = fit_landmarks(model, clean, SIZE, truth.frame_id)
    true_motion = displacement_mm(model, truth)
    assert mean_length(displacement_mm(model, fit) - true_motion) < 0.3 * mean_length(true_motion)
    correlation, slope = relate_curves(
        mouth_opening(predicted_landmarks(model, fit, SIZE)), mouth_opening(clean.astype(np.float64))
    )
    assert correlation > 0.995
    assert 0.97 < slope < 1.03
    assert np.rad2deg(np.abs(fit.rotation - truth.rotation).mean()) < 1.0
    assert fit.landmark_error_px.mean() < 2.0
    average_face = aligned_error_mm(model, 0 * truth.identity, truth.identity)
    assert aligned_error_mm(model, fit.identity, truth.identity) < 0.9 * average_face


def test_noisy_landmarks_keep_the_mouth_open(model, truth, clean):
    noisy = clean + np.random.default_rng(1).normal(scale=1.5, size=clean.shape)
    fit = fit_landmarks(model, noisy, SIZE, truth.frame_id)
    quality = measure_fit(model, fit, clean, SIZE)
    assert quality.opening_correlation > 0.97
    assert 0.9 < quality.opening_slope < 1.1
    assert quality.inner_error_percent < 2.5


def test_a_given_identity_is_kept(model, truth, clean):
    fit = fit_landmarks(model, clean, SIZE, truth.frame_id, identity=truth.identity)
    np.testing.assert_array_equal(fit.identity, truth.identity)
    assert np.abs(fit.translation - truth.translation).mean() < 0.1


def test_coefficients_do_not_depend_on_the_crops_pixel_count(model, truth, clean):
    half = (clean + 0.5) / 2 - 0.5
    whole, small = (
        fit_landmarks(model, points, size, truth.frame_id) for points, size in ((clean, SIZE), (half, SIZE // 2))
    )
    np.testing.assert_allclose(whole.pack(), small.pack(), atol=1e-3)


def test_held_out_frames_have_no_say_in_the_identity(model, truth, clean):
    training = truth.frame_id < truth.frame_id[40]
    moved = clean.copy()
    moved[~training, 48:] += 15.0
    first, second = (
        fit_landmarks(model, points, SIZE, truth.frame_id, train_mask=training) for points in (clean, moved)
    )
    np.testing.assert_array_equal(first.identity, second.identity)
    assert not np.allclose(first.expression[~training], second.expression[~training], atol=0.1)


def test_undetected_frames_are_bridged_and_marked(model, truth, clean):
    detected = np.ones(FRAMES, dtype=bool)
    detected[20:23] = False
    spoiled = clean.copy()
    spoiled[20:23] = np.nan
    fit = fit_landmarks(model, np.nan_to_num(spoiled), SIZE, truth.frame_id, detected=detected)
    np.testing.assert_array_equal(fit.valid, detected)
    expected = fit.expression[19] + (fit.expression[23] - fit.expression[19]) * 0.5
    np.testing.assert_allclose(fit.expression[21], expected, atol=1e-5)


def test_the_same_input_gives_the_same_bytes(model, truth, clean):
    fits = [fit_landmarks(model, clean[:20], SIZE, truth.frame_id[:20]).pack().tobytes() for _ in range(2)]
    assert fits[0] == fits[1]


def test_long_clips_join_without_a_jump(model, truth, clean, monkeypatch):
    whole = fit_landmarks(model, clean, SIZE, truth.frame_id, identity=truth.identity)
    monkeypatch.setattr("metatalk_lib.reconstruction.landmark_fit._WINDOW", 25)
    windows = fit_landmarks(model, clean, SIZE, truth.frame_id, identity=truth.identity)
    np.testing.assert_allclose(windows.pack(), whole.pack(), atol=2e-3)


def test_higher_noise_trusts_the_model_more(model, truth, clean):
    strict, loose = (
        fit_landmarks(model, clean, SIZE, truth.frame_id, settings=FitSettings(noise=noise)) for noise in (0.01, 0.3)
    )
    assert np.abs(loose.expression).mean() < np.abs(strict.expression).mean()


def test_initial_pose_finds_a_rigid_head(model):
    mean = model.landmark_bases()[0].astype(np.float64)
    pose = np.array([[0.1, -0.3, 0.05, 0.2, -0.1, -0.5]])
    from metatalk_lib.reconstruction.gauss_newton import project_landmarks

    found = initial_pose(mean, project_landmarks(mean[None], pose, SIZE), SIZE)
    np.testing.assert_allclose(found[:, :3], pose[:, :3], atol=0.15)
    np.testing.assert_allclose(found[:, 3:], pose[:, 3:], atol=0.5)


def test_speech_covariance_is_symmetric_positive_and_widest_for_the_jaw(model):
    covariance = speech_covariance(model)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
    rows = model.actions_to_expression.numpy()
    jaw, sneer = (rows[model.action_names.index(name)] for name in ("jawOpen", "noseSneerLeft"))
    assert jaw @ covariance @ jaw / (jaw @ jaw) > sneer @ covariance @ sneer / (sneer @ sneer)


def test_identity_frames_are_training_frames_spread_over_time_and_opening():
    landmarks = np.zeros((100, 68, 2))
    landmarks[:, [67, 66, 65], 1] = np.arange(100)[:, None]
    candidates = np.arange(10, 90)
    chosen = choose_identity_frames(landmarks, candidates, 20)
    assert set(chosen) <= set(candidates)
    assert {10, 89} <= set(chosen)
    assert 10 <= len(chosen) <= 20
    np.testing.assert_array_equal(choose_identity_frames(landmarks, candidates[:5], 20), candidates[:5])


def test_bridging_uses_frame_numbers_and_the_nearest_at_an_end():
    values = np.array([[9.0], [0.0], [9.0], [3.0], [9.0]])
    detected = np.array([False, True, False, True, False])
    bridged = bridge_frames(values, detected, np.array([0, 1, 2, 4, 5]))
    np.testing.assert_allclose(bridged[:, 0], [0, 0, 1, 3, 3])


def test_relate_curves_known_answers():
    observed = np.array([0.0, 1.0, 2.0, 5.0])
    assert relate_curves(0.5 * observed + 3, observed) == pytest.approx((1.0, 0.5))
    assert relate_curves(-observed, observed) == pytest.approx((-1.0, -1.0))
    assert relate_curves(np.ones(4), observed) == pytest.approx((0.0, 0.0))


def test_predicted_landmarks_equal_the_models_projection(model, truth):
    from metatalk_lib.face3d import camera

    identity = torch.from_numpy(truth.identity)[None].expand(FRAMES, -1)
    points = model.compute_landmarks(identity, torch.from_numpy(truth.expression))
    posed = camera.transform(points, torch.from_numpy(truth.rotation), torch.from_numpy(truth.translation))
    np.testing.assert_allclose(predicted_landmarks(model, truth, SIZE), camera.project(posed, SIZE), atol=1e-2)


def small_case():
    coefficients = make_coefficients(frames=6)
    small = make_face_model()
    return small, coefficients, predicted_landmarks(small, coefficients, SIZE)


def test_reconstruct_fills_all_257_numbers():
    small, coefficients, landmarks = small_case()
    frames = [np.full((SIZE, SIZE, 3), (150, 110, 90), dtype=np.uint8)] * 6
    settings = ReconstructionSettings(regressor="none")
    clip = FaceClip(landmarks, SIZE, coefficients.frame_id, lambda start, stop: frames[start:stop])
    fit = reconstruct(small, clip, settings)
    assert np.isfinite(fit.pack()).all()
    assert fit.illumination.any()


def test_a_clip_of_unequal_lengths_is_refused():
    _, coefficients, landmarks = small_case()
    with pytest.raises(ParameterError, match="5 frames in `landmarks` for 6 frame numbers"):
        FaceClip(landmarks[:5], SIZE, coefficients.frame_id, lambda start, stop: [])
    with pytest.raises(ParameterError, match="4 frames in `detected` for 6 frame numbers"):
        FaceClip(landmarks, SIZE, coefficients.frame_id, lambda start, stop: [], np.ones(4, dtype=bool))


def test_bad_input_is_refused():
    small, coefficients, landmarks = small_case()
    frame_id = coefficients.frame_id
    none = np.zeros(6, dtype=bool)
    with pytest.raises(ParameterError, match="6 frame numbers, 5 `detected`"):
        fit_landmarks(small, landmarks, SIZE, frame_id, detected=np.ones(5, dtype=bool))
    with pytest.raises(ParameterError, match="do not increase"):
        fit_landmarks(small, landmarks, SIZE, frame_id[::-1].copy())
    with pytest.raises(DataError, match="no frame with a face"):
        fit_landmarks(small, landmarks, SIZE, frame_id, detected=none)
    with pytest.raises(DataError, match="no frame with a face"):
        fit_landmarks(small, landmarks, SIZE, frame_id, train_mask=none)
    with pytest.raises(DataError, match="NaN or infinity"):
        fit_landmarks(small, np.full_like(landmarks, np.nan), SIZE, frame_id)
    with pytest.raises(DataError, match="px apart"):
        fit_landmarks(small, landmarks * 0.001, SIZE, frame_id)


def test_measure_fit_refuses_other_lengths_and_no_valid_frame():
    small, coefficients, landmarks = small_case()
    with pytest.raises(ParameterError, match="5 frames of landmarks for 6"):
        measure_fit(small, coefficients, landmarks[:5], SIZE)
    with pytest.raises(ParameterError, match="0 are valid"):
        measure_fit(small, replace(coefficients, valid=np.zeros(6, dtype=bool)), landmarks, SIZE)
