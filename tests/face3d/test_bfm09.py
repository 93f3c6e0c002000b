import dataclasses
from types import MappingProxyType

import numpy as np
import pytest
import torch
from scipy import ndimage

from metatalk_lib.core import assets
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d import bfm09, camera
from metatalk_lib.face3d.bfm09 import PUBLISHED, build_bfm09_model, load_expression_modes
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.face3d.face_renderer import expression_open_mouth, lower_face_mask, render_face
from metatalk_lib.reconstruction.priors import speech_covariance
from tests.synthetic import make_coefficients, make_face_arrays
from tests.synthetic_bfm import FILE_NAMES, SHIFT, make_bfm_content, write_bfm_files


@pytest.fixture(scope="module")
def content():
    return MappingProxyType(make_bfm_content()[0])


@pytest.fixture(scope="module")
def layout():
    return make_bfm_content()[1]


@pytest.fixture(scope="module")
def files(content, tmp_path_factory):
    return MappingProxyType(write_bfm_files(tmp_path_factory.mktemp("bfm"), dict(content)))


@pytest.fixture(scope="module")
def arrays(files, layout):
    return build_bfm09_model(files, layout)


@pytest.fixture(scope="module")
def model(arrays):
    return FaceModel(arrays, action_names=())


@pytest.fixture
def placed(files, layout, tmp_path, monkeypatch):
    """The assets point to the small files, the cache is empty, and a stored model is forgotten."""
    table = tuple(
        dataclasses.replace(asset, path=files[asset.name], sha256_prefix="") if asset.name in files else asset
        for asset in assets.ASSETS
    )
    monkeypatch.setattr(assets, "ASSETS", table)
    monkeypatch.setenv("METATALK_CACHE", str(tmp_path))
    monkeypatch.setattr(bfm09, "PUBLISHED", layout)
    load_face_model.cache_clear()
    yield tmp_path
    load_face_model.cache_clear()


def _published_vertex(content, vertex, identity, expression, divisor):
    """One vertex of the crop computed from the files' numbers, row by row as the public description has it."""
    row = int(content["bfm_front_idx"]["idx"][vertex, 0]) - 1
    head_row = int(content["bfm_exp_idx"]["trimIndex"][row, 0]) - 1
    head, point = content["bfm09"], []
    for axis in range(3):
        at, moved = 3 * head_row + axis, 3 * row + axis
        value = float(head["shapeMU"][at, 0])
        value += sum(head["shapePC"][at, k] * head["shapeEV"][k, 0] * identity[k] for k in range(80))
        value += sum(content["exp_pca"][1 + k, moved] * content["exp_std"][k] * expression[k] for k in range(64))
        point.append(value / divisor)
    return np.array(point)


# -------------------------------------------------------------------------------------------------------------- arrays


def test_the_published_sizes():
    assert dataclasses.astuple(PUBLISHED) == (53490, 53215, 35709, 70789, 199, 79)
    assert 4 + 3 * 4 * PUBLISHED.trimmed_vertices * (1 + PUBLISHED.expression_modes) == 51_086_404


def test_vertices_are_those_of_the_files_but_for_the_centre(content, model, arrays):
    generator = np.random.default_rng(3)
    identity, expression = generator.standard_normal(80), generator.standard_normal(64)
    vertices = model.compute_vertices(
        torch.from_numpy(identity).float()[None], torch.from_numpy(expression).float()[None]
    )[0].numpy()
    for vertex in (0, 7, 700, len(vertices) - 1):
        published = _published_vertex(content, vertex, identity, expression, 1e5)
        np.testing.assert_allclose(vertices[vertex] + arrays["published_centre"], published, atol=1e-5)
    np.testing.assert_allclose(arrays["mean_shape"].mean(axis=0), 0, atol=1e-6)
    assert np.abs(arrays["published_centre"]).max() > 0.3


