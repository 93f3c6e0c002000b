"""Work in a separate process: progress, failure, and nothing left running."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metatalk_lib.core import child_process
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import PROJECT_ROOT


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch):
    """The other process must find this file."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT_ROOT))


def count_to(last: int, path: Path, report: Callable[[int], None]) -> None:
    """Report every second step, as a run that goes on somewhere in the middle may."""
    print("something else on the way", flush=True)
    for done in range(2, last + 1, 2):
        report(done)
    path.write_text(str(os.getpid()))


def fail(report: Callable[[int], None]) -> None:
    report(1)
    raise ValueError("the third row is odd")


def refuse(report: Callable[[int], None]) -> None:
    raise ParameterError("the batch is odd")


def sleep(path: Path, report: Callable[[int], None]) -> None:
    path.write_text(str(os.getpid()))
    report(1)
    time.sleep(600)


def test_steps_are_taken_as_they_are_reported(tmp_path: Path):
    taken = []
    steps = (taken.append(step) or step for step in range(6))
    child_process.run_in_process(count_to, (6, tmp_path / "pid"), steps)
    assert taken == list(range(6))
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_what_a_failed_process_said_is_passed_on():
    taken = []
    with pytest.raises(DataError, match="the third row is odd"):
        child_process.run_in_process(fail, (), (taken.append(step) or step for step in range(4)))
    assert taken == [0, 1]  # progress does not run to its end


def test_errors_of_this_project_come_back_as_they_are():
    with pytest.raises(ParameterError, match="^the batch is odd$"):
        child_process.run_in_process(refuse, (), range(4))


def test_an_interrupted_caller_leaves_no_process(tmp_path: Path):

    def steps():
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child_process.run_in_process(sleep, (tmp_path / "pid",), steps())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
