"""Render a character's source video once, and find it again."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np

from metatalk_lib.core.artifacts import save_arrays, save_json
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.parallel import map_ahead
from metatalk_lib.core.paths import cache_dir, ensure_dir, resolve_path
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.speech.synthesis import Speech
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.ground_truth import compute_truth
from metatalk_lib.studio.performance import Performance, perform, write_script
from metatalk_lib.studio.scene import Pose, Scene

FORMAT = 8  # part of every key: raise it when the same choices would give other pictures
WORKERS = 2


def ensure_studio_video(
    character: str, seconds: float, scale: float = 1.0, seed: int = 0, *, root: str | Path | None = None
) -> Path:
    """Path of a character's source video, rendered on first use with `truth.npz` and `speech.json` beside it.

    The folder appears under its name only when all three files are whole.

    Args:
        character: a key of `CHARACTERS`.
        seconds: length of the video.
        scale: factor on the character's picture size, 0.25 to 2.
        seed: chooses motion, script order and skin details.
        root: folder for all studio videos; `studio` in the cache folder where none is given.

    Returns:
        `<root>/<character>/<key>/source.mp4`.

    Raises:
        ParameterError: no such character, or a length or scale out of range.
        DataError: the folder cannot be written, or the head data is missing.
    """
    if character not in STUDIO_CHARACTERS:
        raise ParameterError(f"there is no studio character {character!r}. There are {', '.join(STUDIO_CHARACTERS)}.")
    if not 0.25 <= scale <= 2.0:
        raise ParameterError(f"studio: the scale is {scale}; expected 0.25 to 2.")
    if not 0.5 < seconds <= 3600:
        raise ParameterError(f"studio: the length is {seconds} s; expected more than 0.5 s and at most an hour.")
    video = studio_video_path(character, seconds, scale, seed, root=root)
    folder = video.parent
    if not video.exists():
        partial = ensure_dir(folder.with_name(f".{folder.name}.partial-{os.getpid()}"))
        try:
            film(STUDIO_CHARACTERS[character], seconds, scale, seed, partial)
            _publish(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return video


def studio_video_path(
    character: str, seconds: float, scale: float = 1.0, seed: int = 0, *, root: str | Path | None = None
) -> Path:
    """Path of the video that `ensure_studio_video` makes from the same arguments; nothing is rendered."""
    home = cache_dir() / "studio" if root is None else resolve_path(root)
    return home / character / compute_key(STUDIO_CHARACTERS[character], seconds, scale, seed) / "source.mp4"


def compute_key(character: StudioCharacter, seconds: float, scale: float, seed: int) -> str:
    """Name of a video's folder: readable figures and a checksum over every choice that shapes the picture."""
    choices = json.dumps([asdict(character), FORMAT, version("anny")], sort_keys=True)
    digest = hashlib.sha256(choices.encode()).hexdigest()[:8]
    return f"{seconds:g}s-x{scale:g}-seed{seed}-{digest}"


def _publish(partial: Path, folder: Path) -> None:
    """Rename the finished folder; another process may have been faster, and its equal result then stays."""
    try:
        os.replace(partial, folder)
    except OSError:
        if not (folder / "source.mp4").exists():
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)


def film(character: StudioCharacter, seconds: float, scale: float, seed: int, folder: Path) -> None:
    """Render into an existing folder: `truth.npz`, `speech.json`, then `source.mp4`."""
    frame_count = max(1, round(seconds * character.fps))
    speech = write_script(character, frame_count / character.fps, seed)
    performance = perform(character, speech, frame_count, seed)
    scene = Scene(character, scale, seed)
    save_arrays(folder / "truth.npz", **compute_truth(scene, performance, load_face_model("open")))
    save_json(folder / "speech.json", _describe_speech(speech))
    frames = track(render_frames(scene, performance), f"studio {character.name}", total=frame_count)
    sound = speech.audio
    write_video(folder / "source.mp4", frames, fps=Fraction(character.fps), audio=sound)


def render_frames(scene: Scene, performance: Performance) -> Iterator[np.ndarray]:
    """Frames in order, drawn by `WORKERS` threads; only a few finished frames wait at any time."""
    poses = (
        Pose(actions, rotation, sway, float(breath))
        for actions, rotation, sway, breath in zip(*performance, strict=True)
    )
    return map_ahead(lambda job: scene.render(job[1], job[0]), enumerate(poses), WORKERS)


def _describe_speech(speech: Speech) -> dict:
    return {
        "text": speech.text,
        "voice": speech.voice,
        "rate": speech.rate,
        "phonemes": [
            {"symbol": p.symbol, "start_s": round(p.start_s, 6), "end_s": round(p.end_s, 6)} for p in speech.phonemes
        ],
    }
