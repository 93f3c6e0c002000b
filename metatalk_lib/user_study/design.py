"""Design of the study: its clips, their blind tokens, and the balanced order of a session."""

import hashlib
import itertools
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metatalk_lib.core.artifacts import atomic_path, load_json, sha256_file
from metatalk_lib.core.errors import DataError
from metatalk_lib.media.audio import read_audio
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video


@dataclass(frozen=True)
class StudyClip:
    """One finished video to be rated.

    Attributes:
        method: method that made the video, such as `Ours`.
        character: character whose face the video shows.
        audio: name of the recording that the face speaks.
        path: the video file, with its audio.
    """

    method: str
    character: str
    audio: str
    path: Path


def find_clips(outputs_dir: Path, characters: Sequence[str]) -> list[StudyClip]:
    """Find the clips that stage 06 lists in `clips.json`: method, recording and file of each.

    Args:
        outputs_dir: folder of all characters.
        characters: characters whose clips are rated together.

    Raises:
        DataError: a character's stage 06 is not finished, or a listed video does not exist.
    """
    clips = []
    for character in characters:
        folder = outputs_dir / character / "06_evaluation"
        if not (folder / "summary.json").is_file():
            raise DataError(f"07_user_study: 06_evaluation is not finished for character {character}. Run it first.")
        for entry in load_json(folder / "clips.json"):
            path = (folder / entry["file"]).resolve()
            if not path.is_file():
                raise DataError(f"07_user_study: {path} of {entry['method']} does not exist. Run 06_evaluation again.")
            clips.append(StudyClip(entry["method"], character, entry["audio"], path))
    return clips


def session_order(clips: Sequence[tuple[str, str]], *, participant_number: int, seed: int) -> list[str]:
    """Compute the order in which one participant sees the clips.

    Each round shows one clip of every method; the order of methods rotates by one place from participant to participant
    (a Latin square, so no method is always first), and each method's clips are shuffled for each participant.

    Args:
        clips: (token, method) of each clip.
        participant_number: 0 for the first participant, and so on.
        seed: seed of the study.

    Returns:
        All tokens, once each.

    Source: Original to this project.
    """
    generator = random.Random(f"{seed}/{participant_number}")
    methods = sorted({method for _, method in clips})
    random.Random(seed).shuffle(methods)
    turn = participant_number % len(methods)
    columns = []
    for method in methods[turn:] + methods[:turn]:
        tokens = sorted(token for token, other in clips if other == method)
        generator.shuffle(tokens)
        columns.append(tokens)
    return [token for row in itertools.zip_longest(*columns) for token in row if token is not None]


def copy_clip(path: Path, target: Path, max_seconds: float | None) -> None:
    """Copy a clip, cut to its first `max_seconds` if it is longer; None copies all of it."""
    if max_seconds is not None:
        info = probe_video(path)
        frames = round(max_seconds * info.fps)
        if info.frame_count > frames:
            sound = read_audio(path) if info.has_audio else None
            write_video(target, read_frames(path, 0, frames), fps=info.fps, audio=sound)
            return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)


def make_token(clip: StudyClip, seed: int) -> str:
    """Make the file name of a clip, which does not reveal its method: 16 hexadecimal digits.

    Raises:
        DataError: the clip does not exist.
    """
    if not clip.path.is_file():
        raise DataError(f"user study: the clip {clip.path} of {clip.method} does not exist. Run 05 and 06 again.")
    content = json.dumps([seed, clip.method, clip.character, clip.audio, sha256_file(clip.path)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
