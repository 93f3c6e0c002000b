"""Speech corpus of the teacher: synthesised sentences, or a folder of recordings with or without transcripts."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import FEATURE_RATE, frame_count_for, open_audio, to_mono_16k
from metatalk_lib.media.recordings import list_recordings
from metatalk_lib.speech.phoneme_recognition import recognise_phonemes
from metatalk_lib.speech.sentences import SENTENCES
from metatalk_lib.speech.silence import LEVEL_STEP, compute_level_db, find_silence, measure_power
from metatalk_lib.speech.synthesis import PAUSE, VOICES, Phoneme, Speech, pad_with_pauses, synthesize


@dataclass(frozen=True)
class Utterance:
    """The speech of one clip of the pseudo video.

    Attributes:
        number: index in the corpus, from 0; the stem of the files.
        speech: speech at 16 kHz, padded with silence.
        frame_count: number of video frames T.
    """

    number: int
    speech: Speech
    frame_count: int


PADDING_S = 0.25
"""Silence before and after every utterance, s; closed lips are part of the training data."""
SPEED_RANGE_WPM = (140, 185)
PITCH_RANGE = (35, 65)
LONGEST_S = 10.0
"""Maximum length of a piece, s; longer recordings are cut at their quietest places."""
SHORTEST_S = 0.4
"""Minimum length of a recording, s; a shorter one contains no word."""
_STEPS_A_SECOND = FEATURE_RATE // LEVEL_STEP


class CorpusPlan(NamedTuple):
    """Utterances of a corpus.

    Attributes:
        utterances: utterances in their order.
        too_short: recordings that were left out because they are shorter than `SHORTEST_S`.
    """

    utterances: list[Utterance]
    too_short: tuple[Path, ...] = ()


def plan_utterances(seconds: float, seed: int, fps: Fraction, sentences: Sequence[str] = SENTENCES) -> list[Utterance]:
    """Synthesise sentences until they reach a total length.

    Each pass goes through all sentences in a new order; the voices rotate, so that each pass speaks a sentence with
    another voice; speed and pitch vary. Two plans with the same seed agree up to the length of the shorter one.

    Args:
        seconds: minimum total length, s, including padding.
        seed: seed of order, voices, speed and pitch.
        fps: frame rate of the video, Hz.
        sentences: sentences to speak.

    Raises:
        ParameterError: the length is not positive.
    """
    _check_length(seconds)
    generator = np.random.default_rng(seed)
    first_voice = int(generator.integers(len(VOICES)))
    utterances: list[Utterance] = []
    total = 0.0
    while total < seconds:
        if len(utterances) % len(sentences) == 0:
            order = generator.permutation(len(sentences))
        number = len(utterances)
        speech = synthesize(
            sentences[order[number % len(sentences)]],
            VOICES[(first_voice + number) % len(VOICES)],
            speed_wpm=int(generator.integers(*SPEED_RANGE_WPM)),
            pitch=int(generator.integers(*PITCH_RANGE)),
        )
        utterances.append(_make_utterance(number, speech, fps))
        total += utterances[-1].speech.duration_s
    return utterances


def pad_speech(speech: Speech, padding_s: float) -> Speech:
    """Resample to 16 kHz and add silence on both sides; the phoneme times shift with the sound."""
    return pad_with_pauses(replace(speech, samples=to_mono_16k(speech.audio), rate=FEATURE_RATE), padding_s, padding_s)


def plan_recordings(
    folder: Path, seconds: float, seed: int, fps: Fraction, *, needs_phonemes: bool, method: str = "auto"
) -> CorpusPlan:
    """Take recordings of a folder, in a random order, until they reach a total length or all are taken.

    A transcript `name.txt` may lie beside `name.wav` (or any other sound, or a video with sound). A line such as
    `Text:  HELLO THERE` of the LRS2 corpus is understood, and the other lines of such a file are ignored. Transcripts
    are not read if `method` is `phones`.

    Args:
        folder: folder of recordings, including its subfolders, such as LRS2's `main`.
        seconds: minimum total length, s.
        seed: seed of the order.
        fps: frame rate of the video, Hz.
        needs_phonemes: whether the teacher needs phonemes, which are then recognised or aligned with the transcript.
        method: method of the phoneme recogniser.

    Returns:
        The utterances, which are shorter than `seconds` in total if the folder holds less, and the skipped recordings.

    Raises:
        ParameterError: the length is not positive.
        DataError: the folder is missing or has no recording, or a recording is unreadable or does not fit its
            transcript.
    """
    _check_length(seconds)
    paths = list_recordings(folder)
    utterances: list[Utterance] = []
    too_short: list[Path] = []
    total = 0.0
    for place in np.random.default_rng(seed).permutation(len(paths)):
        if total >= seconds:
            break
        before = len(utterances)
        for speech in _read_speech(paths[place], folder, needs_phonemes, method):
            utterances.append(_make_utterance(len(utterances), speech, fps))
            total += utterances[-1].speech.duration_s
            if total >= seconds:
                break
        if len(utterances) == before:
            too_short.append(paths[place])
    if not utterances:
        raise DataError(f"no recording in {folder} is longer than {SHORTEST_S} s. Name another corpus_dir.")
    return CorpusPlan(utterances, tuple(too_short))


def read_transcript(recording: Path) -> str:
    """Read the transcript of a recording from the text file beside it; empty if there is none.

    Raises:
        DataError: the text file cannot be read as UTF-8.
    """
    path = recording.with_suffix(".txt")
    if not path.is_file():
        return ""
    try:
        text = path.read_text("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"the transcript {path} cannot be read ({error}). Save it as UTF-8.") from error
    marked = re.search(r"^Text:(.*)$", text, re.MULTILINE)
    return " ".join((marked[1] if marked else text).split())


def cut_speech(speech: Speech, longest_s: float = LONGEST_S) -> list[Speech]:
    """Cut an utterance at its quietest places into pieces of at most `longest_s`; phonemes are cut accordingly.

    The text is not divided among the pieces: pieces of an utterance that had to be cut have none.

    Args:
        speech: speech at 16 kHz.
        longest_s: maximum length of a piece, s, at least 1.

    Source: original to this project.
    """
    if speech.duration_s <= longest_s:
        return [speech]
    level_db = compute_level_db(measure_power([speech.samples]))
    smooth = np.convolve(level_db, np.ones(9) / 9, mode="same")
    low, high = round(0.5 * longest_s * _STEPS_A_SECOND), round(longest_s * _STEPS_A_SECOND)
    last = len(level_db) - round(SHORTEST_S * _STEPS_A_SECOND)
    edges = [0]
    while len(level_db) - edges[-1] > high:
        # the quietest place in the second half of the permitted length, the latest one if several are equally quiet
        reach = smooth[edges[-1] + low : min(edges[-1] + high, last)]
        edges.append(edges[-1] + low + len(reach) - 1 - int(np.argmin(reach[::-1])))
    ends_s = [*(edge / _STEPS_A_SECOND for edge in edges), speech.duration_s]
    return [_part(speech, start_s, end_s) for start_s, end_s in itertools.pairwise(ends_s)]


def _check_length(seconds: float) -> None:
    if not seconds > 0:
        raise ParameterError(f"teacher: pseudo_seconds is {seconds}; it must be positive.")


def _make_utterance(number: int, speech: Speech, fps: Fraction) -> Utterance:
    padded = pad_speech(speech, PADDING_S)
    return Utterance(number, padded, frame_count_for(padded.audio, fps))


def _read_speech(path: Path, folder: Path, needs_phonemes: bool, method: str) -> Iterator[Speech]:
    """Yield a recording in pieces: aligned as a whole if it has a transcript, else recognised piece by piece."""
    samples = to_mono_16k(open_audio(path))
    if len(samples) < SHORTEST_S * FEATURE_RATE:
        return
    transcript = "" if method == "phones" else read_transcript(path)
    whole = Speech(samples, FEATURE_RATE, (), transcript, str(path.relative_to(folder)))
    try:
        if needs_phonemes and transcript:
            whole = replace(whole, phonemes=recognise_phonemes(samples, transcript=transcript, method=method))
        for part in cut_speech(whole):
            if needs_phonemes and not part.phonemes:
                part = replace(part, phonemes=_hear(part.samples, method))
            yield part
    except (DataError, ParameterError) as error:
        raise DataError(f"{path}: {error}") from error


def _hear(samples_16k: np.ndarray, method: str) -> tuple[Phoneme, ...]:
    """Recognise the phonemes of a piece of a recording; a single pause if the piece is silent."""
    if find_silence(samples_16k, len(samples_16k) // LEVEL_STEP, Fraction(_STEPS_A_SECOND)).all():
        return (Phoneme(PAUSE, 0.0, len(samples_16k) / FEATURE_RATE),)
    return recognise_phonemes(samples_16k, method=method)


def _part(speech: Speech, start_s: float, end_s: float) -> Speech:
    first, last = round(start_s * speech.rate), round(end_s * speech.rate)
    inside = [p for p in speech.phonemes if p.end_s > start_s and p.start_s < end_s]
    moved = tuple(Phoneme(p.symbol, max(p.start_s, start_s) - start_s, min(p.end_s, end_s) - start_s) for p in inside)
    return replace(speech, samples=speech.samples[first:last], phonemes=moved, text="")
