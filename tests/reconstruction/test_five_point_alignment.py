"""Deep3D's five-point alignment against the official golden, and poses brought back into our crop."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d import camera
from metatalk_lib.networks.face_regressors import DEEP3D_INPUT_SIZE
from metatalk_lib.reconstruction.five_point_alignment import (
    STANDARD_POINTS,
    FaceAlignment,
    MovedPose,
    align_faces,
    fit_standard_points,
    five_points,
    move_poses,
)
from tests.reference import REFERENCE_DIR
from tests.synthetic import make_face_model

GOLDEN = REFERENCE_DIR / "front_deep3d_geometry.npz"
WIDTH, HEIGHT = 400, 420
# A square crop of 512 px whose face is 1.4 aligned squares wide, off the centre by a tenth of the side.
SIDE = 512
OFF_CENTRE = FaceAlignment(SIDE, SIDE, 314, 314, 70, 20)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def make_landmarks(points: np.ndarray) -> np.ndarray:
    """68 landmarks with these five points; the two corners of an eye lie 10 px to its sides."""
    landmarks = np.zeros((68, 2))
    for eye, (first, last) in enumerate(((36, 39), (42, 45))):
        landmarks[first], landmarks[last] = points[eye] - (10, 2), points[eye] + (10, 2)
    landmarks[[30, 48, 54]] = points[2:]
    return landmarks


def draw_golden_picture() -> np.ndarray:
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    blue = np.where((column // 20 + row // 20) % 2, 255, 0)
    return np.stack([column * 255 // (WIDTH - 1), row * 255 // (HEIGHT - 1), blue], axis=-1).astype(np.uint8)


def test_five_points_come_back_from_68(golden):
    points = golden["five_points"].astype(np.float64)
    np.testing.assert_allclose(five_points(make_landmarks(points)), points, atol=1e-12)


def test_least_squares_match_the_golden(golden):
    assert "y is flipped" in json.loads(str(golden["meta"]))["alignment"]
    np.testing.assert_allclose(STANDARD_POINTS, golden["lm3d"], atol=1e-7)
    fit = fit_standard_points(golden["five_points"][None].astype(np.float64), HEIGHT)
    np.testing.assert_allclose(fit.origin[0], golden["pos_t"], atol=1e-5)
    assert fit.scale[0] == pytest.approx(float(golden["pos_s"]), abs=1e-5)
    assert [WIDTH, HEIGHT, 102 / fit.scale[0], *fit.origin[0]] == pytest.approx(golden["trans_params"], abs=1e-5)


def test_aligned_picture_equals_the_golden(golden):
    alignment = align_faces(make_landmarks(golden["five_points"].astype(np.float64))[None], WIDTH, HEIGHT)[0]
    aligned = alignment.crop_image(draw_golden_picture())
    np.testing.assert_array_equal(aligned[::8, ::8], golden["aligned_crop_every8"])


def test_aligned_points_lie_within_a_pixel_of_the_official_ones(golden):
    """The official landmarks of the aligned picture ignore that sizes and corners are whole; ours follow the pixels."""
    points = golden["five_points"].astype(np.float64)
    alignment = align_faces(make_landmarks(points)[None], WIDTH, HEIGHT)[0]
    aligned = alignment.to_aligned(points)
    upright = np.stack([aligned[:, 0], DEEP3D_INPUT_SIZE - 1 - aligned[:, 1]], axis=1)
    assert np.abs(upright - golden["landmarks_new"]).max() < 1
    np.testing.assert_allclose(alignment.to_picture(aligned), points, atol=1e-9)


def test_aligned_points_follow_the_pixels():
    """A bright block's centre of mass moves as `to_aligned` says, and beyond the picture there is black."""
    picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    picture[200:230, 300:320] = 200
    aligned = OFF_CENTRE.crop_image(picture)[..., 0].astype(np.float64)
    row, column = np.mgrid[:DEEP3D_INPUT_SIZE, :DEEP3D_INPUT_SIZE]
    mass = np.array([(column * aligned).sum(), (row * aligned).sum()]) / aligned.sum()
    np.testing.assert_allclose(mass, OFF_CENTRE.to_aligned(np.array([309.5, 214.5])), atol=0.05)
    beyond = dataclasses.replace(OFF_CENTRE, left=-30, top=200)
    framed = beyond.crop_image(np.full((SIDE, SIDE, 3), 90, dtype=np.uint8))
    assert not framed[:, :30].any()
    assert not framed[314 - 200 :].any()
    assert (framed[: 314 - 200, 30:] == 90).all()


