"""`metatalk compare`: rows, controls, what is refused, and that scoring again gives equal figures."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from metatalk_lib.cli import app
from metatalk_lib.core.errors import DataError, FaceError, ParameterError
from metatalk_lib.evaluation import lse_judge
from metatalk_lib.evaluation.comparison import (
    OPENING_METRICS,
    compare_videos,
    cut_lower_face,
    find_comparison_failures,
    name_videos,
)
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED
from metatalk_lib.evaluation.frechet_judge import FrechetJudge
from metatalk_lib.evaluation.lse_judge import OFFSET, LipSyncJudge
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.syncnet import SyncNet
from tests.face_clips import moving_face

FRAMES = 30


def noise(seconds: float) -> Audio:
    samples = np.random.default_rng(0).normal(0, 0.2, (round(seconds * 16000), 1)).clip(-1, 1)
    return Audio(samples.astype(np.float32), 16000)


@pytest.fixture(scope="module")
def judges() -> dict:
    torch.manual_seed(0)
    return {"lip_sync": LipSyncJudge(SyncNet(0.0625).eval(), is_open=True), "frechet": FrechetJudge()}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A swaying face, and two worse copies of it."""
    folder, frames = tmp_path_factory.mktemp("clips"), moving_face(FRAMES)[0]
    copies = {
        "true": frames,
        "blurred": [cv2.GaussianBlur(frame, (0, 0), 2.5) for frame in frames],
        "backwards": frames[::-1],
    }
    for name, shown in copies.items():
        write_video(folder / f"{name}.mp4", shown, fps=Fraction(25), audio=noise(FRAMES / 25))
    return {name: folder / f"{name}.mp4" for name in copies}


def test_every_video_stands_beside_the_controls(clips: dict[str, Path], judges: dict):
    table = compare_videos({name: clips[name] for name in ("blurred", "backwards")}, clips["true"], **judges)
    assert table.index.tolist() == [GROUND_TRUTH, REENCODED, *CONTROL_ROWS, "blurred", "backwards"]
    assert not table.isna().any().any()
    assert table.loc[GROUND_TRUTH, "SSIM"] == pytest.approx(1)
    assert table.loc[REENCODED, "SSIM in mask"] > table.loc["blurred", "SSIM in mask"]
    assert table.loc["blurred", "sharpness ratio in mask"] < 0.95
    assert table.loc["backwards", "mouth landmark distance, %"] > table.loc["blurred", "mouth landmark distance, %"]
    assert table.loc["static frame", "flicker ratio"] < 1
    assert {"LSE-D (open)", "LSE-C (open)", "offset, frames", "FFD (open)", "likeness"} < set(table.columns)
    again = compare_videos({name: clips[name] for name in ("backwards", "blurred")}, clips["true"], **judges)
    assert table.equals(again.loc[table.index]), "a row depends on the run, or on the order"


def test_one_recording_can_judge_all(clips: dict[str, Path], judges: dict, tmp_path: Path, monkeypatch):
    heard = []
    embed = lse_judge.embed_clip
    monkeypatch.setattr(lse_judge, "embed_clip", lambda *given: heard.append(given[2][:9].tolist()) or embed(*given))

    write_audio(tmp_path / "other.wav", Audio(noise(FRAMES / 25).samples[::-1].copy(), 16000))
    compare_videos({"blurred": clips["blurred"]}, clips["true"], audio=tmp_path / "other.wav", **judges)
    assert len(heard) == 3
    assert heard[0] == heard[1] == heard[2]


def test_videos_that_differ_are_refused_with_both_values(clips: dict[str, Path], judges: dict, tmp_path: Path):
    frames = moving_face(FRAMES)[0]
    write_video(tmp_path / "short.mp4", frames[:-2], fps=Fraction(25), audio=noise(1.1))
    write_video(tmp_path / "small.mp4", [frame[:200, :200] for frame in frames], fps=Fraction(25))
    write_video(tmp_path / "fast.mp4", frames, fps=Fraction(30))
    for name, message in (
        ("short", r"short.mp4 has frame_count 28, the reference .*true.mp4 has 30"),
        ("small", r"small.mp4 has width 200, the reference .*true.mp4 has 400"),
        ("fast", r"fast.mp4 has fps 30, the reference .*true.mp4 has 25"),
    ):
        with pytest.raises(DataError, match=message):
            compare_videos({name: tmp_path / f"{name}.mp4"}, clips["true"], **judges)
    with pytest.raises(ParameterError, match="`silence` is a control row"):
        compare_videos({"silence": clips["true"]}, clips["true"], **judges)
    write_video(tmp_path / "one.mp4", frames[:1], fps=Fraction(25))
    with pytest.raises(ParameterError, match="lasts 0.04 s; needed are 1 s"):
        compare_videos({}, tmp_path / "one.mp4", **judges)


