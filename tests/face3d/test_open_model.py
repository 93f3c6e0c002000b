"""The real model. Its first test in a fresh cache builds it (tens of seconds)."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError
from metatalk_lib.face3d import open_model
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.open_region import LANDMARK_MIRROR, build_region, shared_border


@pytest.fixture(scope="module")
def model():
    return load_face_model()


@pytest.fixture(scope="module")
def region():
    return build_region()


def _actions(model, **weights: float) -> torch.Tensor:
    row = torch.zeros(1, 52)
    for name, weight in weights.items():
        row[0, model.action_names.index(name)] = weight
    return row @ model.actions_to_expression


def _mirrored(field: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
    return field[..., mirror, :] * torch.tensor((-1.0, 1.0, 1.0))


def test_sizes(model):
    assert model.identity_basis.shape[0] == 80
    assert model.expression_basis.shape[0] == 64
    assert model.texture_basis.shape[0] == 80
    assert 31_000 < model.vertex_count < 36_000
    assert model.triangles.max() < model.vertex_count
    assert model.mean_shape.shape[0] < 3000


def test_mean_face_is_centred_and_human_sized(model):
    surface = model.compute_vertices(torch.zeros(1, 80), torch.zeros(1, 64))[0]
    assert surface.mean(dim=0).abs().max() < 0.05
    width, height, _ = (surface.max(dim=0).values - surface.min(dim=0).values).tolist()
    assert 1.3 < width < 1.7  # decimetres
    assert 1.7 < height < 2.1


def test_the_surface_is_one_piece_facing_outwards(model):
    surface = model.compute_vertices(torch.zeros(1, 80), torch.zeros(1, 64))
    normals = model.compute_normals(surface)[0]
    assert (normals * surface[0]).sum(dim=-1).gt(0).float().mean() > 0.8
    reached = torch.zeros(model.vertex_count, dtype=torch.bool)
    reached[0] = True
    count = 0
    while int(reached.sum()) != count:
        count = int(reached.sum())
        reached[model.triangles[reached[model.triangles].any(dim=1)]] = True
    assert reached.all()


def test_mean_and_modes_are_mirror_symmetric(model):
    torch.testing.assert_close(_mirrored(model.mean_shape, model.base_mirror), model.mean_shape, atol=1e-6, rtol=0)
    torch.testing.assert_close(model.mean_texture[model.mirror], model.mean_texture, atol=1e-6, rtol=0)
    for basis, reflected in (
        (model.identity_basis, _mirrored(model.identity_basis, model.base_mirror)),
        (model.expression_basis, _mirrored(model.expression_basis, model.base_mirror)),
        (model.texture_basis, model.texture_basis[:, model.mirror]),
    ):
        scale = basis.abs().amax()
        even = (reflected - basis).abs().amax(dim=(1, 2))
        odd = (reflected + basis).abs().amax(dim=(1, 2))
        assert (torch.minimum(even, odd) < 1e-5 * scale).all()
    identity_odd = (_mirrored(model.identity_basis, model.base_mirror) - model.identity_basis).abs().max()
    assert identity_odd < 1e-6  # both sides of a person are alike


def test_landmarks_are_mirror_images_and_in_their_places(model):
    landmarks = model.compute_landmarks(torch.zeros(1, 80), torch.zeros(1, 64))[0]
    torch.testing.assert_close(landmarks[LANDMARK_MIRROR] * torch.tensor((-1.0, 1, 1)), landmarks, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.landmark_matrix.sum(dim=1), torch.ones(68), atol=1e-5, rtol=0)
    x, y, z = landmarks.T
    assert x[36] < x[39] < 0 < x[42] < x[45]  # the subject's right eye is on the picture's left
    assert y[19] > y[37] > y[30] > y[51] > y[57] > y[8]
    assert int(z.argmax()) == 30  # the tip of the nose
    surface = model.compute_vertices(torch.zeros(1, 80), torch.zeros(1, 64))[0]
    nearest = torch.cdist(landmarks, surface).min(dim=1).values
    assert nearest.max() < 0.03  # on the skin, within 3 mm


def test_inner_lips_sit_on_their_own_lips(model):
    zero = torch.zeros(1, 80)
    closed, opened = (model.compute_landmarks(zero, _actions(model, jawOpen=amount))[0, :, 1] for amount in (0.0, 1.0))
    gap = [(at[[61, 62, 63]] - at[[67, 66, 65]]) for at in (closed, opened)]
    assert gap[0].abs().max() < 0.03
    assert gap[1].min() > 0.15


def test_neutral_expression_is_a_closed_mouth_and_modes_are_standardised(model):
    assert not _actions(model).any()
    actions, _ = open_model.sample_activations(4000, 34, seed=99)
    spread = (torch.from_numpy(actions).float() @ model.actions_to_expression).square().mean(dim=0).sqrt()
    assert 0.7 < float(spread[:8].mean()) < 1.3


def test_expression_modes_reproduce_the_actions(model, region):
    actions = open_model.load_actions(region)
    rebuilt = torch.einsum("ak,kvc->avc", model.actions_to_expression, model.expression_basis).numpy()

    def on_surface(fields):
        return np.stack([region.operator @ field for field in fields])

    error_mm = 100 * np.linalg.norm(on_surface(actions - rebuilt), axis=-1)
    assert error_mm.mean() < 0.05
    assert error_mm.max() < 1.0
    assert 100 * np.linalg.norm(on_surface(actions), axis=-1).max() > 20


def test_unseen_identities_are_reproduced(model, region):
    shapes = open_model.sample_identities(region, 540, open_model.SEED)[500:]
    offsets = shapes - model.mean_shape.numpy()
    flat = np.stack([(region.operator @ mode).ravel() for mode in model.identity_basis.numpy()])
    target = np.stack([(region.operator @ offset).ravel() for offset in offsets])
    coefficients = np.linalg.solve(flat @ flat.T, flat @ target.T).T
    error_mm = 100 * np.linalg.norm((target - coefficients @ flat).reshape(len(offsets), -1, 3), axis=-1)
    assert error_mm.mean() < 0.5
    assert 0.8 < coefficients.std() < 1.3


def test_the_mouth_plug_closes_the_hole(model):
    border = {}
    for triangle in torch.cat((model.triangles, model.mouth_interior_triangles)).tolist():
        for a, b in zip(triangle, triangle[1:] + triangle[:1], strict=True):
            border[(a, b)] = border.get((a, b), 0) + 1
    assert max(border.values()) == 1  # no edge is used twice in one direction: orientations agree
    rim = set(model.mouth_interior_triangles.unique().tolist())
    assert not [edge for edge in border if edge[::-1] not in border and set(edge) <= rim]


def test_lower_face_has_the_mouth_but_not_the_eyes(model):
    surface = model.compute_vertices(torch.zeros(1, 80), torch.zeros(1, 64))[0]
    landmarks = model.compute_landmarks(torch.zeros(1, 80), torch.zeros(1, 64))[0]
    lower = surface[model.triangles[model.lower_face].unique()]
    assert lower[:, 1].max() < landmarks[[40, 41, 46, 47], 1].min()
    assert lower[:, 1].min() == surface[:, 1].min()
    assert 0.3 < model.lower_face.float().mean() < 0.7


def test_skin_colours_are_plausible(model):
    assert model.mean_texture.min() > 0.02
    assert model.mean_texture.max() < 0.95
    red, green, blue = model.mean_texture.mean(dim=0)
    assert red > green > blue
    dark, pale = (model.compute_texture(torch.eye(80)[:1] * sign)[0].mean() for sign in (-2.0, 2.0))
    assert abs(float(dark - pale)) > 0.2  # the first mode is the tone of the skin


def test_a_border_that_is_not_one_loop_is_refused():
    quads = np.array([(0, 1, 2, 3)])
    with pytest.raises(DataError, match="not one closed loop"):
        shared_border(quads, np.array([(1, 0, 4, 5)]))


@pytest.mark.slow
def test_building_again_gives_the_same_model(model):
    arrays = open_model.build_open_face_model()
    for name in ("mean_shape", "identity_basis", "expression_basis", "texture_basis", "actions_to_expression"):
        np.testing.assert_allclose(arrays[name], getattr(model, name).numpy(), atol=2e-5, err_msg=name)
    np.testing.assert_array_equal(arrays["triangles"], model.triangles.numpy())
