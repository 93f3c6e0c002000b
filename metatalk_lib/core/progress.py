"""A plain text progress bar with rate and time left, and a last line that stays readable in a saved notebook."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from typing import TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")
SAY_EVERY_S = 60.0


def track(items: Iterable[_Item], label: str, *, total: int | None = None, unit: str = "frame") -> Iterator[_Item]:
    """Yield the items while showing a bar; afterwards print one line with count, time and rate.

    If the output is not a terminal, a line with rate and time left is printed every `SAY_EVERY_S` instead of the bar.

    Args:
        items: items to iterate over.
        label: the verb shown before the bar, such as "fitting".
        total: number of items, if `items` has no length.
        unit: singular name of one item.
    """
    started = said = time.perf_counter()
    count = 0
    total = len(items) if total is None and isinstance(items, Sized) else total
    interactive = sys.stderr.isatty()
    for item in tqdm(items, desc=label, total=total, unit=unit, leave=False, ascii=True, disable=not interactive):
        yield item
        count += 1
        now = time.perf_counter()
        if not interactive and total and now - said > SAY_EVERY_S:
            said, rate = now, count / (now - started)
            left = timedelta(seconds=round((total - count) / rate))
            print(f"{label}: {count} of {total} {unit}s, {rate:.1f} {unit}s/s, {left} left", flush=True)
    elapsed = time.perf_counter() - started
    print(f"{label}: {count} {unit}s in {elapsed:.1f} s ({count / max(elapsed, 1e-9):.1f} {unit}s/s)", flush=True)
