"""The test phase on a drawn 64 px character: order of frames, driving, the whole chain, refusals."""

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from metatalk_lib.audio_to_expression.model import TrainedA2E, save_a2e
from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.media.frame_order import ping_pong
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.audio_to_expression import MetaTalkA2E
from metatalk_lib.neural_renderer.colour_match import LARGEST_CORRECTION
from metatalk_lib.neural_renderer.generator import NeuralRenderer, RendererSettings, build_generator, save_renderer
from metatalk_lib.neural_renderer.lower_face_region import Roi
from metatalk_lib.neural_renderer.reference_bank import ReferenceBank
from metatalk_lib.speech.synthesis import synthesize
from metatalk_lib.talk import talker as talk_module
from metatalk_lib.talk.character import load_character
from metatalk_lib.talk.requests import check_recordings, gather_recordings, name_outputs
from metatalk_lib.talk.talker import Talker, talk
from tests.synthetic import make_coefficients, make_face_model, make_tone

FRAMES, SIZE, FPS = 12, 96, Fraction(25)
CROP_SIZE, ROI = 64, Roi(16, 16, 48, 48)


def make_frames() -> np.ndarray:
    """Flat frames whose grey tells their number."""
    return np.stack([np.full((SIZE, SIZE + 32, 3), 20 * number + 10, np.uint8) for number in range(FRAMES)])


@pytest.fixture(autouse=True)
def _small_face_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_face_model()
    monkeypatch.setattr(talk_module, "load_face_model", lambda name: model)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.mp4"
    write_video(path, make_frames(), fps=FPS, crf=0)
    return path


@pytest.fixture
def character_dir(tmp_path: Path, source: Path) -> Path:
    """A finished character with untrained networks, enough to run the chain."""
    return finish_character(tmp_path / "character", source, left=20, top=10, side=64)


def finish_character(folder: Path, source: Path, **square: int) -> Path:
    """Write the outputs of stages 01, 03, 04 and 05 for the first `FRAMES` frames of any source."""
    info = probe_video(source)
    crop = square | {"size": CROP_SIZE, "source": str(source), "width": info.width, "height": info.height}
    crop |= {"fps": list(info.fps.as_integer_ratio()), "frame_count": info.frame_count, "held_out_start": 8}
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
    return folder


@pytest.fixture
def lending_dir(character_dir: Path) -> Path:
    """The same character with a renderer that takes its pixels from five of the frames, and no training."""
    settings = RendererSettings(
        window=1, width=2, depth=3, refine=False, size=CROP_SIZE, roi=ROI, references=2, matches_colours=True
    )
    coefficients = load_character(character_dir).coefficients
    numbers = np.arange(0, 10, 2)
    images = make_frames()[numbers][:, 26:58, 36:68]
    bank = ReferenceBank.build(make_face_model(), coefficients.select(numbers), images, CROP_SIZE)
    renderer = NeuralRenderer(build_generator(settings), settings, bank)
    save_renderer(renderer, character_dir / "05_neural_renderer", {"step": [1]})
    return character_dir


def make_recording(path: Path, seconds: float, rate: int = 16000) -> Path:
    write_audio(path, Audio(make_tone(seconds, rate)[:, None], rate))
    return path


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


