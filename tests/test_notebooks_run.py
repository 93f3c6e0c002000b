"""All seven notebooks run headless, in order, by plain papermill, from another folder, on the smoke profile."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
import soundfile

from benchmarks.resume import checksums, compare, kill_and_rerun
from metatalk_lib.core.notebook_runner import explain_run
from metatalk_lib.core.params import load_params
from metatalk_lib.core.paths import NOTEBOOKS_DIR, PARAMS_DIR, STAGES
from metatalk_lib.core.stage import load_summary
from metatalk_lib.core.stage_configs import STAGE_CONFIGS
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED
from metatalk_lib.evaluation.methods import METHODS
from metatalk_lib.media.video import probe_video
from tests.test_cli import assert_one_line_error, metatalk


def run_papermill(stage: str, outputs: Path, work: Path, *extra: str) -> subprocess.CompletedProcess:
    """Plain papermill, as a user would call it, from a folder that is not the project's."""
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS_DIR / f"{stage}.ipynb"), str(work / f"{stage}.ipynb")]
    command += ["-f", str(PARAMS_DIR / "B.yaml"), "-f", str(PARAMS_DIR / "profiles" / "smoke.yaml")]
    command += ["-p", "outputs_dir", str(outputs), "--no-progress-bar", *extra]
    return subprocess.run(command, capture_output=True, text=True, cwd=work, check=False, env=os.environ)


class SmokeRun(NamedTuple):
    """Character B through all stages on the smoke profile: where its outputs are, and how long each stage took."""

    outputs: Path
    seconds: dict[str, float]


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    outputs = tmp_path_factory.mktemp("outputs")
    work = tmp_path_factory.mktemp("elsewhere")
    seconds = {}
    for stage in STAGES:
        started = time.perf_counter()
        result = run_papermill(stage, outputs, work)
        assert result.returncode == 0, f"{stage}:\n{result.stderr[-3000:]}"
        seconds[stage] = time.perf_counter() - started
    return SmokeRun(outputs, seconds)


@pytest.fixture(scope="module")
def outputs(smoke_run: SmokeRun) -> Path:
    return smoke_run.outputs


@pytest.mark.slow
def test_every_stage_leaves_its_summary(outputs: Path):
    for stage in STAGES:
        summary = load_summary(outputs, "B", stage)
        assert summary["parameters"]["character"] == "B"
        assert summary["inputs"], f"{stage} read nothing?"


@pytest.mark.slow
def test_the_evaluation_writes_its_tables_with_controls_and_the_figure(outputs: Path):
    folder = outputs / "B" / "06_evaluation"
    read = {
        path.stem: pd.read_csv(path, dtype=str).set_index("video")
        for path in (folder / f"{name}.csv" for name in ("images", "ssim_variants", "faces", "sync", "lip_sync"))
    }
    for name in ("table2", "controls", "table3", "clips", *read):
        assert {".csv", ".html", ".tex"} <= {path.suffix for path in folder.glob(f"{name}.*")}
    for name, table in read.items():
        assert {GROUND_TRUTH, REENCODED, *CONTROL_ROWS, *METHODS} <= set(table.index), name
    table2 = pd.read_csv(folder / "table2.csv", dtype=str).set_index(["character", "metric"])
    ours = table2.loc["B", "Ours"]
    assert ours["SSIM"] != "–"
    assert ours["LSE-D"] == "–", "an official figure without official weights"
    assert table2.loc[("B", "LSE-D"), "Ours (paper)"] == "9.878"
    assert len(pd.read_csv(folder / "table3.csv", dtype=str)) > 4
    height, width, _ = cv2.imread(str(folder / "figure3.jpg")).shape
    assert min(height, width) > 300


@pytest.mark.slow
def test_a_finished_stage_is_not_run_again(outputs: Path):
    files = PARAMS_DIR / "B.yaml", PARAMS_DIR / "profiles" / "smoke.yaml"
    values = load_params(*files, overrides={"outputs_dir": str(outputs)})
    stale = [stage for stage in STAGES if explain_run(stage, STAGE_CONFIGS[stage].from_values(values))]
    assert not stale


