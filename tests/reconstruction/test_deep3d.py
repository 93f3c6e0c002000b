"""Deep3D's checkpoint and its coefficients in our crop, with weights and answers made by the test."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from torch import nn

from metatalk_lib.core import assets
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import SLICES, Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.networks.face_regressors import DEEP3D_INPUT_SIZE, Deep3DRegressor
from metatalk_lib.reconstruction import deep3d, fit_video
from metatalk_lib.reconstruction.coefficient_conventions import from_deep3d, to_deep3d
from metatalk_lib.reconstruction.deep3d import load_deep3d_regressor, regress_deep3d
from metatalk_lib.reconstruction.face_clip import FaceClip
from metatalk_lib.reconstruction.five_point_alignment import STANDARD_POINTS, align_faces
from metatalk_lib.reconstruction.gauss_newton import project_landmarks
from tests.reference import TOLERANCE, build_inputs, build_weights, golden_error
from tests.synthetic import make_face_arrays, make_face_model

SIZE = 256
FRAMES = 5
POSE = np.r_[SLICES["rotation"], SLICES["translation"]]


class KnownAnswers(Deep3DRegressor):
    """Answers with given rows in Deep3D's order, one after another, and keeps the pictures it was shown."""

    def __init__(self, rows: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.rows, self.asked, self.pictures = nn.Parameter(rows, requires_grad=False), 0, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.pictures.append(images)
        self.asked += len(images)
        return self.rows[self.asked - len(images) : self.asked]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    """A published model whose eyes, nose and mouth lie where Deep3D's standard points are."""
    arrays = make_face_arrays()
    points = STANDARD_POINTS.repeat([2, 2, 1, 1, 1], axis=0)
    points[:4, 0] += (-0.1, 0.1, -0.1, 0.1)  # the corners of the eyes
    arrays["mean_shape"][np.array([36, 39, 42, 45, 30, 48, 54]) % 30] = points
    arrays |= {"published_centre": np.array([0.0, 0.1, 0.8]), "published_normals_sign": np.array(-1)}
    return FaceModel(arrays)


@pytest.fixture(scope="module")
def truth(model) -> np.ndarray:
    """Our coefficients (T, 257) of a face that moves about in the crop; identity and texture differ by frame."""
    generator = np.random.default_rng(3)
    rows = 0.3 * generator.normal(size=(FRAMES, 257))
    rows[:, SLICES["identity"]] = 0.3 * generator.normal(size=80) + 1e-3 * generator.normal(size=(FRAMES, 80))
    rows[:, SLICES["rotation"]] = generator.normal(size=(FRAMES, 3)) * 0.1
    rows[:, SLICES["translation"]] = generator.normal(size=(FRAMES, 3)) * (0.15, 0.1, 0.3) - (0, 0, 2.5)
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def points(model, truth) -> np.ndarray:
    """Landmarks in model space, with the mean identity."""
    identity = truth[:, SLICES["identity"]].mean(axis=0, keepdims=True).repeat(FRAMES, axis=0)
    return model.compute_landmarks(torch.from_numpy(identity), torch.from_numpy(truth[:, SLICES["expression"]])).numpy()


@pytest.fixture(scope="module")
def landmarks(points, truth) -> np.ndarray:
    return project_landmarks(points.astype(np.float64), truth[:, POSE].astype(np.float64), SIZE)


@pytest.fixture(scope="module")
def perfect_rows(model, truth, points, landmarks) -> torch.Tensor:
    """Compute a perfect network's output: for each aligned picture the pose that fits its landmarks best, by scipy."""
    rows = truth.copy()
    for index, alignment in enumerate(align_faces(landmarks, SIZE, SIZE)):
        target = alignment.to_aligned(landmarks[index])

        def residual(pose: np.ndarray, index: int = index, target: np.ndarray = target) -> np.ndarray:
            return (project_landmarks(points[index : index + 1], pose[None], DEEP3D_INPUT_SIZE) - target).ravel()

        rows[index, POSE] = least_squares(residual, np.zeros(6)).x
    return to_deep3d(torch.from_numpy(rows), model)


def make_frames(count: int = FRAMES) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(count)]


def test_a_perfect_network_leads_back_to_the_truth(model, truth, landmarks, perfect_rows):
    """Pose of the aligned picture to pose of the crop: the landmarks fall on the observed ones, the angles return."""
    result = regress_deep3d(KnownAnswers(perfect_rows).eval(), model, make_frames(), landmarks, SIZE, batch=2)
    rows = result.coefficients
    assert result.landmark_error_px.max() < 0.002 * SIZE
    assert result.residual_px.max() < 0.002 * SIZE
    np.testing.assert_allclose(rows[:, SLICES["rotation"]], truth[:, SLICES["rotation"]], atol=0.02)
    np.testing.assert_allclose(rows[:, SLICES["translation"]][:, :2], truth[:, SLICES["translation"]][:, :2], atol=0.03)
    np.testing.assert_allclose(rows[:, SLICES["translation"]][:, 2], truth[:, SLICES["translation"]][:, 2], atol=0.3)
    for name in ("expression", "illumination"):
        np.testing.assert_allclose(rows[:, SLICES[name]], truth[:, SLICES[name]], atol=1e-6)


