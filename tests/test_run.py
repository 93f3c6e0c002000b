"""Choosing stages, skipping what is up to date."""

from pathlib import Path

import pytest

from metatalk_lib.errors import ParameterError
from metatalk_lib.params import CropConfig
from metatalk_lib.run import is_up_to_date, select_stages
from metatalk_lib.stage import open_stage


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
    stage = open_stage("01_crop", config)
    stage.external_input(source)
    assert not is_up_to_date("01_crop", config)
    stage.finish()
    assert is_up_to_date("01_crop", config)
    assert not is_up_to_date("01_crop", config.model_copy(update={"seed": 1}))
    source.write_bytes(b"2")
    assert not is_up_to_date("01_crop", config)


def test_a_new_file_in_a_searched_folder_is_a_changed_input(tmp_path: Path):
    corpus = tmp_path / "corpus"
    (corpus / "one").mkdir(parents=True)
    config = CropConfig(outputs_dir=str(tmp_path / "outputs"), threads=1)
    stage = open_stage("01_crop", config)
    stage.external_input(corpus)
    stage.finish()
    assert is_up_to_date("01_crop", config)
    (corpus / "one" / "new.wav").write_bytes(b"1")
    assert not is_up_to_date("01_crop", config)