@pytest.mark.slow
def test_the_finished_video_keeps_the_sources_rate_and_size(outputs: Path):
    source = probe_video(Path(next(iter(load_summary(outputs, "B", "01_crop")["inputs"]))))
    for name in ("talk_held_out", "talk_driving"):
        video = probe_video(outputs / "B" / "05_neural_renderer" / f"{name}.mp4")
        assert (video.width, video.height, video.fps) == (source.width, source.height, source.fps)
        assert video.has_audio


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "message"),
    [(np.zeros(0), "is empty"), (np.full(8000, np.nan), "NaN"), (None, "does not exist")],
    ids=["empty", "not a number", "missing"],
)
def test_a_bad_recording_stops_talk_with_one_line(outputs: Path, tmp_path: Path, samples, message: str):
    recording, video = tmp_path / "recording.wav", tmp_path / "finished.mp4"
    if samples is not None:
        soundfile.write(recording, samples, 16000, subtype="FLOAT")
    where = ("--outputs", str(outputs), "--character", "B")
    result = metatalk("talk", *where, "--audio", str(recording), "-o", str(video))
    assert_one_line_error(result, message, str(recording))
    assert [path for path in tmp_path.iterdir() if path != recording] == []


@pytest.mark.slow
def test_talk_ends_with_the_recording_and_keeps_its_rate(outputs: Path, tmp_path: Path):
    """Longer than the source, so that it plays forth and back; spoken noise, then silence."""
    rate, seconds = 22050, 4.33
    samples = 0.2 * np.random.default_rng(0).normal(size=round(rate * seconds))
    samples[40000:] = 0
    soundfile.write(tmp_path / "recording.wav", samples, rate)
    video = tmp_path / "finished.mp4"
    where = ("--outputs", str(outputs), "--character", "B")
    result = metatalk("talk", *where, "--audio", str(tmp_path / "recording.wav"), "-o", str(video))
    assert result.returncode == 0, result.stderr
    info = probe_video(video)
    assert abs(info.frame_count / info.fps - seconds) <= 1 / info.fps
    assert info.audio_rate == rate
    source = probe_video(Path(next(iter(load_summary(outputs, "B", "01_crop")["inputs"]))))
    assert info.frame_count > source.frame_count
    assert "0 px changed outside the mask" in result.stdout


@pytest.mark.slow
def test_several_recordings_are_spoken_with_one_load_and_as_previews(outputs: Path, tmp_path: Path):
    recordings = []
    for name, seconds in (("one", 0.5), ("other", 0.7)):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, 0.2 * np.random.default_rng(1).normal(size=round(16000 * seconds)), 16000)
        recordings += ["--audio", str(path)]
    where = ("--outputs", str(outputs), "--character", "B")
    result = metatalk("talk", *where, *recordings, "-o", str(tmp_path / "videos"), "--preview")
    assert result.returncode == 0, result.stderr
    source = probe_video(Path(next(iter(load_summary(outputs, "B", "01_crop")["inputs"]))))
    for name in ("one", "other"):
        video = probe_video(tmp_path / "videos" / f"{name}.mp4")
        assert video.width == source.width // 4 * 2
    refused = metatalk("talk", *where, *recordings, "-o", str(tmp_path / "x.mp4"))
    assert_one_line_error(refused, "2 recordings need a folder")
    refused = metatalk("talk", *where, *recordings[:2], "-o", str(tmp_path / "x.mp4"), "--device", "moon")
    assert_one_line_error(refused, "auto, cpu or cuda")


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "moment"),
    # the first run of 01 takes twice as long, since it compiles what draws the studio
    [("01_crop", 0.4), ("02_pseudo_video", 0.7), ("05_neural_renderer", 0.7)],
)
def test_a_killed_stage_run_again_ends_in_the_same_artefacts(smoke_run: SmokeRun, stage: str, moment: float):
    """Every stage, at several moments: `make bench-resume`."""
    folder = smoke_run.outputs / "B" / stage
    expected = checksums(folder)
    kill_and_rerun(stage, smoke_run.outputs, moment * smoke_run.seconds[stage])
    assert compare(expected, checksums(folder)) == []
