"""Choosing stages, skipping what is up to date."""

import json
from pathlib import Path

import pytest

from metatalk_lib.core import notebook_runner, stage
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.notebook_runner import is_up_to_date, select_stages
from metatalk_lib.core.params import CropConfig, EvaluationConfig
from metatalk_lib.core.stage import code_fingerprint, open_stage


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
    assert not is_up_to_date("01_crop", config)
    opened = open_stage("01_crop", config)
    opened.external_input(source)
    assert not is_up_to_date("01_crop", config)
    opened.finish()
    assert is_up_to_date("01_crop", config)
    assert not is_up_to_date("01_crop", config.model_copy(update={"seed": 1}))
    source.write_bytes(b"2")
    assert not is_up_to_date("01_crop", config)


def test_a_file_that_auto_would_take_makes_the_evaluation_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shared = {"outputs_dir": str(tmp_path), "threads": 1}
    configs = {"01_crop": CropConfig(**shared), "06_evaluation": EvaluationConfig(**shared)}
    for name, config in configs.items():
        open_stage(name, config).finish()
        assert is_up_to_date(name, config)
    chosen = dict.fromkeys(("compared_weights", "lip_sync_network", "frechet_network"), "open")
    open_stage("06_evaluation", settled := EvaluationConfig(**shared, character="B", **chosen)).finish()
    monkeypatch.setattr(notebook_runner, "list_placed", lambda: ["syncnet"])
    assert is_up_to_date("01_crop", configs["01_crop"])
    assert is_up_to_date("06_evaluation", settled)
    assert not is_up_to_date("06_evaluation", configs["06_evaluation"])


def test_what_a_run_writes_into_a_notebook_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fingerprint(code: str, text: str = "", outputs: tuple[str, ...] = ()) -> str:
        injected = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": ["seed = 1"]}
        executed = {"cell_type": "code", "metadata": {}, "source": [code], "outputs": outputs}
        cells = [{"cell_type": "markdown", "source": [text]}, executed, *([injected] if outputs else [])]
        (tmp_path / "01_crop.ipynb").write_text(json.dumps({"cells": cells}), "utf-8")
        return code_fingerprint.__wrapped__("01_crop")

    monkeypatch.setattr(stage, "NOTEBOOKS_DIR", tmp_path)
    assert fingerprint("a = 1") == fingerprint("a = 1", "Text.", ("1",)) != fingerprint("a = 2")


def test_a_new_file_in_a_searched_folder_is_a_changed_input(tmp_path: Path):
    corpus = tmp_path / "corpus"
    (corpus / "one").mkdir(parents=True)
    config = CropConfig(outputs_dir=str(tmp_path / "outputs"), threads=1)
    opened = open_stage("01_crop", config)
    opened.external_input(corpus)
    opened.finish()
    assert is_up_to_date("01_crop", config)
    (corpus / "one" / "new.wav").write_bytes(b"1")
    assert not is_up_to_date("01_crop", config)