def write_source(path: Path, codec: str, width: int, height: int, pixel_format: str, rotation: int) -> Path:
    """Flat frames in any family, size and depth."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=error"}
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(FRAMES):
            image = np.full((height, width, 3), 15 * number + 30, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "width", "height", "pixel_format", "rotation", "square"),
    [
        ("libx264", 3840, 2160, "yuv420p", 0, (1300, 500, 1201)),
        ("libx264", 131, 97, "yuv444p", 0, (20, 10, 64)),
        ("libx264", 160, 128, "yuv420p", 90, (30, 40, 70)),
        ("libx265", 160, 128, "yuv420p10le", 0, (40, 30, 90)),
        ("libvpx-vp9", 160, 128, "yuv420p", 0, (-20, 30, 120)),
    ],
    ids=["4K", "odd sides", "upright by rotation", "HEVC of ten bits", "VP9, crop beyond the picture"],
)
def test_a_source_of_any_kind_keeps_its_kind(codec, width, height, pixel_format, rotation, square, tmp_path: Path):
    source = write_source(tmp_path / "source.mp4", codec, width, height, pixel_format, rotation)
    left, top, side = square
    character = finish_character(tmp_path / "character", source, left=left, top=top, side=side)
    write_audio(tmp_path / "stereo.wav", Audio(np.tile(make_tone(0.4, 44100)[:, None], (1, 2)), 44100))
    report = talk(character, tmp_path / "stereo.wav", tmp_path / "out.mp4")
    info, made = probe_video(source), probe_video(tmp_path / "out.mp4")
    assert (made.width, made.height, made.fps, made.codec) == (info.width, info.height, info.fps, info.codec)
    assert (made.audio_rate, made.frame_count) == (44100, FRAMES)
    assert report.changed_outside_px == 0
    pairs = zip(read_frames(source), read_frames(tmp_path / "out.mp4"), strict=True)
    differences = np.stack([np.abs(one.astype(int) - other).max(axis=2) for one, other in pairs])
    painted = np.zeros(differences.shape[1:], bool)
    painted[max(0, top) : top + side, max(0, left) : left + side] = True
    assert np.median(differences[:, ~painted]) <= 3
    assert differences[:, painted].max() > 20, "something was painted"


def test_a_recording_of_a_moment_gives_one_frame(character_dir: Path, tmp_path: Path):
    write_audio(tmp_path / "click.wav", Audio(np.full((40, 1), 0.5, np.float32), 16000))
    assert talk(character_dir, tmp_path / "click.wav", tmp_path / "out.mp4").frame_count == 1
    assert probe_video(tmp_path / "out.mp4").frame_count == 1


def test_frames_of_the_person_lend_their_pixels(lending_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    painted = []
    paint = NeuralRenderer.paint

    def spy(self, condition):
        painted.append((self, condition, paint(self, condition)))
        return painted[-1][2]

    monkeypatch.setattr(NeuralRenderer, "paint", spy)
    audio = make_recording(tmp_path / "speech.wav", 0.6)
    report = talk(lending_dir, audio, tmp_path / "out.mp4")
    assert report.frame_count == len(painted) == 15
    assert report.changed_outside_px == 0
    for renderer, condition, paints in painted:
        # flat frames stay flat however they are warped; untrained, the network gives the references' mean
        (lent,), real = condition.references, condition.images[0, 0, 0, 0]
        assert len(lent) == 2
        assert all((image == image[0, 0]).all() for image in lent)
        plain = replace(renderer, settings=replace(renderer.settings, matches_colours=False))
        np.testing.assert_allclose(paint(plain, condition), lent.mean(), atol=1)
        # then its colours are brought to those of the frame round it, as far as that may go
        before = abs(lent.mean() - real)
        assert abs(paints.mean() - real) == pytest.approx(max(0, before - LARGEST_CORRECTION), abs=2)
    assert before > 30
    Talker(lending_dir).speak(audio, tmp_path / "small.mp4", preview=True)
    assert probe_video(tmp_path / "small.mp4").width == (SIZE + 32) // 2


@pytest.mark.parametrize("kind", ["character_dir", "lending_dir"])
def test_a_killed_run_goes_on_after_its_last_whole_part(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    character_dir = request.getfixturevalue(kind)
    audio = make_recording(tmp_path / "speech.wav", 5.0)
    whole, killed = tmp_path / "whole.mp4", tmp_path / "killed.mp4"
    talk(character_dir, audio, whole)
    sewn = talk_module.sew
    calls = []

    class KilledError(Exception):
        pass

    def sew_until_killed(*arguments):
        calls.append(1)
        if len(calls) > 110:
            raise KilledError
        return sewn(*arguments)

    monkeypatch.setattr(talk_module, "sew", sew_until_killed)
    with pytest.raises(KilledError):
        talk(character_dir, audio, killed)
    assert not killed.exists()
    parts = tmp_path / ".killed.parts"
    assert sorted(path.name for path in parts.glob("*.mp4")) == ["00000.mp4", "00001.mp4"]
    monkeypatch.setattr(talk_module, "sew", sewn)
    report = talk(character_dir, audio, killed)
    assert report.resumed_frames == 100
    assert report.silent_frames <= 25
    assert killed.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_a_damaged_part_is_made_again(character_dir: Path, tmp_path: Path):
    audio = make_recording(tmp_path / "speech.wav", 5.0)
    whole, parts = tmp_path / "whole.mp4", tmp_path / ".out.parts"
    talk(character_dir, audio, whole)
    talker = Talker(character_dir)
    save_json(parts / "made_from.json", talker._describe(audio, 0, False, None))
    for number, length in enumerate((50, 30)):  # the second one is too short
        write_video(parts / f"{number:05d}.mp4", make_frames()[np.zeros(length, int)], fps=FPS)
    report = talker.speak(audio, tmp_path / "out.mp4")
    assert report.resumed_frames == 50
    assert probe_video(tmp_path / "out.mp4").frame_count == 125


def test_a_finished_video_stays_until_something_else_is_asked_for(
    character_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """So a batch that was killed goes on with the recording it was at."""
    audio, output = make_recording(tmp_path / "speech.wav", 0.6), tmp_path / "out.mp4"
    talker = Talker(character_dir)
    talker.speak(audio, output)
    first = output.read_bytes()
    with monkeypatch.context() as context:
        context.setattr(NeuralRenderer, "paint", None)
        report = talker.speak(audio, output)
    assert report.resumed_frames == report.frame_count == 15
    assert "0 frames in" in report.describe()
    assert output.read_bytes() == first
    assert not list(tmp_path.glob(".out*"))
    assert talker.speak(audio, output, crf=40).resumed_frames == 0
    assert len(output.read_bytes()) < len(first)
    write_video(output, make_frames()[np.zeros(15, int)], fps=FPS)  # someone else's
    assert talker.speak(audio, output).resumed_frames == 0
    assert output.read_bytes() == first
    with pytest.raises(ParameterError, match=r"crf is 60; libx264 takes 0 \(best\) to 51"):
        talker.speak(audio, output, crf=60)


def test_a_folder_stands_for_the_recordings_in_it(tmp_path: Path):
    for name in ("speech/one.wav", "speech/two.mp3", "speech/notes.txt", "speech/videos/one.mp4", "three.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    speech, three = tmp_path / "speech", tmp_path / "three.wav"
    found = gather_recordings([speech, three], speech / "videos")
    assert found == [speech / "one.wav", speech / "two.mp3", three]
    for output in (speech, tmp_path):
        assert len(gather_recordings([speech], output)) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no recording"):
        gather_recordings([tmp_path / "empty"], tmp_path / "videos")


def test_all_recordings_are_looked_through_first(tmp_path: Path):
    good, mute = make_recording(tmp_path / "good.wav", 0.4), tmp_path / "mute.wav"
    mute.write_bytes(b"")
    write_audio(tmp_path / "cinema.wav", Audio(np.tile(make_tone(0.4, 16000)[:, None], (1, 8)), 16000))
    with pytest.raises(DataError, match=r"mute\.wav.*cinema\.wav: .*8 channels"):
        check_recordings([good, mute, tmp_path / "cinema.wav"])
    check_recordings([good])


def test_sound_that_cannot_be_written_is_refused_before_anything_is_painted(character_dir: Path, tmp_path: Path):
    write_audio(tmp_path / "cinema.wav", Audio(np.tile(make_tone(0.4, 16000)[:, None], (1, 8)), 16000))
    with pytest.raises(ParameterError, match="8 channels"):
        talk(character_dir, tmp_path / "cinema.wav", tmp_path / "out.mp4")
    assert not list(tmp_path.glob(".out*"))


def test_parts_of_another_recording_are_not_taken_up(character_dir: Path, tmp_path: Path):
    one, other = make_recording(tmp_path / "one.wav", 2.4), make_recording(tmp_path / "other.wav", 2.5)
    talk(character_dir, one, tmp_path / "out.mp4")
    parts = tmp_path / ".out.parts"
    save_json(parts / "made_from.json", {"something": "else"})
    shutil.copy(tmp_path / "out.mp4", parts / "00000.mp4")
    report = talk(character_dir, other, tmp_path / "out.mp4")
    assert report.resumed_frames == 0
    assert probe_video(tmp_path / "out.mp4").frame_count == report.frame_count == 63


def test_one_load_speaks_several_and_a_preview_is_half_as_large(character_dir: Path, tmp_path: Path):
    talker = Talker(character_dir)
    for seconds in (0.4, 0.6):
        report = talker.speak(make_recording(tmp_path / f"{seconds}.wav", seconds), tmp_path / f"{seconds}.mp4")
        assert report.frame_count == round(25 * seconds)
        assert set(report.seconds) >= {"first frame", "decode", "draw", "paint", "sew", "encode", "join", "total"}
        assert f"{report.frame_count} frames in" in report.describe()
    talker.speak(tmp_path / "0.4.wav", tmp_path / "small.mp4", preview=True)
    small = probe_video(tmp_path / "small.mp4")
    assert (small.width, small.height, small.frame_count) == ((SIZE + 32) // 2, SIZE // 2, 10)


def test_outputs_are_named_after_their_recordings(tmp_path: Path):
    one, other = Path("a/one.wav"), Path("b/other.mp3")
    assert name_outputs([one], tmp_path / "x.mp4") == [tmp_path / "x.mp4"]
    assert name_outputs([one], tmp_path) == [tmp_path / "one.mp4"]
    assert name_outputs([one], tmp_path / "new") == [tmp_path / "new" / "one.mp4"]
    (tmp_path / "folder.mp4").mkdir()
    assert name_outputs([one], tmp_path / "folder.mp4") == [tmp_path / "folder.mp4" / "one.mp4"]
    assert name_outputs([one, other], tmp_path / "new") == [
        tmp_path / "new" / "one.mp4",
        tmp_path / "new" / "other.mp4",
    ]
    with pytest.raises(ParameterError, match="2 recordings need a folder"):
        name_outputs([one, other], tmp_path / "x.mp4")
    with pytest.raises(ParameterError, match="two recordings would both become"):
        name_outputs([one, Path("b/one.mp3")], tmp_path)


def test_silence_closes_the_mouth(character_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spoken = synthesize("My mother.")
    samples = np.concatenate([spoken.samples, np.zeros(spoken.rate, np.float32)])
    write_audio(tmp_path / "half.wav", Audio(samples[:, None], spoken.rate))
    seen = []
    original = talk_module.repose

    def spy(coefficients, order, expression):
        seen.append(expression)
        return original(coefficients, order, expression)

    monkeypatch.setattr(talk_module, "repose", spy)
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
