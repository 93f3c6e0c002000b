"""Phoneme alignment of recordings: pocketsphinx recognises words, or takes a transcript, and times every phoneme."""

import itertools
import re
import unicodedata
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import pocketsphinx
from jaxtyping import Float

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import FEATURE_RATE, to_pcm16
from metatalk_lib.speech.silence import find_silence
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, build_phonemes, synthesize

ARPABET: dict[str, str] = {
    **{"AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AY": "aɪ", "EH": "ɛ", "ER": "ɝ", "EY": "eɪ"},
    **{"IH": "ɪ", "IY": "i", "OW": "oʊ", "OY": "ɔɪ", "UH": "ʊ", "UW": "u"},
    **{"B": "b", "CH": "tʃ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ", "HH": "h", "JH": "dʒ", "K": "k", "L": "l"},
    **{"M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ", "V": "v"},
    **{"W": "w", "Y": "j", "Z": "z", "ZH": "ʒ"},
}
"""Phones of the recogniser (ARPABET) → IPA."""

RECOGNISERS = ("auto", "words", "phones")

_FRAME_RATE = 100
_LEVEL = 0.9
_NOISES = (3e-4, 1e-3, 3e-3, 1e-2)
"""Noise levels mixed into the signal, relative to full scale, since digital silence confuses the recogniser. The next
level is tried if the alignment fails, which at the first level happens to one clean sentence in seven."""
_SPELLING: dict[str, str] = {
    **{"a": "AE", "ɐ": "AH", "ɑ": "AA", "ɒ": "AA", "æ": "AE", "ə": "AH", "ɚ": "ER", "ɜ": "ER", "ɛ": "EH", "e": "EY"},
    **{"i": "IY", "ɪ": "IH", "o": "OW", "ɔ": "AO", "ʌ": "AH", "u": "UW", "ʊ": "UH", "ᵻ": "IH", "ɹ": "R", "ɾ": "T"},
    **{"b": "B", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M", "n": "N"},
    **{"ŋ": "NG", "p": "P", "r": "R", "s": "S", "ʃ": "SH", "t": "T", "θ": "TH", "v": "V", "w": "W", "z": "Z"},
    **{"ʒ": "ZH", "ʔ": "T", "x": "K"},
}
"""IPA letters of the synthesiser → phones of the recogniser, for words missing from its dictionary."""
_PAIRS = {"aɪ": "AY", "aʊ": "AW", "ɔɪ": "OY", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "tʃ": "CH", "dʒ": "JH"}


def recognise_phonemes(
    samples_16k: Float[np.ndarray, " S"], *, transcript: str = "", method: str = "auto"
) -> tuple[Phoneme, ...]:
    """Recognise the phonemes of a recording; they cover it from beginning to end without gap or overlap.

    `words` recognises English words (or takes the transcript), then aligns their phones with the sound. `phones`
    recognises phones without words, in any language, less reliably. `auto` takes `words`, and falls back to `phones` if
    no words are recognised or the transcript is not in Latin letters.

    Args:
        samples_16k: mono.
        transcript: known text of the recording, or empty; the synthesiser gives the phones of numbers and of words
            missing from the dictionary, read as English.
        method: `words`, `phones` or `auto`, see above; a transcript needs `auto` or `words`.

    Returns:
        The phonemes in IPA; silence and noises are pauses.

    Raises:
        ParameterError: an unknown method, a transcript without words, one together with `phones`, or one with words in
            other than Latin letters where `words` is asked for.
        DataError: the transcript does not fit the recording, a word in it cannot be transcribed, or no words are
            recognised where `words` is asked for.

    Source: pocketsphinx 5 (BSD) with its own American English model; original to this project.
    """
    if method not in RECOGNISERS:
        raise ParameterError(f"recognition: no method `{method}`. There are: {', '.join(RECOGNISERS)}.")
    words = _split_words(transcript)
    if transcript and not words:
        raise ParameterError(f"recognition: the transcript {transcript!r} has no words. Leave it out or write some.")
    if words and method == "phones":
        raise ParameterError("recognition: a transcript is given, but `phones` hears no words. Leave one of them out.")
    foreign = next((word for word in words if not _is_latin(word)), None)
    if foreign and method == "words":
        raise ParameterError(f"recognition: `{foreign}` is not in Latin letters. Take `phones` without a transcript.")
    if foreign:
        words, method = [], "phones"
    segments = None if method == "phones" else _align(samples_16k, words)
    if segments is None and (words or method == "words"):
        reason = "the transcript does not fit the recording" if words else "no English words were heard"
        raise DataError(f"recognition: {reason}. Correct or leave out the transcript, or take the method `phones`.")
    if segments is None:
        segments = _hear_phones(_to_pcm(samples_16k, _NOISES[0]))
    step = FEATURE_RATE // _FRAME_RATE
    events = [(start * step, ARPABET.get(name, PAUSE)) for name, start in segments]
    return build_phonemes(_hush(events, samples_16k), len(samples_16k), FEATURE_RATE)


def _hush(events: list[tuple[int, str]], samples_16k: np.ndarray) -> list[tuple[int, str]]:
    """Turn phonemes that are more than half silent into pauses: the recogniser finds sounds in digital silence."""
    silent = find_silence(samples_16k, max(1, len(samples_16k) * _FRAME_RATE // FEATURE_RATE), Fraction(_FRAME_RATE))
    edges = [start * _FRAME_RATE // FEATURE_RATE for start, _ in events] + [len(silent)]
    return [
        (start, PAUSE if last > first and silent[first:last].mean() > 0.5 else symbol)
        for (start, symbol), (first, last) in zip(events, itertools.pairwise(edges), strict=True)
    ]


def _split_words(transcript: str) -> list[str]:
    """Split a transcript into words and numbers in lower case, keeping apostrophes inside words."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", transcript.lower().replace("’", "'"))


def _is_latin(word: str) -> bool:
    return all(letter in "0123456789'" or "LATIN" in unicodedata.name(letter, "") for letter in word)


def _to_pcm(samples_16k: np.ndarray, noise: float) -> bytes:
    """Convert to 16-bit samples at a level similar to the recogniser's training data; at least one window long."""
    peak = float(np.abs(samples_16k).max(initial=0.0))
    loud = samples_16k * (_LEVEL / peak) if peak > 0 else samples_16k
    padded = np.pad(loud, (0, max(0, FEATURE_RATE // 10 - len(loud))))
    return to_pcm16(padded + np.random.default_rng(0).normal(scale=noise, size=len(padded))).tobytes()


def _align(samples_16k: np.ndarray, words: list[str]) -> list[tuple[str, int]] | None:
    """Align words, recognised if none are given, as (phone, first frame); None if they do not fit the sound."""
    decoder = pocketsphinx.Decoder(loglevel="FATAL")
    words = words or _hear_words(decoder, _to_pcm(samples_16k, _NOISES[0]))
    if not words:
        return None
    for word in dict.fromkeys(words):
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, _spell(word), True)
    for noise in _NOISES:
        pcm = _to_pcm(samples_16k, noise)
        try:
            decoder.set_align_text(" ".join(words))
            _decode(decoder, pcm)
            decoder.set_alignment()
            _decode(decoder, pcm)
            alignment = decoder.get_alignment()
        except RuntimeError:
            continue
        if alignment is not None:
            return [(phone.name, phone.start) for word in alignment for phone in word]
    return None


def _hear_words(decoder: pocketsphinx.Decoder, pcm: bytes) -> list[str]:
    _decode(decoder, pcm)
    return _split_words(decoder.hyp().hypstr) if decoder.hyp() else []


def _hear_phones(pcm: bytes) -> list[tuple[str, int]]:
    model = Path(pocketsphinx.get_model_path("en-us")).parent / "en-us" / "en-us-phone.lm.bin"
    decoder = pocketsphinx.Decoder(loglevel="FATAL", allphone=str(model), lm=None, beam=1e-20, pbeam=1e-20, lw=2.0)
    _decode(decoder, pcm)
    return [(segment.word, segment.start_frame) for segment in decoder.seg() or ()]


def _decode(decoder: pocketsphinx.Decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


@lru_cache(maxsize=4096)
def _spell(word: str) -> str:
    """Phones of a word missing from the dictionary, as the synthesiser pronounces it."""
    phones = []
    for phoneme in synthesize(word, "en-us").phonemes:
        letters = [letter for letter in phoneme.symbol if letter in _SPELLING]
        pair = "".join(letters[:2])
        phones += [_PAIRS[pair]] if pair in _PAIRS else [_SPELLING[letter] for letter in letters]
    if not phones:
        raise DataError(f"recognition: nobody knows how `{word}` is said. Spell it another way in the transcript.")
    return " ".join(phones)
