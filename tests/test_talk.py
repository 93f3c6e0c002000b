"""The test phase on a drawn 64 px character: order of frames, driving, the whole chain, refusals."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from synthetic import make_coefficients, make_face_model, make_tone

from metatalk_lib import talk as talk_module
from metatalk_lib.artifacts import save_json
from metatalk_lib.audio import Audio, read_audio, write_audio
from metatalk_lib.audio_to_expression import TrainedA2E, save_a2e
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.networks.audio_to_expression import MetaTalkA2E
from metatalk_lib.neural_renderer import NeuralRenderer, RendererSettings, build_generator, save_renderer
from metatalk_lib.params import RendererConfig
from metatalk_lib.renderer_data import Roi
from metatalk_lib.speech import synthesize
from metatalk_lib.talk import (
    cut_audio,
    drive,
    load_character,
    ping_pong,
    prepare_driving_audio,
    read_in_order,
    synthetic_windows,
    talk,
)
from metatalk_lib.video import probe_video, read_frames, write_video

FRAMES, SIZE, FPS = 12, 96, Fraction(25)
CROP_SIZE, ROI = 64, Roi(16, 16, 48, 48)


def make_frames() -> np.ndarray:
    """Flat frames whose grey tells their number."""
    return np.stack([np.full((SIZE, SIZE + 32, 3), 20 * number + 10, np.uint8) for number in range(FRAMES)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.mp4"
    write_video(path, make_frames(), fps=FPS, crf=0)
    return path


@pytest.fixture
def character_dir(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished character with untrained networks, enough to run the chain."""
    folder = tmp_path / "character"
    crop = {"left": 20, "top": 10, "side": 64, "size": CROP_SIZE, "source": str(source), "width": SIZE + 32}
    crop |= {"height": SIZE, "fps": [25, 1], "frame_count": FRAMES, "held_out_start": 8}
    save_json(folder / "01_crop" / "crop.json", crop)
    coefficients = make_coefficients(FRAMES)
    rows = {name: getattr(coefficients, name) for name in coefficients.__dataclass_fields__}
    type(coefficients)(**rows | {"frame_id": np.arange(FRAMES)}).save(folder / "03_reconstruction" / "coefficients.npz")
    torch.manual_seed(0)
    a2e = TrainedA2E(MetaTalkA2E().eval(), "meta_talk", "leaky_relu", 1.0, np.zeros(64, np.float32), 1.0)
    save_a2e(a2e, folder / "04_audio_to_expression")
    settings = RendererSettings(window=3, width=2, depth=3, refine=False, size=CROP_SIZE, roi=ROI)
    renderer = NeuralRenderer(build_generator(settings, 1), settings)
    save_renderer(renderer, folder / "05_neural_renderer", {"step": [1]})
    model = make_face_model()
    monkeypatch.setattr(talk_module, "load_face_model", lambda name: model)
    return folder


def make_recording(path: Path, seconds: float, rate: int = 16000) -> Path:
    write_audio(path, Audio(make_tone(seconds, rate)[:, None], rate))
    return path


