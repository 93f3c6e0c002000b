"""MakeItTalk as a compared method: landmarks, drawing, pitch, voice, weights of either kind, and a drawn character."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from metatalk_lib.baselines import make_it_talk, make_it_talk_weights
from metatalk_lib.baselines import make_it_talk_audio as voice_module
from metatalk_lib.baselines import make_it_talk_landmarks as landmarks
from metatalk_lib.core import assets
from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.camera import project, transform
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.networks.auto_vc import AutoVC
from metatalk_lib.networks.make_it_talk import ContentBranch, SpeakerBranch
from metatalk_lib.networks.residual_unet import ResidualUNet
from metatalk_lib.networks.voice_encoder import VoiceEncoder
from metatalk_lib.talk.character import load_character
from metatalk_lib.tracking.landmarks import LandmarkTrack
from tests import drawn_character as drawn
from training.people import halve_weights

RATE = 16000


class SmallAutoVC(AutoVC):
    """AutoVC's topology with as few channels as there are groups."""

    def __init__(self) -> None:
        super().__init__(width=32)


class SmallUNet(ResidualUNet):
    """The image translation's topology, hardly any channels."""

    def __init__(self) -> None:
        super().__init__(width=2)


def make_face() -> np.ndarray:
    """Landmarks (68, 3) of the open face model, px of a 256 px square."""
    mean, _, _ = load_face_model().landmark_bases()
    return mean.astype(np.float64) * (100, -100, 0) + (128, 140, 0)


def make_networks(seed: int = 0) -> make_it_talk_weights.Networks:
    """Small networks with random weights."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    networks = [cls().eval() for cls in (VoiceEncoder, SmallAutoVC, ContentBranch, SpeakerBranch, SmallUNet)]
    target = np.abs(generator.normal(size=256))
    return make_it_talk_weights.Networks(
        *networks, target / np.linalg.norm(target), np.zeros(80), np.ones(80), generator.normal(0, 0.3, 68)
    )


def make_speech(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """A buzz of changing pitch that swells and fades."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(200 + 40 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    sound = sum(np.sin(number * phase) / number for number in range(1, 9)) * (1.1 + np.sin(2 * np.pi * 3 * t))
    return 0.05 * sound + np.random.default_rng(seed).normal(0, 0.002, len(t))


def test_the_still_gets_slimmer_lips_and_wider_eyes():
    face = make_face()[:, :2]
    moved = landmarks.nudge_still(face) - face
    assert not moved[:, 0].any()
    assert moved[[37, 44, 41, 46, 51, 57, 62, 48, 54], 1].tolist() == [-2, -2, 2, 2, 1, -1, 0, 0, 0]


def test_lips_that_fold_over_are_laid_together():
    face = make_face()
    face[61:64, 1] -= 3
    face[65:68, 1] += 3
    points = np.stack([face] * 3)
    np.testing.assert_array_equal(landmarks.repair_lips(points), points)
    points[1, 61:64, 1], points[1, 65:68, 1] = face[62, 1] + 9, face[62, 1] + 1
    repaired = landmarks.repair_lips(points)
    np.testing.assert_array_equal(repaired[[0, 2]], points[[0, 2]])
    np.testing.assert_allclose(repaired[1, 61:64], repaired[1, [67, 66, 65]])
    np.testing.assert_allclose(repaired[1, 62], 0.5 * (points[1, 62] + points[1, 66]))
    for outer, inner in ((50, 61), (53, 64), (55, 64), (57, 66), (59, 60)):
        assert repaired[1, outer, 1] - repaired[1, inner, 1] == pytest.approx(face[outer, 1] - face[inner, 1])
    np.testing.assert_array_equal(repaired[1, :48], points[1, :48])


def test_the_first_frames_outer_lip_stays_where_it_is():
    points = make_face()[None]
    points[0, 61:64, 1] += 8
    repaired = landmarks.repair_lips(points)
    np.testing.assert_allclose(repaired[0, 61:64], repaired[0, [67, 66, 65]])
    np.testing.assert_array_equal(repaired[0, 48:61], points[0, 48:61])


