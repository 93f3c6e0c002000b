"""Work that must not run in the caller's own process: a notebook's kernel cannot start one process for each device."""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from metatalk_lib.core.errors import DataError, ParameterError

_PROGRAM = "import sys; from metatalk_lib.core.child_process import _run; _run(sys.argv[1])"
TOLD_LINES = 15
"""So much of what a failed process said is passed on."""


def run_in_process(work: Callable[..., None], arguments: tuple, steps: Iterable[int]) -> None:
    """Run `work(*arguments, report)` in a process of its own and pass over `steps` as it reports them.

    Args:
        work: a module's function; calls `report(done)` with the number of finished steps.
        arguments: what can be pickled.
        steps: shows progress; step n is taken as soon as n + 1 steps are reported.

    Raises:
        DataError, ParameterError: raised by `work`, as they are.
        DataError: the process failed in another way; what it said last is passed on.
    """
    with tempfile.TemporaryDirectory() as folder:
        job, said = Path(folder) / "job.pickle", Path(folder) / "stderr.txt"
        job.write_bytes(pickle.dumps((work, arguments)))
        with said.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(job)], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            _follow(process, steps)
        finally:
            process.terminate()
            process.wait()
        if process.returncode != 0:
            lines = said.read_text(errors="replace").strip().splitlines()
            _raise_own(lines[-1] if lines else "")
            raise DataError("the process that trains on several devices failed:\n" + "\n".join(lines[-TOLD_LINES:]))


def _raise_own(line: str) -> None:
    """Raise an error of this project that a traceback's last line tells, as it would be without the process."""
    for kind in (DataError, ParameterError):
        name = f"{kind.__module__}.{kind.__qualname__}: "
        if line.startswith(name):
            raise kind(line.removeprefix(name))


def _follow(process: subprocess.Popen, steps: Iterable[int]) -> None:
    """Take each step when the process has reported it; when all are, or the process has ended, wait for its end."""
    done = 0
    for step in steps:
        while done <= step:
            line = process.stdout.readline()
            if not line:
                return
            done = _read_report(line, done)
    process.communicate()


def _read_report(line: str, done: int) -> int:
    """The number of finished steps that a line tells; other lines tell nothing."""
    word = line.strip()
    return int(word) if word.isdecimal() else done


def report_step(done: int, *_: object) -> None:
    """Tell the process that started this one how many steps are finished."""
    print(done, flush=True)


def _run(job: str) -> None:
    """What the other process does."""
    work, arguments = pickle.loads(Path(job).read_bytes())
    work(*arguments, report_step)
