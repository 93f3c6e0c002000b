"""How many threads torch works with, for as long as it matters, and drawing in several threads at once."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from metatalk_lib.read_ahead import map_ahead

Item = TypeVar("Item")
Result = TypeVar("Result")

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
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, *, threads: int = 1
) -> Iterator[Result]:
    """Yield `function(item)` in the items' order from `workers` threads, in each of which torch has `threads`.

    One frame is too little work for a second thread of torch. What is set there must not reach the reader's thread.
    """
    with torch_threads(torch.get_num_threads()):
        yield from map_ahead(function, items, workers, lambda: torch.set_num_threads(threads))
