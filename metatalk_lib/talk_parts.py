"""What a running talk keeps: its finished parts on disk, and the time that went into what."""

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from metatalk_lib.artifacts import load_json, save_json
from metatalk_lib.paths import ensure_dir

Item = TypeVar("Item")


class Parts:
    """The finished parts of a video, in a folder beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.finished = folder, 0
        while self.path(self.finished).exists():
            self.finished += 1

    def path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.mp4"

    def paths(self, count: int) -> list[Path]:
        return [self.path(number) for number in range(count)]


@contextmanager
def open_parts(output: Path, description: dict) -> Iterator[Parts]:
    """Parts that were made from the same things, or none; after an error only whole parts are worth keeping."""
    folder = output.with_name(f".{output.stem}.parts")
    key = folder / "made_from.json"
    if not key.exists() or load_json(key) != description:
        shutil.rmtree(folder, ignore_errors=True)
        save_json(ensure_dir(folder) / key.name, description)
    try:
        yield Parts(folder)
    except BaseException:
        if not Parts(folder).finished:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder)


class Clock:
    """Time by part; parts may run in several threads at once."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.started = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block's time to a part."""
        started = time.perf_counter()
        yield
        now = time.perf_counter()
        self.parts[name] = self.parts.get(name, 0.0) + now - started

    def mark(self, name: str) -> None:
        """Keep when something happened for the first time, s since the clock was made."""
        self.parts.setdefault(name, time.perf_counter() - self.started)

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on and count the time that each took to come."""
        stream = iter(items)
        while True:
            with self.part(name):
                item = next(stream, stream)
            if item is stream:
                return
            yield item

    def seconds(self) -> dict[str, float]:
        """The parts, and the total since the clock was made."""
        return self.parts | {"total": time.perf_counter() - self.started}
