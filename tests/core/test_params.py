"""Parameters: strict keys, types and files."""

import types
from pathlib import Path

import pytest

from metatalk_lib.core import params, stage_configs
from metatalk_lib.core.errors import ParameterError


def test_unknown_name_is_refused_and_the_nearest_one_named():
    with pytest.raises(ParameterError, match=r"unknown parameter `sede` .* Did you mean `seed`\?"):
        stage_configs.CropConfig.from_notebook({"sede": 1})


def test_unknown_name_without_a_near_one_lists_the_valid_ones():
    with pytest.raises(ParameterError, match="Valid names: .*seed"):
        stage_configs.check_known({"qqqqqq": 1})


def test_names_of_other_stages_are_known_but_left_out():
    config = stage_configs.CropConfig.from_notebook({"character": "B", "pseudo_seconds": 3.0})
    assert config.character == "B"
    assert "pseudo_seconds" not in config.model_dump()


def test_imports_and_private_names_are_no_parameters():
    namespace = {"np": types.ModuleType("np"), "_hidden": 1, "In": [], "CropConfig": stage_configs.CropConfig}
    assert stage_configs.CropConfig.from_notebook(namespace) == stage_configs.CropConfig()


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
        stage_configs.CropConfig.from_values(values)


def test_yaml_slip_is_caught_before_any_stage_runs(tmp_path: Path):
    (tmp_path / "slip.yaml").write_text("studio_seconds: 1e1\n")
    values = params.load_params(tmp_path / "slip.yaml")
    with pytest.raises(ParameterError, match="write 1.0e-4"):
        stage_configs.CropConfig.from_values(values)


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
    for stage, config in stage_configs.STAGE_CONFIGS.items():
        for name, field in config.model_fields.items():
            described = (field.annotation, field.default, field.description)
            assert seen.setdefault(name, described) == described, f"{stage}.{name} differs from another stage's"


def test_every_field_has_a_docstring():
    for config in stage_configs.STAGE_CONFIGS.values():
        assert all(field.description for field in config.model_fields.values())


def test_a_former_name_leads_to_the_present_one():
    with pytest.raises(ParameterError, match="the parameter `edge_weight` is called `renderer_edge_weight` now"):
        stage_configs.check_known({"edge_weight": 1.0})
    known = stage_configs.known_parameters()
    assert set(stage_configs.RENAMED_PARAMETERS.values()) <= known
    assert not set(stage_configs.RENAMED_PARAMETERS) & known


def test_paths_of_a_command_line_count_from_the_working_folder(tmp_path: Path):
    given = {"video": "a.mp4", "outputs_dir": str(tmp_path / "x"), "corpus_dir": "", "seed": 1}
    assert params.count_from(tmp_path, given) == {**given, "video": str(tmp_path / "a.mp4")}
    assert params.count_from(tmp_path, {"video": "studio"}) == {"video": "studio"}
    assert set(params.PATH_PARAMETERS) <= stage_configs.known_parameters()


def test_a_character_of_the_users_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(params, "HOME_DIR", tmp_path)
    packaged = params.character_params_path("A")
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "A.yaml").write_text("character: A\n", "utf-8")
    (tmp_path / "params" / "me.yaml").write_text("character: me\n", "utf-8")
    assert params.character_params_path("A") == tmp_path / "params" / "A.yaml" != packaged
    with pytest.raises(ParameterError, match=r"no character `nobody`: .* There are: A, .*, me"):
        params.character_params_path("nobody")
