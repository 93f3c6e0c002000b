"""The order of notebook 06: the kept baseline, the verdict on the measures, what the tables get."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metatalk_lib.baselines import audiodvp
from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.stage import open_stage
from metatalk_lib.core.stage_configs import EvaluationConfig
from metatalk_lib.evaluation import audiodvp_baseline, protocol, test_split
from metatalk_lib.evaluation import judges as evaluation_judges
from metatalk_lib.evaluation.cheats import CHEATS
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED
from metatalk_lib.evaluation.face_measures import LANDMARK_DISTANCE, LIKENESS
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.frechet_judge import FrechetJudge
from metatalk_lib.evaluation.judges import Judges
from metatalk_lib.evaluation.lse_judge import LipSyncJudge
from metatalk_lib.evaluation.methods import METHODS
from metatalk_lib.media.audio import Audio, read_audio, write_audio
from metatalk_lib.metrics.intervals import Estimate
from metatalk_lib.metrics.lse import LipSyncError
from metatalk_lib.metrics.mouth_opening_sync import SyncScore
from metatalk_lib.networks.syncnet import SyncNet
from tests import drawn_character as drawn

LOSSES = {"step": [10, 20, 40], "seconds": [3.0, 6.0, 12.5], "reconstruction": [0.3, 0.2, 0.1]}


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges(LipSyncJudge(SyncNet(0.0625).eval(), is_open=True), FrechetJudge())


@pytest.fixture
def stage(tmp_path: Path):
    drawn.make_character(tmp_path, "drawn")
    config = EvaluationConfig(character="drawn", outputs_dir=str(tmp_path), audiodvp_width=4)
    for name in ("01_crop", "03_reconstruction", "05_neural_renderer"):
        save_json(tmp_path / "drawn" / name / "summary.json", {"parameters": {"face_position": "left"}})
    save_json(tmp_path / "drawn" / "05_neural_renderer" / "history.json", LOSSES)
    return open_stage("06_evaluation", config)


def test_the_tail_is_the_test_split(stage):
    tail = protocol.load_tail(stage, stage.config)
    assert tail.start == drawn.HELD_OUT
    assert tail.audio == stage.dir / "recordings" / "held_out.wav"
    assert len(tail.frames) == drawn.FRAMES - drawn.HELD_OUT
    part = stage.config.model_copy(update={"evaluation_seconds": 0.4})
    tail = protocol.load_tail(stage, part)
    sound = read_audio(tail.audio)
    assert len(tail.frames) == 10
    assert len(sound.samples) / sound.rate == pytest.approx(0.4, abs=1e-3)  # the sound of what is compared, no more


def test_all_methods_say_the_tail_and_other_peoples_speech(stage):
    driving = stage.dir.parent / "05_neural_renderer" / "talk_driving.mp4"
    driving.write_bytes(b"video")
    recordings = protocol.write_recordings(stage, stage.config, protocol.load_tail(stage, stage.config))
    assert list(recordings)[:2] == [test_split.HELD_OUT, test_split.DRIVING]
    assert len(recordings) == 2 + stage.config.judging_recordings
    assert recordings[test_split.HELD_OUT][1] == drawn.HELD_OUT
    assert {start for _, start in list(recordings.values())[1:]} == {0}
    made = {"Ours": {name: path for name, (path, _) in recordings.items()}}
    assert test_split.HELD_OUT not in evaluation_judges.leave_out(made, test_split.HELD_OUT)["Ours"]


def test_the_baseline_gets_the_time_that_ours_had(stage):
    ours = audiodvp_baseline.load_renderer_history(stage.input("05_neural_renderer", "history.json"))
    assert protocol.choose_baseline(stage.config, ours).seconds == 0
    equal = stage.config.model_copy(update={"audiodvp_equal_time": True})
    assert protocol.choose_baseline(equal, ours).seconds == 12.5


def test_lips_are_judged_on_the_face_that_was_cropped(stage):
    tail = protocol.load_tail(stage, stage.config)
    assert protocol.load_judges(stage, stage.config, tail).lip_sync.face_position == "left"


def test_a_history_without_times_is_named(stage):
    path = stage.dir.parent / "05_neural_renderer" / "history.json"
    save_json(path, {"step": [10], "reconstruction": [0.1]})
    with pytest.raises(DataError, match="does not tell how long the training took. Run 05_neural_renderer again"):
        audiodvp_baseline.load_renderer_history(path)


def test_a_trained_baseline_is_kept_until_something_changes(stage, monkeypatch: pytest.MonkeyPatch):
    trained = []

    def train(_person, folder, settings, *, device):
        trained.append(settings.steps)
        save_json(folder / "history.json", {"steps": settings.steps})
        return {"steps": settings.steps}

    monkeypatch.setattr(audiodvp, "train", train)
    person, folder = stage.dir.parent, stage.dir / "audiodvp"
    settings = protocol.choose_baseline(stage.config, {})
    for _ in range(2):
        assert audiodvp_baseline.train_baseline(person, folder, settings) == {"steps": 400}
    other = audiodvp.AudioDVPSettings(4, 5, False, 7, 2, 1e-3, 0)
    assert audiodvp_baseline.train_baseline(person, folder, other) == {"steps": 7}
    (stage.dir.parent / "03_reconstruction" / "coefficients.npz").write_bytes(b"another fit")
    audiodvp_baseline.train_baseline(person, folder, other)
    assert trained == [400, 7, 7]


def test_a_baseline_that_cannot_be_trained_fails_with_its_mixtures(stage, monkeypatch: pytest.MonkeyPatch):
    def train(*_arguments: object, **_options: object) -> None:
        raise DataError("12 frames are too few to train on.")

    monkeypatch.setattr(audiodvp, "train", train)
    person, folder, failures = stage.dir.parent, stage.dir / "audiodvp", Failures()
    settings = protocol.choose_baseline(stage.config, {})
    history = audiodvp_baseline.train_baseline(person, folder, settings, failures=failures)
    assert list(failures.describe()) == ["AudioDVP", "Our A2E", "High definition"]
    row, curves = audiodvp_baseline.describe_training(history, LOSSES)
    assert (row["steps"], row["seconds"], list(curves)) == (0, 0.0, ["Ours"])
    with pytest.raises(DataError, match="12 frames are too few"):
        audiodvp_baseline.train_baseline(person, folder, settings)


def test_a_silent_tail_has_no_lse_but_a_reason(stage, judges: Judges):
    tail = protocol.load_tail(stage, stage.config)
    write_audio(tail.audio, Audio(np.zeros((10240, 1), np.float32), 16000))
    failures = Failures()
    assert evaluation_judges.judge_original(judges, tail, stage.dir / "videos", failures=failures) == {}
    assert list(failures.describe()) == [GROUND_TRUTH]
    columns = {"SSIM": 0.9}
    images = pd.DataFrame(columns, index=[GROUND_TRUTH, REENCODED, *CONTROL_ROWS])
    assert protocol.collect_controls(judges, {}, images)[GROUND_TRUTH] == columns
    with pytest.raises(DataError):
        evaluation_judges.judge_original(judges, tail, stage.dir / "videos")


def make_clips() -> pd.DataFrame:
    rows = [(name, voice, 5.0 + place, 2.0 - 0.1 * place, 0) for place, name in enumerate(METHODS) for voice in "ab"]
    return pd.DataFrame(rows, columns=["method", "recording", "LSE-D (open)", "LSE-C (open)", "offset, frames"])


def test_scores_hold_intervals_over_clips(judges: Judges):
    scores = evaluation_judges.add_lip_sync({name: {"SSIM": 0.9} for name in METHODS}, make_clips(), judges, seed=0)
    assert scores["ATVG"]["SSIM"] == 0.9
    assert scores["ATVG"]["LSE-D (open)"] == Estimate(5.0, 5.0, 5.0, 2)
    table = evaluation_judges.tabulate_lip_sync(judges, {GROUND_TRUTH: LipSyncError(4.0, 3.0, 0)}, make_clips(), seed=0)
    assert table.index.tolist() == [GROUND_TRUTH, *METHODS]
    assert table.loc["Wav2Lip", "LSE-D (open)"].mean == 6.0


def test_the_verdict_names_every_measure_that_fails(judges: Judges):
    good = {GROUND_TRUTH: LipSyncError(4.0, 3.0, 0), "silence": LipSyncError(8.0, 0.1, 3)}
    bad = {GROUND_TRUTH: LipSyncError(4.0, 3.0, 0), "silence": LipSyncError(3.0, 0.1, 3)}
    sync = {
        "opening": {GROUND_TRUTH: SyncScore(0.9, 0.9, 0, 300), "silence": SyncScore(0.0, 0.0, 0, 300)},
        "envelope": {GROUND_TRUTH: SyncScore(0.5, 0.5, 0, 300), "silence": SyncScore(0.45, 0.5, 0, 300)},
    }
    columns = {"SSIM": 0.9, "SSIM in mask": 0.5, "PSNR in mask, dB": 20.0, "CW-SSIM in mask": 0.4, "flicker ratio": 0.2}
    images = pd.DataFrame(columns, index=[REENCODED, *CONTROL_ROWS])
    images.loc[REENCODED] = (0.97, 0.9, 40.0, 0.9, 0.98)
    columns = {LANDMARK_DISTANCE: 3.0, LIKENESS: 0.9, "FFD (open)": 1.0}
    faces = pd.DataFrame(columns, index=[REENCODED, *CONTROL_ROWS])
    faces.loc[REENCODED] = (0.1, 0.99, 0.01)
    variants = pd.DataFrame({"SSIM uniform": 0.9, "SSIM zero-padded": 0.9}, index=[REENCODED, *CONTROL_ROWS])
    variants.loc[REENCODED] = (0.97, 0.9)
    given = {"images": images, "variants": variants, "faces": faces, "sync": sync}
    verdicts = evaluation_judges.find_judging_failures(judges, 300, Fraction(25), lip_sync=good, **given)
    assert {name for name, failures in verdicts.items() if failures} == {"envelope", "SSIM's variants"}
    assert "SSIM zero-padded: `silence`" in verdicts["SSIM's variants"][3]
    assert evaluation_judges.find_judging_failures(judges, 70, Fraction(25), lip_sync=bad, **given)["LSE"]
    for frame_count, fps in ((69, 25), (167, 60)):
        short = evaluation_judges.find_judging_failures(judges, frame_count, Fraction(fps), lip_sync=bad, **given)
        assert short["LSE"] is None
        assert {short[name] for name in ("images", "SSIM's variants", "faces", "opening's lag")} == {None}
    unjudged = evaluation_judges.find_judging_failures(judges, 300, Fraction(25), lip_sync={}, **given)
    assert unjudged["LSE"] == ["the original cannot be judged"]


def test_the_summary_is_plain_numbers():
    scores = {name: {"LSE-D (open)": Estimate(5.0, 4.0, 6.0, 3), "SSIM": 0.9} for name in METHODS}
    images = pd.DataFrame({"SSIM in mask": 0.5, "SSIM": 0.9}, index=list(CHEATS))
    labels = {name: f"{name} (open weights)" for name in METHODS}
    failures = Failures()
    failures.add("ATVG", "faces", "no face")
    figures = protocol.summarise(scores, labels, images, {"LSE": "in order"}, "true", failures)
    assert figures["failed"] == {"ATVG": "no faces: no face."}
    assert figures["ours"] == {"LSE-D (open)": 5.0, "SSIM": 0.9}
    assert "ATVG (open weights)" in figures
    assert list(figures["cheats_ssim"]) == list(CHEATS)


def test_people_rate_every_method(tmp_path: Path):
    videos = {
        name: {part: tmp_path / f"{name}_{part}.mp4" for part in ("held_out", "driving", "x")} for name in METHODS
    }
    labels = dict(zip(METHODS, METHODS, strict=True))
    clips = protocol.list_clips(videos, labels, tmp_path)
    assert len(clips) == 2 * len(METHODS)
    assert clips[0] == {"method": "ATVG", "audio": "held_out", "file": "ATVG_held_out.mp4"}


def test_loss_curves_run_over_time(stage):
    losses = LOSSES | {"seconds": [2.0, 4.0, 8.0]}
    history = {"label": "AudioDVP", "renderer": losses, "a2e": {"frames": 25}}
    ours = audiodvp_baseline.load_renderer_history(stage.input("05_neural_renderer", "history.json"))
    row, curves = audiodvp_baseline.describe_training({**history, "renderer_frames": 40}, ours)
    assert curves["AudioDVP"][0].tolist() == [0, 2, 4, 8]
    assert curves["Ours"][0].tolist() == [0, 3, 6, 12.5]
    assert (row["steps"], row["seconds"], row["seconds of ours"]) == (40, 8.0, 12.5)
