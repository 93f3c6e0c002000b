"""preflight: every check with a video that passes it and one that does not."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check
from metatalk_lib.media.audio import Audio
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.preflight import Preflight, estimate_head_pose, run_preflight
from tests.face_clips import FPS, drawn_face, moving_face, place_face, wall


def speech(seconds: float, amplitude: float = 0.2) -> Audio:
    samples = amplitude * np.random.default_rng(0).normal(size=(round(16000 * seconds), 1))
    return Audio(samples.astype(np.float32), 16000)


def report(path: Path, frames: list, audio: Audio | None, **options) -> dict[str, Check]:
    write_video(path, frames, fps=FPS, audio=audio)
    return {check.name: check for check in run_preflight(path, **options).checks}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preflight") / "good.mp4"
    write_video(path, moving_face(50)[0], fps=FPS, audio=speech(2.0))
    return path


def test_a_good_video_has_no_error(good: Path):
    found = run_preflight(good)
    assert found.is_usable
    found.raise_on_error()
    status = {check.name: check.status for check in found.checks}
    assert status["duration"] == "notice"  # two seconds are little
    assert status["face width"] == "notice"  # 180 px give a crop of 256 px
    for name in ("picture", "frame rate", "faces", "face", "head pose", "head motion", "sound", "silence"):
        assert status[name] == "ok", name
    assert status["sound and picture"] == "ok"
    json.dumps(found.to_dict(), allow_nan=False)
    lines = found.table().splitlines()
    assert len(lines) == 1 + len(found.checks)
    assert lines[0].endswith("notice")


def test_the_track_gives_the_same_figures(good: Path):
    track = track_landmarks(read_frames(good), frame_count=50, fps=FPS)
    with_track = {check.name: check for check in run_preflight(good, track=track).checks}
    without = {check.name: check for check in run_preflight(good).checks}
    assert with_track["face"].figure == "found in 50 of 50 frames"
    assert {name: check.status for name, check in with_track.items()} == {
        name: check.status for name, check in without.items()
    }


def write_unusual(path: Path, *, aspect: int = 1, curve: int = 2, pixel_format: str = "yuv420p") -> Path:
    """A face filmed with pixels that are wider than high, an HDR curve, or more than 8 bits."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=FPS, options={"x265-params": "log-level=error"})
        frames = moving_face(50)[0]
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixel_format
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.codec_context.color_trc = curve
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("unusual", "name", "status", "advice"),
    [
        ({"aspect": 2}, "picture", "error", "setsar=1"),
        ({"curve": 16}, "colours", "error", "Convert to standard range"),
        ({"curve": 18}, "colours", "error", "Convert to standard range"),
        ({"pixel_format": "yuv420p10le"}, "colours", "notice", "8 bits"),
        ({}, "colours", "ok", ""),
    ],
    ids=["wide pixels", "PQ", "HLG", "10 bits", "usual"],
)
def test_pixels_and_colours_that_the_finished_video_would_not_keep(tmp_path: Path, unusual, name, status, advice):
    checks = {check.name: check for check in run_preflight(write_unusual(tmp_path / "a.mp4", **unusual)).checks}
    assert checks[name].status == status, checks[name]
    assert advice in checks[name].advice


def test_no_sound_and_no_face_are_errors(tmp_path: Path):
    found = report(tmp_path / "a.mp4", [wall()] * 55, None)
    assert found["sound"].status == found["face"].status == "error"
    with pytest.raises(DataError, match=r"cannot be used: face found in no frame.* sound no audio stream"):
        run_preflight(tmp_path / "a.mp4").raise_on_error()


def test_two_faces(tmp_path: Path):
    one, _ = place_face(0, 10, width=330, height=340)
    frames = [np.concatenate([one, one], axis=1)] * 55
    assert report(tmp_path / "a.mp4", frames, speech(2.2))["faces"].status == "error"
    chosen = {check.name: check for check in run_preflight(tmp_path / "a.mp4", face_position="left").checks}
    assert chosen["faces"].status == "notice"
    with pytest.raises(ParameterError, match="face_position is 'middle'"):
        run_preflight(tmp_path / "a.mp4", face_position="middle")


