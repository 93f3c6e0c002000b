"""Training pairs: rectangle, masks, windows, and above all that the target's own mouth never enters the input."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core import resumable_arrays
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.parallel import torch_threads
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.face3d.face_renderer import lower_face_mask
from metatalk_lib.neural_renderer import drawing, lower_face_region, reference_pairs, training_pairs
from metatalk_lib.neural_renderer.conditioning import Condition, assemble_input, to_images, to_tensor
from metatalk_lib.neural_renderer.lower_face_region import Roi, dilated_mask, enclosing_roi, find_roi
from metatalk_lib.neural_renderer.reference_pairs import add_references, choose_frames, make_bank
from metatalk_lib.neural_renderer.training_pairs import Cut, open_pairs, remove_pairs, render_pairs

SIZE = 128


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_face_model()


def make_coefficients(frames: int = 4, seed: int = 0) -> Coefficients:
    random = np.random.default_rng(seed)
    translation = np.zeros((frames, 3), np.float32)
    translation[:, 0] = np.linspace(-0.1, 0.1, frames)
    return Coefficients(
        frame_id=np.arange(10, 10 + frames),
        identity=np.zeros(80, np.float32),
        texture=np.zeros(80, np.float32),
        expression=random.normal(0, 0.5, (frames, 64)).astype(np.float32),
        illumination=np.zeros((frames, 27), np.float32),
        rotation=random.normal(0, 0.05, (frames, 3)).astype(np.float32),
        translation=translation,
        valid=np.array([True] * (frames - 1) + [False]),
        landmark_error_px=np.zeros(frames, np.float32),
    )


def test_the_mask_ignores_the_expression_and_is_dilated(model: FaceModel):
    coefficients = make_coefficients()
    neutral = dataclasses.replace(coefficients, expression=np.zeros_like(coefficients.expression))
    mask = dilated_mask(model, coefficients, 1, SIZE)
    assert np.array_equal(mask, dilated_mask(model, neutral, 1, SIZE))
    plain = lower_face_mask(model, coefficients, 1, SIZE, region="speech")
    assert mask[plain].all()
    assert mask.sum() > plain.sum()
    judged = dilated_mask(model, coefficients, 1, SIZE, region="lower")
    assert judged[mask].all()
    assert judged.sum() > 1.1 * mask.sum()


def test_the_rectangle_holds_every_mask_and_the_cut_equals_the_full_mask(model: FaceModel):
    coefficients = make_coefficients()
    roi = find_roi(model, coefficients, SIZE, multiple=16)
    assert roi.width % 16 == 0
    assert roi.height % 16 == 0
    for index in range(len(coefficients)):
        full = dilated_mask(model, coefficients, index, SIZE)
        inside = dilated_mask(model, coefficients, index, SIZE, roi)
        assert inside.sum() == full.sum()
        assert np.array_equal(inside, roi.cut(full))


def test_the_rectangle_is_minimal_and_stays_in_the_crop():
    assert enclosing_roi(np.array([100, 90, 140, 120]), 256, multiple=64) == Roi(88, 73, 152, 137)
    assert enclosing_roi(np.array([0, 200, 60, 256]), 256, multiple=32) == Roi(0, 192, 96, 256)
    assert enclosing_roi(np.array([0, 0, 256, 256]), 256, multiple=64) == Roi(0, 0, 256, 256)


def test_a_rectangle_that_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="no multiple of 64"):
        enclosing_roi(np.array([1, 1, 9, 9]), 100, multiple=64)
    with pytest.raises(DataError, match="outside the crop"):
        enclosing_roi(np.array([256, 256, 0, 0]), 256, multiple=64)


def test_pairs_join_by_frame_id(model: FaceModel, tmp_path: Path):
    coefficients = make_coefficients()
    roi = find_roi(model, coefficients, SIZE, multiple=16)
    chosen = [(number, np.full((SIZE, SIZE, 3), number, np.uint8)) for number in (11, 13)]
    pairs = render_pairs(model, coefficients, chosen, 2, roi, tmp_path / "pairs")
    assert pairs.frame_id.tolist() == [11, 13]
    assert pairs.targets[:, 0, 0, 0].tolist() == [11, 13]
    assert pairs.valid.tolist() == [True, False]
    assert pairs.renders[0][pairs.masks[0]].any()
    windows, known = pairs.windows([0], 5)
    assert known.tolist() == [[False, False, True, False, True]]
    assert np.array_equal(windows[0, 4], pairs.renders[1])
    remove_pairs(tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()


def test_pairs_refuse_a_wrong_count_and_an_unknown_frame(model: FaceModel, tmp_path: Path):
    coefficients, roi = make_coefficients(), Roi(0, 0, 64, 64)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    with pytest.raises(ParameterError, match="got 1 frames, expected 2"):
        render_pairs(model, coefficients, [(10, image)], 2, roi, tmp_path / "a")
    with pytest.raises(ParameterError, match="frame 11 is too many"):
        render_pairs(model, coefficients, [(10, image), (11, image)], 1, roi, tmp_path / "b")
    with pytest.raises(DataError, match="frame 99 has no coefficients"):
        render_pairs(model, coefficients, [(99, image)], 1, roi, tmp_path / "c")


def make_condition(references: int = 0) -> Condition:
    random = np.random.default_rng(0)
    masks = np.zeros((2, 16, 24), bool)
    masks[:, 4:12, 6:18] = True
    return Condition(
        random.integers(0, 256, (2, 3, 16, 24, 3)).astype(np.uint8),
        np.array([[False, True, True], [True, True, True]]),
        random.integers(0, 256, (2, 16, 24, 3)).astype(np.uint8),
        masks,
        random.integers(0, 256, (2, references, 16, 24, 3)).astype(np.uint8),
    )


def test_the_input_withholds_the_targets_own_mouth():
    condition = make_condition()
    plain = assemble_input(condition).images
    assert plain.shape == (2, 13, 16, 24)
    vandalised = condition.images.copy()
    vandalised[condition.masks] = 255 - vandalised[condition.masks]
    assert torch.equal(plain, assemble_input(condition._replace(images=vandalised)).images)
    inside = torch.from_numpy(condition.masks)[:, None].expand(-1, 3, -1, -1)
    assert (plain[:, 9:12][inside] == 0).all()
    assert (plain[0, :3] == 0).all()
    vandalised = condition.images.copy()
    vandalised[0, 0, 0] ^= 255
    assert not torch.equal(plain, assemble_input(condition._replace(images=vandalised)).images)


def test_references_stand_between_the_drawn_faces_and_the_surroundings():
    condition = make_condition(references=2)
    given = assemble_input(condition)
    assert given.images.shape == (2, 19, 16, 24)
    assert given.references.shape == (2, 2, 3, 16, 24)
    assert torch.equal(given.images[:, 9:15].unflatten(1, (2, 3)), given.references)
    assert np.array_equal(to_images(given.references[:, 1]), condition.references[:, 1])


def test_pairs_on_disk_come_back_travel_by_name_and_lend_nothing_to_their_neighbours(model: FaceModel, tmp_path: Path):
    coefficients = make_coefficients(12)
    roi = find_roi(model, coefficients, SIZE, multiple=16)
    frames = [(number, np.full((SIZE, SIZE, 3), 10 * number, np.uint8)) for number in range(10, 22)]
    pairs = render_pairs(model, coefficients, frames, 12, roi, tmp_path)
    bank = make_bank(model, coefficients, pairs, 99)
    assert bank.coefficients.frame_id.tolist() == list(range(10, 21))  # the last frame is not valid
    pairs = add_references(model, coefficients, pairs, bank, 2, tmp_path)
    lent = np.unique(pairs.references[3].reshape(2, -1), axis=1)[:, 0] // 10
    assert (np.abs(lent.astype(int) - 13) > 2).all()
    opened = open_pairs(tmp_path)
    travelled = pickle.loads(pickle.dumps(opened))
    assert len(pickle.dumps(opened)) < 2000
    for other in (opened, travelled):
        assert other.roi == roi
        assert other.size == SIZE
        assert all(np.array_equal(getattr(other, name), getattr(pairs, name)) for name in ("targets", "references"))
    cut = Cut(slice(0, 16), slice(16, 32))
    condition = pairs.condition([2, 5], 1, 1, [cut, cut])
    assert condition.windows.shape == (2, 1, 16, 16, 3)
    assert np.array_equal(condition.references[1, 0], pairs.references[5, 0, :16, 16:32])
    with pytest.raises(ParameterError, match="hold 2 references a frame, 3 are asked for"):
        pairs.condition([0], 1, 3)
    (tmp_path / "renders.npy").write_bytes(b"cut off")
    with pytest.raises(DataError, match="does not hold whole pairs"):
        open_pairs(tmp_path)


def test_pairs_of_a_killed_run_are_taken_up_where_they_were_made_from_the_same(model: FaceModel, tmp_path: Path):
    coefficients = make_coefficients(12)
    roi = find_roi(model, coefficients, SIZE, multiple=16)
    drawn = []

    def frames():
        for number in range(10, 22):
            drawn.append(number)
            yield number, np.full((SIZE, SIZE, 3), 10 * number, np.uint8)

    def make(key: str):
        drawn.clear()
        pairs = render_pairs(model, coefficients, frames(), 12, roi, tmp_path, key=key)
        bank = make_bank(model, coefficients, pairs, 99)
        return add_references(model, coefficients, pairs, bank, 2, tmp_path)

    one = make("first")
    assert len(drawn) == 12
    written = (tmp_path / "references.npy").stat().st_mtime_ns
    again = make("first")
    assert not drawn
    assert (tmp_path / "references.npy").stat().st_mtime_ns == written
    assert again.digest == one.digest
    make("second")
    assert len(drawn) == 12
    make("")
    make("")
    assert len(drawn) == 12
    assert again.select(np.arange(11)).digest != one.digest


def test_an_interrupted_run_goes_on_where_it_stopped(model: FaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The rectangle, the pairs and their references: nothing that was saved is made again, and the end is the same."""
    monkeypatch.setattr(resumable_arrays, "SAVE_S", 0.0)
    coefficients, made, broken = make_coefficients(12), [], True

    def count(function, name: str, at: int):
        def counted(*arguments, **options):
            made.append(name)
            if broken and made.count(name) == at:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return counted

    for module, name, at in (
        (lower_face_region, "dilated_mask", 99), (drawing, "dilated_mask", 99),
        (training_pairs, "draw_frame", 8), (reference_pairs, "draw_face", 9),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, count(getattr(module, name), name, at))

    def make(folder: Path) -> str:
        made.clear()
        roi = find_roi(model, coefficients, SIZE, multiple=16, folder=folder, key="one")
        frames = ((number, np.full((SIZE, SIZE, 3), 10 * number, np.uint8)) for number in range(10, 22))
        pairs = render_pairs(model, coefficients, frames, 12, roi, folder, key="one")
        bank = make_bank(model, coefficients, pairs, 99)
        return add_references(model, coefficients, pairs, bank, 2, folder).digest

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "torn")
    assert made.count("draw_frame") == 8
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "torn")
    assert made.count("draw_frame") == 5
    assert made.count("dilated_mask") == 5, "the rectangle was kept"
    broken = False
    again = make(tmp_path / "torn")
    assert made.count("draw_frame") == 0
    assert 0 < made.count("draw_face") < 12
    assert make(tmp_path / "whole") == again
    assert made.count("draw_face") == 12


def test_of_a_long_video_runs_of_frames_that_differ_most_are_trained_on(model: FaceModel):
    coefficients = make_coefficients(64)
    ids = coefficients.frame_id
    kept = choose_frames(model, coefficients, ids, 31)
    assert len(kept) == 30
    assert (np.diff(kept) == 1).sum() >= 28
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(choose_frames(model, coefficients, ids, 64), ids)
    broken = dataclasses.replace(coefficients, valid=np.arange(64) >= 30)
    assert choose_frames(model, broken, ids, 30).min() >= 40


def test_images_survive_the_tensor_round_trip():
    images = np.arange(256 * 3, dtype=np.uint16).reshape(1, 16, 16, 3).astype(np.uint8)
    assert np.array_equal(to_images(to_tensor(images)), images)


def test_drawing_with_one_thread_gives_the_threads_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
