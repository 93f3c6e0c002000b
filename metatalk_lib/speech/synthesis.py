"""Synthetic speech with timed phonemes, from espeak-ng.

The voices are formant voices: clearly robotic, but the time of every phoneme is known to the sample, unlike in
recordings.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import espeakng_loader
import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio
from metatalk_lib.speech import espeak_worker

PAUSE = "_"
"""Symbol of an interval without a phoneme."""

VOICES = (
    "en-us",
    "en-us+f2",
    "en-gb+m3",
    "en-us+m1",
    "en-gb+f4",
    "en-us+m7",
    "en-us+f5",
    "en-gb",
    "en-us+f1",
    "en-us+m4",
    "en-gb+f3",
    "en-us+Andy",
    "en-gb+m2",
    "en-us+Annie",
    "en-gb-scotland",
    "en-us+f3",
    "en-us+m5",
    "en-gb+f1",
    "en-us+Michael",
    "en-gb+m6",
    "en-us+f4",
    "en-us+m8",
    "en-gb+Alicia",
    "en-us+m2",
)
"""Voices of the corpus as accent+variant; female and male voices alternate, so a short corpus is mixed, too."""

_ESPEAK_LANGUAGE = {"en-gb": "en"}  # espeak-ng lists British English under the plain language
_WORKER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Phoneme:
    """A phoneme and its time interval.

    Attributes:
        symbol: IPA, with stress marks, or `PAUSE`.
        start_s: start of the interval, s from the first sample.
        end_s: end of the interval, s; the start of the next phoneme.
    """

    symbol: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Speech:
    """One utterance.

    Attributes:
        samples: (S,) mono, in [-1, 1].
        rate: samples a second.
        phonemes: phonemes without gaps or overlap, from 0 to the end of the samples.
        text: spoken text.
        voice: name of the voice.
    """

    samples: Float[np.ndarray, " S"]
    rate: int
    phonemes: tuple[Phoneme, ...]
    text: str
    voice: str

    @property
    def duration_s(self) -> float:
        """Length of the samples, s."""
        return len(self.samples) / self.rate

    @property
    def audio(self) -> Audio:
        """The mono sound without the phonemes."""
        return Audio(self.samples[:, None], self.rate)


def synthesize(text: str, voice: str = "en-us", *, speed_wpm: int = 160, pitch: int = 50) -> Speech:
    """Synthesise a text; equal arguments give equal samples, in any process and any order.

    Args:
        text: one or several sentences.
        voice: a language of espeak-ng, with `+` and a variant where wanted, such as `en-gb+f2`.
        speed_wpm: speaking rate, words per minute, 80 to 450.
        pitch: pitch of the voice, 0 (low) to 100 (high).

    Raises:
        ParameterError: no text, an unknown voice, or a rate or pitch out of range.
        DataError: espeak-ng failed, or the text holds nothing that can be spoken.

    Source: espeak-ng's public C interface; original to this project.
    """
    _check_request(text, voice, speed_wpm, pitch)
    language, plus, variant = voice.partition("+")
    request = {
        "library": espeakng_loader.get_library_path(),
        "data": espeakng_loader.get_data_path(),
        "voice": _ESPEAK_LANGUAGE.get(language, language) + plus + variant,
        "text": text,
        "speed_wpm": speed_wpm,
        "pitch": pitch,
    }
    header, samples = _run_worker(request)
    if len(samples) == 0:
        raise DataError(
            f"speech: espeak-ng made no sound of {text!r} with voice {voice}. Give a text with words in it."
        )
    rate = int(header["rate"])
    return Speech(samples, rate, build_phonemes(header["events"], len(samples), rate), text, voice)


def build_phonemes(events: list, sample_count: int, rate: int) -> tuple[Phoneme, ...]:
    """Convert phoneme onsets to intervals that cover all samples without gap or overlap.

    A phoneme lasts until the next onset. The time before the first onset and events with an empty symbol become
    `PAUSE`; adjacent pauses are merged; phonemes without a sample are dropped.

    Args:
        events: (first sample, symbol) in any order.
        sample_count: number of samples of the utterance.
        rate: samples a second.

    Source: original to this project.
    """
    onsets = [
        (0, PAUSE),
        *sorted(
            ((min(max(int(at), 0), sample_count), name or PAUSE) for at, name in events), key=lambda event: event[0]
        ),
    ]
    merged: list[list] = []
    for position, (start, symbol) in enumerate(onsets):
        end = onsets[position + 1][0] if position + 1 < len(onsets) else sample_count
        if end <= start:
            continue
        if merged and symbol == PAUSE == merged[-1][0]:
            merged[-1][2] = end
        else:
            merged.append([symbol, start, end])
    return tuple(Phoneme(symbol, start / rate, end / rate) for symbol, start, end in merged)


def pad_with_pauses(speech: Speech, before_s: float, after_s: float) -> Speech:
    """Add silence before and after an utterance; its phonemes, if any, move with the sound.

    Args:
        speech: any utterance.
        before_s: silence added at the start, s, at least 0.
        after_s: silence added at the end, s, at least 0.

    Source: original to this project.
    """
    before, after = round(before_s * speech.rate), round(after_s * speech.rate)
    samples = np.pad(speech.samples, (before, after))
    if not speech.phonemes:
        return replace(speech, samples=samples)
    shift, end_s = before / speech.rate, len(samples) / speech.rate
    moved = [Phoneme(p.symbol, p.start_s + shift, p.end_s + shift) for p in speech.phonemes]
    pauses = [Phoneme(PAUSE, 0.0, shift)] if before else []
    endings = [Phoneme(PAUSE, moved[-1].end_s, end_s)] if after else []
    return replace(speech, samples=samples, phonemes=(*pauses, *moved, *endings))


@lru_cache(maxsize=1)
def _known_names() -> tuple[frozenset[str], frozenset[str]]:
    """Language names and variant names of the installed espeak-ng."""
    data = Path(espeakng_loader.get_data_path())
    # Only file names can be relied on: not every language that a file declares is found under that name.
    languages = frozenset(path.name.lower() for path in (data / "lang").rglob("*") if path.is_file())
    variants = frozenset(path.name for path in (data / "voices" / "!v").iterdir())
    return languages | frozenset(_ESPEAK_LANGUAGE), variants


def _check_request(text: str, voice: str, speed_wpm: int, pitch: int) -> None:
    if not text.strip() or "\0" in text:
        raise ParameterError(f"speech: the text to speak is {text!r}. Give at least one word, without NUL characters.")
    languages, variants = _known_names()
    language, plus, variant = voice.partition("+")
    # espeak-ng itself ignores an unknown variant and keeps the previous voice for an unknown language.
    if language.lower() not in languages or (plus and variant not in variants):
        raise ParameterError(
            f"speech: no voice `{voice}`. Take a language of espeak-ng, such as en-us, with a variant such as +f2."
        )
    if not 80 <= speed_wpm <= 450 or not 0 <= pitch <= 100:
        raise ParameterError(
            f"speech: speed_wpm is {speed_wpm} (80 to 450) and pitch is {pitch} (0 to 100); bring both into range."
        )


def _run_worker(request: dict) -> tuple[dict, Float[np.ndarray, " S"]]:
    # -I and -S: the worker needs no packages, so it starts in some 30 ms and no user setting can change it.
    command = [sys.executable, "-I", "-S", espeak_worker.__file__]
    try:
        reply = subprocess.run(
            command, input=json.dumps(request).encode(), capture_output=True, check=True, timeout=_WORKER_TIMEOUT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        detail = " ".join((error.stderr or b"").decode("utf-8", "replace").split())[-300:]
        raise DataError(
            f"speech: espeak-ng failed on {request['text'][:60]!r}: {error}. {detail} Reinstall espeakng-loader."
        ) from error
    first_line, _, payload = reply.stdout.partition(b"\n")
    header = json.loads(first_line)
    if "error" in header:
        raise DataError(f"speech: {header['error']}. Take another voice or text, or reinstall espeakng-loader.")
    if len(payload) != 2 * header["samples"]:
        raise DataError(
            f"speech: espeak-ng announced {header['samples']} samples and sent {len(payload) // 2}. Run again."
        )
    return header, np.frombuffer(payload, "<i2").astype(np.float32) / np.float32(32768)
