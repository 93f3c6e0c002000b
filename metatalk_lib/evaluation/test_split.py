"""The test split: the held-out tail of the person's video and recordings of other people."""

from pathlib import Path
from typing import NamedTuple

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation.held_out import HeldOut
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.speech.sentences import STUDIO_SENTENCES
from metatalk_lib.speech.synthesis import synthesize

HELD_OUT, DRIVING = "held_out", "driving"


class Tail(NamedTuple):
    """The character's test split.

    Attributes:
        frames: frames to compare.
        audio: sound of these frames.
        model: face model that determines the mask.
    """

    frames: HeldOut
    audio: Path
    model: FaceModel

    @property
    def start(self) -> int:
        """Number of the first frame in the source."""
        return int(self.frames.frame_id[0])


JUDGING_VOICES = ("en-us+Alex", "en-gb+linda", "en-us+steph", "en-gb+Denis")
"""Voices of these recordings, none of them in `synthesis.VOICES`.

Their variants were left out of every training that shipped weights come from.
"""


def write_judging_recordings(folder: Path, character: str, count: int, seconds: float) -> dict[str, Path]:
    """Synthesise other characters' sentences in voices that belong to no character, one recording per voice.

    Args:
        folder: output folder of one .wav per voice; equal arguments give equal files.
        character: character whose sentences are left out.
        count: number of recordings.
        seconds: duration of each recording, s.

    Returns:
        Voice to file.

    Raises:
        ParameterError: there are fewer voices than recordings, no recordings are requested, or the sentences are too
            short.
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
