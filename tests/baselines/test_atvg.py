"""The compared method ATVG: where its face lies, its landmark spaces, the choice of weights, talking, and training."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from metatalk_lib.baselines import atvg
from metatalk_lib.baselines.atvg_landmarks import (
    ALIGNED_POINTS,
    PUBLISHED_GAINS,
    FacePlace,
    LandmarkSpace,
    fit_similarity,
    normalise_landmarks,
)
from metatalk_lib.core import assets
from metatalk_lib.core.artifacts import load_json, save_arrays, sha256_file
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.networks.at_net import ATNet
from metatalk_lib.networks.vg_net import BatchGRU, VGNet
from metatalk_lib.reconstruction.gauss_newton import project_landmarks
from metatalk_lib.talk.character import load_character
from metatalk_lib.tracking.landmarks import LandmarkTrack, read_frame_landmarks
from tests import drawn_character as drawn
from tests.reference import REFERENCE_DIR, load_front, load_keys
from training import atvg_people, train_atvg

TINY = 1 / 16
FRAMES = 18


def random_points(seed: int = 0) -> np.ndarray:
    """68 points of a made-up base, px of 163."""
    return np.random.default_rng(seed).uniform(25, 105, (68, 2)).astype(np.float32)


def moved_points(base: np.ndarray, angle: float = 0.2, scale: float = 1.7, shift: tuple = (150.0, 120.0)) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (base @ turn.T + shift).astype(np.float32)


def make_space(base: np.ndarray) -> LandmarkSpace:
    components = np.linalg.qr(np.random.default_rng(1).normal(size=(136, 6)))[0]
    return LandmarkSpace(base, normalise_landmarks(base, base), components.astype(np.float32))


# networks


@pytest.mark.parametrize(("network", "name"), [(ATNet(width=0.25), "atnet"), (VGNet(0.25), "vgnet")])
def test_narrow_networks_have_the_official_keys_and_a_sixteenth_of_the_numbers(network: torch.nn.Module, name: str):
    state = network.state_dict()
    assert list(state) == [key for key, _, _ in load_keys(name)]
    ratio = sum(value.numel() for value in state.values()) / sum(np.prod(shape) for _, shape, _ in load_keys(name))
    assert 1 / 16 < ratio < 1 / 15


def test_at_net_in_pieces_is_at_net():
    torch.manual_seed(0)
    network, mfcc, example = ATNet(width=TINY).eval(), torch.randn(1, 7, 28, 12), torch.randn(1, 6)
    with torch.no_grad():
        features = torch.cat([network.encode_audio(part) for part in mfcc.split(3, dim=1)], dim=1)
        torch.testing.assert_close(network.drive(example, features), network(example, mfcc))
    assert features.shape == (1, 7, 16)


def test_independent_faces_are_those_of_batches_of_one():
    torch.manual_seed(0)
    network = VGNet(TINY).eval()
    face, landmarks, example = torch.rand(2, 3, 128, 128), torch.randn(2, 3, 136), torch.randn(2, 136)
    with torch.no_grad():
        together = network(face, landmarks, example, is_independent=True)
        alone = [network(face[i : i + 1], landmarks[i : i + 1], example[i : i + 1]) for i in range(2)]
        chained = network(face, landmarks, example)
    for name in together._fields:
        expected = torch.cat([getattr(part, name) for part in alone])
        torch.testing.assert_close(getattr(together, name), expected, atol=1e-5, rtol=1e-5)
    assert (chained.images[1] - alone[1].images[0]).abs().max() > 1e-6, "the published recurrence runs over the batch"


def test_the_recurrence_teaches_nothing_where_faces_are_independent():
    layer = BatchGRU(2, 3)
    layer(torch.randn(4, 2, 8, 8), is_independent=True).sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert layer.bias_hh_l0.grad.abs().sum() > 0


# where the face lies


def test_the_similarity_is_the_one_that_moved_the_points():
    base = random_points()
    matrix = fit_similarity(base, moved_points(base))
    np.testing.assert_allclose(base @ matrix[:, :2].T + matrix[:, 2], moved_points(base), atol=1e-3)
    assert matrix[0, 0] == pytest.approx(1.7 * np.cos(0.2), abs=1e-6)


def test_the_square_is_the_published_one():
    base = random_points()
    landmarks = moved_points(base)
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    half = int(0.64 * (high - low).max())
    square = FacePlace.find(landmarks, base).square
    # the square itself is the middle one of three by three
    assert (square.side, square.size) == (6 * half, 3 * 163)
    assert (square.left + 2 * half, square.top + 2 * half) == tuple(((low + high) / 2).astype(int) - half)


def test_landmarks_are_aligned_by_nose_and_eyes_alone():
    base = random_points()
    landmarks = moved_points(base)
    np.testing.assert_allclose(FacePlace.find(landmarks, base).align(landmarks), base, atol=1e-3)
    opened = landmarks.copy()
    opened[60:, 1] += 9
    place = FacePlace.find(opened, base)
    np.testing.assert_allclose(place.align(opened)[ALIGNED_POINTS], base[ALIGNED_POINTS], atol=1e-3)
    assert np.abs(place.align(opened)[60:] - base[60:]).max() > 3


def test_a_mark_on_the_face_is_cut_out_where_the_base_has_it():
    base = random_points()
    landmarks = moved_points(base)
    frame = np.zeros((480, 480, 3), np.uint8)
    x, y = landmarks[30]
    cv2.circle(frame, (round(float(x) * 16), round(float(y) * 16)), 64, (255, 255, 255), -1, cv2.LINE_AA, 4)
    face = FacePlace.find(landmarks, base).cut(frame)[..., 0].astype(float)
    rows, columns = np.mgrid[:128, :128]
    found = np.array([(columns * face).sum(), (rows * face).sum()]) / face.sum()
    # the face begins at pixel 1 of the square; the published scaling of landmarks is off by a third of a pixel here
    np.testing.assert_allclose(found, base[30] - 1, atol=0.4)


def test_a_face_is_pasted_where_it_was_cut_out():
    base = random_points()
    rows, columns = np.mgrid[:480, :480].astype(np.float32)
    waves = [127 + 100 * np.sin(rows / 40 + k) * np.cos(columns / 50) for k in range(3)]
    frame = np.stack(waves, axis=2).astype(np.uint8)
    place = FacePlace.find(moved_points(base), base)
    again = place.paste(frame, place.cut(frame))
    assert np.abs(again.astype(int) - frame).max() <= 3
    grey = place.paste(frame, np.full((128, 128, 3), 200, np.uint8))
    inside = (grey == 200).all(axis=2)
    np.testing.assert_array_equal(grey[~inside], frame[~inside])
    assert inside.sum() == pytest.approx((1.7 * 128) ** 2, rel=0.01)
    assert frame is not grey


def test_a_face_at_the_edge_of_the_frame_is_cut_and_pasted():
    base = random_points()
    place = FacePlace.find(moved_points(base, shift=(-40.0, -30.0)), base)
    frame = np.full((200, 220, 3), 90, np.uint8)
    assert (place.cut(frame) == 90).all()
    assert place.paste(frame, np.zeros((128, 128, 3), np.uint8)).shape == frame.shape


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [(np.full((68, 2), np.nan, np.float32), "not all finite"), (np.ones((68, 2), np.float32), "all in one place")],
)
def test_landmarks_of_no_face_are_refused(landmarks: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        FacePlace.find(landmarks, random_points())


# landmark spaces


def test_normalised_landmarks_of_the_base_have_norm_five():
    base = random_points()
    points = normalise_landmarks(base, base).reshape(68, 2)
    assert np.linalg.norm(points) == pytest.approx(5, abs=1e-5)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
    factor = np.linalg.norm(base - base.mean(axis=0)) / 5
    np.testing.assert_allclose(points[7] * factor + base.mean(axis=0), base[7], atol=1e-4)


def test_our_space_tells_a_face_by_its_own_landmarks_and_moves_from_there():
    base = random_points()
    space, landmarks = make_space(base), moved_points(base)
    place = FacePlace.find(landmarks, base)
    np.testing.assert_allclose(space.describe(place, landmarks), 0, atol=1e-3)
    smile = landmarks.copy()
    smile[48:68, 0] *= 1.05
    assert np.abs(space.describe(place, smile)).max() > 0.01
    coefficients = np.float32([[1, 2, 3, 4, 5, 6]])
    np.testing.assert_allclose(space.encode(space.decode(coefficients)), coefficients, atol=1e-5)
    np.testing.assert_allclose(space.move(coefficients[0], coefficients), 2 * coefficients)


def test_the_published_constants_are_those_of_the_golden_file():
    constants, golden = load_json(atvg.PUBLISHED_LANDMARKS_PATH)["landmarks"], load_front("atvg_landmark")
    assert set(constants) == {"constant_lmark", "at_input", "vg_example"}
    for name, values in constants.items():
        np.testing.assert_array_equal(np.array(values, golden[name].dtype), golden[name])
    assert pytest.approx((1.0, *(2 * gain for gain in (1.1, 1.2, 1.3, 1.4, 1.5)))) == PUBLISHED_GAINS


def test_the_command_writes_the_published_constants(tmp_path: Path):
    golden = REFERENCE_DIR / "front_atvg_landmark.npz"
    train_atvg.write_published_landmarks(golden, tmp_path)
    written = tmp_path / atvg.PUBLISHED_LANDMARKS_PATH.name
    assert written.read_bytes() == atvg.PUBLISHED_LANDMARKS_PATH.read_bytes()


# pictures in time


def test_each_picture_is_stretched_to_the_full_range():
    image = np.linspace(-0.5, 0.25, 12, dtype=np.float32).reshape(2, 2, 3)
    out = atvg.stretch(image).ravel()
    np.testing.assert_array_equal(out, np.floor(np.linspace(0, 255, 12) + 0.5))
    assert (atvg.stretch(np.full((2, 2, 3), 0.3, np.float32)) == 0).all()


# the choice of weights


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fake official files that fit the published constants; networks are small ones without a file's content."""
    found = {asset.name: asset for asset in assets.ASSETS}
    moved = {name: dataclasses.replace(found[name], path=tmp_path / found[name].path.name) for name in atvg.ATVG_ASSETS}
    monkeypatch.setattr(assets, "ASSETS", tuple({**found, **moved}.values()))
    golden = load_front("atvg_landmark")
    basis = make_basis(golden)
    np.save(tmp_path / "U_lrw1.npy", np.concatenate([basis, np.zeros((136, 20))], axis=1))
    np.save(tmp_path / "mean_lrw1.npy", golden["vg_example"] - basis @ golden["at_input"])
    np.save(tmp_path / "base_68.npy", random_points())
    for name in ("atnet_lstm_18.pth", "generator_23.pth"):
        (tmp_path / name).write_bytes(b"weights")
    torch.manual_seed(0)
    tiny = {"atnet": ATNet(width=TINY).eval(), "vgnet": VGNet(TINY).eval()}
    monkeypatch.setattr(atvg, "load_published", lambda network_class, asset: tiny[asset])
    return tmp_path


