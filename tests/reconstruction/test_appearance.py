"""Texture and light are recovered from drawn colours despite outliers, clipping and gaps; bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.camera import project, transform
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.reconstruction.appearance import (
    HOLES,
    _sample_vertices,
    fit_appearance,
    locate_surface,
    sample_colours,
)
from tests.synthetic import make_coefficients, make_face_model

SIZE, FRAMES = 256, 8


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def truth(model):
    """A face lit from one side, the light growing by a fifth over the clip."""
    coefficients = make_coefficients(frames=FRAMES)
    light = np.zeros((FRAMES, 3, 9), dtype=np.float32)
    light[:, :, 1:4] = (-0.05, 0.08, -0.1)
    gain = np.linspace(0.9, 1.1, FRAMES, dtype=np.float32)
    light[:, :, 0] = 0.8
    light *= gain[:, None, None]
    light[:, :, 0] -= 0.8
    small = 0.3 * coefficients.expression
    return replace(
        coefficients, expression=small, identity=0 * coefficients.identity, illumination=light.reshape(FRAMES, 27)
    )


@pytest.fixture(scope="module")
def pictures(model, truth):
    return [render_face(model, truth, row, SIZE) for row in range(FRAMES)]


def blank(coefficients):
    return replace(coefficients, texture=0 * coefficients.texture, illumination=0 * coefficients.illumination)


def redraw_error(model, fit, pictures) -> float:
    """Mean absolute difference of drawn and redrawn pictures inside the face, of 255."""
    errors = []
    for row, picture in enumerate(pictures):
        again = render_face(model, fit, row, SIZE)
        errors.append(np.abs(again.image[picture.mask].astype(float) - picture.image[picture.mask]).mean())
    return float(np.mean(errors))


def test_drawn_faces_give_back_their_colours(model, truth, pictures):
    frames = [picture.image for picture in pictures]
    before = redraw_error(model, blank(truth), pictures)
    fit = fit_appearance(model, blank(truth), frames, truth.frame_id)
    after = redraw_error(model, fit, pictures)
    assert before > 12
    assert after < 5
    brightness = fit.illumination.reshape(FRAMES, 3, 9)[:, :, 0].mean(1) + 0.8
    assert brightness[-1] > brightness[0]


def test_shape_and_pose_stay_as_they_are(model, truth, pictures):
    fit = fit_appearance(model, blank(truth), [picture.image for picture in pictures], truth.frame_id[:3])
    for name in ("identity", "expression", "rotation", "translation", "frame_id", "valid"):
        np.testing.assert_array_equal(getattr(fit, name), getattr(truth, name))


def test_a_bright_patch_hardly_matters(model, truth, pictures):
    clean = [picture.image for picture in pictures]
    patched = [image.copy() for image in clean]
    for image in patched:
        image[SIZE // 2 - 20 : SIZE // 2 + 5, SIZE // 2 - 20 : SIZE // 2 + 5] = (0, 255, 0)
    fit = fit_appearance(model, blank(truth), patched, truth.frame_id)
    assert redraw_error(model, fit, pictures) < 8


def test_frames_outside_the_sample_do_not_change_the_texture(model, truth, pictures):
    frames = [picture.image for picture in pictures]
    dark = [image if row < 4 else image // 3 for row, image in enumerate(frames)]
    first, second = (fit_appearance(model, blank(truth), clip, truth.frame_id[:4]) for clip in (frames, dark))
    np.testing.assert_array_equal(first.texture, second.texture)


def test_points_lie_on_the_model(model, truth):
    surface = locate_surface(model, truth, SIZE)
    identity = torch.from_numpy(truth.identity)[None].expand(FRAMES, -1)
    vertices = model.compute_vertices(identity, torch.from_numpy(truth.expression))
    posed = transform(vertices, torch.from_numpy(truth.rotation), torch.from_numpy(truth.translation))
    expected = project(posed, SIZE)[:, surface.index].numpy()
    np.testing.assert_allclose(surface.locate(slice(None)), expected, atol=0.01)


def test_points_in_the_eyes_and_the_inner_mouth_are_left_out():
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 41))
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    landmarks = np.zeros((68, 3))
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    for hole, centre in zip(HOLES, ((-0.5, 0.4), (0.5, 0.4), (0.0, -0.5)), strict=True):
        circle = 0.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)[: len(hole)]
        landmarks[list(hole), :2] = circle + centre
    kept = _sample_vertices(vertices, landmarks)
    left_out = np.setdiff1d(np.arange(len(vertices)), kept)
    assert 0 < len(left_out) < len(vertices) / 8
    assert (vertices[left_out, 1] > 0.1).any()
    assert np.linalg.norm(vertices[kept, :2] - (0.0, -0.5), axis=1).min() > 0.1


def test_colours_are_bilinear():
    model, coefficients = make_face_model(), make_coefficients(frames=1)
    surface = locate_surface(model, coefficients, 64)
    ramp = np.zeros((64, 64, 3), dtype=np.uint8)
    ramp[..., 0] = 2 * np.arange(64)
    ramp[..., 1] = 3 * np.arange(64)[:, None]
    colours = next(sample_colours([ramp], surface))
    x, y = surface.locate(slice(None))[0].clip(0, 63).T
    np.testing.assert_allclose(colours[:, 0] * 255, 2 * x, atol=1e-2)
    np.testing.assert_allclose(colours[:, 1] * 255, 3 * y, atol=1e-2)


def test_bad_input_is_refused():
    model, coefficients = make_face_model(), make_coefficients(frames=3)
    frames = [np.full((64, 64, 3), 128, dtype=np.uint8)] * 3
    ids = coefficients.frame_id
    with pytest.raises(ParameterError, match="0 sample frames asked for"):
        fit_appearance(model, coefficients, frames, ids[:0])
    with pytest.raises(ParameterError, match="sample frames asked for"):
        fit_appearance(model, coefficients, frames, np.array([999]))
    with pytest.raises(ParameterError, match="2 frames for 3"):
        fit_appearance(model, coefficients, frames[:2], ids)
    with pytest.raises(ParameterError, match="4 frames for 3"):
        fit_appearance(model, coefficients, [*frames, frames[0]], ids)
    with pytest.raises(ParameterError, match="no frames"):
        fit_appearance(model, coefficients, [], ids)
    with pytest.raises(DataError, match="expected square RGB"):
        fit_appearance(model, coefficients, [frames[0], frames[0][:32], frames[0]], ids)
    turned = replace(coefficients, rotation=coefficients.rotation + np.float32([0, np.pi, 0]))
    with pytest.raises(DataError, match="no part of the face is visible"):
        fit_appearance(model, turned, frames, ids)