def test_landmarks_of_any_answer_fall_where_the_aligned_camera_has_them(model, landmarks, perfect_rows):
    """A network that is wrong by 6 degrees and 0.1 dm is reproduced as it is, not corrected."""
    answers = from_deep3d(perfect_rows, model)
    answers[:, SLICES["rotation"]] += 0.1
    answers[:, SLICES["translation"]] += 0.1
    network = KnownAnswers(to_deep3d(answers, model)).eval()
    result = regress_deep3d(network, model, make_frames(), landmarks, SIZE)
    rows = torch.from_numpy(result.coefficients)
    shape = model.compute_landmarks(rows[:, SLICES["identity"]], rows[:, SLICES["expression"]]).double().numpy()
    ours = project_landmarks(shape, result.coefficients[:, POSE].astype(np.float64), SIZE)
    aligned = project_landmarks(shape, answers[:, POSE].double().numpy(), DEEP3D_INPUT_SIZE)
    for index, alignment in enumerate(align_faces(landmarks, SIZE, SIZE)):
        distance = np.linalg.norm(ours[index] - alignment.to_picture(aligned[index]), axis=-1)
        assert distance.max() < 0.01 * SIZE
        assert result.residual_px[index] == pytest.approx(distance.mean(), abs=1e-3)
        error = np.linalg.norm(ours[index] - landmarks[index], axis=-1).mean()
        assert result.landmark_error_px[index] == pytest.approx(error, abs=1e-3)


def test_identity_and_texture_are_the_mean_of_the_chosen_frames(model, truth, landmarks, perfect_rows):
    chosen = np.array([True, False, True, True, False])
    network = KnownAnswers(perfect_rows).eval()
    rows = regress_deep3d(network, model, make_frames(), landmarks, SIZE, shared_mask=chosen).coefficients
    for name in ("identity", "texture"):
        mean = truth[chosen, SLICES[name]].mean(axis=0)
        np.testing.assert_allclose(rows[:, SLICES[name]], np.repeat(mean[None], FRAMES, axis=0), atol=1e-6)
    ones = np.ones(FRAMES)
    assert len(Coefficients.unpack(np.arange(FRAMES), rows, ones > 0, ones)) == FRAMES


def test_the_network_sees_the_aligned_pictures_in_batches(model, landmarks, perfect_rows):
    network = KnownAnswers(perfect_rows).eval()
    frames = make_frames()
    regress_deep3d(network, model, iter(frames), landmarks, SIZE, batch=2)
    assert [len(pictures) for pictures in network.pictures] == [2, 2, 1]
    for picture, frame, alignment in zip(
        torch.cat(network.pictures), frames, align_faces(landmarks, SIZE, SIZE), strict=True
    ):
        expected = alignment.crop_image(frame).transpose(2, 0, 1).astype(np.float32) / 255
        np.testing.assert_allclose(picture.numpy(), expected, atol=1e-7)


def test_frames_and_landmarks_that_disagree_are_refused(model, landmarks, perfect_rows):
    def regress(frames: list[np.ndarray], *, face_model: FaceModel = model, **options: object) -> None:
        regress_deep3d(KnownAnswers(perfect_rows).eval(), face_model, frames, landmarks, SIZE, **options)

    for count in (FRAMES - 1, FRAMES + 2):
        with pytest.raises(ParameterError, match=f"regress_deep3d: {count} frames for {FRAMES} rows of landmarks"):
            regress(make_frames(count))
    with pytest.raises(ParameterError, match="5 frames of landmarks, 4 values of `shared_mask`, batch 16"):
        regress(make_frames(), shared_mask=np.ones(4, dtype=bool))
    with pytest.raises(ParameterError, match="batch 0. Pass the same frames to each and a batch of at least 1"):
        regress(make_frames(), batch=0)
    with pytest.raises(ParameterError, match="of a 256 × 256 px picture, got one of 128 × 128 px"):
        regress([frame[::2, ::2] for frame in make_frames()])
    with pytest.raises(ParameterError, match="this face model has no other conventions"):
        regress(make_frames(), face_model=make_face_model())


def test_a_network_that_cannot_answer_is_refused(model, landmarks, perfect_rows):
    with pytest.raises(ParameterError, match="the network is in training mode and mixes frames"):
        regress_deep3d(KnownAnswers(perfect_rows), model, make_frames(), landmarks, SIZE)
    broken = perfect_rows.clone()
    broken[3, 7] = torch.nan
    with pytest.raises(DataError, match="answer is not finite in 1 frames, the first at position 3"):
        regress_deep3d(KnownAnswers(broken).eval(), model, make_frames(), landmarks, SIZE)


