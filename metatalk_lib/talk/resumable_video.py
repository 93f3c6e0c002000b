"""Finished parts of a talk in progress, kept on disk for resuming, and a clock for the time spent on each task."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import ensure_dir
from metatalk_lib.media.video import probe_video

_Item = TypeVar("_Item")


class Parts:
    """The parts of a video in progress, in a folder next to it.

    Attributes:
        paths: paths of all parts, in order.
        lengths: number of frames of each part.
        finished: number of leading parts that are complete.
        digest: digest of the inputs, stored as the comment of the finished video.
        is_joined: whether the finished video already exists.
    """

    def __init__(self, output: Path, digest: str, frames: int, length: int) -> None:
        folder, self.digest = _folder_of(output), digest
        self.lengths = [min(length, frames - first) for first in range(0, frames, length)]
        self.paths = [folder / f"{number:05d}.mp4" for number in range(len(self.lengths))]
        self.is_joined = _is_whole(output, frames, digest)
        whole = map(_is_whole, self.paths, self.lengths)
        self.finished = len(self.paths) if self.is_joined else sum(1 for _ in itertools.takewhile(bool, whole))


def _folder_of(output: Path) -> Path:
    return output.with_name(f".{output.stem}.parts")


def _is_whole(path: Path, length: int, comment: str = "") -> bool:
    """Whether a video exists with all its frames; a power failure may leave an incomplete one."""
    try:
        return path.exists() and (info := probe_video(path)).frame_count == length and info.comment == comment
    except DataError:
        return False


@contextmanager
def open_parts(output: Path, description: dict, frames: int, length: int) -> Iterator[Parts]:
    """Open the parts of a video; parts of other inputs are deleted first. After an error complete parts stay.

    Args:
        output: the finished video.
        description: description of all inputs of the video.
        frames: number of frames of the whole video.
        length: number of frames of each part except the last.
    """
    folder = _folder_of(output)
    key = folder / "made_from.json"
    if not key.exists() or load_json(key) != description:
        shutil.rmtree(folder, ignore_errors=True)
        save_json(ensure_dir(folder) / key.name, description)
    try:
        digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        yield Parts(output, digest, frames, length)
    except BaseException:
        if not any(folder.glob("[0-9]*.mp4")):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)
