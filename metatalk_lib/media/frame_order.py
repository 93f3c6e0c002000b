"""Playback order of the source video under a recording of any length: forwards and backwards, without jumps."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8

from metatalk_lib.media.video import read_backwards, read_frames

_Item = TypeVar("_Item")


def ping_pong(start: int, frame_count: int, length: int) -> Int[np.ndarray, " T"]:
    """Compute the source frame of each output frame: start, start + 1, ..., last, last − 1, ..., 0, 1, ...

    Neighbours always differ by one (or are equal if the source has a single frame).

    Args:
        start: first source frame.
        frame_count: number of source frames.
        length: number of output frames.
    """
    if frame_count == 1:
        return np.zeros(length, np.int64)
    period = 2 * (frame_count - 1)
    place = (start + np.arange(length, dtype=np.int64)) % period
    return np.where(place < frame_count, place, period - place)


def frames_on_screen(count: int, fps: Fraction, shown_fps: Fraction) -> Int[np.ndarray, " T"]:
    """Compute the frame of a video that is shown at the middle of each of `count` frames of another rate.

    floor((j + 1/2) · shown_fps / fps), in exact integer arithmetic.

    Args:
        count: number of frames at the other rate.
        fps: rate of these `count` frames, Hz.
        shown_fps: frame rate of the video that is shown, Hz; results may lie beyond its end.
    """
    rate = Fraction(shown_fps) / Fraction(fps)
    return (2 * np.arange(count, dtype=np.int64) + 1) * rate.numerator // (2 * rate.denominator)


def read_in_any_order(path: Path, order: Int[np.ndarray, " T"]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode frames in any order; each stretch of rising or repeated frame_ids is read in one pass.

    Args:
        path: the video.
        order: frame_ids to decode.
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
    """Decode the frames of a ping-pong order in constant memory.

    Args:
        path: the video.
        order: frame_ids whose neighbours differ by one, or which are all the same.
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
    """Yield for each item the `width` items centred on it, with None beyond the ends of the stream.

    Args:
        items: stream of items; half the width is read ahead.
        width: number of items in a neighbourhood, odd.
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
    """Yield lists of `size` consecutive items; the last one may be shorter."""
    stream = iter(items)
    while group := list(itertools.islice(stream, size)):
        yield group
