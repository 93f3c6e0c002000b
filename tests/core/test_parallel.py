"""read_ahead: order, errors, an early end, and a bounded number of waiting items."""

import threading
import time

import pytest

from metatalk_lib.core.parallel import QUEUE_DEPTH, map_ahead, read_ahead


def test_items_come_in_order_from_another_thread():
    makers = []

    def source():
        for number in range(100):
            makers.append(threading.current_thread())
            yield number

    assert list(read_ahead(source(), depth=3)) == list(range(100))
    assert threading.current_thread() not in makers
    assert list(read_ahead([])) == []


def test_an_error_comes_after_the_items_before_it():
    def failing():
        yield from range(5)
        raise ValueError("the source broke")

    stream = read_ahead(failing())
    assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the source broke"):
        next(stream)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_an_early_end_closes_the_source(taken: int):
    closed = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    threads = threading.active_count()
    stream = read_ahead(endless())
    for _ in range(taken):
        next(stream)
    stream.close()
    assert closed == (["read_ahead"] if taken else [])
    assert threading.active_count() == threads


def test_no_more_than_depth_items_wait():
    made = []

    def source():
        for number in range(50):
            made.append(number)
            yield number

    stream = read_ahead(source(), depth=4)
    next(stream)
    time.sleep(0.2)
    # one was taken, four wait, and the thread holds the next
    assert len(made) == 6
    assert list(stream) == list(range(1, 50))


def test_mapping_keeps_the_order_and_takes_only_a_few_ahead():
    taken, prepared = [], []

    def source():
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ahead(lambda number: 2 * number, source(), 3, prepare=lambda: prepared.append(1))
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert len(taken) <= 10 + QUEUE_DEPTH + 1
    assert list(results) == list(range(20, 200, 2))
    assert 1 <= len(prepared) <= 3


def test_an_error_of_the_work_is_raised_and_what_waits_is_dropped():
    done = []

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("the work broke")
        time.sleep(0.01)
        done.append(number)
        return number

    with pytest.raises(ValueError, match="the work broke"):
        list(map_ahead(work, range(100)))
    assert len(done) <= QUEUE_DEPTH + 3
