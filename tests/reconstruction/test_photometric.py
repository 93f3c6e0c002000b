"""The photometric rows: skin colours are recovered, and a disturbed face returns to its pixels."""

from dataclasses import replace

import numpy as np
import pytest

from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.reconstruction.landmark_fit import stack_frames
from metatalk_lib.reconstruction.photometric import (
    PhotometricSettings,
    learn_skin,
    light_with_ambient,
    photometric_rows,
)
from tests.synthetic import make_coefficients

SIZE, FRAMES = 256, 8


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def truth(model):
    """A face in slight motion, with a texture that has something to hold on to."""
    generator = np.random.default_rng(3)
    drawn = make_coefficients(frames=FRAMES)
    return replace(
        drawn,
        identity=np.zeros(80, np.float32),
        texture=generator.normal(0, 1.5, 80).astype(np.float32),
        expression=generator.normal(0, 0.2, (FRAMES, 64)).astype(np.float32),
        illumination=np.zeros((FRAMES, 27), np.float32),
        rotation=generator.normal(0, 0.04, (FRAMES, 3)).astype(np.float32),
        translation=np.tile(np.float32([0, 0, -1.5]), (FRAMES, 1)),
    )


@pytest.fixture(scope="module")
def frames(model, truth):
    pictures = (render_face(model, truth, row, SIZE) for row in range(FRAMES))
    return [np.where(picture.mask[..., None], picture.image, 90).astype(np.uint8) for picture in pictures]


@pytest.fixture(scope="module")
def skin(model, truth, frames):
    return learn_skin(model, truth, lambda start, stop: frames[start:stop], SIZE, np.arange(FRAMES))


def rows_at(skin, truth, frames, state, settings=None):
    light, seen = light_with_ambient(truth, slice(None)), np.ones(FRAMES, dtype=bool)
    return photometric_rows(skin, light, frames, state, seen, SIZE, settings or PhotometricSettings())


def test_skin_is_the_albedo_that_was_drawn(model, truth, skin):
    albedo = (model.mean_texture + np.tensordot(truth.texture, model.texture_basis.numpy(), 1)).clip(0, 1)
    difference = np.abs(albedo[skin.surface.index] - skin.albedo)[skin.known]
    assert skin.known.mean() > 0.6
    assert np.median(difference) < 0.01


def test_a_shifted_and_turned_face_is_pulled_back(skin, truth, frames):
    state = stack_frames(truth)
    disturbed = state.copy()
    disturbed[:, 3:5] += (0.012, -0.01)  # about two pixels
    disturbed[:, 1] += 0.01
    for _ in range(6):
        residual, jacobian, error = rows_at(skin, truth, frames, disturbed)
        pose = jacobian[:, :, :6]
        step = [np.linalg.lstsq(one, right, rcond=None)[0] for one, right in zip(pose, residual, strict=True)]
        disturbed[:, :6] += np.array(step)
    assert np.abs(disturbed[:, 3:5] - state[:, 3:5]).mean() < 0.002
    assert np.abs(disturbed[:, 1] - state[:, 1]).mean() < 0.003
    assert error.mean() < 0.02


def test_rows_foretell_how_the_residual_changes(skin, truth, frames):
    settings = PhotometricSettings(noise=10.0, count=100.0)  # so large that every point weighs alike
    state = stack_frames(truth)
    state[:, 3] += 0.003
    residual, jacobian, _ = rows_at(skin, truth, frames, state, settings)
    downhill = np.einsum("trx,tr->tx", jacobian, residual)
    curvature = np.einsum("trx,try->txy", jacobian, jacobian)
    for column in (0, 1, 3, 4, 6):
        step = np.zeros(state.shape[1])
        step[column] = 4e-3 if column < 6 else 0.05
        residual, moved, _ = rows_at(skin, truth, frames, state + step, settings)
        change = (downhill - np.einsum("trx,tr->tx", moved, residual))[:, column].mean()
        assert change == pytest.approx((curvature @ step)[:, column].mean(), rel=0.45), column


def test_frames_without_a_face_say_nothing(skin, truth, frames):
    seen = np.arange(FRAMES) != 2
    light = light_with_ambient(truth, slice(None))
    residual, jacobian, error = photometric_rows(
        skin, light, frames, stack_frames(truth), seen, SIZE, PhotometricSettings()
    )
    assert not residual[2].any()
    assert not jacobian[2].any()
    assert error[2] == 0
    assert jacobian[3].any()
