"""A stage's folder, inputs, and the summary that marks it finished."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core.artifacts import load_json, sha256_file
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import resolve_path
from metatalk_lib.core.stage import load_summary, open_stage
from metatalk_lib.core.stage_configs import CropConfig, PseudoVideoConfig


def test_summary_records_parameters_inputs_and_figures(tmp_path: Path):
    source = tmp_path / "source.bin"
    source.write_bytes(b"abc")
    stage = open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path), seed=3, threads=1))
    stage.external_input(source)
    stage.lap("reading")
    stage.finish(counts={"frames": np.int64(7)}, metrics={"error_px": np.float32(0.5), "list": [1, (2.0,)]})
    summary = load_summary(tmp_path, "A", "01_crop")
    assert summary["parameters"]["seed"] == 3
    assert summary["inputs"] == {str(source): sha256_file(source)}
    assert summary["counts"] == {"frames": 7}
    assert summary["metrics"] == {"error_px": 0.5, "list": [1, [2.0]]}
    assert set(summary["timings_s"]) == {"reading", "total"}
    assert summary["versions"]["torch"].startswith("2.13")


def test_the_fingerprint_tells_parameters_and_inputs(tmp_path: Path):
    (tmp_path / "source.bin").write_bytes(b"abc")
    stages = [open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path), seed=seed, threads=1)) for seed in (3, 3, 4)]
    one, same, other = (stage.fingerprint() for stage in stages)
    assert one == same != other
    stages[0].external_input(tmp_path / "source.bin")
    assert stages[0].fingerprint() != one


def test_reopening_a_stage_takes_its_mark_away(tmp_path: Path):
    config = CropConfig(outputs_dir=str(tmp_path), threads=1)
    open_stage("01_crop", config).finish()
    open_stage("01_crop", config)
    assert not (tmp_path / "A" / "01_crop" / "summary.json").exists()


def test_an_unfinished_earlier_stage_is_named(tmp_path: Path):
    stage = open_stage("02_pseudo_video", PseudoVideoConfig(outputs_dir=str(tmp_path), threads=1))
    with pytest.raises(
        DataError, match=r"02_pseudo_video: 01_crop is not finished for character A.*Run notebooks/01_crop"
    ):
        stage.input("01_crop", "crop.json")


def test_a_missing_file_of_a_finished_stage_is_named(tmp_path: Path):
    open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path), threads=1)).finish()
    stage = open_stage("02_pseudo_video", PseudoVideoConfig(outputs_dir=str(tmp_path), threads=1))
    with pytest.raises(DataError, match=r"crop\.json does not exist"):
        stage.input("01_crop", "crop.json")


def test_figures_that_are_not_finite_are_refused(tmp_path: Path):
    stage = open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path), threads=1))
    with pytest.raises(DataError, match="01_crop: a figure for the summary is nan"):
        stage.finish(metrics={"x": float("nan")})
    assert not (stage.dir / "summary.json").exists()


def test_the_seed_fixes_every_generator(tmp_path: Path):
    config = CropConfig(outputs_dir=str(tmp_path), seed=5, threads=1)
    open_stage("01_crop", config)
    first = (np.random.rand(), torch.rand(1).item())
    open_stage("01_crop", config)
    assert first == (np.random.rand(), torch.rand(1).item())


def test_unwritable_outputs_and_unknown_stages_are_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot create the folder .*Choose another outputs_dir"):
        open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path / "file"), threads=1))
    with pytest.raises(ParameterError, match="no stage `08_x`"):
        open_stage("08_x", CropConfig(outputs_dir=str(tmp_path)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator")
def test_cuda_without_an_accelerator_is_refused(tmp_path: Path):
    with pytest.raises(ParameterError, match="device is cuda, but torch sees no accelerator"):
        open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path), device="cuda"))


def test_relative_paths_count_from_the_project_root():
    assert resolve_path("outputs").parent.joinpath("pyproject.toml").exists()


def test_summary_is_plain_json(tmp_path: Path):
    stage = open_stage("01_crop", CropConfig(outputs_dir=str(tmp_path), threads=1))
    stage.finish()
    assert load_json(stage.dir / "summary.json")["stage"] == "01_crop"
