"""Bad input through the command line: one line that says what, where and what to do, and nothing half-written."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from metatalk_lib.core.stage import load_summary
from metatalk_lib.media.audio import Audio
from metatalk_lib.media.video_writer import write_video
from tests.face_clips import FPS, moving_face, place_face, wall
from tests.test_cli import assert_one_line_error, metatalk

RATE = 16000


def noise(seconds: float) -> Audio:
    samples = 0.2 * np.random.default_rng(0).normal(size=(round(RATE * seconds), 1))
    return Audio(samples.astype(np.float32), RATE)


def write_clip(path: Path, frames: list[np.ndarray]) -> Path:
    write_video(path, frames, fps=FPS, audio=noise(len(frames) / FPS))
    return path


def write_sound_only(path: Path) -> Path:
    soundfile.write(path.with_suffix(".wav"), noise(2.2).samples, RATE)
    return path.with_suffix(".wav")


def write_picture_only(path: Path) -> Path:
    write_video(path, moving_face(55)[0], fps=FPS)
    return path


def write_with_samples(path: Path, samples: np.ndarray) -> Path:
    """A clip with a face whose sound holds just these samples, in 32-bit floats."""
    path = path.with_suffix(".mkv")
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("libx264", rate=25), container.add_stream("pcm_f32le", rate=RATE)
        picture.width, picture.height, picture.pix_fmt = 400, 360, "yuv420p"
        sound.layout = "mono"
        for image in moving_face(55)[0]:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode(None))
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
            frame.rate = RATE
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def write_sometimes_a_face(path: Path) -> Path:
    frames, _ = moving_face(60)
    frames[20:35] = [wall()] * 15
    return write_clip(path, frames)


def write_two_faces(path: Path) -> Path:
    one, _ = place_face(0, 10, width=330, height=340)
    return write_clip(path, [np.concatenate([one, one], axis=1)] * 55)


def write_truncated(path: Path) -> Path:
    whole = write_clip(path.with_name("whole.mp4"), moving_face(55)[0]).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return path


def crop_video(video: Path, outputs: Path) -> subprocess.CompletedProcess:
    options = ("-p", f"video={video}", "-p", f"outputs_dir={outputs}", "-p", "held_out_seconds=0.4")
    return metatalk("run", "--character", "A", "--to", "01", *options)


CLIPS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no picture": (write_sound_only, "no video stream"),
    "no sound": (write_picture_only, "no audio stream"),
    "empty sound": (lambda path: write_with_samples(path, np.zeros(0)), "is empty"),
    "sound that is not a number": (lambda path: write_with_samples(path, np.full(35200, np.nan)), "NaN"),
    "no face": (lambda path: write_clip(path, [wall()] * 55), "no face"),
    "a face in too few frames": (write_sometimes_a_face, "20-34"),
    "two faces": (write_two_faces, "face_position"),
    "a small face": (lambda path: write_clip(path, moving_face(55, scale=0.4)[0]), "96 px"),
    "a truncated file": (write_truncated, "is cut off"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_a_bad_video_stops_with_one_line(name: str, tmp_path: Path):
    write, expected = CLIPS[name]
    video, outputs = write(tmp_path / "video.mp4"), tmp_path / "outputs"
    assert_one_line_error(crop_video(video, outputs), expected, str(video))
    left = [path.name for path in (outputs / "A" / "01_crop").rglob("*") if path.is_file()]
    assert left in ([], ["preflight.json"]), left


@pytest.mark.slow
def test_a_face_of_fewer_pixels_gives_the_small_crop_and_a_notice(tmp_path: Path):
    video, outputs = write_clip(tmp_path / "video.mp4", moving_face(60, scale=0.8)[0]), tmp_path / "outputs"
    result = crop_video(video, outputs)
    assert result.returncode == 0, result.stderr
    assert load_summary(outputs, "A", "01_crop")["metrics"]["crop_size_px"] == 256
    assert "256" in metatalk("preflight", str(video)).stdout


@pytest.mark.slow
def test_outputs_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    result = metatalk("run", "--character", "A", "-p", f"outputs_dir={tmp_path / 'file' / 'outputs'}")
    assert_one_line_error(result)
    assert result.stderr.startswith("metatalk: cannot create the folder")
