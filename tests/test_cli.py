"""The command line: errors are one line and a non-zero exit code."""

import subprocess
import sys
from pathlib import Path

import pytest


def metatalk(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from metatalk_lib.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def assert_one_line_error(result: subprocess.CompletedProcess, *parts: str) -> None:
    """Exit code 1, one line on stderr, which holds every part."""
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("metatalk: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--character", "Q"), "no character `Q`"),
        (("run",), "no character given"),
        (("run", "--character", "A", "-p", "sede=1"), "Did you mean `seed`?"),
        (("run", "--character", "A", "-p", "seed"), "expected name=value"),
        (("run", "--character", "A", "-p", "studio_seconds='1e1'"), "write 1.0e-4"),
        (("run", "--character", "A", "--from", "09"), "no stage `09`"),
        (("preflight", "no_such_video.mp4"), "no_such_video.mp4"),
        (("talk", "--character", "nobody", "--audio", __file__, "-o", "y.mp4"), "nobody"),
        (("talk", "--character", "A", "--audio", __file__, "--audio", "x.wav", "-o", "y"), "recording x.wav does not"),
        (("compare", "my.mp4", "--reference", "true.mp4"), "true.mp4 does not exist"),
        (("compare", __file__, "--reference", __file__, "--network", "mine"), "no judge `mine`"),
        (("assets", "where", "nothing"), "no asset `nothing`"),
    ],
)
def test_errors_are_one_line_with_exit_code_1(arguments, message, tmp_path: Path):
    assert_one_line_error(metatalk(*arguments, cwd=tmp_path), message)


def test_the_command_answers_before_the_heavy_libraries_are_loaded():
    """Each of them takes seconds, which no mistyped name should wait for."""
    program = "import sys, metatalk_lib.cli, metatalk_lib.core.notebook_runner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "papermill", "matplotlib", "numba"} & set(loaded)


def test_assets_list_shows_every_licence():
    result = metatalk("assets", "list")
    assert result.returncode == 0
    assert all("Licence: " in line for line in result.stdout.splitlines())


def test_assets_where_names_every_place_that_is_searched():
    result = metatalk("assets", "where", "fan")
    places = result.stdout.splitlines()
    assert len(places) >= 2
    assert len({Path(place).name for place in places}) == 1
    assert any("checkpoints" in place for place in places)