def test_settling_sets_the_noses_root_and_keeps_cubics():
    t = np.linspace(-1, 1, 20)[:, None, None]
    points = make_face() + t**3 * np.ones((68, 3)) - 2 * t
    settled = landmarks.settle(points)
    np.testing.assert_allclose(settled[:, 27], 2 * points[:, 28] - points[:, 29], atol=1e-9)
    np.testing.assert_allclose(np.delete(settled, 27, axis=1), np.delete(points, 27, axis=1), atol=1e-9)
    np.testing.assert_allclose(landmarks.smooth_in_image(points), points, atol=1e-9)
    noisy = points + np.random.default_rng(0).normal(size=points.shape)
    moved = np.abs(landmarks.smooth_in_image(noisy) - noisy).mean(axis=(0, 2))
    assert moved[:48].mean() > 1.2 * moved[48:].mean()


def eye_opening(points: np.ndarray) -> np.ndarray:
    return (points[:, [41, 40, 47, 46], 1] - points[:, [37, 38, 43, 44], 1]).mean(axis=1)


def test_blinks_are_seeded_and_close_the_eyes_alone():
    points = np.repeat(make_face()[None], 700, axis=0)
    blinking = landmarks.add_blinks(points, seed=3)
    np.testing.assert_array_equal(blinking, landmarks.add_blinks(points, seed=3))
    assert (blinking != landmarks.add_blinks(points, seed=4)).any()
    others = np.delete(np.arange(68), [37, 38, 40, 41, 43, 44, 46, 47])
    np.testing.assert_array_equal(blinking[:, others], points[:, others])
    opening = eye_opening(blinking)
    shut = np.flatnonzero(opening < 1e-9)
    assert shut[0] == 30
    assert all(90 <= apart < 150 for apart in np.diff(shut))
    assert shut[-1] < 700 - 16
    whole = eye_opening(points)[0]
    assert opening[[0, 20, 45]] == pytest.approx(0.9 * whole)
    assert opening[25] == pytest.approx(0.45 * whole)
    # the published opening starts one frame ahead
    assert opening[31] == pytest.approx(0.9 * whole * 2 / 15)
    upper, lower = make_face()[37, 1], make_face()[41, 1]
    narrowed = upper + 0.05 * (lower - upper), lower + 0.05 * (upper - lower)
    assert blinking[30, 37, 1] == blinking[30, 41, 1] == pytest.approx(0.25 * narrowed[0] + 0.75 * narrowed[1])


def test_a_clip_without_room_for_a_blink_has_none():
    points = np.repeat(make_face()[None], 46, axis=0)
    assert np.ptp(eye_opening(landmarks.add_blinks(points))) == pytest.approx(0)


def test_the_drawing_has_the_published_colours_on_white():
    points = make_face()
    image = landmarks.draw_landmarks(points)
    assert image.shape == (256, 256, 3)
    found = {tuple(colour) for colour in np.unique(image.reshape(-1, 3), axis=0).tolist()}
    assert found == {(255, 255, 255), landmarks.JAW, landmarks.BROWS, landmarks.NOSE, landmarks.EYES, landmarks.LIPS}
    whole = points[:, :2].astype(int)
    for index, colour in (
        (8, landmarks.JAW),
        (19, landmarks.BROWS),
        (28, landmarks.NOSE),
        (42, landmarks.EYES),
        (57, landmarks.LIPS),
    ):
        assert tuple(image[whole[index, 1], whole[index, 0]].tolist()) == colour
    np.testing.assert_array_equal(landmarks.draw_landmarks(whole + 0.99), landmarks.draw_landmarks(whole.astype(float)))
    assert (landmarks.draw_landmarks(points + 1000.0) == 255).all()


def test_eyes_and_lips_are_closed_curves_and_the_others_are_not():
    points = np.full((68, 2), -50.0)
    points[36:42] = [(20, 50), (40, 50), (60, 50), (80, 50), (100, 50), (20, 90)]
    image = landmarks.draw_landmarks(points)
    assert tuple(image[70, 20].tolist()) == landmarks.EYES
    points[36:42], points[17:22] = -50, [(20, 50), (40, 50), (60, 50), (80, 50), (20, 90)]
    assert tuple(landmarks.draw_landmarks(points)[70, 20].tolist()) == (255, 255, 255)