def test_sounds_that_judge_nothing_and_faces_that_are_not_there_are_refused(
    clips: dict[str, Path], judges: dict, tmp_path: Path
):
    frames = moving_face(FRAMES)[0]
    silent = Audio(np.zeros((FRAMES * 640, 1), np.float32), 16000)
    write_video(tmp_path / "mute.mp4", frames, fps=Fraction(25), audio=silent)
    write_video(tmp_path / "faceless.mp4", [np.full_like(frames[0], 90)] * FRAMES, fps=Fraction(25), audio=noise(1.2))
    write_audio(tmp_path / "long.wav", noise(3))
    for name, error, message in (
        ("mute", DataError, r"mute.mp4: the sound is silent: its peak is 0 of 32768"),
        ("faceless", FaceError, r"faceless.mp4.*no face"),
    ):
        with pytest.raises(error, match=message):
            compare_videos({name: tmp_path / f"{name}.mp4"}, clips["true"], **judges)
    with pytest.raises(DataError, match=r"true.mp4 shows 1.20 s of picture, its sound lasts 3.00 s"):
        compare_videos({"blurred": clips["blurred"]}, clips["true"], audio=tmp_path / "long.wav", **judges)


def test_rows_are_named_after_files():
    assert name_videos([Path("a/x.mp4"), Path("b/y.mp4")]) == {"x": Path("a/x.mp4"), "y": Path("b/y.mp4")}
    assert list(name_videos([Path("a/x.mp4"), Path("b/x.mp4")])) == ["a/x.mp4", "b/x.mp4"]
    with pytest.raises(ParameterError, match=r"a/x.mp4 is named twice"):
        name_videos([Path("a/x.mp4"), Path("a/x.mp4")])


def test_the_region_is_the_lower_face():
    frames, landmarks = moving_face(1)
    mask = cut_lower_face(landmarks[0], *frames[0].shape[:2])
    mouth, eyes, chin = (landmarks[0, part].mean(axis=0).astype(int) for part in (slice(48, 68), slice(36, 48), [8]))
    assert mask[mouth[1], mouth[0]]
    assert mask[chin[1] - 2, chin[0]]
    assert not mask[eyes[1], eyes[0]]
    assert 0.03 < mask.mean() < 0.4


def test_the_command_prints_and_writes_its_table(clips: dict[str, Path], tmp_path: Path):
    arguments = [str(clips["blurred"]), "--reference", str(clips["true"]), "-o", str(tmp_path / "scores.csv")]
    result = CliRunner().invoke(app, ["compare", *arguments])
    assert result.exit_code == 0, result.output
    assert "SSIM in mask" in result.output
    assert "Controls: clip too short to say." in result.output
    table = pd.read_csv(tmp_path / "scores.csv", index_col=0)
    assert table.index.tolist() == [GROUND_TRUTH, REENCODED, *CONTROL_ROWS, "blurred"]
    assert 0.3 < table.loc["blurred", "SSIM in mask"] < table.loc[REENCODED, "SSIM in mask"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".html", ".tex"}


def test_controls_in_the_wrong_order_are_named(tmp_path: Path):
    rows = [GROUND_TRUTH, REENCODED, *CONTROL_ROWS]
    columns = {"SSIM": 0.5, "SSIM in mask": 0.5, "PSNR in mask, dB": 20.0, "CW-SSIM in mask": 0.4, "flicker ratio": 0.2}
    columns |= {"mouth landmark distance, %": 3.0, "likeness": 0.5, "FFD (open)": 1.0}
    table = pd.DataFrame(columns | {"LSE-D (open)": 9.0, "LSE-C (open)": 1.0, OFFSET: 0.0}, index=rows)
    table.loc[[GROUND_TRUTH, REENCODED]] = (1.0, 1.0, 50.0, 0.9, 1.0, 0.0, 1.0, 0.0, 6.0, 3.0, 0.0)
    table.loc["audio 5 frames late", ["LSE-D (open)", "LSE-C (open)", OFFSET]] = (6.1, 2.9, -5.0)
    table.loc["audio 5 frames early", ["LSE-D (open)", "LSE-C (open)", OFFSET]] = (6.1, 2.9, 5.0)
    table[list(OPENING_METRICS)] = (0.1, 0.3, 7.0)
    table.loc[[GROUND_TRUTH, REENCODED], list(OPENING_METRICS)] = (1.0, 1.0, 0.0)
    table.loc["audio 5 frames late", list(OPENING_METRICS)] = (0.1, 1.0, -5.0)
    table.loc["audio 5 frames early", list(OPENING_METRICS)] = (0.1, 1.0, 5.0)
    write_video(tmp_path / "true.mp4", moving_face(75)[0], fps=Fraction(25))
    assert find_comparison_failures(table, tmp_path / "true.mp4") == []
    table.loc["silence", "likeness"] = 1.0
    table.loc["static frame", "LSE-D (open)"] = 6.0
    table.loc["silence", "opening r"] = 0.95
    table.loc["audio 5 frames early", "best lag, frames"] = 2.0
    said = find_comparison_failures(table, tmp_path / "true.mp4")
    assert len(said) == 1 + 4 + 2
    assert said[0] == "likeness: `silence` scores 1, the re-encoded truth 1"
    assert said[-2:] == [
        "opening r: `silence` scores 0.95, not 0.1 below the truth's 1.00",
        "opening r, best lag: `audio 5 frames early` has its best lag at 2, not at 5",
    ]
