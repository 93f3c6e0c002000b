"""Training data of the open MakeItTalk: voices, faces in the networks' space, motions, drawings of rendered people."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metatalk_lib.baselines.make_it_talk_landmarks import LIPS, find_frame
from metatalk_lib.baselines.make_it_talk_weights import open_depth
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED
from metatalk_lib.tracking.crop import CropTransform
from training import make_it_talk_speech as speech
from training import train_make_it_talk_image as image
from training import train_make_it_talk_landmarks as moving
from training import train_make_it_talk_sound as sound

needs_voices = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed (training only)")


def make_spoken(seed: int, steps: int = 140) -> speech.Spoken:
    generator = np.random.default_rng(seed)
    actions = generator.uniform(0, 0.3, (steps, 52)).astype(np.float32)
    mel = generator.uniform(0, 1, (steps, 80)).astype(np.float32)
    pcm = generator.integers(-3000, 3000, steps * 256).astype(np.int16)
    voice_mel = generator.uniform(0, 0.3, (200, 40)).astype(np.float32)
    return speech.Spoken(pcm, mel, generator.integers(0, 257, steps), voice_mel, actions, np.array([seed]))


def test_voices_for_tests_are_not_trained_with():
    known, unknown = (speech.list_voices(for_test=for_test) for for_test in (False, True))
    assert len(set(known)) == len(known) > 150
    assert not {voice.name for voice in known} & {voice.name for voice in unknown}
    assert set(HELD_OUT_RECORDED) <= {voice.name for voice in unknown}
    assert (sound.TARGET_NAME, sound.TARGET_THROAT) in {(voice.name, voice.throat) for voice in known}


@needs_voices
def test_an_utterance_is_drawn_by_its_number_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speech, "list_voices", lambda *, for_test: [speech.Voice("en-us", 0.98, 40)])
    drawn = speech.draw_utterance(3, seed=1, for_test=True)
    again = speech.draw_utterance(3, seed=1, for_test=True)
    for name, value in drawn._asdict().items():
        np.testing.assert_array_equal(value, getattr(again, name))
    assert len(drawn.mel) == len(drawn.pitch) == len(drawn.actions) == 1 + len(drawn.pcm_16k) // 256
    assert not drawn.actions[:, ~speech.LIP_ACTIONS].any()
    assert drawn.actions.max() > 0.1
    assert 0.2 < (drawn.pitch > 0).mean() < 0.95


def test_utterances_come_back_from_their_file(tmp_path: Path):
    written = [make_spoken(seed, steps) for seed, steps in ((0, 30), (1, 41))]
    speech.save_utterances(tmp_path / "speech.npz", written)
    read = speech.load_utterances(tmp_path / "speech.npz")
    for one, other in zip(written, read, strict=True):
        assert all((a == b).all() and a.shape == b.shape for a, b in zip(one, other, strict=True))


def test_frames_become_steps_along_straight_lines():
    values = np.arange(5.0)[:, None] * (1, 10)
    steps = speech.to_steps(values, 16)
    np.testing.assert_allclose(steps[:11, 0], 0.4 * np.arange(11))
    np.testing.assert_allclose(steps[10:, 1], 40)


def test_faces_stand_where_the_pipeline_puts_them():
    mover, generator = moving.FaceMover(), np.random.default_rng(0)
    faces, moved = mover.draw(np.zeros((3, 52)), generator)
    assert not moved.any()
    np.testing.assert_allclose(faces[:, 16, 0] - faces[:, 0, 0], 1.6)
    np.testing.assert_allclose(faces[:, [0, 16], :2].mean(axis=1), 0, atol=1e-9)
    assert (faces[:, 8, 1] > faces[:, 27, 1]).all(), "y points down"
    turns, actions = np.eye(3)[None], np.zeros((1, 52))
    actions[0, 17] = 0.4
    face, moved = mover.place(mover.mean[None], actions, turns)
    # the same through the frame of a picture, 100 px a decimetre
    pixels = mover.mean * (100, -100, 0) + (128, 120, 0)
    after = (mover.mean + np.tensordot(actions[0], mover.action_basis, axes=1)) * (100, -100, 0) + (128, 120, 0)
    frame = find_frame(pixels)
    np.testing.assert_allclose(face[0], frame.to_network(pixels, open_depth()), atol=1e-6)
    wanted = frame.to_network(after, open_depth()) - frame.to_network(pixels, open_depth())
    np.testing.assert_allclose(moved[0, :, :2], wanted[:, :2], atol=1e-6)


def test_a_motion_is_what_leaves_the_mean_face():
    generator = np.random.default_rng(0)
    mean = moving.FaceMover().mean[:, :2] * (100, -100) + (140, 150)
    landmarks = mean + np.concatenate([np.full((20, 1, 2), -3.0), np.full((20, 1, 2), 3.0)])
    heard = sound.Heard(generator.normal(size=(40, 80)), np.full(256, 1 / 16))
    motion = moving.make_motion(heard, landmarks)
    assert motion.displacement.shape == (40 - 18, 204)
    scale = 1.6 / np.ptp(mean[[0, 16], 0])
    np.testing.assert_allclose(motion.displacement.reshape(22, 68, 3)[0, :, :2], -3 * scale, rtol=1e-5)
    assert not motion.displacement.reshape(22, 68, 3)[..., 2].any()


def test_pieces_of_one_voice_lose_less_than_mixed_ones():
    generator = torch.Generator().manual_seed(0)
    voices = torch.nn.functional.normalize(torch.randn(5, 1, 256, generator=generator).abs(), dim=2)
    together = torch.nn.functional.normalize(voices + 0.02 * torch.randn(5, 3, 256, generator=generator).abs(), dim=2)
    mixed = together.flatten(0, 1)[torch.randperm(15, generator=generator)].reshape(5, 3, 256)
    assert sound.compute_voice_loss(together) < 0.5 * sound.compute_voice_loss(mixed)


@pytest.mark.parametrize("name", ["voice", "conversion", "content", "speaker"])
def test_losses_fall(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sound, "SAY_STEPS", 1)
    monkeypatch.setattr(moving, "WINDOWS", 8)
    monkeypatch.setattr(moving, "MAX_WINDOWS", 60)
    monkeypatch.setattr(sound, "CROPS", 2)
    utterances = [make_spoken(seed) for seed in range(2)]
    embeddings = [np.full(256, 1 / 16)] * 2
    heard = [sound.Heard(item.mel[:60], embeddings[0]) for item in utterances]
    motions = [moving.Motion(item, np.full((42, 204), 0.1, np.float32)) for item in heard]
    short = [item._replace(actions=np.full((60, 52), 0.3, np.float32)) for item in utterances]
    steps = 12
    if name == "voice":
        sound.train_voice_encoder(utterances, steps, 0)
    elif name == "conversion":
        network = sound.train_auto_vc(utterances, embeddings, steps, 0)
        assert set(sound.measure_conversion(network, utterances, embeddings)) == {
            "AutoVC: share of the mel's variance lost",
            "against another utterance (cheat): share lost",
        }
    elif name == "content":
        network = moving.train_content(heard, short, steps, 0)
        figures = moving.measure_content(
            network, heard, [item._replace(actions=item.actions[:60]) for item in utterances]
        )
        assert all(np.isfinite(value) for value in figures.values())
    else:
        assert moving.measure_speaker(moving.train_speaker(motions, steps, 0), motions)
    losses = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert len(losses) == steps
    assert min(losses[6:]) < losses[0]


@pytest.fixture
def person() -> image.Person:
    """Three grained pictures of 288 px and landmarks of the mean face, the mouth open in the last one."""
    generator = np.random.default_rng(0)
    pictures = [cv2.GaussianBlur(generator.integers(0, 255, (288, 288, 3), np.uint8), (0, 0), 4) for _ in range(3)]
    codes = [cv2.imencode(".jpg", picture)[1].ravel() for picture in pictures]
    points = np.repeat(moving.FaceMover().mean[None, :, :2] * (100, -100) + (144, 150), 3, axis=0)
    points[2, 55:60, 1] += 12
    return image.Person(codes, points.astype(np.float32), 288)


def test_an_example_shows_the_targets_landmarks_beside_the_still(person: image.Person):
    example = image.make_example(person, 0, 2, CropTransform(16, 16, 256, 256))
    assert {part.shape for part in example[:3]} == {(256, 256, 3)}
    whole = cv2.imdecode(person.codes[0], cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(example.still, whole[16:272, 16:272])
    x, y = (person.landmarks[2, 57] - 16).astype(int)
    assert tuple(example.drawing[y, x].tolist()) == LIPS
    left, top, right, bottom = example.mouth
    assert left < x < right
    assert top < y < bottom
    turned = image._mirror(example)
    assert tuple(turned.drawing[y, 255 - x].tolist()) == LIPS
    assert turned.mouth == (256 - right, top, 256 - left, bottom)


def test_the_image_translation_learns_and_is_measured_against_the_still(
    person: image.Person, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sound, "SAY_STEPS", 1)
    monkeypatch.setattr(image, "BATCH", 2)
    monkeypatch.setattr(image, "OPEN_IMAGE_WIDTH", 2)
    monkeypatch.setattr(image, "MEASURED_FRAMES", 2)
    network = image.train_image([person], 5, 0)
    losses = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert losses[-1] < losses[0]
    figures = image.measure_image(network, [person])
    assert list(figures) == ["painted", "painted from another moment's drawing (cheat)", "still as it is (cheat)"]
    assert all(value > 0 for row in figures.values() for value in row.values())
