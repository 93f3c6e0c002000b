"""The wheel in a fresh environment: notebooks and parameters travel with it, and it works in any folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from metatalk_lib import __version__
from metatalk_lib.core.paths import NOTEBOOKS_DIR, PARAMS_DIR, PROJECT_ROOT, cache_dir
from metatalk_lib.studio.render_video import ensure_studio_video


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "METATALK_HOME")}
    environment["METATALK_CACHE"] = str(cache_dir())
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir")
    tree = folder / "tree"  # a copy: setuptools would leave its build folder, and take what an earlier one left
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints")
    for name in ("metatalk_lib", "notebooks", "params"):
        shutil.copytree(PROJECT_ROOT / name, tree / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT_ROOT / name, tree / name)
    run(*command, folder, tree, cwd=folder)
    (found,) = folder.glob("metatalk-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the commands of a fresh environment that has the wheel, and the packages that it needs."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    # the packages of this environment, without its own editable MetaTalk: a path file reads no other path files
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    python = home / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=home,
    )
    return home / "bin"


def test_the_wheel_holds_notebooks_parameters_data_and_stubs(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"metatalk_lib/notebooks/{path.name}" for path in NOTEBOOKS_DIR.glob("*.ipynb")} <= names
    files = {path.relative_to(PARAMS_DIR).as_posix() for path in PARAMS_DIR.rglob("*.yaml")}
    assert {f"metatalk_lib/params/{name}" for name in files} <= names
    tree = {path.relative_to(PROJECT_ROOT).as_posix() for path in (PROJECT_ROOT / "metatalk_lib").rglob("*.py*")}
    assert {name for name in tree if name.endswith((".py", ".pyi"))} <= names
    assert {"metatalk_lib/data/paper_tables.json", "metatalk_lib/data/syncnet_open.safetensors"} <= names
    assert not [name for name in names if name.startswith(("tests/", "training/", "benchmarks/"))]


@pytest.mark.slow
def test_an_installed_metatalk_works_in_any_folder(installed: Path, tmp_path: Path):
    metatalk = installed / "metatalk"
    assert run(metatalk, "--version", cwd=tmp_path) == f"metatalk {__version__}\n"
    where = run(installed / "python", "-c", "import metatalk_lib; print(metatalk_lib.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))
    assert "Licence: " in run(metatalk, "assets", "list", cwd=tmp_path)
    ensure_studio_video("B", 3.0, 0.5)  # the smoke profile's, as other tests make it
    run(metatalk, "run", "--character", "B", "--profile", "smoke", "--to", "01", cwd=tmp_path)
    summary = json.loads((tmp_path / "outputs" / "B" / "01_crop" / "summary.json").read_text("utf-8"))
    assert summary["counts"]["frames"] == 75
    assert summary["commit"] == f"metatalk {__version__}"
    assert "notebooks/01_crop.ipynb" in summary["code"]
    assert "up to date" in run(metatalk, "run", "--character", "B", "--profile", "smoke", "--to", "01", cwd=tmp_path)
