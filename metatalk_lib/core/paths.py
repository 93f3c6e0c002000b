"""Paths of the project. None depends on the working folder, which differs between JupyterLab and papermill."""

import os
from pathlib import Path

from metatalk_lib.core.errors import DataError

PACKAGE_DIR = Path(__file__).resolve().parent.parent
PROJECT_ROOT = PACKAGE_DIR.parent
NOTEBOOKS_DIR = PROJECT_ROOT / "notebooks"
PARAMS_DIR = PROJECT_ROOT / "params"
PACKAGE_DATA_DIR = PACKAGE_DIR / "data"

STAGES = (
    "01_crop",
    "02_pseudo_video",
    "03_reconstruction",
    "04_audio_to_expression",
    "05_neural_renderer",
    "06_evaluation",
    "07_user_study",
)


def resolve_path(path: str | Path) -> Path:
    """Make a path absolute; a relative path is resolved against the project root, `~` is the home folder."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else PROJECT_ROOT / path


def cache_dir() -> Path:
    """Folder for files that can be rebuilt at any time: `$METATALK_CACHE`, else `outputs/cache`. Created on first use.

    Raises:
        DataError: the folder cannot be created or written.
    """
    return ensure_dir(resolve_path(os.environ.get("METATALK_CACHE", "outputs/cache")))


def ensure_dir(path: Path) -> Path:
    """Create a folder (with parents) and check that it is writable.

    Raises:
        DataError: the folder cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot create the folder {path}: {error.strerror}. Choose another outputs_dir.") from error
    if not os.access(path, os.W_OK):
        raise DataError(f"the folder {path} is not writable. Change its permissions or choose another outputs_dir.")
    return path
