"""The source video as it is played under a recording of any length: forth and back, without a jump."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8

from metatalk_lib.media.video import read_backwards, read_frames

_Item = TypeVar("Item")


def ping_pong(start: int, frame_count: int, length: int) -> Int[np.ndarray, " T"]:
    """Source frame of each output frame: start, start + 1, ..., last, last − 1, ..., 0, 1, ...

    Neighbours always differ by one (or by nothing, where the source has a single frame).

    Args:
        start: first source frame.
        frame_count: frames of the source.
        length: frames wanted.
    """
    if frame_count == 1:
        return np.zeros(length, np.int64)
    period = 2 * (frame_count - 1)
    place = (start + np.arange(length, dtype=np.int64)) % period
    return np.where(place < frame_count, place, period - place)


def frames_on_screen(count: int, fps: Fraction, shown_fps: Fraction) -> Int[np.ndarray, " T"]:
    """Which frame of a video is on the screen in the middle of each of `count` frames at another rate.

    floor((j + 1/2) · shown_fps / fps), in whole numbers

    Args:
        count: frames wanted.
        fps: their rate.
        shown_fps: rate of the video that is shown; it may end before.
    """
    rate = Fraction(shown_fps) / Fraction(fps)
    return (2 * np.arange(count, dtype=np.int64) + 1) * rate.numerator // (2 * rate.denominator)


def read_in_any_order(path: Path, order: Int[np.ndarray, " T"]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode frames in an order that jumps now and then; each stretch that runs forwards or stands still is read once.

    Args:
        path: the video.
        order: frame_ids.
    """
    start = 0
    while start < len(order):
        stop, step = start + 1, int(order[start + 1] - order[start]) if start + 1 < len(order) else 1
        while stop < len(order) and step in (0, 1) and order[stop] - order[stop - 1] == step:
            stop += 1
        first, length = int(order[start]), stop - start
        if step == 0:
            yield from itertools.repeat(next(read_frames(path, first, first + 1)), length)
        else:
            yield from read_frames(path, first, first + length)
        start = stop


def read_in_order(path: Path, order: Int[np.ndarray, " T"]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode the frames of a ping-pong order; memory stays flat.

    Args:
        path: the video.
        order: frame_ids whose neighbours differ by one, or all the same.
    """
    if len(order) and order.min() == order.max():
        (frame,) = read_frames(path, int(order[0]), int(order[0]) + 1)
        for _ in order:
            yield frame
        return
    turns = np.flatnonzero(np.diff(order, 2)) + 2
    for run in np.split(order, turns) if len(order) else ():
        first, last = int(run[0]), int(run[-1])
        yield from read_frames(path, first, last + 1) if first <= last else read_backwards(path, last, first + 1)


def neighbourhoods(items: Iterable[_Item], width: int) -> Iterator[list[_Item | None]]:
    """Yield for each item the `width` items round it, the first and last ones with None where there is none.

    Args:
        items: a stream; as many as half the width are taken ahead.
        width: odd.
    """
    half = width // 2
    held: deque[_Item | None] = deque([None] * half, maxlen=width)
    for item in items:
        held.append(item)
        if len(held) == width:
            yield list(held)
    for _ in range(half):
        held.append(None)
        if len(held) == width:
            yield list(held)


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of `size` consecutive items; the last one may be shorter."""
    stream = iter(items)
    while group := list(itertools.islice(stream, size)):
        yield group