def test_the_pitch_of_a_tone_is_found_and_a_hiss_has_none():
    t = np.arange(RATE // 2) / RATE
    for hertz in (120.0, 440.0):
        tone = 0.1 * (np.sin(2 * np.pi * hertz * t) + 0.5 * np.sin(4 * np.pi * hertz * t))
        pitch = voice_module.track_pitch(tone)
        assert len(pitch) == len(voice_module.compute_auto_vc_mel(tone))
        voiced = pitch != voice_module.UNVOICED
        assert voiced.mean() > 0.9
        assert np.exp(np.median(pitch[voiced])) == pytest.approx(hertz, rel=0.01)
    hiss = voice_module.track_pitch(0.1 * np.random.default_rng(0).normal(size=RATE // 2))
    assert (hiss == voice_module.UNVOICED).mean() > 0.8
    # a length that divides by 256 gets one more sample in the mel spectrogram
    assert len(voice_module.track_pitch(tone[:7936])) == len(voice_module.compute_auto_vc_mel(tone[:7936])) == 32


@pytest.mark.parametrize("steps", [1, 32, 45, 4096 + 33])
def test_conversion_keeps_the_length_and_cuts_pieces(steps: int):
    networks, generator = make_networks(), np.random.default_rng(1)
    mel = generator.uniform(0, 1, (steps, 80))
    pitch = voice_module.encode_pitch(generator.uniform(0, 1, steps))
    who = np.full(256, 1 / 16)
    feature = voice_module.convert_voice(networks.auto_vc, mel, pitch, who, networks.target_voice)
    assert feature.shape == (steps, 80)
    if steps > 4096:
        rest = voice_module.convert_voice(networks.auto_vc, mel[4096:], pitch[4096:], who, networks.target_voice)
        np.testing.assert_allclose(feature[4096:], rest, atol=1e-5)


def test_pieces_of_a_voice_lie_half_a_second_apart_and_are_covered():
    assert voice_module.piece_starts(100) == [0]
    assert voice_module.piece_starts(25600) == [0]
    # the second piece would hold 1.1 of 1.6 s, less than three quarters
    assert voice_module.piece_starts(round(1.6 * RATE)) == [0]
    assert voice_module.piece_starts(round(1.75 * RATE)) == [0, 50]
    assert voice_module.piece_starts(round(3.1 * RATE)) == [0, 50, 100, 150]


def test_quiet_voices_are_raised_and_long_silences_cut():
    speech = make_speech(1.5)
    quiet = 0.001 * np.concatenate([speech, np.zeros(3 * RATE), speech])
    prepared = voice_module.prepare_voice(quiet)
    assert 2.9 * RATE < len(prepared) < 3.6 * RATE
    raised = 10 ** (voice_module.VOICE_LEVEL_DBFS / 20) / np.sqrt(np.mean(quiet**2))
    assert np.abs(prepared).max() == pytest.approx(np.abs(quiet).max() * raised)
    assert len(voice_module.prepare_voice(speech)) <= len(speech)
    np.testing.assert_array_equal(voice_module.prepare_voice(speech)[:480], speech[:480])
    with pytest.raises(DataError, match="silent"):
        voice_module.prepare_voice(np.zeros(RATE))


def test_the_voice_mel_has_power_without_a_logarithm():
    mel = voice_module.compute_voice_mel(make_speech(1.0))
    assert mel.shape == (101, 40)
    assert mel.dtype == np.float32
    np.testing.assert_allclose(voice_module.compute_voice_mel(2 * make_speech(1.0)), 4 * mel, rtol=1e-3)


def test_an_embedding_has_length_one_and_minutes_are_averaged(monkeypatch: pytest.MonkeyPatch):
    encoder = make_networks().voice_encoder
    embedding = voice_module.embed_voice(encoder, make_speech(2.0))
    assert embedding.shape == (256,)
    assert np.linalg.norm(embedding) == pytest.approx(1)
    assert (embedding >= 0).all()
    monkeypatch.setattr(voice_module, "MINUTE", 2 * RATE)
    monkeypatch.setattr(voice_module, "prepare_voice", lambda samples: samples)
    first, second = make_speech(2.0), np.random.default_rng(0).normal(0, 0.1, 2 * RATE)
    both = voice_module.embed_voice(encoder, np.concatenate([first, second, first[:RATE]]))
    alone = [voice_module.embed_voice(encoder, part) for part in (first, second)]
    np.testing.assert_allclose(both, np.mean(alone, axis=0), atol=1e-6)


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the published files are looked for."""
    moved = [
        replace(asset, path=tmp_path / asset.path.name)
        if asset.name in make_it_talk_weights.MAKE_IT_TALK_ASSETS
        else asset
        for asset in assets.ASSETS
    ]
    monkeypatch.setattr(assets, "ASSETS", tuple(moved))
    return tmp_path


def place_all(folder: Path) -> dict[str, nn.Module]:
    """The published files in their published nesting, of small networks."""
    networks = make_networks(5)
    optimiser = torch.optim.Adam(networks.image.parameters())
    image = {f"module.{key}": value for key, value in networks.image.state_dict().items()}
    speaker = networks.speaker.state_dict() | {"comb_mlp.0.weight": torch.ones(2, 2)}
    encoder = networks.voice_encoder.state_dict() | {"similarity_weight": torch.ones(1)}
    torch.save({"model": networks.auto_vc.state_dict()}, folder / "ckpt_autovc.pth")
    torch.save({"model_g_face_id": networks.content.state_dict(), "epoch": 3}, folder / "ckpt_content_branch.pth")
    torch.save({"G": speaker}, folder / "ckpt_speaker_branch.pth")
    torch.save({"G": image, "opt": optimiser, "epoch": 116}, folder / "ckpt_116_i2i_comb.pth")
    torch.save({"model_state": encoder}, folder / "pretrained.pt")
    np.savetxt(folder / "obama_emb.txt", networks.target_voice)
    np.savetxt(folder / "MEAN_STD_AUTOVC_RETRAIN_MEL_AU.txt", np.arange(1.0, 161.0))
    np.savetxt(folder / "STD_FACE_LANDMARKS.txt", np.arange(204.0).reshape(68, 3))
    return {name: getattr(networks, name) for name in ("voice_encoder", "auto_vc", "content", "speaker", "image")}


def test_published_files_are_read_in_their_nesting(placed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(make_it_talk_weights, "AutoVC", SmallAutoVC)
    monkeypatch.setattr(make_it_talk_weights, "ResidualUNet", SmallUNet)
    assert make_it_talk.label_make_it_talk() == "MakeItTalk (open weights)"
    written = place_all(placed)
    assert make_it_talk.label_make_it_talk() == make_it_talk.label_make_it_talk("official") == "MakeItTalk"
    assert make_it_talk.label_make_it_talk("open") == "MakeItTalk (open weights)"
    loaded = make_it_talk_weights.load_networks()
    for name, network in written.items():
        own = getattr(loaded, name).state_dict()
        assert all(torch.equal(value, own[key]) for key, value in network.state_dict().items()), name
        assert not getattr(loaded, name).training
    assert loaded.feature_mean.tolist() == list(range(1, 81))
    assert loaded.feature_std.tolist() == list(range(81, 161))
    assert loaded.depth[:2].tolist() == [2, 5]
    assert np.linalg.norm(loaded.target_voice) == pytest.approx(1)
    (placed / "obama_emb.txt").unlink()
    assert make_it_talk.label_make_it_talk() == "MakeItTalk (open weights)"
    with pytest.raises(DataError, match=r"make_it_talk_target_voice .* is missing: looked for .*obama_emb\.txt"):
        make_it_talk_weights.load_networks("official")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1 2 3\n", r"holds an array of \(1, 3\), expected are 68 rows of 3 numbers"),
        ("", r"holds an array of \(0,\), expected are 68 rows of 3 numbers"),
        ("1 2 3\n4 5\n", "is no table of 68 rows of 3 numbers"),
        ("<html>404</html>", "is no table of 68 rows of 3 numbers"),
        ("1 2 nan\n" * 68, "holds NaN or infinity"),
    ],
)
def test_a_wrong_text_file_is_named_with_what_was_expected(placed: Path, content: str, reason: str):
    (placed / "STD_FACE_LANDMARKS.txt").write_text(content)
    with pytest.raises(DataError, match=rf"STD_FACE_LANDMARKS\.txt {reason}. Fetch it again from adobe-research"):
        make_it_talk_weights.load_numbers("make_it_talk_std_face", (68, 3))


def test_standard_deviations_must_be_positive(placed: Path):
    np.savetxt(placed / "MEAN_STD_AUTOVC_RETRAIN_MEL_AU.txt", np.zeros(160))
    with pytest.raises(DataError, match=r"MEAN_STD\S+ has standard deviations that are not above 0"):
        make_it_talk_weights.load_official_make_it_talk()


def test_open_weights_come_back_in_half_precision_without_what_is_never_used(tmp_path: Path):
    torch.manual_seed(0)
    sound, image = make_it_talk_weights.OpenSound(), ResidualUNet(width=make_it_talk_weights.OPEN_IMAGE_WIDTH)
    sound.depth.copy_(torch.from_numpy(make_it_talk_weights.open_depth()))
    packed = make_it_talk_weights.pack_sound(sound)
    assert not any(".decoder." in name and name.startswith("speaker") for name in packed)
    assert sum(value.nbytes for value in packed.values()) < 14e6
    paths = tmp_path / "sound.safetensors", tmp_path / "image.safetensors"
    save_weights(paths[0], packed)
    save_weights(paths[1], halve_weights(image))
    loaded = make_it_talk_weights.load_open_make_it_talk(*paths)
    for key, value in sound.content.state_dict().items():
        np.testing.assert_allclose(loaded.content.state_dict()[key], value, atol=1e-3)
    assert torch.equal(loaded.speaker.encoder.pe.pe, sound.speaker.encoder.pe.pe)
    assert loaded.depth[[36, 45]].mean() == pytest.approx(0, abs=1e-3)
    assert loaded.depth[30] > 0.2 > -0.3 > loaded.depth[0]
    save_weights(paths[0], {name: value for name, value in packed.items() if name != "depth"})
    with pytest.raises(DataError, match=r"1 missing \(depth\)"):
        make_it_talk_weights.load_open_make_it_talk(*paths)
    with pytest.raises(DataError, match=r"Make it with training/train_make_it_talk\.py"):
        make_it_talk_weights.load_open_make_it_talk(tmp_path / "none.safetensors")


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn character, with landmarks that lie on its face."""
    folder = drawn.make_character(tmp_path_factory.mktemp("outputs"))
    model, coefficients = load_face_model(), drawn.make_coefficients()
    expression = torch.from_numpy(coefficients.expression)
    with torch.no_grad():
        points = model.compute_landmarks(torch.zeros(len(expression), 80), expression)
        moved = transform(points, torch.from_numpy(coefficients.rotation), torch.from_numpy(coefficients.translation))
        seen = drawn.TRANSFORM.to_source(project(moved, drawn.SIDE).numpy()).astype(np.float32)
    replace(drawn.make_landmarks(), landmarks=seen, raw_landmarks=seen).save(folder / "01_crop" / "landmarks.npz")
    write_audio(folder.parent / "speech.wav", Audio(make_speech(1.2).astype(np.float32)[:, None], RATE))
    return folder


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_it_talk, "load_networks", lambda weights, device: make_networks())


@pytest.mark.usefixtures("_small")
def test_talk_makes_a_video_of_the_sources_size_that_shows_the_still_outside_the_crop(character: Path, tmp_path: Path):
    speech = character.parent / "speech.wav"
    output = make_it_talk.talk_make_it_talk(character, speech, tmp_path / "talk.mp4", start_frame=5)
    info = probe_video(output)
    assert (info.width, info.height, info.fps) == (drawn.WIDTH, drawn.HEIGHT, drawn.FPS)
    assert info.frame_count == 30
    assert info.audio_rate == RATE
    (still,) = read_frames(load_character(character).source, 5, 6)
    frames = list(read_frames(output))
    for frame in frames:
        assert np.abs(frame[:, :18].astype(int) - still[:, :18]).mean() < 4
        assert np.abs(frame[60:200, 60:240].astype(int) - still[60:200, 60:240]).mean() > 10, "nothing was painted"
    again = make_it_talk.talk_make_it_talk(character, speech, tmp_path / "again.mp4", start_frame=5)
    assert sha256_file(again) == sha256_file(output)


def test_landmarks_move_with_the_sound_and_not_far(character: Path):
    still = make_it_talk.load_still(character, load_character(character), 5)
    assert still.crop.shape == (256, 256, 3)
    assert ((still.landmarks > 20) & (still.landmarks < 236)).all()
    points = make_it_talk.move_still_landmarks(make_networks(), make_speech(1.2), still.landmarks)
    assert points.shape == (1 + int(1.2 * RATE) // 256 - 18, 68, 3)
    assert np.abs(points[..., :2] - still.landmarks).mean() < 30
    assert (
        np.abs(points - make_it_talk.move_still_landmarks(make_networks(), make_speech(1.2, 1), still.landmarks)).max()
        > 0
    )


def test_a_long_recording_is_cut_into_segments(monkeypatch: pytest.MonkeyPatch):
    windows, heard = np.zeros((512 + 9, 18, 80)), []

    def displace(networks, segment, voice, face):
        heard.append(len(segment))
        return np.zeros((len(segment), 204))

    monkeypatch.setattr(make_it_talk, "hear", lambda networks, samples: (windows, np.full(256, 1 / 16)))
    monkeypatch.setattr(make_it_talk, "displace", displace)
    networks, face = make_networks(), make_face()[:, :2]
    assert len(make_it_talk.move_still_landmarks(networks, np.zeros(1), face)) == 512
    windows = np.zeros((512 + 40, 18, 80))
    points = make_it_talk.move_still_landmarks(networks, np.zeros(1), face)
    assert heard == [512, 512, 40]
    still = np.delete(np.arange(68), [27, *range(36, 48)])
    np.testing.assert_allclose(points[:, still, :2], np.broadcast_to(landmarks.nudge_still(face)[still], (552, 55, 2)))


@pytest.mark.usefixtures("_small")
def test_bad_input_is_refused(character: Path, tmp_path: Path):
    speech, output = character.parent / "speech.wav", tmp_path / "x.mp4"
    with pytest.raises(ParameterError, match="start_frame is 99; the source has frames 0 to 55"):
        make_it_talk.talk_make_it_talk(character, speech, output, start_frame=99)
    with pytest.raises(DataError, match=r"nothing\.wav does not exist"):
        make_it_talk.talk_make_it_talk(character, tmp_path / "nothing.wav", output)
    with pytest.raises(DataError, match=r"crop\.json does not exist"):
        make_it_talk.talk_make_it_talk(tmp_path, speech, output)
    for samples, reason in (
        (make_speech(0.5), "lasts 0.50 s; MakeItTalk needs at least 0.51 s"),
        (np.zeros(RATE), "silent"),
    ):
        write_audio(tmp_path / "bad.wav", Audio(samples.astype(np.float32)[:, None], RATE))
        with pytest.raises(DataError, match=reason):
            make_it_talk.talk_make_it_talk(character, tmp_path / "bad.wav", output)
    path = character / "01_crop" / "landmarks.npz"
    before = path.read_bytes()
    try:
        known = LandmarkTrack.load(path)
        replace(known, frame_id=known.frame_id + 1).save(path)
        with pytest.raises(DataError, match="landmarks.npz has 0 sets of landmarks for frame 0"):
            make_it_talk.talk_make_it_talk(character, speech, output)
    finally:
        path.write_bytes(before)
    assert not output.exists()


def test_the_shipped_weights_load_and_have_cards():
    assert not make_it_talk_weights.load_networks("open").image.training
    for path in make_it_talk_weights.list_make_it_talk_files("open"):
        assert path.stat().st_size <= 14_000_000
        assert path.with_suffix(".md").is_file()