def draw_poses(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rotation = generator.normal(size=(count, 3)) * (0.15, 0.25, 0.1)
    translation = generator.normal(size=(count, 3)) * (0.03, 0.03, 0.1)
    return rotation, translation


def repeat_standard_points(count: int) -> np.ndarray:
    return np.repeat(STANDARD_POINTS[None], count, axis=0)


def project(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray, size: int) -> np.ndarray:
    """Model space to pixels by `camera`, an implementation other than the one under test."""
    pose = [torch.from_numpy(np.asarray(part, dtype=np.float64)) for part in (rotation, translation)]
    return camera.project(camera.transform(torch.from_numpy(points), *pose), size).numpy()


def move_landmarks(alignment: FaceAlignment, *, with_points: bool) -> tuple[MovedPose, np.ndarray]:
    """Moved poses, and the distances (T, 68) between a face's landmarks in the aligned and in our camera, our px."""
    count = 50
    rotation, translation = draw_poses(count)
    with torch.no_grad():
        points = make_face_model().compute_landmarks(torch.zeros(1, 80), torch.zeros(1, 64))
    points = points.double().numpy().repeat(count, axis=0)
    reference = points if with_points else repeat_standard_points(count)
    moved = move_poses(rotation, translation, [alignment] * count, reference)
    seen = alignment.to_picture(project(points, rotation, translation, DEEP3D_INPUT_SIZE))
    return moved, np.linalg.norm(project(points, moved.rotation, moved.translation, alignment.width) - seen, axis=-1)


@pytest.mark.parametrize("with_points", [True, False])
def test_moved_poses_put_the_landmarks_where_the_network_saw_them(with_points):
    moved, distance = move_landmarks(OFF_CENTRE, with_points=with_points)
    assert distance.mean() < 0.002 * SIDE
    assert distance.max() < 0.01 * SIDE
    if with_points:
        np.testing.assert_allclose(moved.residual_px, distance.mean(axis=1), atol=1e-9)


def test_moved_poses_are_exact_where_the_camera_stays():
    """A crop that differs by its pixel count alone has the same coefficients."""
    whole = FaceAlignment(448, 448, 224, 224, 0, 0)
    rotation, translation = draw_poses(5)
    moved = move_poses(rotation, translation, [whole] * 5, repeat_standard_points(5))
    np.testing.assert_allclose(moved.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(moved.translation, translation, atol=1e-12)
    assert moved.residual_px.max() < 1e-9


def test_turning_along_the_line_of_sight_beats_a_mere_shift():
    """With the network's own rotation and the best translation, found by search, the landmarks are further off."""
    rotation, translation = draw_poses(1)
    points = np.concatenate([STANDARD_POINTS, 0.8 * STANDARD_POINTS - (0, 0, 0.3)])[None]
    moved = move_poses(rotation, translation, [OFF_CENTRE], points)
    seen = OFF_CENTRE.to_picture(project(points, rotation, translation, DEEP3D_INPUT_SIZE))

    def error(shift: np.ndarray) -> float:
        return float(np.linalg.norm(project(points, rotation, shift[None], SIDE) - seen, axis=-1).mean())

    best, step = moved.translation[0], 0.2
    while step > 1e-4:
        trials = [best + step * direction for direction in np.concatenate([np.eye(3), -np.eye(3)])]
        nearest = min(trials, key=error)
        best, step = (nearest, step) if error(nearest) < error(best) else (best, step / 2)
    assert moved.residual_px[0] < error(best)


def test_landmarks_that_cannot_be_aligned_are_refused(golden):
    landmarks = np.repeat(make_landmarks(golden["five_points"].astype(np.float64))[None], 3, axis=0)
    landmarks[1, 30, 0] = np.nan
    with pytest.raises(DataError, match="landmarks of 1 frames are not finite, the first at position 1"):
        align_faces(landmarks, WIDTH, HEIGHT)
    landmarks[1] = 0.05 * landmarks[0]
    with pytest.raises(DataError, match=r"faces of 1 frames are too small, the first at position 1 with 7\.0 px"):
        align_faces(landmarks, WIDTH, HEIGHT)
    landmarks[1] = 0
    with pytest.raises(DataError, match=r"too small, the first at position 1 with 0\.0 px"):
        align_faces(landmarks, WIDTH, HEIGHT)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ParameterError, match="of a 512 × 512 px picture, got one of 300 × 200 px"):
        OFF_CENTRE.crop_image(np.zeros((200, 300, 3), dtype=np.uint8))


def test_poses_of_other_frames_are_refused():
    rotation, translation = draw_poses(2)
    with pytest.raises(ParameterError, match="2 rotations, 2 translations, 1 alignments and 2 sets of points"):
        move_poses(rotation, translation, [OFF_CENTRE], repeat_standard_points(2))
    oblong = dataclasses.replace(OFF_CENTRE, height=500)
    with pytest.raises(ParameterError, match=r"sides are \[500, 512\] px"):
        move_poses(rotation, translation, [OFF_CENTRE, oblong], repeat_standard_points(2))
    assert len(move_poses(rotation[:0], translation[:0], [], repeat_standard_points(0)).residual_px) == 0