def test_texture_is_that_of_the_files_in_the_unit_interval(content, model):
    texture = np.random.default_rng(4).standard_normal(80)
    computed = model.compute_texture(torch.from_numpy(texture).float()[None])[0].numpy()
    head = content["bfm09"]
    for vertex in (0, 123, len(computed) - 1):
        row = int(content["bfm_exp_idx"]["trimIndex"][int(content["bfm_front_idx"]["idx"][vertex, 0]) - 1, 0]) - 1
        part = slice(3 * row, 3 * row + 3)
        expected = head["texMU"][part, 0] + head["texPC"][part, :80] @ (head["texEV"][:80, 0] * texture)
        np.testing.assert_allclose(computed[vertex], expected.clip(0, 255) / 255, atol=1e-5)


def test_landmarks_are_the_keypoints(content, model):
    landmarks = model.compute_landmarks(torch.zeros(1, 80), torch.zeros(1, 64))[0]
    keypoints = torch.from_numpy(content["facemodel_info"]["keypoints"][0].astype(np.int64) - 1)
    torch.testing.assert_close(landmarks, model.mean_shape[keypoints])
    assert landmarks[0, 0] < landmarks[16, 0]


@pytest.mark.parametrize("clockwise", [False, True])
def test_triangles_face_outwards_however_they_are_published(clockwise, tmp_path):
    content, layout = make_bfm_content(clockwise=clockwise)
    arrays = build_bfm09_model(write_bfm_files(tmp_path, content), layout)
    corner = arrays["mean_shape"][arrays["triangles"]]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert (normal[:, 2] > 0).all()
    assert arrays["published_normals_sign"] == (-1 if clockwise else 1)


def test_the_lower_face_is_every_triangle_that_reaches_below_the_centre(model):
    below = model.mean_shape[model.triangles][..., 1].amin(dim=1) < 0
    torch.testing.assert_close(model.lower_face, below)
    assert 0.3 < model.lower_face.float().mean() < 0.7


def test_mirror_partners_are_the_nearest_vertices(model):
    mirrored = model.mean_shape[model.mirror] * torch.tensor([-1.0, 1.0, 1.0])
    assert (mirrored - model.mean_shape).norm(dim=1).max() < 0.05
    torch.testing.assert_close(model.base_mirror, model.mirror)


def test_the_plug_closes_the_mouth_and_nothing_else(model):
    def border(triangles):
        edges = torch.cat([triangles[:, [i, (i + 1) % 3]] for i in range(3)]).tolist()
        known = set(map(tuple, edges))
        return {(a, b) for a, b in known if (b, a) not in known}

    open_edges = border(model.triangles)
    closed_edges = border(torch.cat((model.triangles, model.mouth_interior_triangles)))
    filled = open_edges - closed_edges
    assert closed_edges < open_edges
    points = model.mean_shape + model.published_centre - torch.from_numpy(SHIFT).float()
    rim = points[[a for a, _ in filled]]
    assert rim[:, 0].abs().max() < 0.25
    assert (rim[:, 1] + 0.45).abs().max() < 0.1
    corner = model.mean_shape[model.mouth_interior_triangles]
    assert (torch.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0], dim=1)[:, 2] >= -1e-7).all()


def test_a_mouth_without_a_hole_has_no_plug_and_is_drawn(arrays):
    whole = np.concatenate((arrays["triangles"], arrays["mouth_interior_triangles"]))
    lips = arrays["mean_shape"][arrays["landmark_matrix_indices"]][48:60]
    assert bfm09.fill_mouth(arrays["mean_shape"], whole, lips).shape == (0, 3)
    changed = {
        **arrays,
        "triangles": whole,
        "lower_face": np.ones(len(whole), dtype=bool),
        "mouth_interior_triangles": np.zeros((0, 3), dtype=np.int64),
    }
    closed = FaceModel(changed, action_names=())
    coefficients = make_coefficients(1, scale=0.0)
    assert render_face(closed, coefficients, 0, 64).mask.any()
    assert lower_face_mask(closed, coefficients, 0, 64).any()


# ------------------------------------------------------------------------------------------------- drawing and fitting


