"""fan: FAN's geometry is the package's; its weights are found and checked, never fetched."""

import dataclasses
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from face_alignment import utils as package
from face_alignment.models import FAN

from metatalk_lib.core import assets
from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.errors import DataError
from metatalk_lib.tracking import fan
from metatalk_lib.tracking.face_detector import box_about
from metatalk_lib.tracking.fan import FanPredictor, fan_square, find_peaks
from metatalk_lib.tracking.landmark_predictor import load_landmark_predictor
from tests.face_clips import drawn_face

FILE = "2DFAN4-11f355bf06.pth.tar"


class SpotNetwork(torch.nn.Module):
    """Answers like FAN, 68 heatmaps a stack: that of landmark i shows red, seen through a mask that only it has."""

    def __init__(self) -> None:
        super().__init__()
        self.masks = torch.ones(68, 64, 64)
        self.masks[:8, :, 40:] = 0
        self.masks[9:17, :, :24] = 0

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        spots = torch.nn.functional.avg_pool2d(images[:, :1], 4)
        return [torch.zeros(len(images), 68, 64, 64), spots * self.masks]


def spot(x: float, y: float, width: int = 500, height: int = 420) -> np.ndarray:
    """A red Gaussian spot on black."""
    rows, columns = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.rint(250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 8.0**2)))
    return image


@pytest.mark.parametrize(("x", "y"), [(231.3, 187.8), (180.0, 240.5), (300.25, 150.0)])
@pytest.mark.parametrize("side", [120.0, 300.0, 420.0])
def test_fan_answers_in_source_pixels(x: float, y: float, side: float):
    box = np.array([240 - side / 2, 200 - side / 2, 240 + side / 2, 200 + side / 2])
    corner, square = fan_square(box)
    if not (corner + 0.1 * square < (x, y)).all() or not ((x, y) < corner + 0.9 * square).all():
        pytest.skip("the spot lies outside this box")
    found = FanPredictor(SpotNetwork()).predict(spot(x, y), box).landmarks
    is_seen = np.ones(68, bool)
    is_seen[:8], is_seen[9:17] = x < corner[0] + 0.6 * square, x > corner[0] + 0.4 * square
    np.testing.assert_allclose(found[is_seen], np.tile([x, y], (is_seen.sum(), 1)), atol=0.3)


def test_a_mirrored_picture_gives_mirrored_landmarks():
    """Left landmarks change places with right ones: the two passes agree where only the left ones see the spot."""
    box = np.array([100.0, 80, 340, 320])
    corner, side = fan_square(box)
    x = corner[0] + 0.2 * side
    found = FanPredictor(SpotNetwork()).predict(spot(x, 200.0), box).landmarks
    np.testing.assert_allclose(found[:8], np.tile([x, 200.0], (8, 1)), atol=0.3)
    pairs = package.shuffle_lr(torch.arange(68.0)[None, :, None, None])[0, :, 0, 0]
    np.testing.assert_array_equal(fan._MIRRORED, pairs)


def test_peaks_of_gaussians_are_exact_and_near_the_packages():
    rng = np.random.default_rng(0)
    centres = rng.uniform(3, 61, (68, 2))
    grid = np.arange(64) + 0.5
    heatmaps = np.exp(
        -((grid[None, None] - centres[:, 0, None, None]) ** 2 + (grid[None, :, None] - centres[:, 1, None, None]) ** 2)
        / 2
    )
    found = find_peaks(heatmaps)
    np.testing.assert_allclose(found, centres, atol=1e-3)
    highest = heatmaps.reshape(1, 68, -1).argmax(axis=2)
    theirs, _ = package._get_preds_fromhm.py_func(heatmaps[None], highest)  # as it is before it is compiled
    assert np.abs(theirs[0] - found).max() <= 0.26  # theirs are quarters of a pixel


def test_a_flat_heatmap_has_a_peak_within_it():
    found = find_peaks(np.zeros((2, 64, 64)))
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 64)).all()


