"""Threads: streams made a few items ahead of their reader, maps over threads, and torch's thread count."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_Item = TypeVar("Item")
_Result = TypeVar("Result")

QUEUE_DEPTH = 8
"""Items that wait at most: memory does not depend on the stream's length."""


def read_ahead(items: Iterable[_Item], depth: int = QUEUE_DEPTH) -> Iterator[_Item]:
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
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int = 1,
    prepare: Callable[[], None] | None = None,
) -> Iterator[_Result]:
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
    """Let torch work with `count` threads, then with as many as before.

    Drawing or fitting one frame is so little work that waking a second thread costs more than it helps.
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
    """Yield `function(item)` in the items' order from `workers` threads, in each of which torch has `threads`.

    One frame is too little work for a second thread of torch. What is set there must not reach the reader's thread.
    """
    with torch_threads(torch.get_num_threads()):
        yield from map_ahead(function, items, workers, lambda: torch.set_num_threads(threads))
