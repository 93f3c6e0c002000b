"""Pseudo utterances: fits are kept only while their stamp agrees; the mouth is compared on the face itself."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.artifacts import save_arrays
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.pseudo_video import refit
from metatalk_lib.pseudo_video.refit import (
    compare_with_teacher,
    lip_opening_mm,
    reconstruct_pairs,
    reconstruct_pseudo,
    with_appearance_of,
)
from metatalk_lib.reconstruction.fit_video import ReconstructionSettings
from metatalk_lib.reconstruction.gauss_newton import FitSettings
from metatalk_lib.reconstruction.landmark_fit import predicted_landmarks
from metatalk_lib.tracking.landmarks import LandmarkTrack
from tests.synthetic import make_coefficients, make_face_model

SIZE, FRAMES = 64, 4
# the open regressor's points lie on the open face model, not on a drawn sheet
LANDMARKS_ALONE = ReconstructionSettings(regressor="none")


@pytest.fixture
def model():
    return make_face_model()


@pytest.fixture
def target() -> Coefficients:
    return make_coefficients(frames=FRAMES)


@pytest.fixture
def videos(tmp_path, model, target, monkeypatch):
    """Two utterances of the target, the second one 1 px aside; no detector finds a face in a drawn sheet, so landmarks
    come from the model."""

    def track(_frames, *, name, **_options) -> LandmarkTrack:
        landmarks = predicted_landmarks(model, target, SIZE).astype(np.float32) + int(name.stem)
        boxes = np.tile(np.float32([0, 0, SIZE, SIZE]), (FRAMES, 1))
        return LandmarkTrack(np.arange(FRAMES), landmarks, landmarks, boxes, np.ones(FRAMES, dtype=bool))

    monkeypatch.setattr(refit, "track_landmarks", track)
    paths = [tmp_path / "pairs" / f"{number:03d}.mp4" for number in range(2)]
    for number, path in enumerate(paths):
        write_video(path, [np.full((SIZE, SIZE, 3), 40 + number, np.uint8)] * FRAMES, fps=Fraction(25))
    return paths


def test_an_utterance_takes_over_identity_texture_and_mean_light(model, target, videos):
    fit = reconstruct_pseudo(model, videos[0], target, settings=LANDMARKS_ALONE)
    np.testing.assert_array_equal(fit.identity, target.identity)
    np.testing.assert_array_equal(fit.texture, target.texture)
    np.testing.assert_allclose(fit.illumination, np.repeat(target.illumination.mean(0)[None], FRAMES, axis=0))
    np.testing.assert_array_equal(fit.frame_id, np.arange(FRAMES))


def test_an_oblong_video_is_refused(model, target, tmp_path):
    path = tmp_path / "oblong.mp4"
    write_video(path, [np.zeros((64, 96, 3), np.uint8)] * 2, fps=Fraction(25))
    with pytest.raises(DataError, match="96x64, not square"):
        reconstruct_pseudo(model, path, target)


def test_finished_fits_are_kept_until_something_changes(model, target, videos, tmp_path):
    folder = tmp_path / "pseudo"
    (folder).mkdir()
    (folder / "007.npz").write_bytes(b"left over")
    first = reconstruct_pairs(model, videos, target, folder, settings=LANDMARKS_ALONE)
    assert sorted(path.name for path in folder.glob("*.npz")) == ["000.npz", "001.npz"]
    written = (folder / "000.npz").stat().st_mtime_ns
    again = reconstruct_pairs(model, videos, target, folder, settings=LANDMARKS_ALONE)
    assert (folder / "000.npz").stat().st_mtime_ns == written
    np.testing.assert_array_equal(first[0].pack(), again[0].pack())
    reconstruct_pairs(model, videos, target, folder, settings=replace(LANDMARKS_ALONE, fit=FitSettings(noise=0.05)))
    assert (folder / "000.npz").stat().st_mtime_ns != written
    written = (folder / "000.npz").stat().st_mtime_ns
    other = replace(target, identity=target.identity + 0.1)
    assert reconstruct_pairs(model, videos, other, folder, settings=LANDMARKS_ALONE)[0].identity == pytest.approx(
        other.identity
    )
    assert (folder / "000.npz").stat().st_mtime_ns != written


def test_a_fit_without_its_stamp_is_made_again(model, target, videos, tmp_path):
    folder = tmp_path / "pseudo"
    reconstruct_pairs(model, videos, target, folder, settings=LANDMARKS_ALONE)
    (folder / "001.stamp.json").unlink()
    (folder / "001.npz").write_bytes(b"torn")
    assert len(reconstruct_pairs(model, videos, target, folder, settings=LANDMARKS_ALONE)) == 2
    assert len(Coefficients.load(folder / "001.npz")) == FRAMES


def test_fits_come_in_the_order_of_their_videos_and_a_bad_one_leaves_the_others(model, target, videos, tmp_path):
    folder = tmp_path / "pseudo"
    turned = reconstruct_pairs(model, videos[::-1], target, folder, settings=LANDMARKS_ALONE)
    saved = [Coefficients.load(folder / f"{name}.npz").pack() for name in ("001", "000")]
    np.testing.assert_array_equal([fit.pack() for fit in turned], saved)
    assert not np.allclose(*saved)
    oblong = videos[0].with_name("002.mp4")
    write_video(oblong, [np.zeros((64, 96, 3), np.uint8)] * FRAMES, fps=Fraction(25))
    other = replace(target, identity=target.identity + 0.1)
    with pytest.raises(DataError, match="002.mp4 is 96x64"):
        reconstruct_pairs(model, [*videos, oblong], other, folder, settings=LANDMARKS_ALONE)
    for path in videos:
        np.testing.assert_allclose(Coefficients.load(folder / f"{path.stem}.npz").identity, other.identity)


def test_agreement_with_the_teacher(model, target, tmp_path):
    path = tmp_path / "000.npz"
    save_arrays(path, expression=target.expression)
    agreement = compare_with_teacher(model, [target], model, target.identity, [path])
    assert (agreement.correlation, agreement.slope) == pytest.approx((1.0, 1.0))
    assert len(agreement.taught) == FRAMES
    partly = replace(target, valid=np.array([True, True, True, False]))
    assert len(compare_with_teacher(model, [partly], model, target.identity, [path]).fitted) == 3
    with pytest.raises(ParameterError, match="1 fits, 0 taught"):
        compare_with_teacher(model, [target], model, target.identity, [])
    save_arrays(path, expression=target.expression[:2])
    with pytest.raises(DataError, match="has 2 frames, its fit 4"):
        compare_with_teacher(model, [target], model, target.identity, [path])
    save_arrays(path, frame_id=target.frame_id)
    painted = compare_with_teacher(model, [target], model, target.identity, [path])
    assert painted.correlation is painted.slope is None
    assert np.isnan(painted.taught).all()
    assert np.isfinite(painted.fitted).all()


def test_lip_opening_is_the_distance_of_the_inner_lips(model):
    points = model.landmark_bases()[0]
    expected = 100 * np.mean([np.linalg.norm(points[a] - points[b]) for a, b in ((61, 67), (62, 66), (63, 65))])
    found = lip_opening_mm(model, np.zeros(80, np.float32), np.zeros((2, 64), np.float32))
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-5)


def test_appearance_keeps_shape(target):
    other = make_coefficients(frames=2, seed=5)
    dressed = with_appearance_of(other, target)
    np.testing.assert_array_equal(dressed.expression, other.expression)
    np.testing.assert_array_equal(dressed.texture, target.texture)