def test_the_square_is_the_packages():
    picture, points = drawn_face(400)
    box = box_about(points)
    left, top, right, bottom = np.r_[box[:2], box[:2]] + fan._BOUNDS_IN_BOX * (box[2] - box[0])
    # FaceAlignment.get_landmarks_from_image of face_alignment 1.5.0
    centre = np.array([right - (right - left) / 2, bottom - (bottom - top) / 2 - (bottom - top) * 0.12])
    theirs = package.crop(picture, centre, (right - left + bottom - top) / package.REFERENCE_SCALE)
    ours = fan._cut_out(picture, *fan_square(box))
    # theirs begins at a whole pixel, so edges differ by up to one
    assert np.abs(cv2.blur(theirs, (9, 9)).astype(float) - cv2.blur(ours, (9, 9))).mean() < 3
    # the box that trains FAN is that of the landmarks
    np.testing.assert_allclose([left, top, right, bottom], [*points.min(0), *points.max(0)], atol=0.12 * (right - left))


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / FILE
    torch.manual_seed(0)
    torch.save(FAN(4).state_dict(), path)
    return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch home, an empty home, no data/official, and no way into a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    moved = tuple(
        dataclasses.replace(asset, path=tmp_path / "official" / asset.path.name) if asset.name == "fan" else asset
        for asset in assets.ASSETS
    )
    monkeypatch.setattr(assets, "ASSETS", moved)
    monkeypatch.setattr(socket, "socket", None)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def place(weights: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, is_known: bool = True) -> Path:
    """Put a file under FAN's name; `is_known` makes its checksum the expected one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).symlink_to(weights)
    if is_known:
        prefix = sha256_file(weights)[:10]
        known = (dataclasses.replace(a, sha256_prefix=prefix) if a.name == "fan" else a for a in assets.ASSETS)
        monkeypatch.setattr(assets, "ASSETS", tuple(known))
    return folder / FILE


@pytest.mark.parametrize(
    "folder", ["official", "torch/hub/checkpoints", "xdg/torch/hub/checkpoints", "home/.cache/torch/hub/checkpoints"]
)
def test_weights_are_found_at_each_place(
    hub: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
):
    path = place(random_weights, tmp_path / folder, monkeypatch)
    assert assets.require_file("fan") == path


def test_a_file_of_fans_structure_loads_and_answers(hub: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch):
    place(random_weights, hub, monkeypatch)
    predictor = load_landmark_predictor("fan")
    picture, points = drawn_face()
    found = predictor.predict(picture, box_about(points).astype(np.float64)).landmarks
    assert found.shape == (68, 2)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, load_landmark_predictor("fan").predict(picture, box_about(points)).landmarks)


def test_missing_weights_are_named_with_every_place(hub: Path, tmp_path: Path):
    with pytest.raises(DataError) as caught:
        load_landmark_predictor("fan")
    message = str(caught.value)
    for folder in ("official", "torch/hub/checkpoints", "xdg/torch/hub/checkpoints"):
        assert str(tmp_path / folder / FILE) in message
    assert str(tmp_path / "home" / ".cache" / "torch" / "hub" / "checkpoints" / FILE) in message
    assert all(part in message for part in ("is missing", "1adrianb/face-alignment", "BSD-3-Clause", "downloaded"))
    assert not list(hub.iterdir())


def test_another_or_a_truncated_file_is_refused(
    hub: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = place(random_weights, hub, monkeypatch, is_known=False)
    with pytest.raises(DataError, match=r"2DFAN4.*its SHA-256 begins \w{10}, expected 11f355bf06.*fetch it again"):
        load_landmark_predictor("fan")
    path.unlink()
    cut = tmp_path / "cut"
    cut.write_bytes(random_weights.read_bytes()[:1_000_000])
    path = place(cut, hub, monkeypatch, is_known=False)
    with pytest.raises(DataError, match="its SHA-256 begins"):
        load_landmark_predictor("fan")
    path.unlink()
    # even where its checksum were right, a broken file ends in one line
    place(cut, hub, monkeypatch)
    with pytest.raises(DataError, match="does not hold the weights of FAN"):
        load_landmark_predictor("fan")


@pytest.mark.parametrize("content", [{"conv1.weight": torch.zeros(1)}, [1, 2], "unsafe"])
def test_weights_of_another_network_are_refused(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
):
    torch.save(SpotNetwork() if content == "unsafe" else content, tmp_path / "other")
    place(tmp_path / "other", hub, monkeypatch)
    with pytest.raises(DataError, match="does not hold the weights of FAN"):
        load_landmark_predictor("fan")


def test_a_missing_package_of_fan_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "face_alignment.models", None)
    fan.load_fan.cache_clear()
    with pytest.raises(DataError, match=r"needs the package face-alignment .* Install metatalk\[fan\] or use media"):
        fan.load_fan(tmp_path / "fan.pth")
