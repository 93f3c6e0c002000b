"""The compared methods: which there are, what they are called, and when a video is made again."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.parallel import torch_threads
from metatalk_lib.evaluation import methods as compared_methods
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.methods import ABLATIONS, METHODS, Method, list_methods, make_video, make_videos
from metatalk_lib.media.audio import write_audio
from tests import drawn_character as drawn
from tests.synthetic import make_tone_audio


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn.make_character(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_audio(tmp_path / "tone.wav", make_tone_audio(1.0, 16000))
    return tmp_path / "tone.wav"


class Counter:
    """A method that writes its start frame, and counts."""

    def __init__(self, *files: Path, label: str = "Counter") -> None:
        self.calls = 0
        self.method = Method("Counter", label, self.speak, "metatalk_lib.core.errors", files)

    def speak(self, audio: Path, output: Path, start: int) -> None:
        self.calls += 1
        output.write_text(f"{audio.name} {start}")


def test_tables_have_their_methods(tmp_path: Path, character: Path):
    methods = list_methods(character, tmp_path, "AudioDVP (quarter width)", weights="open")
    assert tuple(methods)[:-2] == METHODS
    assert set(ABLATIONS.values()) <= set(methods)
    labels = [methods[name].label for name in METHODS]
    assert labels == [
        "ATVG (open weights)",
        "Wav2Lip (open weights)",
        "AudioDVP (quarter width)",
        "MakeItTalk (open weights)",
        "Ours",
    ]
    with pytest.raises(DataError, match="atnet"):
        list_methods(character, tmp_path, "AudioDVP", weights="official")


def test_a_video_is_kept_until_something_changes(tmp_path: Path, character: Path, recording: Path):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"one")
    counter, output = Counter(weights), tmp_path / "v.mp4"
    for _ in range(2):
        make_video(counter.method, character, recording, output, start_frame=3)
    assert counter.calls == 1
    assert output.read_text() == "tone.wav 3"
    make_video(counter.method, character, recording, output, start_frame=4)
    weights.write_bytes(b"two")
    make_video(counter.method, character, recording, output, start_frame=4)
    recording.write_bytes(recording.read_bytes()[:-8])
    make_video(counter.method, character, recording, output, start_frame=4)
    assert counter.calls == 4
    output.unlink()
    make_video(counter.method, character, recording, output, start_frame=4)
    assert counter.calls == 5


def test_a_video_whose_making_failed_is_made_again(tmp_path: Path, character: Path, recording: Path):
    counter, output = Counter(), tmp_path / "v.mp4"
    make_video(counter.method, character, recording, output)

    def fail(audio: Path, output: Path, start: int) -> None:
        output.write_text("half")
        raise DataError("stopped")

    broken = Method("Counter", "another label", fail, "metatalk_lib.core.errors")
    with pytest.raises(DataError, match="stopped"):
        make_video(broken, character, recording, output)
    make_video(counter.method, character, recording, output)
    assert output.read_text() == "tone.wav 0"


def test_every_method_says_every_recording(tmp_path: Path, character: Path, recording: Path):
    methods, folder = {"Our A2E": Counter().method, "ATVG": Counter().method}, tmp_path / "videos"
    made = make_videos(methods, character, {"held_out": (recording, 7), "driving": (recording, 0)}, folder)
    assert {method: list(videos) for method, videos in made.items()} == {
        name: ["held_out", "driving"] for name in methods
    }
    assert made["Our A2E"]["held_out"] == folder / "our_a2e_held_out.mp4"
    assert made["Our A2E"]["held_out"].read_text() == "tone.wav 7"
    assert made["ATVG"]["driving"].read_text() == "tone.wav 0"


def test_two_videos_are_made_at_once_and_share_torchs_threads(tmp_path: Path, character: Path, recording: Path):
    both, threads = threading.Barrier(2, timeout=20), []

    def speak(_audio: Path, output: Path, _start: int) -> None:
        both.wait()
        threads.append(torch.get_num_threads())
        output.write_text("spoken")

    with torch_threads(4):
        methods = {name: Method(name, name, speak, "metatalk_lib.core.errors") for name in ("ATVG", "Ours")}
        make_videos(methods, character, {"held_out": (recording, 0)}, tmp_path / "videos")
        assert torch.get_num_threads() == 4
    assert threads == [2, 2]


def test_a_method_that_fails_is_left_out_and_named_but_ours_must_not(tmp_path: Path, character: Path, recording: Path):
    def fail(audio: Path, _output: Path, start: int) -> None:
        if start == 0:
            raise DataError(f"{audio.name} cannot be said.")

    def name(method: str, speak: Callable) -> Method:
        return Method(method, method, speak, "metatalk_lib.core.errors")

    recordings, folder = {"held_out": (recording, 7), "driving": (recording, 0)}, tmp_path / "videos"
    failures, works = Failures(), Counter()
    failures.add("AudioDVP", "video", "it could not be trained")
    methods = {"ATVG": name("ATVG", fail), "AudioDVP": name("AudioDVP", fail), "Ours": works.method}
    made = make_videos(methods, character, recordings, folder, failures=failures)
    assert list(made) == ["Ours"]
    assert list(made["Ours"]) == list(recordings)
    assert failures.describe() == {
        "AudioDVP": "no video: it could not be trained.",
        "ATVG": "no video: tone.wav cannot be said.",
    }
    with pytest.raises(DataError, match="cannot be said"):
        make_videos({"Ours": name("Ours", fail)}, character, recordings, folder, failures=Failures())
    with pytest.raises(DataError, match="cannot be said"):
        make_videos({"ATVG": name("ATVG", fail)}, character, recordings, folder)


def test_missing_files_are_named(tmp_path: Path, character: Path, recording: Path):
    with pytest.raises(DataError, match=r"Counter: .*absent.bin does not exist"):
        make_video(Counter(tmp_path / "absent.bin").method, character, recording, tmp_path / "v.mp4")
    with pytest.raises(DataError, match=r"crop.json does not exist"):
        make_video(Counter().method, tmp_path / "nobody", recording, tmp_path / "v.mp4")
    assert compared_methods.PERSON_FILES[0].endswith("crop.json")
