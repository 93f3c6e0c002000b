"""The opening of every compared method: the person is loaded and the request is checked before anything is made."""

from pathlib import Path

from metatalk_lib.talk.character import Character, load_character
from metatalk_lib.talk.requests import check_talk


def open_talk(character_dir: Path, audio_path: Path, output: Path, start_frame: int) -> Character:
    """Load a person and check what a compared method is asked for.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        audio_path: the recording to speak.
        output: the .mp4 to write.
        start_frame: source frame shown first.

    Raises:
        DataError: a stage's file is missing or does not fit.
        ParameterError: `start_frame` is not in the source, or `output` is not an .mp4 or is one of the input files.
    """
    character = load_character(character_dir)
    character.check_start(start_frame)
    check_talk(audio_path, output, character.source)
    return character
