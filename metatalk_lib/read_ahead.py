"""Streams made in threads of their own, a few items ahead of their reader, so that reading and working overlap."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

DEPTH = 8
"""Items that wait at most: memory does not depend on the stream's length."""


def read_ahead(items: Iterable[Item], depth: int = DEPTH) -> Iterator[Item]:
    """Yield the items in their order while a thread makes the next ones.

    What the source raises is raised here, after the items before it. When the reader stops early, the source is closed
    before this iterator is.

    Args:
        items: the source; only the thread touches it.
        depth: items that wait at most.

    Source: original to this project.
    """
    stream = _Stream(items, depth)
    thread = threading.Thread(target=stream.fill, name="read_ahead", daemon=True)
    thread.start()
    try:
        yield from stream.drain()
    finally:
        stream.stop()
        thread.join()


class _Stream:
    """A bounded queue whose two ends can both be shut."""

    def __init__(self, items: Iterable, depth: int) -> None:
        self.items, self.depth = items, depth
        self.waiting: deque = deque()
        self.changed = threading.Condition()
        self.is_ended = self.is_stopped = False
        self.error: BaseException | None = None

    def fill(self) -> None:
        source = iter(self.items)
        try:
            for item in source:
                with self.changed:
                    self.changed.wait_for(lambda: len(self.waiting) < self.depth or self.is_stopped)
                    if self.is_stopped:
                        return
                    self.waiting.append(item)
                    self.changed.notify_all()
        except BaseException as error:  # raised again in the reader's thread
            self.error = error
        finally:
            if hasattr(source, "close"):
                source.close()
            with self.changed:
                self.is_ended = True
                self.changed.notify_all()

    def drain(self) -> Iterator:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.is_ended)
                if not self.waiting:
                    break
                item = self.waiting.popleft()
                self.changed.notify_all()
            yield item
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        with self.changed:
            self.is_stopped = True
            self.changed.notify_all()


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = 1,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` in the items' order while threads work on the next ones.

    The items are taken in the reader's thread, at most `DEPTH` more than were yielded.

    Args:
        function: must let go of the interpreter lock to be worth it.
        items: the source.
        workers: threads.
        prepare: is called once in each thread.

    Source: original to this project.
    """
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(workers, "map_ahead", prepare) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > DEPTH:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
