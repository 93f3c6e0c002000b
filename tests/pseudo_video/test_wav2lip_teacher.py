"""The Wav2Lip teacher: boxes as the official recipe has them, every published file, and pictures from its network."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from metatalk_lib.core import assets
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.video import probe_video
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from metatalk_lib.pseudo_video.pairs import list_pairs, load_taught, make_pseudo_video
from metatalk_lib.pseudo_video.viseme_teacher import Teacher
from metatalk_lib.pseudo_video.wav2lip_teacher import (
    PADS_PX,
    Wav2LipTeacher,
    load_wav2lip,
    pad_boxes,
    smooth_wav2lip_boxes,
)
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.mel_spectrogram import compute_mel_spectrogram
from metatalk_lib.speech.synthesis import Speech
from metatalk_lib.tracking.face_detector import boxes_of_faces
from tests.reference import REFERENCE_DIR, load_rule_b

FPS = Fraction(25)
SIZE = 256


@pytest.fixture(scope="module")
def network() -> Wav2LipGenerator:
    return load_rule_b(Wav2LipGenerator(), "wav2lip")


@pytest.fixture(scope="module")
def utterance() -> Utterance:
    samples = 0.3 * np.random.default_rng(0).normal(size=16000).astype(np.float32)
    return Utterance(0, Speech(samples, 16000, (), "", "noise"), 25)


def make_landmarks(frames: int, seed: int = 0) -> np.ndarray:
    """A jaw from (60, 100) to (200, 100) with the chin at 220, brows at 90, and a little motion."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([130 + 70 * np.cos(angle), 100 + 120 * np.sin(angle)], axis=1)
    points[17:27] = np.stack([np.linspace(80, 180, 10), np.full(10, 90.0)], axis=1)
    points[27:] = (130, 150)
    return points + np.random.default_rng(seed).normal(scale=2.0, size=(frames, 1, 2))


def make_frames(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8)


def test_smoothed_boxes_equal_the_golden():
    with np.load(REFERENCE_DIR / "front_wav2lip_boxes.npz", allow_pickle=False) as golden:
        boxes = golden["boxes"].copy()
        np.testing.assert_array_equal(smooth_wav2lip_boxes(boxes), golden["smoothed"])
        np.testing.assert_array_equal(boxes, golden["boxes"])


def test_few_boxes_are_all_averaged():
    assert smooth_wav2lip_boxes(np.array([[0, 0, 10, 10]])).tolist() == [[0, 0, 10, 10]]
    assert smooth_wav2lip_boxes(np.array([[0, 0, 10, 10], [3, 3, 13, 13]])).tolist() == [[1, 1, 11, 11], [2, 2, 12, 12]]


def test_boxes_hold_the_face_and_grow_by_the_pads():
    (left, top, right, bottom) = boxes_of_faces(make_landmarks(1) - make_landmarks(1)[:, 8:9] + (130, 220))[0].astype(
        int
    )
    assert (left, right, bottom) == (60, 200, 220)
    assert 30 <= top <= 60
    assert pad_boxes(np.array([[10, 20, 30, 40]]), (1, 2, 3, 4)).tolist() == [[7, 19, 34, 42]]


def test_every_frame_speaks_and_nothing_changes_outside_its_box(network, utterance):
    landmarks = make_landmarks(40)
    teacher = Wav2LipTeacher(network, landmarks, np.arange(40))
    assert isinstance(teacher, Teacher)
    frame_id, frames = np.arange(30, 5, -1), make_frames(25)
    spoken = teacher.speak(utterance, FPS, frame_id, frames)
    painted = list(spoken.frames)
    assert spoken.expression is None
    assert len(painted) == 25
    boxes = smooth_wav2lip_boxes(pad_boxes(boxes_of_faces(landmarks).astype(int), PADS_PX))[frame_id]
    mel = compute_mel_spectrogram(utterance.speech.samples)
    for row in (0, 13, 24):
        left, top, right, bottom = boxes[row]
        outside = np.ones((SIZE, SIZE), bool)
        outside[top:bottom, left:right] = False
        np.testing.assert_array_equal(painted[row][outside], frames[row][outside])
        start = min(int(row * 80 / 25), mel.shape[1] - 16)
        expected = speak_alone(network, mel[:, start : start + 16], frames[row][top:bottom, left:right])
        np.testing.assert_allclose(painted[row][top:bottom, left:right], expected, atol=1)


