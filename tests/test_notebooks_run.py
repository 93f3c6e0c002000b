"""All seven notebooks run headless, in order, by plain papermill, from another folder, on the smoke profile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metatalk_lib.paths import NOTEBOOKS_DIR, PARAMS_DIR, STAGES
from metatalk_lib.stage import load_summary
from metatalk_lib.video import probe_video


def run_papermill(stage: str, outputs: Path, work: Path, *extra: str) -> subprocess.CompletedProcess:
    """Plain papermill, as a user would call it, from a folder that is not the project's."""
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS_DIR / f"{stage}.ipynb"), str(work / f"{stage}.ipynb")]
    command += ["-f", str(PARAMS_DIR / "B.yaml"), "-f", str(PARAMS_DIR / "profiles" / "smoke.yaml")]
    command += ["-p", "outputs_dir", str(outputs), "--no-progress-bar", *extra]
    return subprocess.run(command, capture_output=True, text=True, cwd=work, check=False, env=os.environ)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a smoke run of character B through all stages."""
    outputs = tmp_path_factory.mktemp("outputs")
    work = tmp_path_factory.mktemp("elsewhere")
    for stage in STAGES:
        result = run_papermill(stage, outputs, work)
        assert result.returncode == 0, f"{stage}:\n{result.stderr[-3000:]}"
    return outputs


@pytest.mark.slow
def test_every_stage_leaves_its_summary(outputs: Path):
    for stage in STAGES:
        summary = load_summary(outputs, "B", stage)
        assert summary["parameters"]["character"] == "B"
        assert summary["inputs"], f"{stage} read nothing?"


@pytest.mark.slow
def test_the_finished_video_keeps_the_sources_rate_and_size(outputs: Path):
    source = probe_video(Path(next(iter(load_summary(outputs, "B", "01_crop")["inputs"]))))
    for name in ("talk_held_out", "talk_driving"):
        video = probe_video(outputs / "B" / "05_neural_renderer" / f"{name}.mp4")
        assert (video.width, video.height, video.fps) == (source.width, source.height, source.fps)
        assert video.has_audio


@pytest.mark.slow
def test_a_missing_earlier_stage_is_named(tmp_path: Path):
    result = run_papermill("03_reconstruction", tmp_path / "outputs", tmp_path)
    assert result.returncode != 0
    assert "is not finished for character B" in result.stderr
    assert not (tmp_path / "outputs" / "B" / "03_reconstruction" / "summary.json").exists()


@pytest.mark.slow
def test_an_unknown_parameter_stops_plain_papermill(tmp_path: Path):
    result = run_papermill("01_crop", tmp_path / "outputs", tmp_path, "-p", "studio_secnds", "1.0")
    assert result.returncode != 0
    assert "Did you mean `studio_seconds`?" in result.stderr
