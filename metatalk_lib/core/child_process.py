"""Work in a separate process: a notebook's kernel itself cannot start one process for each device."""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, cast

from metatalk_lib.core.errors import DataError, ParameterError

_PROGRAM = "import sys; from metatalk_lib.core.child_process import _run; _run(sys.argv[1])"
TOLD_LINES = 15
"""Number of last lines of a failed process's stderr in the error message."""


def run_in_process(work: Callable[..., None], arguments: tuple[Any, ...], steps: Iterable[int]) -> None:
    """Run `work(*arguments, report)` in a separate process and advance `steps` as it reports them.

    Args:
        work: module-level function; it calls `report(done)` with the number of finished steps.
        arguments: picklable arguments.
        steps: iterable that shows progress; it advances past step n as soon as n + 1 steps are reported.

    Raises:
        DataError, ParameterError: raised by `work` and passed on unchanged.
        DataError: the process failed in another way; the message contains its last output.
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
    """Re-raise an error of this project named in the last line of a traceback."""
    for kind in (DataError, ParameterError):
        name = f"{kind.__module__}.{kind.__qualname__}: "
        if line.startswith(name):
            raise kind(line.removeprefix(name))


def _follow(process: subprocess.Popen[str], steps: Iterable[int]) -> None:
    """Advance the steps as the process reports them; after the last one, or if its output ends, wait for its end."""
    output = cast(IO[str], process.stdout)  # `run_in_process` opens it as a pipe
    done = 0
    for step in steps:
        while done <= step:
            line = output.readline()
            if not line:
                return
            done = _read_report(line, done)
    process.communicate()


def _read_report(line: str, done: int) -> int:
    """Parse the number of finished steps from a line; other lines leave it unchanged."""
    word = line.strip()
    return int(word) if word.isdecimal() else done


def report_step(done: int, *_: object) -> None:
    """Report the number of finished steps to the parent process."""
    print(done, flush=True)


def _run(job: str) -> None:
    """Main function of the separate process."""
    work, arguments = pickle.loads(Path(job).read_bytes())
    work(*arguments, report_step)