def speak_alone(network: nn.Module, chunk: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """The recipe written once more for a single face, RGB in and out."""
    face = cv2.resize(crop[..., ::-1], (96, 96))
    upper = face.copy()
    upper[48:] = 0
    stacked = torch.from_numpy(np.concatenate([upper, face], axis=2) / 255.0).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        out = network(torch.from_numpy(chunk)[None, None].float(), stacked)[0].permute(1, 2, 0).numpy()
    return cv2.resize((255 * out).astype(np.uint8), crop.shape[1::-1])[..., ::-1]


def test_its_pairs_are_the_viseme_teachers_but_for_the_expressions(tmp_path: Path, network, utterance):
    write_video(tmp_path / "face_256.mp4", make_frames(12), fps=FPS)
    teacher = Wav2LipTeacher(network, make_landmarks(12), np.arange(12))
    report = make_pseudo_video(
        tmp_path / "pairs", teacher, [utterance], tmp_path / "face_256.mp4", range(2, 11), fps=FPS, seed=0
    )
    assert report.frames == 25
    (description,) = list_pairs(tmp_path / "pairs")
    content = load_json(description)
    assert (content["teacher"], content["phonemes"], content["frame_count"]) == ("wav2lip", [], 25)
    assert load_taught(description.with_suffix(".npz")) is None
    info = probe_video(description.with_suffix(".mp4"))
    assert (info.width, info.frame_count, info.has_audio) == (SIZE, 25, True)
    again = make_pseudo_video(
        tmp_path / "pairs", teacher, [utterance], tmp_path / "face_256.mp4", range(2, 11), fps=FPS, seed=0
    )
    assert again.kept == 1


def test_boxes_are_cut_at_the_frame_before_they_are_smoothed(network):
    landmarks = make_landmarks(6)
    landmarks[3:] += (120, 0)
    teacher = Wav2LipTeacher(network, landmarks, np.arange(6))
    cut = np.clip(pad_boxes(boxes_of_faces(landmarks).astype(int), PADS_PX), 0, 256)
    assert cut[:, 2].max() == 256 < boxes_of_faces(landmarks).astype(int)[:, 2].max()
    np.testing.assert_array_equal(teacher.boxes, smooth_wav2lip_boxes(cut))


def test_the_fingerprint_follows_weights_and_landmarks(network):
    frame_id = np.arange(5)
    one = Wav2LipTeacher(network, make_landmarks(5), frame_id, weights="a").fingerprint(frame_id)
    assert one == Wav2LipTeacher(network, make_landmarks(5), frame_id, weights="a").fingerprint(frame_id)
    assert one != Wav2LipTeacher(network, make_landmarks(5), frame_id, weights="b").fingerprint(frame_id)
    assert one != Wav2LipTeacher(network, make_landmarks(5, seed=3), frame_id, weights="a").fingerprint(frame_id)


def test_bad_input_is_refused(network, utterance):
    with pytest.raises(ParameterError, match="5 frames, but 4 frame numbers"):
        Wav2LipTeacher(network, make_landmarks(5), np.arange(4))
    teacher = Wav2LipTeacher(network, make_landmarks(5), np.arange(5))
    with pytest.raises(DataError, match="no landmarks"):
        teacher.speak(utterance, FPS, np.full(25, 7), make_frames(25))
    short = Utterance(0, Speech(np.zeros(1600, np.float32), 16000, (), "", "x"), 2)
    with pytest.raises(DataError, match="needs 16"):
        teacher.speak(short, FPS, np.arange(2), make_frames(2))
    away = Wav2LipTeacher(network, make_landmarks(25) + 900, np.arange(25))
    with pytest.raises(DataError, match="face box .* is empty"):
        list(away.speak(utterance, FPS, np.arange(25), make_frames(25)).frames)


class _Published(nn.Module):
    """A program of its own over weights under the generator's keys, as the TorchScript files are."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for key, value in weights.items():
            *path, name = key.split(".")
            holder = self
            for part in path:
                if not hasattr(holder, part):
                    holder.add_module(part, nn.Module())
                holder = getattr(holder, part)
            holder.register_buffer(name, value)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + 1


@pytest.mark.parametrize("kind", ["module prefix", "plain", "bare dict", "TorchScript"])
def test_every_published_form_loads_key_by_key(tmp_path: Path, network, kind: str):
    path, weights = tmp_path / "weights.pth", network.state_dict()
    if kind == "TorchScript":
        torch.jit.script(_Published(weights)).save(str(path))
    elif kind == "bare dict":
        torch.save(weights, path)
    else:
        prefix = "module." if kind == "module prefix" else ""
        content = {"state_dict": {prefix + key: value for key, value in weights.items()}, "global_step": 7}
        torch.save(content | {"optimizer": None, "global_epoch": 1}, path)
    loaded, checksum = load_wav2lip(path)
    assert len(checksum) == 64
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, weights[key])


def test_files_that_do_not_fit_are_refused(tmp_path: Path, network):
    weights = network.state_dict()
    weights.pop("output_block.1.bias")
    torch.save({"state_dict": weights}, tmp_path / "short.pth")
    with pytest.raises(DataError, match=r"1 missing \(output_block.1.bias\)"):
        load_wav2lip(tmp_path / "short.pth")
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "other.pt"))
    with pytest.raises(DataError, match="does not fit Wav2LipGenerator"):
        load_wav2lip(tmp_path / "other.pt")
    whole = (tmp_path / "other.pt").read_bytes()
    (tmp_path / "broken.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged|is no checkpoint"):
        load_wav2lip(tmp_path / "broken.pt")


def test_a_missing_file_is_named_with_all_its_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(assets, "ASSETS", tuple(_moved(asset, tmp_path) for asset in assets.ASSETS))
    with pytest.raises(DataError, match=r"wav2lip.pth or .*Wav2Lip-SD-GAN.pt.*Rudrabha/Wav2Lip.*research only"):
        load_wav2lip()


def _moved(asset: assets.Asset, folder: Path) -> assets.Asset:
    return asset if asset.path is None else replace(asset, path=folder / asset.path.name)
