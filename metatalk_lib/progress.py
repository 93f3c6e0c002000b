"""A plain text progress bar with rate and time left, and a last line that stays readable in a saved notebook."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, *, total: int | None = None, unit: str = "frame") -> Iterator[Item]:
    """Yield the items while showing a bar; afterwards print one line with count, time and rate.

    Args:
        items: what to go through.
        label: the verb shown before the bar, such as "fitting".
        total: number of items, where `items` has no length.
        unit: singular name of one item.
    """
    started = time.perf_counter()
    count = 0
    interactive = sys.stderr.isatty()
    for item in tqdm(items, desc=label, total=total, unit=unit, leave=False, ascii=True, disable=not interactive):
        yield item
        count += 1
    elapsed = time.perf_counter() - started
    print(f"{label}: {count} {unit}s in {elapsed:.1f} s ({count / max(elapsed, 1e-9):.1f} {unit}s/s)", flush=True)
