"""Where things lie. Nothing but `HOME_DIR` depends on the working folder, which JupyterLab and papermill choose.

In a source tree, notebooks and parameter files are its own, and relative paths count from its root. An installed
package carries both, and relative paths count from the folder that `metatalk` was started in.
"""

import os
from pathlib import Path

from metatalk_lib.core.errors import DataError

PACKAGE_DIR = Path(__file__).resolve().parent.parent
PROJECT_ROOT = PACKAGE_DIR.parent
"""Root of the source tree; of an installed package, the folder that it is installed in."""
IS_SOURCE_TREE = (PROJECT_ROOT / "notebooks").is_dir() and (PROJECT_ROOT / "params").is_dir()
NOTEBOOKS_DIR = (PROJECT_ROOT if IS_SOURCE_TREE else PACKAGE_DIR) / "notebooks"
PARAMS_DIR = (PROJECT_ROOT if IS_SOURCE_TREE else PACKAGE_DIR) / "params"
PACKAGE_DATA_DIR = PACKAGE_DIR / "data"
HOME_VARIABLE = "METATALK_HOME"
HOME_DIR = Path(os.environ.get(HOME_VARIABLE) or (PROJECT_ROOT if IS_SOURCE_TREE else Path.cwd())).absolute()
"""Folder that relative paths in parameters count from; `$METATALK_HOME` overrides it."""

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
    """Make a path absolute; a relative one counts from `HOME_DIR`, `~` is the user's home folder."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else HOME_DIR / path


def stage_dir(outputs_dir: str | Path, character: str, stage: str) -> Path:
    """Absolute path `<outputs_dir>/<character>/<stage>`; nothing is created."""
    return resolve_path(outputs_dir) / character / stage


def cache_dir() -> Path:
    """Folder for what can be rebuilt at any time: `$METATALK_CACHE`, else `outputs/cache`. Created on first use.

    Raises:
        DataError: the folder cannot be created or written.
    """
    return ensure_dir(resolve_path(os.environ.get("METATALK_CACHE", "outputs/cache")))


def ensure_dir(path: Path) -> Path:
    """Create a folder (with parents) and check that it can be written.

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
