"""Recordings of other people that LSE is measured on: voices that neither the teacher, nor any training here, has."""

from pathlib import Path

from metatalk_lib.audio import Audio, write_audio
from metatalk_lib.errors import ParameterError
from metatalk_lib.speech import STUDIO_SENTENCES, synthesize

JUDGING_VOICES = ("en-us+Alex", "en-gb+linda", "en-us+steph", "en-gb+Denis")
"""None is in `speech.VOICES`, and their variants were left out of every training that shipped weights come from."""


def write_judging_recordings(folder: Path, character: str, count: int, seconds: float) -> dict[str, Path]:
    """Speak other characters' sentences in voices that are nobody's, one recording a voice.

    Args:
        folder: gets one .wav a voice; equal arguments give equal files.
        character: whose sentences are left out.
        count: of recordings.
        seconds: length of each, s.

    Returns:
        Voice to file.

    Raises:
        ParameterError: more recordings than voices, or none, or longer ones than there are sentences for.
    """
    if not 1 <= count <= len(JUDGING_VOICES) or not seconds > 0:
        raise ParameterError(
            f"judging recordings: asked are {count} of {seconds} s; there are 1 to {len(JUDGING_VOICES)} voices."
        )
    others = [text for name, texts in STUDIO_SENTENCES.items() if name != character for text in texts]
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for number, voice in enumerate(JUDGING_VOICES[:count]):
        text = " ".join(others[number::count])
        speech = synthesize(text, voice)
        if speech.duration_s < seconds:
            raise ParameterError(
                f"judging recordings: asked are {count} of {seconds} s; the sentences of {voice} last "
                f"{speech.duration_s:.1f} s. Lower judging_seconds or judging_recordings."
            )
        found[voice] = folder / f"{voice.replace('+', '_')}.wav"
        write_audio(found[voice], Audio(speech.samples[: round(seconds * speech.rate), None], speech.rate))
    return found
