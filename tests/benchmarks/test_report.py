"""A benchmark's verdict."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import report
from benchmarks.report import Row, own_peak_memory_mb
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.paths import PROJECT_ROOT


def test_bars_decide_and_cheats_must_miss_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "resolve_path", lambda path: tmp_path / path)
    monkeypatch.setattr(report, "calibrate", lambda: 1.0)
    good = [Row("a", 0.8, "", ">=", 0.75), Row("b", 1.0, "ms", "<=", 2.0), Row("not judged", 0.1, "", None, None)]
    good.append(Row("cheat", 0.1, "", ">=", 0.75, is_cheat=True))
    assert report.finish("x", good) == 0
    assert report.finish("x", [*good, Row("c", 0.7, "", ">=", 0.75)]) == 1
    assert "SHORT" in capsys.readouterr().out
    assert report.finish("x", [*good, Row("d", 0.8, "", ">=", 0.75, is_cheat=True)]) == 1
    assert "CHEAT PASSES" in capsys.readouterr().out
    written = load_json(tmp_path / "outputs" / "bench" / "x.json")
    assert set(written) == {"calibration_s", "command", "date", "machine", "rows"}
    assert len(written["rows"]) == 5


def test_the_command_is_told_without_the_users_folders(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/me/benchmarks/lips.py", "--clips", "/home/me/my clips", "--parts", "a"])
    assert report.describe_command() == "python -m benchmarks.lips --clips 'my clips' --parts a"


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own account of a process")
def test_peak_memory_is_a_childs_own_under_a_large_parent():
    held = np.ones(80_000_000)  # 640 MB, all of it touched
    code = "from benchmarks.report import own_peak_memory_mb; print(own_peak_memory_mb())"
    child = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    assert 5 < float(child.stdout) < 500
    assert own_peak_memory_mb() > held.nbytes / 2**20
