"""frame_sampler: streamed frames give the same samples as frames that are read, in little memory."""

from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.tracking import frame_sampler
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.frame_sampler import FrameSampler
from metatalk_lib.tracking.preflight import run_preflight
from tests.face_clips import FPS, moving_face, wall


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, one of them without a face, in a picture much wider than the face."""
    path = tmp_path_factory.mktemp("sampler") / "clip.mp4"
    frames, _ = moving_face(60, width=900, height=400)
    frames[29] = wall(width=900, height=400)
    write_video(path, frames, fps=FPS)
    return path


def test_watching_and_reading_see_the_same(clip: Path):
    info = probe_video(clip)
    watching, reading = FrameSampler(info), FrameSampler(info)
    passed = list(watching.watch(read_frames(clip)))
    assert len(passed) == 60
    for frame, known in zip(passed, read_frames(clip), strict=True):
        np.testing.assert_array_equal(frame, known)
    reading.read()
    track = track_landmarks(iter(passed), frame_count=60, fps=FPS)
    for known in (None, track):
        seen, read = watching.measure(known), reading.measure(known)
        np.testing.assert_array_equal(seen.frame_ids, read.frame_ids)
        assert (seen.face_counts, seen.sharpness) == (read.face_counts, read.sharpness)
        assert sum(seen.face_counts) in (23, 24)
        np.testing.assert_array_equal(seen.light, read.light)
    # a frame that the track knows counts even where no face was found on it
    assert set(watching.measure(track).points) == set(watching.frame_ids.tolist()) - {29}
    assert run_preflight(clip, track=track, sampler=watching) == run_preflight(clip, track=track)


def test_what_is_kept_is_enough_for_the_landmarks(clip: Path):
    sampler = FrameSampler(probe_video(clip))
    sampler.read()
    frame = next(read_frames(clip))
    ((box, _),) = sampler.predictor.find(frame)
    np.testing.assert_allclose(sampler.measure().points[0], sampler.predictor.predict(frame, box).landmarks, atol=0.02)
    kept = sampler._views[0].image
    assert kept.size < 0.6 * frame.size
    assert kept.base is None  # a view would keep the whole frame in memory


def test_frames_that_never_passed_are_noticed(clip: Path):
    sampler = FrameSampler(probe_video(clip))
    list(sampler.watch(read_frames(clip, 0, 20)))
    with pytest.raises(ParameterError, match=r"\d+ of \d+ frames were looked at"):
        sampler.measure()


def test_light_is_measured_on_the_brightest_channel():
    patch = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    patch[:4] = 255
    patch[4:10] = 3
    luma, bright, dark = frame_sampler._measure_light(patch)
    assert luma == pytest.approx(patch.astype(np.float64).mean(axis=(0, 1)) @ (0.2126, 0.7152, 0.0722))
    assert (bright, dark) == ((patch.max(axis=2) >= 254).mean(), (patch.max(axis=2) <= 8).mean())
