"""Threads: streams made a few items ahead of their reader, maps over threads, and torch's thread count."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

QUEUE_DEPTH = 8
"""Largest number of items in the queue; memory does not depend on the length of the stream."""


def read_ahead(items: Iterable[_Item], depth: int = QUEUE_DEPTH) -> Generator[_Item, None, None]:
    """Yield the items in order while a background thread produces the next ones.

    An exception of the source is raised here, after the items that precede it. If the consumer stops early, the source
    is closed before this iterator is.

    Args:
        items: the source; only the background thread reads it.
        depth: largest number of items in the queue.

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


class _Stream(Generic[_Item]):
    """A bounded queue that can be closed at both ends."""

    def __init__(self, items: Iterable[_Item], depth: int) -> None:
        self.items, self.depth = items, depth
        self.waiting: deque[_Item] = deque()
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

    def drain(self) -> Iterator[_Item]:
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
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int = 1,
    prepare: Callable[[], None] | None = None,
) -> Iterator[_Result]:
    """Yield `function(item)` in the order of the items while threads work on the next ones.

    The items are read in the consumer's thread, at most `DEPTH` ahead of those yielded.

    Args:
        function: function to apply; it must release the interpreter lock for threads to pay off.
        items: items to process.
        workers: number of threads.
        prepare: called once in each thread before its first item.

    Source: original to this project.
    """
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(workers, "map_ahead", prepare) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > QUEUE_DEPTH:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


CORES = os.cpu_count() or 1


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Context manager that sets torch's thread count, then restores it.

    Drawing or fitting one frame is so little work that waking a second thread costs more than it saves.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, *, threads: int = 1
) -> Iterator[_Result]:
    """Yield `function(item)` in the order of the items, from `workers` threads with `threads` torch threads each.

    One frame is too little work for a second torch thread. The consumer's own thread count is restored at the end.
    """
    with torch_threads(torch.get_num_threads()):
        yield from map_ahead(function, items, workers, lambda: torch.set_num_threads(threads))
