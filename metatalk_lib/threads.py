"""How many threads torch works with, for as long as it matters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