def test_the_face_is_drawn_and_its_mouth_is_no_hole(model):
    coefficients = make_coefficients(1, scale=0.0)
    render = render_face(model, coefficients, 0, 128)
    landmarks = model.compute_landmarks(torch.zeros(1, 80), torch.zeros(1, 64))
    pose = (torch.from_numpy(getattr(coefficients, name)) for name in ("rotation", "translation"))
    points = camera.project(camera.transform(landmarks, *pose), 128)[0]
    centre = points[48:].mean(dim=0).round().long()
    assert render.mask[centre[1], centre[0]]
    holes = ndimage.label(ndimage.binary_fill_holes(render.mask) & ~render.mask)[1]
    assert holes == 1  # the eye
    dark = render.image[centre[1], centre[0]].astype(int)
    assert dark[0] < 90
    assert dark[0] > 2 * dark[1]


def test_the_mouth_opens_by_the_rule_of_audiodvp(model):
    opened = expression_open_mouth(model)
    assert opened[0] == -8
    assert not opened[1:].any()
    np.testing.assert_allclose(expression_open_mouth(model, 0.5), opened / 2)
    open_model = FaceModel(make_face_arrays())
    row = open_model.actions_to_expression[open_model.action_names.index("jawOpen")]
    np.testing.assert_array_equal(expression_open_mouth(open_model), row.numpy())


def test_there_are_no_actions_and_the_prior_is_that_of_the_modes(model):
    assert model.action_names == ()
    assert model.actions_to_expression.shape == (0, 64)
    np.testing.assert_array_equal(speech_covariance(model), np.eye(64))


def test_actions_and_their_names_must_agree(arrays):
    with pytest.raises(ParameterError, match="52 names for 0 facial actions"):
        FaceModel(arrays)
    silent = {name: array for name, array in arrays.items() if name != "open_mouth"}
    with pytest.raises(ParameterError, match="without the action jawOpen needs `open_mouth`"):
        FaceModel(silent, action_names=())


# ------------------------------------------------------------------------------------------------------- files


def test_the_model_is_built_once_and_again_when_a_file_changes(placed, files, arrays, monkeypatch):
    model = load_face_model("bfm09")
    np.testing.assert_array_equal(model.mean_shape.numpy(), arrays["mean_shape"])
    (stored,) = placed.glob("face_model_bfm09_v*.npz")
    load_face_model.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(bfm09, "build_bfm09_model", None)  # a second call would fail
        load_face_model("bfm09")
    text = files["exp_std"].read_text()
    try:
        np.savetxt(files["exp_std"], 2 * np.loadtxt(files["exp_std"]))
        load_face_model.cache_clear()
        changed = load_face_model("bfm09")
    finally:
        files["exp_std"].write_text(text)
    torch.testing.assert_close(changed.expression_basis, 2 * model.expression_basis, rtol=1e-5, atol=1e-7)
    assert set(placed.glob("face_model_bfm09_v*.npz")) > {stored}


def test_missing_files_are_named_with_source_licence_and_place(placed, monkeypatch):
    moved = tuple(
        dataclasses.replace(asset, path=placed / asset.path.name) if asset.name in ("bfm09", "exp_pca") else asset
        for asset in assets.ASSETS
    )
    monkeypatch.setattr(assets, "ASSETS", moved)
    with pytest.raises(DataError, match="needs 2 more files: 01_MorphableModel.mat from University of Basel") as caught:
        load_face_model("bfm09")
    assert "Exp_Pca.bin from Juyong/3DFace on GitHub (licence: research only)" in str(caught.value)
    assert f"Place them in {placed}" in str(caught.value)


def test_index_files_are_known_by_their_checksums():
    known = [assets.find_asset(name) for name in ("bfm_front_idx", "bfm_exp_idx", "facemodel_info")]
    assert [asset.sha256_prefix[:8] for asset in known] == ["7d285dd0", "62752a2c", "529398f7"]
    assert [assets.find_asset(name).path.name for name in bfm09.FILES] == list(FILE_NAMES.values())


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "HDF5 file, the form of BFM 2017 and 2019"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), "MATLAB 7.3"),
        (b"<!DOCTYPE html>", "web page"),
        (b"", "cannot be read as a MATLAB 5 file"),
        (b"nonsense" * 100, "cannot be read as a MATLAB 5 file"),
    ],
)
def test_files_of_another_kind_are_told_apart(start, message, files, layout, tmp_path):
    wrong = tmp_path / "01_MorphableModel.mat"
    wrong.write_bytes(start)
    with pytest.raises(DataError, match=f"01_MorphableModel.mat: .*{message}.*University of Basel.*licence: research"):
        build_bfm09_model({**files, "bfm09": wrong}, layout)