def make_basis(golden: dict[str, np.ndarray]) -> np.ndarray:
    """Orthonormal columns across which the constant and its reconstruction do not differ."""
    rest = 5 * golden["constant_lmark"].astype(np.float64) - golden["vg_example"]
    rest /= np.linalg.norm(rest)
    draw = np.random.default_rng(3).normal(size=(136, 6))
    return np.linalg.qr(draw - np.outer(rest, rest @ draw))[0]


def test_the_published_weights_are_taken_where_all_are_placed(official: Path):
    assert atvg.label_atvg() == atvg.label_atvg("official") == "ATVG"
    assert atvg.label_atvg("open") == "ATVG (open weights)"
    assert {path.name for path in atvg.list_atvg_files()} >= {"generator_23.pth", "U_lrw1.npy", "atvg_landmarks.json"}
    (official / "U_lrw1.npy").unlink()
    assert atvg.label_atvg() == "ATVG (open weights)"
    assert atvg.list_atvg_files() == (atvg.OPEN_ATVG_PATH,)
    with pytest.raises(DataError, match="atvg_components .* is missing: looked for .*U_lrw1.npy"):
        atvg.load_atvg("official")


def test_the_published_space_tells_every_face_the_same(official: Path):
    space, golden = atvg.load_atvg().space, load_front("atvg_landmark")
    for seed in (4, 5):
        landmarks = random_points(seed)
        example = space.describe(FacePlace.find(landmarks, space.base), landmarks)
        np.testing.assert_allclose(example, golden["at_input"], atol=1e-5)
        np.testing.assert_allclose(space.decode(example), golden["vg_example"], atol=1e-5)
    told = np.ones((2, 6), np.float32)
    np.testing.assert_allclose(space.move(example, told), [PUBLISHED_GAINS] * 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "mean_lrw1.npy",
            np.zeros(136),
            "mean_lrw1.npy and .*make the coefficients .* Fetch both again from lelechen63",
        ),
        ("mean_lrw1.npy", np.zeros(130), "shape \\(130,\\), expected \\(136,\\)"),
        ("U_lrw1.npy", np.zeros((136, 4)), "shape \\(136, 4\\), expected \\(136, 6\\)"),
        ("base_68.npy", np.full((68, 2), np.nan), "base_68.npy is not one array of finite numbers"),
        ("base_68.npy", np.array([{"a": 1}]), "base_68.npy cannot be read as an array"),
        ("base_68.npy", b"no array", "base_68.npy cannot be read as an array"),
    ],
)
def test_official_files_that_are_others_are_refused(official: Path, name: str, content: object, message: str):
    if isinstance(content, bytes):
        (official / name).write_bytes(content)
    else:
        np.save(official / name, content, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        atvg.load_atvg("official")


def test_a_missing_open_file_says_how_it_is_made(tmp_path: Path):
    with pytest.raises(DataError, match="training/train_atvg.py"):
        atvg.load_open_atvg(tmp_path / "atvg_open.safetensors")


def test_the_shipped_weights_load_and_have_a_card():
    assert atvg.OPEN_ATVG_PATH.stat().st_size <= 12_000_000
    assert atvg.OPEN_ATVG_PATH.with_suffix(".md").is_file()
    gram = (space := atvg.load_open_atvg().space).components.T @ space.components
    np.testing.assert_allclose(gram, np.eye(6), atol=1e-4)


# talking


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn character with the true landmarks of its face."""
    folder = drawn.make_character(tmp_path_factory.mktemp("outputs"))
    coefficients = drawn.make_coefficients()
    mean, _, rows = load_face_model().landmark_bases()
    points = mean + np.tensordot(coefficients.expression, rows, axes=1)
    pose = np.concatenate([coefficients.rotation, coefficients.translation], axis=1).astype(np.float64)
    in_crop = project_landmarks(points.astype(np.float64), pose, drawn.SIDE)
    landmarks = drawn.TRANSFORM.to_source(in_crop).astype(np.float32)
    dataclasses.replace(drawn.make_landmarks(), landmarks=landmarks).save(folder / "01_crop" / "landmarks.npz")
    return folder


@pytest.fixture
def tiny(character: Path, monkeypatch: pytest.MonkeyPatch) -> atvg.ATVG:
    """Random small networks in the place of the open weights, with the drawn face's own base."""
    torch.manual_seed(0)
    landmarks = LandmarkTrack.load(character / "01_crop" / "landmarks.npz").landmarks[0]
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    base = ((landmarks - (low + high) / 2) * (100 / (high - low).max()) + (65, 69)).astype(np.float32)
    space = make_space(base)
    weights = atvg.ATVG(ATNet(width=TINY).eval(), VGNet(TINY).eval(), space)
    monkeypatch.setattr(atvg, "load_open_atvg", lambda: weights)
    return weights


def test_talk_shows_the_still_with_another_face_in_its_square(character: Path, tiny: atvg.ATVG, tmp_path: Path):
    tail = character.parent / "tail.wav"
    output = atvg.talk_atvg(character, tail, tmp_path / "a.mp4", weights="open", start_frame=3)
    info = probe_video(output)
    assert (info.width, info.height, info.fps) == (drawn.WIDTH, drawn.HEIGHT, drawn.FPS)
    assert (info.frame_count, info.audio_rate) == (drawn.FRAMES - drawn.HELD_OUT, 16000)
    (still,) = read_frames(load_character(character).source, 3, 4)
    landmarks = read_frame_landmarks(character / "01_crop" / "landmarks.npz", 3)
    place = FacePlace.find(landmarks, tiny.space.base)
    square = place.paste(np.zeros_like(still), np.full((128, 128, 3), 255, np.uint8))[..., 0] > 0
    outside = cv2.dilate(square.astype(np.uint8), np.ones((9, 9))) == 0
    assert outside.sum() > 10_000
    for frame in read_frames(output):
        difference = np.abs(frame.astype(int) - still)
        assert difference[outside].mean() < 4
        assert difference[square].mean() > 10, "random networks cannot have drawn the face"
    again = atvg.talk_atvg(character, tail, tmp_path / "b.mp4", weights="open", start_frame=3)
    assert sha256_file(again) == sha256_file(output)


def test_the_lips_follow_the_recording_and_the_still(character: Path, tiny: atvg.ATVG):
    samples = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    example = np.zeros(6, np.float32)
    moved = atvg.move_atvg_landmarks(tiny, samples, 25, example)
    assert moved.shape == (25, 136)
    assert np.abs(np.diff(moved, axis=0)).max() > 0
    assert np.abs(atvg.move_atvg_landmarks(tiny, samples[::-1].copy(), 25, example) - moved).max() > 0
    other = atvg.move_atvg_landmarks(tiny, samples, 25, example + 1)
    assert np.abs(other - moved).mean() > 0.05


def test_another_rate_shows_the_same_faces_by_time(character: Path, tiny: atvg.ATVG, tmp_path: Path):
    fast = tmp_path / "fast"
    shutil.copytree(character, fast)
    crop = fast / "01_crop" / "crop.json"
    crop.write_text(json.dumps({**json.loads(crop.read_text()), "fps": [50, 1]}))
    output = atvg.talk_atvg(fast, character.parent / "tail.wav", tmp_path / "fast.mp4", weights="open")
    info = probe_video(output)
    assert (info.fps, info.frame_count) == (50, 2 * (drawn.FRAMES - drawn.HELD_OUT))


def test_talk_runs_with_published_weights(character: Path, official: Path, tmp_path: Path):
    np.save(official / "base_68.npy", random_points(7))
    output = atvg.talk_atvg(character, character.parent / "tail.wav", tmp_path / "official.mp4")
    assert probe_video(output).frame_count == drawn.FRAMES - drawn.HELD_OUT


def test_bad_input_is_refused(character: Path, tiny: atvg.ATVG, tmp_path: Path):
    tail, output = character.parent / "tail.wav", tmp_path / "x.mp4"

    def talk(folder: Path = character, audio: Path = tail, output: Path = output, start_frame: int = 0) -> None:
        atvg.talk_atvg(folder, audio, output, weights="open", start_frame=start_frame)

    with pytest.raises(ParameterError, match="start_frame is 99"):
        talk(start_frame=99)
    with pytest.raises(ParameterError, match="must end in .mp4"):
        talk(output=tmp_path / "x.avi")
    with pytest.raises(DataError, match="does not exist"):
        talk(audio=tmp_path / "none.wav")
    write_audio(tmp_path / "silent.wav", Audio(np.zeros((16000, 1), np.float32), 16000))
    with pytest.raises(DataError, match="silent.wav is silent"):
        talk(audio=tmp_path / "silent.wav")
    write_audio(tmp_path / "short.wav", Audio(np.ones((700, 1), np.float32), 16000))
    with pytest.raises(DataError, match="short.wav lasts 44 ms; at least 45 ms"):
        talk(audio=tmp_path / "short.wav")
    folder = tmp_path / "other"
    shutil.copytree(character, folder)
    path = folder / "01_crop" / "landmarks.npz"
    arrays = dict(np.load(path))
    save_arrays(path, **{name: values[1:] for name, values in arrays.items()})
    with pytest.raises(DataError, match="landmarks.npz has 0 sets of landmarks for frame 0"):
        talk(folder)
    path.unlink()
    with pytest.raises(DataError, match="landmarks.npz does not exist"):
        talk(folder)
    assert not output.exists()


# training


def make_talkers(base: np.ndarray) -> list[atvg_people.Talker]:
    """Made-up people whose lips open with the loudness."""
    generator, talkers = np.random.default_rng(0), []
    for _ in range(atvg_people.PEOPLE):
        opening = generator.uniform(0, 1, FRAMES)
        landmarks = np.repeat(base[None] + generator.normal(0, 2, (68, 2)), FRAMES, axis=0)
        landmarks[:, 64:, 1] += 8 * opening[:, None]
        faces = generator.integers(0, 255, (FRAMES, 128, 128, 3), np.uint8)
        blocks = (generator.normal(0, 1, (FRAMES, 28, 12)) + 5 * opening[:, None, None]).astype(np.float32)
        pcm = generator.integers(-9000, 9000, FRAMES * 640).astype(np.int16)
        talkers.append(atvg_people.Talker(faces, normalise_landmarks(landmarks, base), pcm, [blocks]))
    return talkers


def test_what_sets_people_apart_is_no_part_of_the_components():
    base = random_points()
    space = atvg_people.make_space(make_talkers(base), base)
    first = space.components[:, 0].reshape(68, 2)
    np.testing.assert_allclose(np.abs(first[64:, 1]), 0.5, atol=1e-4)
    assert np.abs(first[:64]).max() < 1e-4


def test_a_clip_is_given_another_face_but_keeps_its_movement():
    base = random_points()
    talkers = make_talkers(base)
    space = atvg_people.make_space(talkers, base)
    clips = [atvg_people.Clip(talker.blocks[0], space.encode(talker.landmarks)) for talker in talkers]
    people, augment = np.full((1, 6), 7, np.float32), lambda chunks, generator: chunks.astype(np.float32)
    heard, example, wanted = atvg_people.draw_clips([clips], people, augment, np.random.default_rng(0))
    assert heard.shape == (atvg_people.CLIPS, atvg_people.CLIP_FRAMES, 28, 12)
    assert abs(float(example[:, 0].mean()) - 7) < 1
    # louder frames open the lips in every clip
    loud, opened = heard.mean(dim=(2, 3)).flatten(), (wanted + example[:, None])[..., 0].flatten()
    assert abs(np.corrcoef(loud, opened)[0, 1]) > 0.9


def test_training_writes_weights_and_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(train_atvg, "SAY_STEPS", 1)
    monkeypatch.setattr(atvg_people, "CLIPS", 2)
    monkeypatch.setattr(atvg_people, "TARGETS", 1)
    torch.manual_seed(0)
    base = random_points()
    talkers = make_talkers(base)
    space, network = atvg_people.make_space(talkers, base), atvg.OpenATVG()
    train_atvg.wake(network)
    for name in ("base", "mean", "components"):
        getattr(network, name).copy_(torch.from_numpy(getattr(space, name)))
    clips = [atvg_people.Clip(talker.blocks[0], space.encode(talker.landmarks)) for talker in talkers]
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_atvg.train_at_net(network, [clips], 2, 0, checkpoint)
    train_atvg.train_vg_net(network, talkers, 1, 0, checkpoint)
    train_atvg.publish(network, talkers[:1], {"Seed": "0"}, tmp_path)
    assert (tmp_path / "atvg_open.safetensors").stat().st_size <= 12_000_000
    shipped = atvg.load_open_atvg(tmp_path / "atvg_open.safetensors")
    np.testing.assert_array_equal(shipped.space.components, space.components)
    assert not shipped.vg_net.convGRU.weight_hh_l0.any()
    card = (tmp_path / "atvg_open.md").read_text("utf-8")
    assert "| the still repeated | – | 0.00 |" in card
    assert "AT-net, step 2 of 2" in capsys.readouterr().out
    assert checkpoint.is_file()
