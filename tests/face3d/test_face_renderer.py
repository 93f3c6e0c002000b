import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import camera
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import (
    compute_normals,
    expression_open_mouth,
    lower_face_mask,
    lower_silhouette,
    mouth_masks,
    render_face,
)
from tests.synthetic import make_coefficients, make_face_model


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def frames():
    """Three frames of a mild person: neutral, speaking, wide open."""
    model = load_face_model()
    speaking = np.zeros(52, dtype=np.float32)
    for name, weight in (("jawOpen", 0.3), ("mouthFunnel", 0.4), ("mouthSmileLeft", 0.2)):
        speaking[model.action_names.index(name)] = weight
    expression = np.stack((np.zeros(64), speaking @ model.actions_to_expression.numpy(), expression_open_mouth(model)))
    return make_coefficients(3, scale=0.4).with_expression(expression.astype(np.float32))


def _landmark_points(model, frames, index: int, size: int) -> torch.Tensor:
    expression, *pose = (
        torch.from_numpy(getattr(frames, name)[index : index + 1]) for name in ("expression", "rotation", "translation")
    )
    landmarks = model.compute_landmarks(torch.from_numpy(frames.identity)[None], expression)
    return camera.project(camera.transform(landmarks, *pose), size)[0]


def test_a_face_is_drawn_where_its_landmarks_are(model, frames):
    render = render_face(model, frames, 0, 128)
    assert render.image.shape == (128, 128, 3)
    assert render.mask.shape == (128, 128)
    inner = _landmark_points(model, frames, 0, 128)[27:36].round().long()
    assert render.mask[inner[:, 1], inner[:, 0]].all()
    assert not render.mask[0].any()
    assert (render.image[~render.mask] == 0).all()
    assert (render.image[render.mask].sum(axis=1) > 0).all()


def test_a_window_equals_the_same_part_of_the_whole(model, frames):
    whole = render_face(model, frames, 1, 160)
    part = render_face(model, frames, 1, 160, window=(30, 60, 120, 170))
    np.testing.assert_array_equal(part.image[:100], whole.image[60:160, 30:120])
    np.testing.assert_array_equal(part.mask[:100], whole.mask[60:160, 30:120])
    mask = lower_face_mask(model, frames, 1, 160)
    np.testing.assert_array_equal(lower_face_mask(model, frames, 1, 160, window=(30, 60, 120, 160)), mask[60:, 30:120])


