"""Flite's and Festival's voices, made from recordings of people, with the synthesiser's segment times.

They serve training and benchmarks only. Debian has them as packages: `flite`, `festival` and `festvox-…`
(`training/README.md` lists them); nothing in `metatalk_lib` needs them.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.speech.phoneme_recognition import ARPABET
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, Speech, build_phonemes

TIMEOUT_S = 120
LAST_PAUSE_S = 0.3
"""Longest silence kept at the end of an utterance, s."""
PAUSES = ("pau", "#", "##", "_", "h#", "ssil", "sil", "H#", "brth")


def _table(phones: str) -> dict[str, str]:
    """Parse `phone ipa phone ipa …` as a dictionary."""
    return dict(zip(phones.split()[::2], phones.split()[1::2], strict=True))


_INDIAN = _table("""
    a ʌ aa ɑ ay ɛ ai ɛ au ɔ aw aʊ ow aʊ ee e eh e ey e ii i iy i ih ɪ oo o oh o uu u uw u uh ʊ b b bh b ch tʃ chh tʃ d d
    dh d dd d ddh d D d Dh d f f g ɡ gh ɡ h h j dʒ jh dʒ k k kh k l l L l m m n n N n nj ɲ ny ɲ ng ŋ p p ph p r r s s
    sh ʃ S ʃ t t th t tt t tth t T t Th t v v w w y j z z
