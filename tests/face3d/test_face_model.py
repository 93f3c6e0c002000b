import dataclasses

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import COEFFICIENT_COUNT, SLICES, Coefficients
from metatalk_lib.face3d.face_model import load_face_model
from tests.synthetic import make_coefficients, make_face_arrays, make_face_model


@pytest.fixture(scope="module")
def model():
    return make_face_model()


def test_the_257_coefficients_are_in_the_documented_order():
    assert COEFFICIENT_COUNT == 257
    sizes = {name: part.stop - part.start for name, part in SLICES.items()}
    assert sizes == {
        "identity": 80,
        "expression": 64,
        "texture": 80,
        "illumination": 27,
        "rotation": 3,
        "translation": 3,
    }
    assert list(SLICES) == list(sizes)
    assert SLICES["translation"].stop == 257


def test_pack_and_files_round_trip(tmp_path):
    coefficients = make_coefficients()
    rows = coefficients.pack()
    assert rows.shape == (4, 257)
    np.testing.assert_array_equal(rows[2, SLICES["expression"]], coefficients.expression[2])
    coefficients.save(tmp_path / "a.npz")
    again = Coefficients.load(tmp_path / "a.npz")
    for field in dataclasses.fields(coefficients):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(coefficients, field.name))
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_select_joins_on_frame_id():
    coefficients = make_coefficients()
    chosen = coefficients.select(np.array([11, 13]))
    np.testing.assert_array_equal(chosen.frame_id, [11, 13])
    np.testing.assert_array_equal(chosen.rotation, coefficients.rotation[[1, 3]])
    np.testing.assert_array_equal(chosen.identity, coefficients.identity)
    with pytest.raises(ParameterError, match="no frame 14; they cover 10 to 13"):
        coefficients.select(np.array([11, 14]))


def test_with_expression_replaces_nothing_else():
    coefficients = make_coefficients()
    changed = coefficients.with_expression(np.zeros((4, 64), dtype=np.float32))
    assert not changed.expression.any()
    np.testing.assert_array_equal(changed.rotation, coefficients.rotation)
    with pytest.raises(ParameterError, match="3 expressions for 4 frames"):
        coefficients.with_expression(np.zeros((3, 64), dtype=np.float32))


def test_frames_must_be_in_order():
    with pytest.raises(ParameterError, match="frame_id must strictly increase"):
        dataclasses.replace(make_coefficients(), frame_id=np.array([1, 2, 2, 3]))


def test_bad_files_are_data_errors(tmp_path):
    coefficients = make_coefficients()
    arrays = {
        "frame_id": coefficients.frame_id,
        "valid": coefficients.valid,
        "landmark_error_px": coefficients.landmark_error_px,
    }
    rows, name = coefficients.pack(), {"face_model": np.array("open")}
    np.savez(tmp_path / "nameless.npz", coefficients=rows, **arrays)
    with pytest.raises(DataError, match="face_model"):
        Coefficients.load(tmp_path / "nameless.npz")
    np.savez(tmp_path / "short.npz", coefficients=rows[:, :256], **arrays, **name)
    with pytest.raises(DataError, match=r"expected \(4, 257\)"):
        Coefficients.load(tmp_path / "short.npz")
    broken = rows.copy()
    broken[1, 100] = np.nan
    np.savez(tmp_path / "nan.npz", coefficients=broken, **arrays, **name)
    with pytest.raises(DataError, match="not finite"):
        Coefficients.load(tmp_path / "nan.npz")
    broken = rows.copy()
    broken[1, 0] += 1
    np.savez(tmp_path / "two.npz", coefficients=broken, **arrays, **name)
    with pytest.raises(DataError, match="identity differs between frames"):
        Coefficients.load(tmp_path / "two.npz")
    with pytest.raises(DataError, match="does not exist"):
        Coefficients.load(tmp_path / "none.npz")
    np.savez(tmp_path / "empty.npz", coefficients=rows[:0], **{key: array[:0] for key, array in arrays.items()}, **name)
    with pytest.raises(DataError, match="no frame at all"):
        Coefficients.load(tmp_path / "empty.npz")


def test_vertices_are_mean_plus_modes(model):
    arrays = make_face_arrays()
    generator = torch.Generator().manual_seed(0)
    identity, expression = torch.randn(3, 80, generator=generator), torch.randn(3, 64, generator=generator)
    vertices = model.compute_vertices(identity, expression)
    expected = (
        arrays["mean_shape"]
        + np.einsum("bk,kvc->bvc", identity.numpy(), arrays["identity_basis"])
        + np.einsum("bk,kvc->bvc", expression.numpy(), arrays["expression_basis"])
    )
    np.testing.assert_allclose(vertices.numpy(), expected, atol=1e-5)


def test_landmarks_equal_the_rows_of_the_control_vertices(model):
    identity, expression = torch.full((1, 80), 0.5), torch.full((1, 64), -0.5)
    base = model.compute_base(identity, expression)[0]
    landmarks = model.compute_landmarks(identity, expression)[0]
    torch.testing.assert_close(landmarks, model.landmark_matrix @ base)
    mean, identity_rows, expression_rows = model.landmark_bases()
    assert (mean.shape, identity_rows.shape, expression_rows.shape) == ((68, 3), (80, 68, 3), (64, 68, 3))
    again = mean + 0.5 * identity_rows.sum(axis=0) - 0.5 * expression_rows.sum(axis=0)
    np.testing.assert_allclose(landmarks.numpy(), again, atol=1e-5)


def test_texture_is_clamped(model):
    assert model.compute_texture(torch.full((1, 80), 100.0)).max() <= 1
    assert model.compute_texture(torch.full((1, 80), 100.0)).min() >= 0
    torch.testing.assert_close(model.compute_texture(torch.zeros(1, 80))[0], model.mean_texture)


def test_normals_of_a_bulging_sheet_face_the_camera(model):
    normals = model.compute_normals(model.mean_shape[None])
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(1, 30), atol=1e-5, rtol=0)
    assert (normals[..., 2] > 0).all()


def test_everything_is_differentiable(model):
    identity = torch.randn(2, 80, requires_grad=True)
    expression = torch.randn(2, 64, requires_grad=True)
    vertices = model.compute_vertices(identity, expression)
    (vertices * model.compute_normals(vertices)).sum().backward()
    assert identity.grad.abs().sum() > 0
    step = 1e-2
    direction = torch.randn(2, 64)
    with torch.no_grad():

        def value(at):
            moved = model.compute_vertices(identity, at)
            return float((moved * model.compute_normals(moved)).sum())

        numeric = (value(expression + step * direction) - value(expression - step * direction)) / (2 * step)
    assert numeric == pytest.approx(float((expression.grad * direction).sum()), rel=2e-2, abs=1e-2)


def test_an_unknown_model_is_named():
    with pytest.raises(ParameterError, match="no face model 'bfm'"):
        load_face_model("bfm")
