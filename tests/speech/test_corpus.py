"""corpus: planned sentences, and folders of recordings with and without transcripts."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.media.recordings import list_recordings
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.speech import corpus
from metatalk_lib.speech.corpus import (
    PADDING_S,
    cut_speech,
    pad_speech,
    plan_recordings,
    plan_utterances,
    read_transcript,
)
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, Speech, synthesize
from tests.synthetic import make_tone_audio

FPS = Fraction(25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings with transcripts in LRS2's layout, one of them a video, a plain one, and files to leave alone."""
    first = synthesize("We put the big map on the table.")
    write_audio(tmp_path / "main/5535/00001.wav", first.audio)
    (tmp_path / "main/5535/00001.txt").write_text(
        "Text:  WE PUT THE BIG MAP ON THE TABLE\nConf:  4\n\nWORD START END\n"
    )
    second = synthesize("Every morning brings more people.")
    black = [np.zeros((32, 32, 3), np.uint8)] * round(25 * second.duration_s)
    write_video(tmp_path / "main/5536/00001.mp4", black, fps=FPS, audio=second.audio)
    (tmp_path / "main/5536/00001.txt").write_text("Every morning brings more people.")
    write_audio(tmp_path / "tone.wav", make_tone_audio(2.0, 44100, channels=2))
    write_audio(tmp_path / "blip.wav", make_tone_audio(0.1, 44100))
    (tmp_path / "notes.md").write_text("not a recording")
    return tmp_path


@pytest.fixture(scope="module")
def utterances():
    return plan_utterances(6.0, 3, FPS)


def test_a_plan_fills_its_length_and_no_more(utterances):
    lengths = [utterance.speech.duration_s for utterance in utterances]
    assert sum(lengths) >= 6.0 > sum(lengths[:-1])
    assert [utterance.number for utterance in utterances] == list(range(len(utterances)))
    for utterance in utterances:
        assert utterance.frame_count == round(utterance.speech.duration_s * 25)
    assert len({utterance.speech.voice for utterance in utterances}) == len(utterances)


def test_plans_agree_as_far_as_the_shorter_one_and_differ_by_seed(utterances):
    longer = plan_utterances(9.0, 3, FPS)
    assert len(longer) > len(utterances)
    for a, b in zip(utterances, longer, strict=False):
        assert np.array_equal(a.speech.samples, b.speech.samples)
    other = plan_utterances(1.0, 4, FPS)
    assert other[0].speech.text != utterances[0].speech.text


def test_padding_is_silent_and_moves_the_phonemes():
    speech = synthesize("Maybe, maybe not.")
    padded = pad_speech(speech, PADDING_S)
    assert padded.rate == 16000
    assert padded.duration_s == pytest.approx(speech.duration_s + 2 * PADDING_S, abs=1e-3)
    assert np.abs(padded.samples[:4000]).max() == np.abs(padded.samples[-4000:]).max() == 0.0
    assert padded.phonemes[0].symbol == padded.phonemes[-1].symbol == PAUSE
    assert padded.phonemes[-1].end_s == padded.duration_s
    assert padded.phonemes[2].start_s == pytest.approx(speech.phonemes[1].start_s + PADDING_S, abs=1e-6)
    assert all(p.start_s < p.end_s for p in padded.phonemes)


def test_a_folder_of_clips_becomes_utterances(folder: Path):
    plan, too_short = plan_recordings(folder, 60.0, 0, FPS, needs_phonemes=True)
    assert [path.name for path in too_short] == ["blip.wav"]
    assert sorted(u.speech.voice for u in plan) == ["main/5535/00001.wav", "main/5536/00001.mp4", "tone.wav"]
    assert [u.number for u in plan] == [0, 1, 2]
    by_voice = {u.speech.voice: u for u in plan}
    told = by_voice["main/5535/00001.wav"]
    assert told.speech.text == "WE PUT THE BIG MAP ON THE TABLE"
    assert [p.symbol for p in told.speech.phonemes if p.symbol in ("p", "b", "m")] == ["p", "b", "m", "p", "b"]
    assert told.speech.rate == 16000
    assert told.frame_count == round(25 * told.speech.duration_s)
    assert (told.speech.samples[:4000] == 0).all()


def test_a_teacher_that_needs_no_phonemes_gets_none_and_nothing_is_recognised(folder: Path, monkeypatch):
    monkeypatch.setattr(corpus, "recognise_phonemes", None)
    plan = plan_recordings(folder, 60.0, 0, FPS, needs_phonemes=False).utterances
    assert all(u.speech.phonemes == () for u in plan)


