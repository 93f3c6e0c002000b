"""The open regressor: its points lie on the face model, its views are what they say, its answers are near the truth."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.networks.dense_landmark_net import VIEW_PX, DenseLandmarkNet
from metatalk_lib.reconstruction import dense_landmarks
from metatalk_lib.reconstruction.dense_landmarks import (
    FACE_SIDE_DM,
    align_to_template,
    choose_points,
    cut_views,
    load_regressor,
    mean_template,
    predict_points,
    warp_view,
)
from metatalk_lib.tracking.landmarks import MOUTH


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def template(model):
    return mean_template(model)


def test_points_are_symmetric_and_hold_the_landmarks(model):
    points = choose_points(model)
    places = points.matrix @ model.mean_shape.numpy()
    np.testing.assert_array_equal(points.mirror[points.mirror], np.arange(len(places)))
    np.testing.assert_allclose(places[points.mirror], places * (-1, 1, 1), atol=1e-4)
    np.testing.assert_allclose(places[points.landmark], model.landmark_matrix @ model.mean_shape, atol=1e-5)
    assert (points.landmark[:48] < points.face_count).all()
    assert (points.landmark[48:] >= points.face_count).all()


def test_points_are_spread_over_the_face(model):
    places = choose_points(model).matrix @ model.mean_shape.numpy()
    surface = (model.subdivision @ model.mean_shape).numpy()[::7]
    nearest = np.linalg.norm(surface[:, None] - places[None], axis=-1).min(axis=1)
    assert nearest.max() < 0.2  # dm
    mouth = (model.landmark_matrix @ model.mean_shape).numpy()[MOUTH]
    assert (np.linalg.norm(places[:, None] - mouth[None], axis=-1).min(axis=1) < 0.1).sum() >= 60


def test_a_turned_and_scaled_template_is_found_again(template):
    angle, scale = 0.3, 140.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found, found_scale = align_to_template(scale * template @ turn.T + (300, 200), template)
    np.testing.assert_allclose(found, turn, atol=1e-9)
    assert found_scale == pytest.approx(scale)


def test_views_show_what_their_maps_say(template):
    scale = 170.0
    landmarks = scale * template + (256, 250)
    image = np.zeros((512, 512, 3), dtype=np.uint8)
    x, y = np.rint(landmarks[30]).astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    views = cut_views(image, landmarks, template)
    assert np.linalg.norm(views.face_to_picture[:, 0]) == pytest.approx(scale * FACE_SIDE_DM / 2)
    half_sides = np.linalg.solve(views.face_to_picture[:, :2], landmarks[30] - views.face_to_picture[:, 2])
    expected = (half_sides + 1) * VIEW_PX / 2 - 0.5
    weight = views.face.sum(axis=-1).astype(float)
    rows, columns = np.indices(weight.shape)
    centre = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(centre, expected, atol=0.5)
    np.testing.assert_allclose(views.mouth_to_picture[:, 2], landmarks[MOUTH].mean(0))
    assert views.mouth.shape == (VIEW_PX, VIEW_PX, 3)


def test_a_coarse_view_averages():
    stripes = np.zeros((400, 400, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    view = warp_view(stripes, np.array([[150.0, 0, 199.5], [0, 150.0, 199.5]]), 50)
    assert view.std() < 12
    assert abs(view.mean() - 127.5) < 3


def test_another_number_of_frames_is_refused(model):
    network = DenseLandmarkNet(168, 81).eval()
    frames = [np.zeros((64, 64, 3), dtype=np.uint8)] * 2
    landmarks = np.repeat(30 * mean_template(model)[None] + 32, 3, axis=0).astype(np.float32)
    with pytest.raises(ParameterError, match="2 frames for 3 rows"):
        predict_points(network, model, frames, landmarks)
    with pytest.raises(ParameterError, match="4 frames for 3 rows"):
        predict_points(network, model, frames * 2, landmarks)


def test_missing_and_foreign_weights_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist. Install the project again"):
        load_regressor(tmp_path / "none.safetensors")
    save_weights(tmp_path / "foreign.safetensors", {"weight": torch.zeros(3)})
    with pytest.raises(DataError, match="holds no face regressor"):
        load_regressor(tmp_path / "foreign.safetensors")
    sizes = {"face_points": torch.tensor(3), "mouth_points": torch.tensor(2)}
    save_weights(tmp_path / "empty.safetensors", sizes)
    with pytest.raises(DataError, match="does not fit the face regressor"):
        load_regressor(tmp_path / "empty.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match="does not hold the expected weights"):
        load_regressor(tmp_path / "torn.safetensors")


def test_the_card_stands_beside_the_weights():
    assert dense_landmarks.WEIGHTS_PATH.stat().st_size <= 12e6
    assert "never trained on" in dense_landmarks.WEIGHTS_PATH.with_suffix(".md").read_text("utf-8")