def test_faces_that_cannot_be_used_are_refused(model, landmarks, perfect_rows):
    network = KnownAnswers(perfect_rows).eval()
    with pytest.raises(DataError, match="no frame to take identity and texture from"):
        regress_deep3d(network, model, make_frames(), landmarks, SIZE, shared_mask=np.zeros(FRAMES, dtype=bool))
    with pytest.raises(DataError, match="no frame to take identity and texture from"):
        regress_deep3d(network, model, [], landmarks[:0], SIZE)
    with pytest.raises(DataError, match="faces of 5 frames are too small"):
        regress_deep3d(network, model, make_frames(), 0.01 * landmarks, SIZE)


def place_asset(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let the asset table expect the checkpoint at `path`."""
    asset = dataclasses.replace(assets.find_asset("deep3d"), path=path)
    others = tuple(other for other in assets.ASSETS if other.name != "deep3d")
    monkeypatch.setattr(assets, "ASSETS", (*others, asset))


def test_a_checkpoint_of_the_official_structure_loads(tmp_path, monkeypatch):
    """Network, optimiser and schedule in one file, as the official training writes it; then the golden is met."""
    place_asset(monkeypatch, tmp_path / "epoch_20.pth")
    optimiser = torch.optim.Adam([nn.Parameter(torch.ones(2))], lr=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 10)
    checkpoint = {
        "net_recon": build_weights("deep3d_reconnet"),
        "opt_00": optimiser.state_dict(),
        "sched_00": schedule.state_dict(),
    }
    torch.save(checkpoint, tmp_path / "epoch_20.pth")
    network = load_deep3d_regressor()
    assert not network.training
    with torch.no_grad():
        coefficients = network(*build_inputs("deep3d_reconnet"))
    assert golden_error("deep3d_reconnet", "coeffs", coefficients) <= TOLERANCE


def test_a_missing_checkpoint_names_file_source_licence_and_place(tmp_path, monkeypatch):
    place_asset(monkeypatch, tmp_path / "epoch_20.pth")
    with pytest.raises(DataError, match=r"epoch_20\.pth.*sicxu/Deep3DFaceRecon_pytorch.*place it there.*MIT"):
        load_deep3d_regressor()
    with pytest.raises(DataError, match=r"other\.pth does not exist. Fetch epoch_20\.pth from sicxu.*licence: MIT"):
        load_deep3d_regressor(tmp_path / "other.pth")


def test_checkpoints_of_something_else_are_refused(tmp_path):
    path = tmp_path / "epoch_20.pth"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="epoch_20.pth is a git-LFS pointer"):
        load_deep3d_regressor(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="epoch_20.pth is no checkpoint of torch"):
        load_deep3d_regressor(path)
    for content, has in (({"state_dict": {}}, "it has state_dict"), ([1], "it has list"), ({}, "it has none")):
        torch.save(content, path)
        with pytest.raises(DataError, match=rf"no entry `{deep3d.CHECKPOINT_ENTRY}` \({has}\)"):
            load_deep3d_regressor(path)
    torch.save({"net_recon": {"module.backbone.conv1.weight": torch.ones(1)}}, path)
    with pytest.raises(DataError, match=r"missing \(backbone\.conv1\.weight, .*1 unknown \(module\.backbone\.conv1"):
        load_deep3d_regressor(path)


def test_stage_03_takes_the_networks_identity_and_moves_its_poses(model, truth, landmarks, perfect_rows, monkeypatch):
    wrong = perfect_rows.clone()
    wrong[:, 224:227] += 0.05  # the angles
    monkeypatch.setattr(fit_video, "load_deep3d_regressor", lambda: KnownAnswers(wrong).eval())
    frames = make_frames()
    settings = fit_video.ReconstructionSettings(regressor="deep3d", photometric=None)
    clip = FaceClip(landmarks, SIZE, 10 * np.arange(FRAMES), lambda start, stop: frames[start:stop])
    fit = fit_video.reconstruct(model, clip, settings)
    np.testing.assert_allclose(fit.identity, truth[:, SLICES["identity"]].mean(axis=0), atol=1e-5)
    start = regress_deep3d(KnownAnswers(wrong).eval(), model, frames, landmarks, SIZE)
    assert fit.landmark_error_px.mean() < 0.5 * start.landmark_error_px.mean()
    assert fit.illumination.any()


def test_the_open_regressor_refuses_another_face_model(landmarks):
    arrays = make_face_arrays() | {"actions_to_expression": np.zeros((0, 64)), "open_mouth": np.zeros(64)}
    basel = FaceModel(arrays, action_names=(), name="bfm09")
    clip = FaceClip(landmarks, SIZE, np.arange(FRAMES), lambda start, stop: make_frames())
    with pytest.raises(ParameterError, match="Set face_regressor to deep3d or none"):
        fit_video.reconstruct(basel, clip)