def test_missing_faces_short_picture_and_long_sound(tmp_path: Path):
    frames, _ = moving_face(45)
    frames[20:35] = [wall()] * 15
    write_video(tmp_path / "a.mp4", frames, fps=FPS, audio=speech(1.8))
    found = {check.name: check for check in run_preflight(tmp_path / "a.mp4").checks}
    assert found["face"].status == "error"
    assert found["duration"].status == "error"


def test_sound_of_another_length(tmp_path: Path):
    import av

    write_video(tmp_path / "a.mp4", moving_face(50)[0], fps=FPS, audio=speech(2.0))
    for seconds, status in ((2.5, "notice"), (4.0, "notice"), (2.05, "ok"), (1.2, "notice"), (0.9, "error")):
        path = tmp_path / f"{seconds}.mkv"
        with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(path), "w") as target:
            video, sound = (
                target.add_stream_from_template(source.streams.video[0]),
                target.add_stream("pcm_s16le", 16000),
            )
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = video
                    target.mux(packet)
            samples = np.round(speech(seconds).samples.T * 8000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.rate = 16000
            target.mux(sound.encode(frame))
            target.mux(sound.encode(None))
        found = {check.name: check for check in run_preflight(path).checks}
        assert found["sound and picture"].status == status


def test_dim_blurred_silent_and_clipped(tmp_path: Path):
    import cv2

    frames, _ = moving_face(50)
    dim = [(cv2.GaussianBlur(frame, (0, 0), 4) * 0.15).astype(np.uint8) for frame in frames]
    found = report(tmp_path / "a.mp4", dim, speech(2.0, amplitude=1e-4))
    assert found["light"].status == "notice"
    assert found["sharpness"].status == "notice"
    assert found["sound level"].status == "notice"
    assert found["silence"].status == "notice"
    found = report(tmp_path / "b.mp4", frames, speech(2.0, amplitude=1.0))
    assert "clipped" in found["sound level"].advice


def test_fast_motion(tmp_path: Path):
    frames = [place_face(10 + 60 * (i % 2), 10, width=420, height=340)[0] for i in range(50)]
    assert report(tmp_path / "a.mp4", frames, speech(2.0))["head motion"].status == "notice"


def test_a_slow_frame_rate(tmp_path: Path):
    write_video(tmp_path / "a.mp4", moving_face(30)[0], fps=Fraction(12), audio=speech(2.5))
    found = {check.name: check for check in run_preflight(tmp_path / "a.mp4").checks}
    assert found["frame rate"].status == "notice"


def test_head_pose_of_a_turned_head():
    """The rigid points of a head of its own, turned by known angles, seen from far away."""
    head = np.zeros((68, 3))
    from metatalk_lib.tracking.preflight import _RIGID_HEAD_CM, _RIGID_POINTS

    head[_RIGID_POINTS] = _RIGID_HEAD_CM
    for yaw, pitch, roll in [(0, 0, 0), (25, 0, 0), (-30, 10, 0), (5, -15, 20), (10, 20, -30)]:
        cy, sy, cp, sp, cr, sr = (f(np.radians(a)) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
        around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        turned = head @ (around_z @ around_y @ around_x).T
        pixels = turned[:, :2] * (20, -20) + 300
        np.testing.assert_allclose(estimate_head_pose(pixels), (yaw, pitch, roll), atol=1e-6)


def test_head_pose_of_the_models_frontal_face():
    _, points = drawn_face()
    assert np.abs(estimate_head_pose(points)).max() < 8


def test_the_worst_status_counts():
    checks = (Check("a", "ok", "1"), Check("b", "notice", "2", "Do."))
    assert Preflight(Path("v"), checks).status == "notice"
    assert Preflight(Path("v"), checks[:1]).status == "ok"
    worst = Preflight(Path("v"), (*checks, Check("c", "error", "3", "Stop.")))
    assert worst.status == "error"
    assert not worst.is_usable