def test_the_length_ends_the_plan_and_the_seed_orders_it(folder: Path):
    assert len(plan_recordings(folder, 1.0, 0, FPS, needs_phonemes=False).utterances) == 1
    plans = [plan_recordings(folder, 60.0, seed, FPS, needs_phonemes=False) for seed in range(6)]
    orders = {tuple(utterance.speech.voice for utterance in plan.utterances) for plan in plans}
    assert len(orders) > 1


def test_long_recordings_are_cut_where_it_is_quiet():
    rate = 16000
    samples = np.random.default_rng(0).normal(scale=0.1, size=25 * rate).astype(np.float32)
    for pause_s in (7.0, 15.0):
        samples[round(pause_s * rate) : round((pause_s + 0.3) * rate)] = 0
    phonemes = tuple(Phoneme("a" if i % 2 else PAUSE, i / 2, (i + 1) / 2) for i in range(50))
    parts = cut_speech(Speech(samples, rate, phonemes, "", "x"))
    assert [round(part.duration_s, 0) for part in parts[:2]] == [7, 8]
    assert max(part.duration_s for part in parts) <= 10
    np.testing.assert_array_equal(np.concatenate([part.samples for part in parts]), samples)
    for part in parts:
        assert part.phonemes[0].start_s == 0
        assert part.phonemes[-1].end_s == pytest.approx(part.duration_s, abs=1e-3)


def test_an_hour_is_cut_and_only_what_is_needed_is_heard(tmp_path: Path, monkeypatch):
    heard = []

    def hear(samples, **options):
        heard.append(len(samples))
        return (Phoneme("a", 0.0, len(samples) / 16000),)

    monkeypatch.setattr(corpus, "recognise_phonemes", hear)
    noise = np.random.default_rng(0).normal(scale=0.1, size=3600 * 16000).astype(np.float32)
    assert len(cut_speech(Speech(noise, 16000, (), "", "x"))) >= 360
    write_audio(tmp_path / "long.wav", Audio(noise[: 120 * 16000, None], 16000))
    write_audio(tmp_path / "longer.wav", Audio(noise[: 90 * 16000, None], 16000))
    plan = plan_recordings(tmp_path, 25.0, 0, FPS, needs_phonemes=True).utterances
    assert len(heard) == len(plan)
    assert max(heard) <= 10 * 16000
    assert sum(heard) < 40 * 16000


def test_no_piece_is_a_splinter_and_none_claims_the_whole_text():
    noise = np.random.default_rng(0).normal(scale=0.1, size=round(10.02 * 16000)).astype(np.float32)
    parts = cut_speech(Speech(noise, 16000, (), "many words", "x"))
    assert len(parts) == 2
    assert min(part.duration_s for part in parts) >= 0.4
    assert [part.text for part in parts] == ["", ""]
    assert cut_speech(Speech(noise[: 9 * 16000], 16000, (), "all of it", "x"))[0].text == "all of it"


def test_phones_are_heard_beside_a_transcript_and_silence_is_a_pause(folder: Path, tmp_path: Path):
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    write_audio(quiet / "a.wav", Audio(np.zeros((32000, 1), np.float32), 16000))
    plan, _ = plan_recordings(quiet, 5.0, 0, FPS, needs_phonemes=True, method="words")
    assert {p.symbol for p in plan[0].speech.phonemes} == {PAUSE}
    plan, _ = plan_recordings(folder, 60.0, 0, FPS, needs_phonemes=True, method="phones")
    assert all(u.speech.text == "" for u in plan)
    assert all(u.speech.phonemes for u in plan)


def test_of_a_sound_and_a_video_of_one_name_the_sound_is_taken(tmp_path: Path):
    for name in ("a.mp4", "a.wav", "b.MP4", ".hidden.wav"):
        (tmp_path / name).touch()
    assert [path.name for path in list_recordings(tmp_path)] == ["a.wav", "b.MP4"]


def test_bad_folders_and_files_are_named(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="is no folder"):
        plan_recordings(folder / "none", 10.0, 0, FPS, needs_phonemes=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no recording"):
        plan_recordings(empty, 10.0, 0, FPS, needs_phonemes=False)
    write_audio(empty / "blip.wav", make_tone_audio(0.1, 44100))
    with pytest.raises(DataError, match="no recording .* longer than"):
        plan_recordings(empty, 10.0, 0, FPS, needs_phonemes=False)
    with pytest.raises(ParameterError, match="must be positive"):
        plan_recordings(folder, 0.0, 0, FPS, needs_phonemes=False)
    (folder / "tone.txt").write_text("These words were never said in that tone " * 20)
    with pytest.raises(DataError, match=r"tone.wav: recognition: the transcript does not fit"):
        plan_recordings(folder, 60.0, 0, FPS, needs_phonemes=True)
    (folder / "tone.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="tone.txt cannot be read"):
        read_transcript(folder / "tone.wav")
