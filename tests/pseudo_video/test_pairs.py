"""The pseudo video: plans, walks and resuming, with a teacher that paints a number."""

import json
from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import read_audio
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.pseudo_video.pairs import choose_background, list_pairs, make_pseudo_video, walk_frames
from metatalk_lib.pseudo_video.viseme_teacher import Spoken
from metatalk_lib.speech.corpus import plan_utterances
from metatalk_lib.speech.synthesis import PAUSE
from tests.synthetic import make_coefficients, make_drawn_frames

FPS = Fraction(25)


class PaintingTeacher:
    """Passes the background on, darkened, and counts how often it drew."""

    name = "painting"
    needs_phonemes = False

    def __init__(self, version: bytes = b"1", fails_at: int = -1) -> None:
        self.version, self.fails_at, self.drawn = version, fails_at, 0

    def speak(self, utterance, fps, frame_id, frames) -> Spoken:
        expression = np.repeat(frame_id[:, None], 64, axis=1).astype(np.float32)
        return Spoken(self._draw(frames), expression)

    def _draw(self, frames):
        for frame in frames:
            if self.drawn == self.fails_at:
                raise KeyboardInterrupt
            self.drawn += 1
            yield frame // 2

    def fingerprint(self, frame_id) -> bytes:
        return self.version


@pytest.fixture(scope="module")
def utterances():
    return plan_utterances(6.0, 3, FPS)


@pytest.fixture(scope="module")
def face_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("face") / "face_256.mp4"
    write_video(path, make_drawn_frames(40), fps=FPS)
    return path


def make(pairs_dir, teacher, utterances, face_video, **changes):
    options = {"background": range(3, 30), "fps": FPS, "seed": 0, "threads": 1} | changes
    return make_pseudo_video(pairs_dir, teacher, utterances, face_video, **options)


def contents(pairs_dir):
    return {path.name: path.read_bytes() for path in sorted(pairs_dir.iterdir())}


def test_background_is_the_longest_trusted_run_before_the_held_out_tail():
    fit = make_coefficients(20)  # frames 10 to 29
    valid = np.ones(20, bool)
    valid[[4, 15]] = False
    trusted = fit.select(fit.frame_id)
    trusted = type(fit)(**{**vars(trusted), "valid": valid})
    assert choose_background(trusted, 30) == range(15, 25)
    assert choose_background(trusted, 18) == range(10, 14)
    with pytest.raises(DataError, match="no fitted frame before frame 5"):
        choose_background(trusted, 5)


def test_a_walk_goes_forth_and_back_without_a_jump():
    np.testing.assert_array_equal(walk_frames(range(3, 7), 0, 9), [3, 4, 5, 6, 5, 4, 3, 4, 5])
    np.testing.assert_array_equal(walk_frames(range(3, 7), 4, 3), [5, 4, 3])
    np.testing.assert_array_equal(walk_frames(range(8, 9), 5, 3), [8, 8, 8])


def test_a_pair_holds_what_the_contract_says(tmp_path, utterances, face_video):
    report = make(tmp_path, PaintingTeacher(), utterances, face_video)
    assert report.utterances == len(utterances)
    assert report.frames == sum(utterance.frame_count for utterance in utterances)
    assert (report.kept, report.training_frames) == (0, 27)
    source = list(read_frames(face_video))
    for utterance, path in zip(utterances, list_pairs(tmp_path), strict=True):
        description = json.loads(path.read_text("utf-8"))
        frame_id = np.array(description["frame_id"])
        assert description["text"] == utterance.speech.text
        assert description["voice"] == utterance.speech.voice
        assert description["fps"] == [25, 1]
        assert frame_id.min() >= 3
        assert frame_id.max() < 30
        assert np.abs(np.diff(frame_id)).max() == 1
        assert description["phonemes"][0] == {
            "symbol": PAUSE,
            "start_s": 0.0,
            "end_s": utterance.speech.phonemes[0].end_s,
            "viseme": "sil",
        }
        info = probe_video(path.with_suffix(".mp4"))
        assert (info.frame_count, info.fps, info.width) == (utterance.frame_count, FPS, 64)
        np.testing.assert_allclose(np.load(path.with_suffix(".npz"))["expression"][:, 0], frame_id)
        audio = read_audio(path.with_suffix(".wav"))
        assert audio.rate == 16000
        np.testing.assert_allclose(audio.samples[:, 0], utterance.speech.samples, atol=1 / 32768)
        shown = next(read_frames(path.with_suffix(".mp4"), 5, 6)).astype(int)
        assert np.abs(shown - source[frame_id[5]] // 2).mean() < 4


def test_finished_pairs_are_kept_and_changed_ones_made_again(tmp_path, utterances, face_video):
    make(tmp_path, PaintingTeacher(), utterances, face_video)
    before = contents(tmp_path)
    again = PaintingTeacher()
    assert make(tmp_path, again, utterances, face_video).kept == len(utterances)
    assert again.drawn == 0
    (tmp_path / "001.mp4").unlink()
    assert make(tmp_path, PaintingTeacher(), utterances, face_video).kept == len(utterances) - 1
    assert contents(tmp_path) == before
    assert make(tmp_path, PaintingTeacher(b"2"), utterances, face_video).kept == 0


def test_an_interrupted_run_ends_in_the_same_files(tmp_path, utterances, face_video):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make(whole, PaintingTeacher(), utterances, face_video, threads=2)
    with pytest.raises(KeyboardInterrupt):
        make(broken, PaintingTeacher(fails_at=utterances[0].frame_count + 7), utterances, face_video)
    assert not (broken / "001.mp4").exists()
    assert not (broken / "001.json").exists()
    assert make(broken, PaintingTeacher(), utterances, face_video).kept == 1
    assert contents(broken) == contents(whole)


def test_pairs_beyond_a_shorter_plan_are_removed(tmp_path, utterances, face_video):
    make(tmp_path, PaintingTeacher(), utterances, face_video)
    make(tmp_path, PaintingTeacher(), utterances[:1], face_video)
    assert sorted(contents(tmp_path)) == ["000.json", "000.mp4", "000.npz", "000.wav"]


def test_the_seed_moves_the_background(tmp_path, utterances, face_video):
    for seed in (0, 1):
        make(tmp_path / str(seed), PaintingTeacher(), utterances[:1], face_video, seed=seed)
    starts = [json.loads((tmp_path / f"{seed}/000.json").read_text("utf-8"))["frame_id"][0] for seed in (0, 1)]
    assert starts[0] != starts[1]


def test_bad_input_is_refused(tmp_path, utterances, face_video):
    with pytest.raises(ParameterError, match="pseudo_seconds is 0"):
        plan_utterances(0.0, 0, FPS)
    with pytest.raises(ParameterError, match="no utterances"):
        make(tmp_path, PaintingTeacher(), [], face_video)
    with pytest.raises(DataError, match="holds no pseudo video"):
        list_pairs(tmp_path)
