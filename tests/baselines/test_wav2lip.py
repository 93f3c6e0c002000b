"""Wav2Lip as a compared method: whose weights, the finished video, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.baselines import wav2lip
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import write_audio
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from metatalk_lib.tracking.landmarks import LandmarkTrack
from tests import drawn_character as drawn
from tests.face_clips import drawn_face
from tests.synthetic import make_tone_audio


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn person, with a face's landmarks in the middle of every frame."""
    folder = drawn.make_character(tmp_path_factory.mktemp("outputs"))
    points = np.repeat(drawn_face()[1][None] - np.float32([10, 20]), drawn.FRAMES, axis=0)
    path = folder / "01_crop" / "landmarks.npz"
    replace(LandmarkTrack.load(path), landmarks=points.astype(np.float32)).save(path)
    return folder


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_audio(tmp_path / "tone.wav", make_tone_audio(0.6, 16000))
    return tmp_path / "tone.wav"


def test_whose_weights_is_said():
    assert wav2lip.label_wav2lip("open") == "Wav2Lip (open weights)"
    assert wav2lip.label_wav2lip("official") == "Wav2Lip"
    assert wav2lip.list_wav2lip_files("open") == (wav2lip.OPEN_WAV2LIP_PATH,)
    with pytest.raises(DataError, match="wav2lip"):
        wav2lip.load_generator("official")


def test_the_shipped_weights_load_and_have_a_card():
    network, checksum = wav2lip.load_generator("open")
    assert not network.training
    assert len(checksum) == 64
    assert wav2lip.OPEN_WAV2LIP_PATH.stat().st_size <= 5_000_000
    assert wav2lip.OPEN_WAV2LIP_PATH.with_suffix(".md").is_file()


def test_it_paints_the_mouth_of_every_source_frame(
    character: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    torch.manual_seed(0)
    network = Wav2LipGenerator(0.0625).eval()
    monkeypatch.setattr(wav2lip, "load_generator", lambda _weights: (network, "x"))
    output = wav2lip.talk_wav2lip(character, recording, tmp_path / "v.mp4", start_frame=30)
    info = probe_video(output)
    assert (info.width, info.height, info.frame_count, info.fps) == (300, 280, 15, 25)
    source = next(path for path in character.parent.rglob("source.mp4"))
    originals = list(read_frames(source, 30, 45))
    changed = np.abs(np.stack(list(read_frames(output))).astype(int) - originals).mean(axis=(0, 3))
    assert changed[140:200, 120:180].mean() > 20
    assert changed[:, :20].mean() < 3


def test_frames_that_the_source_lacks_are_refused(character: Path, recording: Path, tmp_path: Path):
    with pytest.raises(ParameterError, match="start_frame is 99; the source has frames 0 to 55"):
        wav2lip.talk_wav2lip(character, recording, tmp_path / "v.mp4", start_frame=99)
    assert not (tmp_path / "v.mp4").exists()
