"""Choosing stages, skipping what is up to date."""

from pathlib import Path

import pytest

from metatalk_lib.core import notebook_runner
from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.notebook_runner import explain_run, run_character, select_stages
from metatalk_lib.core.stage import open_stage
from metatalk_lib.core.stage_configs import CropConfig, EvaluationConfig, ReconstructionConfig


def test_stages_are_selected_by_number_or_name():
    assert select_stages("03", "04_audio_to_expression") == ("03_reconstruction", "04_audio_to_expression")
    assert len(select_stages()) == 7


def test_wrong_selections_are_refused():
    with pytest.raises(ParameterError, match="no stage `09`"):
        select_stages("09")
    with pytest.raises(ParameterError, match="comes before"):
        select_stages("05", "02")


def test_up_to_date_means_same_parameters_and_inputs(tmp_path: Path):
    source = tmp_path / "video.bin"
    source.write_bytes(b"1")
    config = CropConfig(outputs_dir=str(tmp_path), threads=1)
    assert explain_run("01_crop", config)
    opened = open_stage("01_crop", config)
    opened.external_input(source)
    assert explain_run("01_crop", config)
    opened.finish()
    assert not explain_run("01_crop", config)
    assert explain_run("01_crop", config.model_copy(update={"seed": 1}))
    source.write_bytes(b"2")
    assert explain_run("01_crop", config)


def test_a_file_that_auto_would_take_makes_the_evaluation_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shared = {"outputs_dir": str(tmp_path), "threads": 1}
    configs = {"01_crop": CropConfig(**shared), "06_evaluation": EvaluationConfig(**shared)}
    for name, config in configs.items():
        open_stage(name, config).finish()
        assert not explain_run(name, config)
    chosen = dict.fromkeys(("compared_weights", "lip_sync_network", "frechet_network"), "open")
    open_stage("06_evaluation", settled := EvaluationConfig(**shared, character="B", **chosen)).finish()
    monkeypatch.setattr(notebook_runner, "list_placed", lambda: ["syncnet"])
    assert not explain_run("01_crop", configs["01_crop"])
    assert not explain_run("06_evaluation", settled)
    assert explain_run("06_evaluation", configs["06_evaluation"])


def test_a_run_says_why_a_stage_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    config, source = CropConfig(outputs_dir=str(tmp_path), threads=1), tmp_path / "video.bin"
    assert explain_run("01_crop", config) == "not finished yet"
    source.write_bytes(b"1")
    opened = open_stage("01_crop", config)
    opened.external_input(source)
    summary = opened.finish()
    assert explain_run("01_crop", config.model_copy(update={"crop_size": 768})) == "crop_size is 768, was 0"
    source.write_bytes(b"2")
    assert explain_run("01_crop", config) == f"{source} changed since"
    source.unlink()
    assert explain_run("01_crop", config) == f"{source} is gone"
    save_json(opened.dir / "summary.json", {**summary, "code": "an older digest"})
    assert explain_run("01_crop", config) == "finished by an earlier version"
    older = {**summary["code"], "metatalk_lib/media/audio.py": "0"}
    save_json(opened.dir / "summary.json", {**summary, "code": older})
    assert explain_run("01_crop", config) == "metatalk_lib/media/audio.py changed since"
    monkeypatch.setattr(notebook_runner, "execute_stage", lambda stage, config: None)
    open_stage("03_reconstruction", ReconstructionConfig(outputs_dir=str(tmp_path), threads=1)).finish()
    capsys.readouterr()
    run_character({"outputs_dir": str(tmp_path), "threads": 1}, ("01_crop", "02_pseudo_video", "03_reconstruction"))
    assert capsys.readouterr().out.splitlines() == [
        "01_crop (A): running: metatalk_lib/media/audio.py changed since",
        "02_pseudo_video (A): running: not finished yet",
        "03_reconstruction (A): running: 02_pseudo_video was run again",
    ]


def test_a_new_file_in_a_searched_folder_is_a_changed_input(tmp_path: Path):
    corpus = tmp_path / "corpus"
    (corpus / "one").mkdir(parents=True)
    config = CropConfig(outputs_dir=str(tmp_path / "outputs"), threads=1)
    opened = open_stage("01_crop", config)
    opened.external_input(corpus)
    opened.finish()
    assert not explain_run("01_crop", config)
    (corpus / "one" / "new.wav").write_bytes(b"1")
    assert explain_run("01_crop", config)