def test_a_truncated_matlab_file(files, layout, tmp_path):
    wrong = tmp_path / "BFM_front_idx.mat"
    wrong.write_bytes(files["bfm_front_idx"].read_bytes()[:-1000])
    with pytest.raises(DataError, match="BFM_front_idx.mat: it cannot be read as a MATLAB 5 file"):
        build_bfm09_model({**files, "bfm_front_idx": wrong}, layout)


def _change(name, key, change):
    """Content with one array changed, or left out where `change` is None."""
    content, _ = make_bfm_content()
    if change is None:
        del content[name][key]
    else:
        content[name][key] = change(content[name][key])
    return content


def _first_to(value):
    def change(array):
        array = array.astype(np.float64)
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "key", "change", "message"),
    [
        ("bfm09", "texPC", None, "01_MorphableModel.mat: it has no `texPC`"),
        ("bfm09", "shapePC", lambda a: a[:-3], "`shapePC` is float32 of shape"),
        ("bfm09", "shapeEV", lambda a: a[:-1], r"`shapeEV` is float32 of shape \(82, 1\), expected .* \(83,\)"),
        ("bfm09", "shapeMU", _first_to(np.nan), "`shapeMU` .* expected finite numbers"),
        ("bfm09", "texMU", lambda a: np.array(["text"]), "`texMU` is .* expected finite numbers"),
        ("bfm_front_idx", "idx", _first_to(0), "`idx` runs from 0.0 to"),
        ("bfm_front_idx", "idx", _first_to(1.5), "`idx` runs from .* expected whole numbers"),
        ("bfm_exp_idx", "trimIndex", lambda a: a.astype(int) + 40, "BFM_exp_idx.mat: `trimIndex` runs from"),
        ("facemodel_info", "tri", lambda a: a[:-1], "`tri` is .* expected"),
        ("facemodel_info", "tri", _first_to(10**6), "`tri` runs from .* to 1000000.0"),
        ("facemodel_info", "keypoints", lambda a: a[:, ::-1], "`keypoints` do not mark a face"),
        ("facemodel_info", "keypoints", lambda a: a[:, :51], r"`keypoints` is .* expected .* \(68,\)"),
    ],
)
def test_wrong_content_is_named(name, key, change, message, files, layout, tmp_path):
    changed = write_bfm_files(tmp_path, _change(name, key, change))
    with pytest.raises(DataError, match=message):
        build_bfm09_model({**files, name: changed[name]}, layout)


def test_wrong_expression_files(files, layout, tmp_path):
    good = files["exp_pca"].read_bytes()
    wrong = tmp_path / "Exp_Pca.bin"
    for data, message in (
        (good[:-4], f"Exp_Pca.bin: {len(good) - 4} bytes, expected {len(good)}"),
        (np.array([29], dtype="<i4").tobytes() + good[4:], "29 modes, expected 66"),
        (good[:-4] + good[:4], None),  # a value of a mode that is not used
        (good[: 4 + 16 * layout.trimmed_vertices] + b"\xff" * (len(good) - 4 - 16 * layout.trimmed_vertices), "finite"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
    ):
        wrong.write_bytes(data)
        if message is None:
            assert load_expression_modes(wrong, files["exp_std"], layout).shape == (64, layout.trimmed_vertices, 3)
        else:
            with pytest.raises(DataError, match=message):
                load_expression_modes(wrong, files["exp_std"], layout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.0 2.0", "std_exp.txt: 2 numbers, the smallest 1.0, expected 66 above 0"),
        ("1.0 " * 65 + "-1", "66 numbers, the smallest -1.0"),
        ("404: Not Found", "cannot be read as numbers"),
        ("<html>", "web page"),
        ("", "0 numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_wrong_deviations(text, message, files, layout, tmp_path):
    wrong = tmp_path / "std_exp.txt"
    wrong.write_text(text)
    with pytest.raises(DataError, match=message):
        load_expression_modes(files["exp_pca"], wrong, layout)
