"""A clock for the named parts of a piece of work."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")


class Clock:
    """Time spent on each named part of the work; parts may run in several threads at once."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.lock = threading.Lock()
        self.started = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the duration of the block to a part."""
        started = time.perf_counter()
        yield
        spent = time.perf_counter() - started
        with self.lock:
            self.parts[name] = self.parts.get(name, 0.0) + spent

    def mark(self, name: str) -> None:
        """Store when an event first happened, s since the clock was created."""
        self.parts.setdefault(name, time.perf_counter() - self.started)

    def timed(self, name: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yield the items and add the time spent waiting for each to a part."""
        stream = iter(items)
        while True:
            with self.part(name):
                try:
                    item = next(stream)
                except StopIteration:
                    return
            yield item

    def seconds(self) -> dict[str, float]:
        """Return the time of each part, and the total since the clock was created, s."""
        return self.parts | {"total": time.perf_counter() - self.started}
