"""Reference frames: what is near, what stays, what must not be used, and pixels that land where they belong."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.face3d.face_renderer import draw_face, expression_open_mouth, render_face
from metatalk_lib.neural_renderer.lower_face_region import Roi, dilated_mask, find_roi
from metatalk_lib.neural_renderer.reference_bank import (
    FADE_FRAMES,
    MEASURES,
    Reference,
    ReferenceBank,
    ReferenceFollower,
    describe_mouths,
    spread_out,
)

SIZE = 128


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_face_model()


def make_coefficients(model: FaceModel, openings: list[float], turns: list[float]) -> Coefficients:
    count = len(openings)
    rotation = np.zeros((count, 3), np.float32)
    rotation[:, 1] = turns
    return Coefficients(
        frame_id=np.arange(0, 10 * count, 10),
        identity=np.zeros(80, np.float32),
        texture=np.random.default_rng(1).normal(0, 1, 80).astype(np.float32),
        expression=(np.array(openings)[:, None] * expression_open_mouth(model)).astype(np.float32),
        illumination=np.zeros((count, 27), np.float32),
        rotation=rotation,
        translation=np.zeros((count, 3), np.float32),
        valid=np.ones(count, bool),
        landmark_error_px=np.zeros(count, np.float32),
    )


@pytest.fixture(scope="module")
def clip(model: FaceModel) -> Coefficients:
    return make_coefficients(model, [0.0, 0.1, 0.4, 0.7, 0.4], [0.0, 0.05, 0.0, -0.05, 0.3])


@pytest.fixture(scope="module")
def roi(model: FaceModel, clip: Coefficients) -> Roi:
    return find_roi(model, clip, SIZE, multiple=16)


@pytest.fixture(scope="module")
def bank(model: FaceModel, clip: Coefficients, roi: Roi) -> ReferenceBank:
    images = np.stack([roi.cut(render_face(model, clip, row, SIZE).image) for row in range(len(clip))])
    return ReferenceBank.build(model, clip, images, SIZE)


def test_descriptors_are_millimetres_and_degrees(model: FaceModel, clip: Coefficients):
    rows = describe_mouths(model, clip)
    opening = np.linalg.norm(rows[2] - rows[0])
    assert 10 < opening < 60
    assert np.linalg.norm(rows[4] - rows[2]) == pytest.approx(0.4 * np.degrees(0.3), rel=1e-4)


def test_openness_width_pucker_and_teeth_are_told_apart(model: FaceModel):
    """Each of these mouths changes its own measure the most, for its weight."""
    actions = dict(zip(model.action_names, model.actions_to_expression.numpy(), strict=True))
    mouths = {
        "openness": actions["jawOpen"],
        "width": actions["mouthStretchLeft"] + actions["mouthStretchRight"],
        "pucker": actions["mouthPucker"],
        "upper teeth": actions["mouthUpperUpLeft"] + actions["mouthUpperUpRight"],
        "lower teeth": actions["mouthLowerDownLeft"] + actions["mouthLowerDownRight"],
    }
    rest = make_coefficients(model, [0.0], [0.0])
    for name, expression in mouths.items():
        moved = rest.with_expression(0.5 * expression[None].astype(np.float32))
        change = (describe_mouths(model, moved) - describe_mouths(model, rest))[0, -8:-3] / list(MEASURES.values())
        assert change[list(MEASURES).index(name)] > 1, f"{name}: {change.round(1)} mm"


def test_spreading_out_takes_the_ends_and_no_row_twice():
    line = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 10.0])[:, None]
    assert spread_out(line, 3).tolist() == [0, 3, 5]
    assert spread_out(line, 9).tolist() == [0, 1, 2, 3, 4, 5]


def rows_of(references: list[Reference]) -> list[int]:
    return [reference.rows[0] for reference in references]


def test_the_nearest_mouth_comes_first_and_stays_until_another_is_clearly_nearer(bank: ReferenceBank):
    follower = ReferenceFollower(bank, 1)
    near, far = bank.descriptors[1], bank.descriptors[2]
    assert rows_of(follower.choose(near)) == [1]
    halfway = near + 0.52 * (far - near)
    assert rows_of(ReferenceFollower(bank, 1).choose(halfway)) == [2]
    assert rows_of(follower.choose(halfway)) == [1]
    assert rows_of(follower.choose(near + 0.9 * (far - near))) == [2]


def test_the_last_of_several_is_chosen_by_pose(bank: ReferenceBank):
    wanted = bank.descriptors[4].copy()
    wanted[:-3] = bank.descriptors[0, :-3]
    assert rows_of(ReferenceFollower(bank, 2).choose(wanted)) == [0, 4]


def test_the_pose_fades_and_the_shares_add_up(bank: ReferenceBank):
    follower = ReferenceFollower(bank, 2)
    assert follower.choose(bank.descriptors[3])[1] == Reference((3,))
    fading = [follower.choose(bank.descriptors[4])[1] for _ in range(FADE_FRAMES + 1)]
    assert [part.rows for part in fading] == [(4, 3)] * FADE_FRAMES + [(4,)]
    shares = np.array([part.shares[0] for part in fading])
    assert (np.diff(shares) > 0).all()
    assert all(sum(part.shares) == pytest.approx(1) for part in fading)
    # what must not be seen is dropped at once, even in the middle of a fade
    follower.choose(bank.descriptors[3])
    assert follower.choose(bank.descriptors[3], range(35, 45))[1] == Reference((3,))


def test_hidden_frames_are_not_used_and_too_few_are_refused(bank: ReferenceBank):
    assert rows_of(ReferenceFollower(bank, 1).choose(bank.descriptors[3], range(25, 35))) != [3]
    with pytest.raises(ParameterError, match="1 reference frames are left to choose 2 from"):
        ReferenceFollower(bank, 2).choose(bank.descriptors[3], range(0, 40))


def test_references_of_a_frame_are_apart_where_there_are_enough(model: FaceModel, clip: Coefficients):
    crowded = dataclasses.replace(clip, frame_id=np.array([0, 1, 2, 50, 51]))
    images = np.zeros((5, 16, 16, 3), np.uint8)
    bank = ReferenceBank.build(model, crowded, images, SIZE)
    first, second, _ = rows_of(ReferenceFollower(bank, 3).choose(bank.descriptors[0]))
    assert first == 0
    assert second in (3, 4)
    assert len(set(rows_of(ReferenceFollower(bank, 5).choose(bank.descriptors[0]))[:4])) == 4


def test_a_warped_frame_shows_the_face_as_it_is_drawn(
    model: FaceModel, clip: Coefficients, roi: Roi, bank: ReferenceBank
):
    """The face of frame 2 made from frame 3 (wider open, turned) is nearer to frame 2 than frame 3 itself."""
    drawn = draw_face(model, clip, 2, SIZE, region="lower", window=tuple(roi))
    warped = bank.warp(model, drawn, [Reference((3,))])[0].astype(float)
    shown = drawn.render.mask
    true, other = bank.images[2].astype(float)[shown], bank.images[3].astype(float)[shown]
    error = np.abs(warped[shown] - true).mean()
    assert error < 3
    assert error < 0.35 * np.abs(other - true).mean()
    assert dilated_mask(model, clip, 2, SIZE, roi, region="lower")[shown].all()
    other_way, mixed = bank.warp(model, drawn, [Reference((1,)), Reference((3, 1), (0.25, 0.75))]).astype(float)
    np.testing.assert_allclose(mixed, 0.25 * warped + 0.75 * other_way, atol=1)


def test_a_bank_comes_back_from_disk_and_a_broken_one_is_named(model: FaceModel, bank: ReferenceBank, tmp_path: Path):
    bank.save(tmp_path)
    loaded = ReferenceBank.load(tmp_path, model, SIZE)
    assert isinstance(loaded.images, np.memmap)
    assert np.array_equal(loaded.images, bank.images)
    assert np.array_equal(loaded.points, bank.points)
    np.save(tmp_path / "references.npy", bank.images[:2])
    with pytest.raises(DataError, match="2 images for 5 frames"):
        ReferenceBank.load(tmp_path, model, SIZE)
    (tmp_path / "references.npy").write_bytes(b"broken")
    with pytest.raises(DataError, match="holds no usable frames"):
        ReferenceBank.load(tmp_path, model, SIZE)
    with pytest.raises(ParameterError, match="0 images for 5 frames"):
        ReferenceBank.build(model, bank.coefficients, bank.images[:0], SIZE)