def test_drawing_twice_gives_equal_bytes(model, frames):
    first, second = (render_face(model, frames, 1, 96).image.tobytes() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_lower_face_has_no_holes_and_lies_in_the_mask(model, frames, index):
    lower = render_face(model, frames, index, 192, region="lower").mask
    assert lower.sum() > 2000
    assert not (ndimage.binary_fill_holes(lower) & ~lower).any()
    mask = lower_face_mask(model, frames, index, 192)
    assert (lower & ~mask).sum() <= 0.02 * lower.sum()
    assert (lower & ~render_face(model, frames, index, 192).mask).sum() <= 0.002 * lower.sum()


def test_the_mask_does_not_depend_on_the_expression(model, frames):
    still = frames.with_expression(np.zeros((3, 64), dtype=np.float32))
    for index in range(3):
        np.testing.assert_array_equal(
            lower_face_mask(model, frames, index, 96), lower_face_mask(model, still, index, 96)
        )


def test_the_mask_holds_the_chin_of_a_wide_open_jaw(model, frames):
    opened = render_face(model, frames, 2, 128, region="lower").mask
    same_pose = dataclasses.replace(frames, rotation=frames.rotation[[2] * 3], translation=frames.translation[[2] * 3])
    closed = render_face(model, same_pose, 0, 128, region="lower").mask
    mask = lower_face_mask(model, same_pose, 0, 128)
    lowest = [int(np.flatnonzero(part.any(axis=1))[-1]) for part in (closed, opened, mask)]
    assert lowest[1] > lowest[0] + 5
    assert lowest[2] == lowest[1]


def test_the_silhouette_is_what_would_be_drawn(model, frames):
    window = (10, 40, 128, 128)
    np.testing.assert_array_equal(
        lower_silhouette(model, frames, 1, 128, frames.expression[2], window=window),
        render_face(
            model, frames.with_expression(frames.expression[[2] * 3]), 1, 128, region="lower", window=window
        ).mask,
    )


def test_what_speech_moves_are_lips_cheeks_and_chin_but_not_the_nose(model, frames):
    """Seen from the front, frame 0: the landmarks of mouth and chin lie inside, those of nose and ears' side do not."""
    moved = lower_face_mask(model, frames, 0, 192, region="speech")
    assert not (moved & ~lower_face_mask(model, frames, 0, 192)).any()
    column, row = _landmark_points(model, frames, 0, 192).round().int().numpy().T
    inside = moved[row - 1, column]
    assert inside[[*range(6, 11), *range(48, 68)]].all()
    assert not inside[[0, 16, *range(27, 34)]].any()
    still = frames.with_expression(np.zeros((3, 64), dtype=np.float32))
    np.testing.assert_array_equal(lower_face_mask(model, still, 0, 192, region="speech"), moved)


def test_the_masks_of_the_closed_and_the_open_mouth(model, frames):
    masks = mouth_masks(model, frames, 2, 128, window=(10, 40, 128, 128))
    np.testing.assert_array_equal(
        masks.opened, render_face(model, frames, 2, 128, region="lower", window=(10, 40, 128, 128)).mask
    )
    still = frames.with_expression(np.zeros((3, 64), dtype=np.float32))
    np.testing.assert_array_equal(
        masks.closed, render_face(model, still, 2, 128, region="lower", window=(10, 40, 128, 128)).mask
    )
    np.testing.assert_array_equal(masks.union, masks.closed | masks.opened)
    np.testing.assert_array_equal(masks.union, lower_face_mask(model, frames, 2, 128, window=(10, 40, 128, 128)))
    assert (masks.opened & ~masks.closed).sum() > 100


def test_an_open_mouth_shows_a_dark_inside(model, frames):
    opened = render_face(model, frames, 2, 256)
    points = _landmark_points(model, frames, 2, 256)
    column, row = ((points[62] + points[66]) / 2).round().long().tolist()
    inside = opened.image[row, column].astype(int)
    chin = opened.image[int(points[8, 1]) - 8, int(points[8, 0])].astype(int)
    assert opened.mask[row, column]
    assert inside.sum() < 0.6 * chin.sum()
    assert inside[0] > inside[2]


def test_light_brightens_and_size_only_resamples(model, frames):
    dark = dataclasses.replace(frames, illumination=np.zeros_like(frames.illumination))
    light = frames.illumination * 0
    light[:, [0, 9, 18]] = 0.2
    bright = dataclasses.replace(frames, illumination=light)
    first, second = (render_face(model, part, 0, 64) for part in (dark, bright))
    assert second.image.mean() > 1.1 * first.image.mean()
    large = render_face(model, frames, 0, 128).mask
    assert abs(large.mean() - render_face(model, frames, 0, 64).mask.mean()) < 0.02


def test_compiled_normals_equal_the_model(model):
    vertices = model.compute_vertices(torch.zeros(1, 80), torch.full((1, 64), 0.2))
    compiled = compute_normals(vertices[0].numpy(), model.triangles.numpy())
    np.testing.assert_allclose(compiled, model.compute_normals(vertices)[0].numpy(), atol=2e-5)


def test_it_draws_the_synthetic_model_too():
    small = make_face_model()
    render = render_face(small, make_coefficients(scale=0.1), 0, 48)
    assert render.mask.mean() > 0.1
    assert render_face(small, make_coefficients(scale=0.1), 0, 48, region="lower").mask.mean() < render.mask.mean()


def test_bad_input(model, frames):
    with pytest.raises(ParameterError, match="no row 3 in coefficients of 3 frames"):
        render_face(model, frames, 3, 64)
    with pytest.raises(ParameterError, match="window .* is empty"):
        render_face(model, frames, 0, 64, window=(5, 5, 5, 9))
    with pytest.raises(ParameterError, match="size must be a positive number"):
        lower_face_mask(model, frames, 0, 0, window=(0, 0, 4, 4))