def test_ping_pong_by_hand():
    assert ping_pong(0, 4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert ping_pong(2, 4, 6).tolist() == [2, 3, 2, 1, 0, 1]
    assert ping_pong(3, 4, 3).tolist() == [3, 2, 1]
    assert ping_pong(0, 1, 3).tolist() == [0, 0, 0]
    assert (np.abs(np.diff(ping_pong(5, 7, 100))) == 1).all()


@pytest.mark.parametrize("chunk_bytes", [1, 10**9])
def test_frames_come_in_order_both_ways(source: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int):
    monkeypatch.setattr(talk_module, "REVERSED_BYTES", chunk_bytes)
    order = ping_pong(9, FRAMES, 40)
    decoded = list(read_frames(source))
    played = list(read_in_order(source, order))
    assert len(played) == len(order)
    assert all(np.array_equal(frame, decoded[number]) for frame, number in zip(played, order, strict=True))


def test_a_single_frame_is_repeated(tmp_path: Path):
    path = tmp_path / "one.mp4"
    write_video(path, make_frames()[:1], fps=FPS)
    assert len(list(read_in_order(path, ping_pong(0, 1, 3)))) == 3


def test_driving_keeps_pose_and_replaces_expression():
    coefficients = make_coefficients(4)
    expression = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    driven = drive(coefficients, ping_pong(0, 4, 6) + 10, expression)
    assert driven.frame_id.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(driven.rotation, coefficients.rotation[[0, 1, 2, 3, 2, 1]])
    assert np.array_equal(driven.expression, expression)
    assert np.array_equal(driven.identity, coefficients.identity)


def test_windows_hold_neighbours_and_mark_what_is_absent():
    driven = make_coefficients(4)
    windows = list(synthetic_windows(make_face_model(), driven, 32, Roi(0, 0, 32, 32), 5))
    assert [known.tolist() for _, known in windows[:2]] == [
        [False, False, True, True, True],
        [False, True, True, True, True],
    ]
    assert all(images.shape == (5, 32, 32, 3) for images, _ in windows)
    assert np.array_equal(windows[0][0][3], windows[1][0][2])
    assert not windows[0][0][0].any()


@pytest.mark.parametrize(("seconds", "rate"), [(0.4, 16000), (0.75, 22050)])
def test_the_whole_chain(character_dir: Path, tmp_path: Path, seconds: float, rate: int):
    audio = make_recording(tmp_path / "speech.wav", seconds, rate)
    report = talk(character_dir, audio, tmp_path / "out.mp4")
    video = probe_video(tmp_path / "out.mp4")
    assert (video.width, video.height, video.fps, video.audio_rate) == (SIZE + 32, SIZE, FPS, rate)
    assert video.frame_count == report.frame_count == round(seconds * 25 + 1e-9)
    assert abs(report.video_s - report.audio_s) < 1 / 25
    assert report.changed_outside_px == 0
    assert report.reversed_frames == max(0, report.frame_count - FRAMES)
    made = list(read_frames(tmp_path / "out.mp4"))
    original = make_frames()[ping_pong(0, FRAMES, len(made))]
    corner = np.abs(np.stack(made)[:, :8, :8].astype(int) - original[:, :8, :8]).max()
    assert corner <= 3
    again = talk(character_dir, audio, tmp_path / "again.mp4")
    assert again.output.read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_silence_closes_the_mouth(character_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoken = synthesize("My mother.")
    samples = np.concatenate([spoken.samples, np.zeros(spoken.rate, np.float32)])
    write_audio(tmp_path / "half.wav", Audio(samples[:, None], spoken.rate))
    seen = []
    original = talk_module.drive

    def spy(coefficients, order, expression):
        seen.append(expression)
        return original(coefficients, order, expression)

    monkeypatch.setattr(talk_module, "drive", spy)
    report = talk(character_dir, tmp_path / "half.wav", tmp_path / "out.mp4")
    assert report.silent_frames >= 10
    assert (seen[0][-15:] == 0).all()
    assert seen[0][:10].any()


def test_missing_files_are_named_and_nothing_is_left(character_dir: Path, tmp_path: Path):
    audio = make_recording(tmp_path / "speech.wav", 0.4)
    for name, text in (
        ("05_neural_renderer/generator.safetensors", "Run 05_neural_renderer"),
        ("04_audio_to_expression/a2e.json", "a2e.json does not exist"),
        ("03_reconstruction/coefficients.npz", "coefficients.npz does not exist"),
        ("01_crop/crop.json", "crop.json does not exist"),
    ):
        (character_dir / name).unlink()
        with pytest.raises(DataError, match=text):
            talk(character_dir, audio, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_bad_audio_and_a_bad_start_are_refused(character_dir: Path, tmp_path: Path):
    broken = np.full((4000, 1), np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", broken, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN"):
        talk(character_dir, tmp_path / "nan.wav", tmp_path / "out.mp4")
    with pytest.raises(ParameterError, match="the source has frames 0 to 11"):
        talk(character_dir, tmp_path / "nan.wav", tmp_path / "out.mp4", start_frame=12)
    assert not (tmp_path / "out.mp4").exists()


def test_a_changed_source_and_missing_coefficients_are_refused(character_dir: Path, source: Path):
    path = character_dir / "03_reconstruction" / "coefficients.npz"
    coefficients = make_coefficients(FRAMES)
    coefficients.save(path)
    with pytest.raises(DataError, match="no coefficients for 10 of 12 frames, the first is 0"):
        load_character(character_dir)
    write_video(source, make_frames()[:9], fps=FPS)
    with pytest.raises(DataError, match="The video has changed"):
        load_character(character_dir)


def test_a_renderer_of_another_crop_is_refused(character_dir: Path, tmp_path: Path):
    settings = RendererSettings(window=3, width=2, depth=3, refine=False, size=128, roi=ROI)
    renderer = NeuralRenderer(build_generator(settings), settings)
    save_renderer(renderer, character_dir / "05_neural_renderer", {"step": [1]})
    with pytest.raises(DataError, match="trained on a 128 px crop"):
        talk(character_dir, make_recording(tmp_path / "speech.wav", 0.4), tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_cutting_audio(tmp_path: Path):
    path = make_recording(tmp_path / "speech.wav", 1.0)
    tail = read_audio(cut_audio(path, Fraction(3, 4), tmp_path / "tail.wav"))
    assert tail.rate == 16000
    assert np.array_equal(tail.samples, read_audio(path).samples[12000:])
    with pytest.raises(ParameterError, match="ends before 2.00 s"):
        cut_audio(path, 2.0, tmp_path / "none.wav")


def test_the_driving_audio_is_the_users_or_a_synthetic_voice(tmp_path: Path):
    path = make_recording(tmp_path / "speech.wav", 0.5)
    assert prepare_driving_audio(RendererConfig(driving_audio=str(path)), tmp_path / "x.wav") == path
    spoken = prepare_driving_audio(RendererConfig(driving_text="Hello there."), tmp_path / "y.wav")
    assert len(read_audio(spoken).samples) > 4000
    with pytest.raises(DataError, match="driving_audio"):
        prepare_driving_audio(RendererConfig(driving_audio="no/such.wav"), tmp_path / "z.wav")
