"""Inspection of the pseudo video: mouths are cut in the right place, openings are compared frame by frame."""

from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.artifacts import save_arrays, save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.pseudo_video import inspection
from metatalk_lib.pseudo_video.inspection import MOUTH_MARGIN, compare_openings, cut_pseudo_mouths
from metatalk_lib.tracking.landmarks import LandmarkTrack
from tests.synthetic import make_coefficients, make_face_model

FRAMES = 12
PHONEMES = [
    {"symbol": "_", "start_s": 0.0, "end_s": 0.2, "viseme": "sil"},
    {"symbol": "ɑː", "start_s": 0.2, "end_s": 0.48, "viseme": "AA"},
]


@pytest.fixture
def pair(tmp_path):
    """A clip of 64 px whose frame i has a bright square at column 10 + 2 i, walked over frames 10 to 15 and back."""
    path = tmp_path / "000.json"
    walk = [10, 11, 12, 13, 14, 15, 14, 13, 12, 11, 10, 11]
    save_json(path, {"fps": [25, 1], "frame_count": len(walk), "frame_id": walk, "phonemes": PHONEMES})
    frames = np.full((FRAMES, 64, 64, 3), 30, np.uint8)
    for frame, number in zip(frames, walk, strict=True):
        column = 10 + 2 * (number - 10)
        frame[28:36, column : column + 8] = 220
    write_video(path.with_suffix(".mp4"), frames, fps=Fraction(25))
    expression = np.random.default_rng(0).standard_normal((FRAMES, 64)).astype(np.float32)
    save_arrays(path.with_suffix(".npz"), expression=expression)
    return path


def landmarks_at(columns):
    points = np.zeros((len(columns), 68, 2), np.float32)
    offsets = np.stack([np.linspace(-8, 8, 20), np.zeros(20)], axis=1)
    points[:, 48:68] = offsets + np.stack([columns, np.full(len(columns), 31.5)], axis=1)[:, None]
    return points


def test_mouths_are_cut_where_the_background_frame_has_them(pair):
    landmarks = landmarks_at(13.5 + 2.0 * np.arange(6))
    mouths = cut_pseudo_mouths(pair, make_coefficients(6), landmarks, count=12)
    assert mouths.frames.tolist() == list(range(12))
    assert mouths.labels == ("sil",) * 5 + ("AA",) * 7
    half = round(MOUTH_MARGIN * 16 / 2)
    assert mouths.images.shape == (12, 2 * half, 2 * half, 3)
    middle = mouths.images[:, half - 2 : half + 2, half - 2 : half + 2].astype(int)
    assert middle.min() > 180, "the square moves with the head, and the cut must follow it"


def test_openings_are_compared_frame_by_frame(pair, monkeypatch):
    model = make_face_model()
    identity = make_coefficients(2).identity
    taught = inspection.lip_opening_mm(model, identity, np.load(pair.with_suffix(".npz"))["expression"])
    detected = np.ones(FRAMES, bool)
    detected[3] = False
    points = np.zeros((FRAMES, 68, 2), np.float32)
    points[:, 65:68, 1] = (0.5 * taught)[:, None]

    def pretend(frames, *, frame_count, **options):
        assert len(list(frames)) == frame_count == FRAMES
        return LandmarkTrack(np.arange(FRAMES), points, points, np.zeros((FRAMES, 4), np.float32), detected)

    monkeypatch.setattr(inspection, "track_landmarks", pretend)
    openings = compare_openings(model, identity, pair)
    np.testing.assert_allclose(openings.taught_mm, taught, rtol=1e-5)
    np.testing.assert_allclose(openings.detected_px, 0.5 * taught, rtol=1e-4)
    assert openings.correlation == pytest.approx(1.0, abs=1e-4)
    assert openings.detected_fraction == pytest.approx(11 / 12)
    save_arrays(pair.with_suffix(".npz"), frame_id=np.arange(FRAMES))
    painted = compare_openings(model, identity, pair)
    assert painted.correlation is None
    assert np.isnan(painted.taught_mm).all()
    np.testing.assert_array_equal(painted.detected_px, openings.detected_px)


def test_a_missing_file_is_refused(pair):
    pair.with_suffix(".npz").unlink()
    with pytest.raises(DataError, match="000.npz does not exist"):
        compare_openings(make_face_model(), make_coefficients(2).identity, pair)
