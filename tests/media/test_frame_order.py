"""The order in which a source is played, and its frames in that order."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.media.frame_order import frames_on_screen, neighbourhoods, ping_pong, read_in_any_order, read_in_order
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video

FRAMES, FPS = 12, Fraction(25)


def make_frames() -> np.ndarray:
    """Flat frames whose grey tells their number."""
    return np.stack([np.full((64, 64, 3), 20 * number + 10, np.uint8) for number in range(FRAMES)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.mp4"
    write_video(path, make_frames(), fps=FPS, crf=0)
    return path


def test_ping_pong_by_hand():
    assert ping_pong(0, 4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert ping_pong(2, 4, 6).tolist() == [2, 3, 2, 1, 0, 1]
    assert ping_pong(3, 4, 3).tolist() == [3, 2, 1]
    assert ping_pong(0, 1, 3).tolist() == [0, 0, 0]
    assert (np.abs(np.diff(ping_pong(5, 7, 100))) == 1).all()


@pytest.mark.parametrize("start", [0, 9, FRAMES - 1])
def test_frames_come_in_order_both_ways(source: Path, start: int):
    order = ping_pong(start, FRAMES, 40)
    decoded = list(read_frames(source))
    played = list(read_in_order(source, order))
    assert len(played) == len(order)
    assert all(np.array_equal(frame, decoded[number]) for frame, number in zip(played, order, strict=True))


def test_nothing_wanted_is_nothing_read(source: Path):
    assert list(read_in_order(source, ping_pong(0, FRAMES, 0))) == []


def test_a_single_frame_is_repeated(tmp_path: Path):
    path = tmp_path / "one.mp4"
    write_video(path, make_frames()[:1], fps=FPS)
    assert len(list(read_in_order(path, ping_pong(0, 1, 3)))) == 3


def test_neighbourhoods_are_centred_and_mark_what_is_absent():
    assert list(neighbourhoods(range(3), 3)) == [[None, 0, 1], [0, 1, 2], [1, 2, None]]
    assert list(neighbourhoods(range(2), 5)) == [[None, None, 0, 1, None], [None, 0, 1, None, None]]
    assert list(neighbourhoods([7], 1)) == [[7]]
    assert list(neighbourhoods([], 3)) == []


@pytest.mark.parametrize(
    ("fps", "shown_fps", "shown"),
    [
        (Fraction(25), Fraction(25), [0, 1, 2, 3, 4, 5]),
        (Fraction(50), Fraction(25), [0, 0, 1, 1, 2, 2]),
        (Fraction(30), Fraction(25), [0, 1, 2, 2, 3, 4]),
        (Fraction(25), Fraction(125, 2), [1, 3, 6, 8, 11, 13]),
        (Fraction(25), Fraction(30000, 1001), [0, 1, 2, 4, 5, 6]),
    ],
)
def test_frames_are_shown_by_time(fps: Fraction, shown_fps: Fraction, shown: list[int]):
    assert frames_on_screen(6, fps, shown_fps).tolist() == shown


@pytest.mark.parametrize("order", [[0, 1, 2], [3, 3, 3], [8, 9, 10, 0, 1], [5, 4, 3, 3, 9], [2], []])
def test_frames_come_in_any_order(source: Path, order: list[int]):
    shown = [round((float(frame.mean()) - 10) / 20) for frame in read_in_any_order(source, np.array(order, np.int64))]
    assert shown == order
