"""Recordings of other people for LSE: whose voices, whose sentences, equal files."""

from pathlib import Path

import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.evaluation.test_split import JUDGING_VOICES, write_judging_recordings
from metatalk_lib.media.audio import read_audio
from metatalk_lib.speech.synthesis import VOICES
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS


def test_voices_are_nobodys():
    voices = (*JUDGING_VOICES, RendererConfig().driving_voice)
    variants = {voice.partition("+")[2] for voice in (*VOICES, *(one.voice for one in STUDIO_CHARACTERS.values()))}
    assert not variants & {voice.partition("+")[2] for voice in voices}


def test_recordings_are_of_the_asked_length_and_come_again(tmp_path: Path):
    first = write_judging_recordings(tmp_path / "a", "A", 2, 3.0)
    second = write_judging_recordings(tmp_path / "b", "A", 2, 3.0)
    assert list(first) == list(JUDGING_VOICES[:2])
    for voice, path in first.items():
        assert read_audio(path).duration_s == pytest.approx(3.0, abs=1e-3)
        assert path.read_bytes() == second[voice].read_bytes()
    others = write_judging_recordings(tmp_path / "c", "B", 1, 3.0)
    assert others[JUDGING_VOICES[0]].read_bytes() != first[JUDGING_VOICES[0]].read_bytes()


@pytest.mark.parametrize(("count", "seconds"), [(0, 3.0), (5, 3.0), (1, 0.0)])
def test_impossible_requests_are_refused(tmp_path: Path, count: int, seconds: float):
    with pytest.raises(ParameterError, match=f"asked are {count} of {seconds} s"):
        write_judging_recordings(tmp_path, "A", count, seconds)
