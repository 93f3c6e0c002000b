"""Parameters: strict keys, types and files."""

import types
from pathlib import Path

import pytest

from metatalk_lib.core import params
from metatalk_lib.core.errors import ParameterError


def test_unknown_name_is_refused_and_the_nearest_one_named():
    with pytest.raises(ParameterError, match=r"unknown parameter `sede` .* Did you mean `seed`\?"):
        params.CropConfig.from_notebook({"sede": 1})


def test_unknown_name_without_a_near_one_lists_the_valid_ones():
    with pytest.raises(ParameterError, match="Valid names: .*seed"):
        params.check_known({"qqqqqq": 1})


def test_names_of_other_stages_are_known_but_left_out():
    config = params.CropConfig.from_notebook({"character": "B", "pseudo_seconds": 3.0})
    assert config.character == "B"
    assert "pseudo_seconds" not in config.model_dump()


def test_imports_and_private_names_are_no_parameters():
    namespace = {"np": types.ModuleType("np"), "_hidden": 1, "In": [], "CropConfig": params.CropConfig}
    assert params.CropConfig.from_notebook(namespace) == params.CropConfig()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"studio_seconds": "1e-4"}, r"`studio_seconds` is '1e-4' \(str\).*write 1\.0e-4"),
        ({"seed": "7"}, r"`seed` is '7' \(str\)"),
        ({"seed": True}, r"`seed` is True \(bool\)"),
        ({"studio_seconds": -1.0}, "`studio_seconds` is -1.0"),
        ({"face_position": "middle"}, "`face_position` is 'middle'"),
        ({"character": "../A"}, "`character` is '../A'"),
    ],
)
def test_wrong_type_or_value_is_named(values, message):
    with pytest.raises(ParameterError, match=message):
        params.CropConfig.from_values(values)


def test_yaml_slip_is_caught_before_any_stage_runs(tmp_path: Path):
    (tmp_path / "slip.yaml").write_text("studio_seconds: 1e1\n")
    values = params.load_params(tmp_path / "slip.yaml")
    with pytest.raises(ParameterError, match="write 1.0e-4"):
        params.CropConfig.from_values(values)


def test_later_files_and_overrides_win(tmp_path: Path):
    (tmp_path / "one.yaml").write_text("seed: 1\nthreads: 1\n")
    (tmp_path / "two.yaml").write_text("seed: 2\n")
    merged = params.load_params(tmp_path / "one.yaml", tmp_path / "two.yaml", overrides={"threads": 4})
    assert merged == {"seed": 2, "threads": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [("seed: [1]\n", "must be flat"), ("- seed\n", "must be flat"), ("seed: :\n :", "not valid YAML")],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        params.load_params(tmp_path / "bad.yaml")


def test_absent_files_are_named(tmp_path: Path):
    with pytest.raises(ParameterError, match=r"cannot read the parameter file .*nothing\.yaml"):
        params.load_params(tmp_path / "nothing.yaml")
    with pytest.raises(ParameterError, match="no character `Q`.*There are: A, B"):
        params.character_params_path("Q")
    with pytest.raises(ParameterError, match="no profile `fast`.*demo"):
        params.profile_params_path("fast")


def test_same_name_means_the_same_type_and_default_everywhere():
    seen: dict[str, tuple] = {}
    for stage, config in params.STAGE_CONFIGS.items():
        for name, field in config.model_fields.items():
            described = (field.annotation, field.default, field.description)
            assert seen.setdefault(name, described) == described, f"{stage}.{name} differs from another stage's"


def test_every_field_has_a_docstring():
    for config in params.STAGE_CONFIGS.values():
        assert all(field.description for field in config.model_fields.values())