""")
_PHONES: dict[str, dict[str, str]] = {
    "en": {name.lower(): ipa for name, ipa in ARPABET.items()} | _table("ax ə axr ɚ ix ɪ el l"),
    "hi": _INDIAN,
    "mr": _INDIAN,
    "te": _INDIAN | {"ay": "ai"},
    "cs": _table("""
        a a a: a e ɛ e: ɛ i ɪ i: i o o o: o u u u: u b b c ts ch x c~ tʃ d d d~ ɟ dz dz dz~ dʒ f f g ɡ h ɦ j j k k l l
        m m n n n~ ɲ N ŋ p p r r r~ rʒ r~* rʃ s s s~ ʃ t t t~ c v v z z z~ ʒ
    """),
    "it": _table("""
        a a e e E ɛ i i o o O ɔ u u b b d d dZ dʒ dz dz f f g ɡ j j J ɲ k k l l L ʎ m m n n ng ŋ nf ɱ p p r r s s S ʃ
        SC ʃ t t tS tʃ ts ts v v w w z z
    """),
    "fi": _table("""
        a ɑ @ æ e e i i o o u u y y 7 ø b b d d f f g ɡ h h j j k k l l m m n n N ŋ p p r r s s S ʃ t t v ʋ w ʋ
    """),
    "ru": _table("""
        a ə aa a ae ə ay ɐ e ɪ ee e ei ɪ i ɪ ii i o o oo o u ʊ uu u ur ʊ ui ʊ y ɨ yy ɨ b b bb b c ts ch tʃ d d dd d f f
        ff f g ɡ gg ɡ h x hh x j j k k kk k l l ll l m m mm m n n nn n p p pp p r r rr r s s ss s sh ʃ sch ʃ t t tt t
        v v vv v z z zh ʒ zz z
    """),
    "ca": _table("""
        a a ax ə e e E ɛ i i o o O ɔ u u b b B b d d D d f f g ɡ G ɡ j j J ɲ k k l l L ʎ m m n n ng ŋ p p r ɾ rr r s s
        S ʃ t t tS tʃ ts ts dZ dʒ dz dz w w uw w v v y j z z Z ʒ
    """),
}
"""Language → phone of the synthesiser → IPA; a final stress digit and length colon are removed first."""


@dataclass(frozen=True)
class RecordedVoice:
    """A voice built from a person's recordings.

    Attributes:
        engine: `flite` or `festival`.
        language: a key of `_PHONES`, and of `words.WORDS` but for English.
        encoding: text encoding of the voice.
    """

    engine: str
    language: str
    encoding: str = "ascii"


RECORDED_VOICES: dict[str, RecordedVoice] = {
    "awb": RecordedVoice("flite", "en"),
    "rms": RecordedVoice("flite", "en"),
    "slt": RecordedVoice("flite", "en"),
    "kal_diphone": RecordedVoice("festival", "en"),
    "ked_diphone": RecordedVoice("festival", "en"),
    "cmu_us_slt_arctic_hts": RecordedVoice("festival", "en"),
    "czech_dita": RecordedVoice("festival", "cs", "iso-8859-2"),
    "czech_krb": RecordedVoice("festival", "cs", "iso-8859-2"),
    "czech_machac": RecordedVoice("festival", "cs", "iso-8859-2"),
    "czech_ph": RecordedVoice("festival", "cs", "iso-8859-2"),
    "lp_diphone": RecordedVoice("festival", "it", "iso-8859-1"),
    "pc_diphone": RecordedVoice("festival", "it", "iso-8859-1"),
    "hy_fi_mv_diphone": RecordedVoice("festival", "fi", "iso-8859-1"),
    "suo_fi_lj_diphone": RecordedVoice("festival", "fi", "iso-8859-1"),
    "msu_ru_nsh_clunits": RecordedVoice("festival", "ru", "utf-8"),
    "upc_ca_ona_hts": RecordedVoice("festival", "ca", "iso-8859-15"),
    "hindi_NSK_diphone": RecordedVoice("festival", "hi", "utf-8"),
    "marathi_NSK_diphone": RecordedVoice("festival", "mr", "utf-8"),
    "telugu_NSK_diphone": RecordedVoice("festival", "te", "utf-8"),
}
"""Nineteen voices of sixteen people: two share a speaker (slt), and three another (NSK)."""


HELD_OUT_RECORDED = ("rms", "lp_diphone")
"""Voices that no shipped network was trained on."""


def synthesize_recorded(text: str, voice: str, *, stretch: float = 1.0) -> Speech:
    """Speak a text with a recorded voice; equal arguments give equal samples.

    Args:
        text: in the voice's language.
        voice: a key of `RECORDED_VOICES`.
        stretch: factor on the durations; some of Festival's voices ignore it.

    Raises:
        ParameterError: an unknown voice, or a text that cannot be encoded for it.
        DataError: the synthesiser is not installed, or failed.
    """
    if voice not in RECORDED_VOICES:
        raise ParameterError(f"recorded voices: no voice `{voice}`. There are: {', '.join(RECORDED_VOICES)}.")
    engine = RECORDED_VOICES[voice].engine
    if shutil.which(engine) is None:
        raise DataError(f"{engine} is not installed. Install the Debian packages that training/README.md lists.")
    with tempfile.TemporaryDirectory() as folder:
        speak = _run_flite if engine == "flite" else _run_festival
        ends = speak(text, voice, stretch, Path(folder))
        samples, rate = soundfile.read(Path(folder) / "speech.wav", dtype="float32")
    starts = [0.0, *(end_s for _, end_s in ends)]
    symbols = [*(_to_ipa(phone, voice) for phone, _ in ends), PAUSE]
    events = [(round(start_s * rate), symbol) for start_s, symbol in zip(starts, symbols, strict=True)]
    if not len(samples) or all(symbol == PAUSE for symbol in symbols):
        raise DataError(f"{engine} made no speech of {text!r} with voice {voice}.")
    phonemes = build_phonemes(events, len(samples), rate)
    return _cut_last_pause(Speech(samples.astype(np.float32), int(rate), phonemes, text, voice))


def _run_flite(text: str, voice: str, stretch: float, folder: Path) -> list[tuple[str, float]]:
    command = ["flite", "-voice", voice, "-psdur", "--setf", f"duration_stretch={stretch}", "-t", text]
    reply = _run([*command, "-o", str(folder / "speech.wav")])
    return [(name, float(end)) for name, _, end in (item.rpartition(":") for item in reply.split())]


def _run_festival(text: str, voice: str, stretch: float, folder: Path) -> list[tuple[str, float]]:
    try:
        spoken = text.replace("\\", " ").replace('"', " ").encode(RECORDED_VOICES[voice].encoding)
    except UnicodeEncodeError as error:
        raise ParameterError(f"recorded voices: {voice} cannot read {text!r} ({error.reason}).") from error
    before = f"(voice_{voice})\n(Parameter.set 'Duration_Stretch {stretch})\n(set! spoken (SynthText \""
    after = f'"))\n(utt.save.wave spoken "{folder}/speech.wav")\n(utt.save.segs spoken "{folder}/speech.lab")\n'
    script = folder / "speak.scm"
    script.write_bytes(before.encode() + spoken + after.encode())
    _run(["festival", "-b", str(script)])
    lines = (line.split() for line in (folder / "speech.lab").read_text("latin-1").splitlines())
    return [(parts[2], float(parts[0])) for parts in lines if len(parts) == 3]


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT_S, text=True).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        detail = " ".join(str(error.stderr or "").split())[-300:]
        raise DataError(f"{command[0]} failed: {error}. {detail}") from error


def _to_ipa(phone: str, voice: str) -> str:
    if phone in PAUSES:
        return PAUSE
    phones = _PHONES[RECORDED_VOICES[voice].language]
    bare = phone if phone in phones else phone.rstrip(":01")
    if bare not in phones:
        raise DataError(f"recorded voices: {voice} says an unknown phone `{phone}`. Add it to the language's phones.")
    return phones[bare]


def _cut_last_pause(speech: Speech) -> Speech:
    last = speech.phonemes[-1]
    end = round((last.start_s + LAST_PAUSE_S) * speech.rate)
    if last.symbol != PAUSE or end >= len(speech.samples):
        return speech
    shortened = (*speech.phonemes[:-1], Phoneme(PAUSE, last.start_s, end / speech.rate))
    return replace(speech, samples=speech.samples[:end], phonemes=shortened)
