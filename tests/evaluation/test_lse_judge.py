"""LSE of videos: which frames and which sound are judged, controls, and what is refused."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError, FaceError, ParameterError
from metatalk_lib.evaluation import lse_judge
from metatalk_lib.evaluation.controls import find_lse_failures
from metatalk_lib.evaluation.face_measures import follow_face
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.lse_judge import (
    LipSyncJudge,
    average_tracks,
    embed_video,
    frame_count_at_25,
    frames_at_25,
    load_judge,
    score_controls,
    score_videos,
)
from metatalk_lib.evaluation.syncnet_tracks import FaceTrack
from metatalk_lib.media.audio import Audio
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics.lse import EmbeddedClip, LipSyncError, score_clip
from metatalk_lib.networks.s3fd import S3FDSyncNet
from metatalk_lib.networks.syncnet import SyncNet
from tests.face_clips import moving_face, wall

FRAMES = 40


def noise(seconds: float, level: float = 0.3) -> Audio:
    samples = np.random.default_rng(0).normal(0, level, (round(seconds * 16000), 1)).clip(-1, 1)
    return Audio(samples.astype(np.float32), 16000)


@pytest.fixture(scope="module")
def judge() -> LipSyncJudge:
    torch.manual_seed(0)
    return LipSyncJudge(SyncNet(0.0625).eval(), is_open=True)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "face.mp4"
    write_video(path, moving_face(FRAMES)[0], fps=Fraction(25), audio=noise(FRAMES / 25))
    return path


def test_a_video_is_seen_and_heard_frame_by_frame(judge: LipSyncJudge, video: Path):
    (clip,) = embed_video(judge, video)
    assert clip.seen.shape == clip.heard.shape == (FRAMES - 5, 64)
    assert judge.metrics == ("LSE-D (open)", "LSE-C (open)")
    table = score_videos(judge, {"Ours": {"own": video}})
    assert table.columns.tolist() == ["method", "recording", "LSE-D (open)", "LSE-C (open)", "offset, frames"]
    assert table.loc[0, "LSE-D (open)"] == pytest.approx(score_clip(clip).distance)


def test_a_method_of_which_one_clip_cannot_be_judged_has_no_rows(judge: LipSyncJudge, video: Path, tmp_path: Path):
    silent = tmp_path / "silent.mp4"
    write_video(silent, moving_face(FRAMES)[0], fps=Fraction(25), audio=noise(FRAMES / 25, 0.0))
    videos, failures = {"Ours": {"own": video}, "ATVG": {"own": video, "other": silent}}, Failures()
    table = score_videos(judge, videos, failures=failures)
    assert table["method"].tolist() == ["Ours"]
    assert "the sound is silent" in failures.describe()["ATVG"]
    with pytest.raises(DataError, match="silent"):
        score_videos(judge, videos)


def test_scoring_again_gives_equal_figures(judge: LipSyncJudge, video: Path):
    assert score_clip(embed_video(judge, video)[0]) == score_clip(embed_video(judge, video)[0])


@pytest.mark.parametrize("fps", [Fraction(125, 2), Fraction(50), Fraction(30), Fraction(15)])
def test_other_rates_are_shown_at_25(tmp_path: Path, fps: Fraction):
    count = round(2 * fps)
    frames = [np.full((64, 64, 3), 2 * number, np.uint8) for number in range(count)]
    write_video(tmp_path / "v.mp4", frames, fps=fps)
    assert frame_count_at_25(tmp_path / "v.mp4") == 50
    shown = np.array([frame.mean() / 2 for frame in frames_at_25(tmp_path / "v.mp4")])
    wanted = np.floor((np.arange(50) + 0.5) * float(fps) / 25)
    np.testing.assert_allclose(shown, wanted, atol=0.9)
    part = np.array([frame.mean() / 2 for frame in frames_at_25(tmp_path / "v.mp4", 10, 14)])
    np.testing.assert_allclose(part, shown[10:14])


def test_the_s3fd_recipe_judges_every_track(judge: LipSyncJudge, video: Path, monkeypatch: pytest.MonkeyPatch):
    boxes = np.tile([110.0, 90, 290, 300], (20, 1))
    tracks = [FaceTrack(np.arange(0, 20), boxes), FaceTrack(np.arange(20, 40), boxes)]
    monkeypatch.setattr(lse_judge, "track_faces", lambda *_: tracks)
    with_detector = LipSyncJudge(judge.network, True, detector=S3FDSyncNet())
    clips = embed_video(with_detector, video)
    assert [len(clip.seen) for clip in clips] == [15, 15]
    whole = LipSyncJudge(judge.network, True)
    monkeypatch.undo()
    (tracked,) = embed_video(whole, video)
    torch.testing.assert_close(clips[1].heard, tracked.heard[20:35], rtol=1e-3, atol=1e-3)


def separable_clip(frames: int = 120) -> EmbeddedClip:
    points = torch.randn(frames, 32, generator=torch.Generator().manual_seed(2))
    return EmbeddedClip(points, points + 0.1)


def test_controls_of_a_good_measure_are_in_order(judge: LipSyncJudge, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lse_judge, "embed_speech", lambda *_: torch.full((5, 32), 3.0))
    controls = score_controls(judge, [separable_clip()])
    assert find_lse_failures(controls) == []
    assert controls["audio 5 frames late"].offset == -5
    assert controls["audio 5 frames early"].offset == 5
    assert controls["silence"].confidence < 0.5 * controls["ground truth"].confidence


def test_the_scores_of_face_tracks_are_averaged(judge: LipSyncJudge, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lse_judge, "embed_speech", lambda *_: torch.full((5, 32), 3.0))
    scores = [LipSyncError(4.0, 3.0, 0), LipSyncError(6.0, 1.0, 0), LipSyncError(8.0, 0.5, 6)]
    assert average_tracks(scores) == LipSyncError(6.0, 1.5, 0)
    near, far = separable_clip(), separable_clip(60)
    far = EmbeddedClip(far.seen, far.heard + 1.0)
    alone = [score_controls(judge, [clip])["ground truth"] for clip in (near, far)]
    assert score_controls(judge, [near, far])["ground truth"] == average_tracks(alone)


def test_the_face_that_is_meant_is_followed(video: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def follow(*arguments: object, face_position: str, **options: object) -> object:
        asked.append(face_position)
        return follow_face(*arguments, **options)

    monkeypatch.setattr(lse_judge, "follow_face", follow)
    for position in ("right", "only"):
        embed_video(load_judge("open", face_position=position), video)
    assert asked == ["right", "largest"]


def test_bad_videos_are_refused_with_both_values(judge: LipSyncJudge, video: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"shows 1\.60 s of picture, its sound lasts 3\.00 s"):
        embed_video(judge, video, noise(3.0))
    with pytest.raises(DataError, match="peak is 0 of 32768, less than 33"):
        embed_video(judge, video, noise(1.6, level=0.0))
    write_video(tmp_path / "one.mp4", moving_face(1)[0], fps=Fraction(25), audio=noise(0.04))
    with pytest.raises(ParameterError, match="has 1 frames at 25 fps; LSE needs 7"):
        embed_video(judge, tmp_path / "one.mp4")
    write_video(tmp_path / "wall.mp4", [wall()] * 10, fps=Fraction(25), audio=noise(0.4))
    with pytest.raises(FaceError, match="wall.mp4"):
        embed_video(judge, tmp_path / "wall.mp4")
    write_video(tmp_path / "mute.mp4", [wall()] * 10, fps=Fraction(25))
    with pytest.raises(DataError, match="mute.mp4"):
        embed_video(judge, tmp_path / "mute.mp4")


def test_absent_weights_are_named():
    with pytest.raises(DataError, match="syncnet_v2.model"):
        load_judge("syncnet")
    with pytest.raises(DataError, match="sfd_face.pth"):
        load_judge("open", "s3fd")
    for position in ("largest", "left"):
        with pytest.raises(ParameterError, match=f"judges all faces, not the {position} one. Use tracker"):
            load_judge("open", "s3fd", face_position=position)
