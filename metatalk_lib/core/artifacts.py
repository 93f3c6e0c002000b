"""Atomic file output: files are written to a temporary name, then renamed, so they are either complete or absent."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import ensure_dir


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on failure.

    The temporary name keeps the suffix, since some writers derive the format from it. A file left by a killed process
    is overwritten by the next one.
    """
    ensure_dir(path.parent)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def create_map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """Create a `.npy` memory map to be filled in steps; its disk space is reserved at once where the system allows it.

    An existing file is replaced by a new one: truncating it in place would crash any process that still maps it.

    Raises:
        DataError: there is not enough disk space.
    """
    path.unlink(missing_ok=True)
    values = np.lib.format.open_memmap(path, "w+", dtype, shape)
    try:
        # without it, a disk that fills up later would kill the process without a message
        if values.size and hasattr(os, "posix_fallocate"):
            with open(path, "rb+") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DataError(
            f"no room for {path}, {values.nbytes / 1e6:.0f} MB ({error.strerror}). Free some, use a shorter video, or "
            "lower renderer_frames."
        ) from error
    return values


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Save named arrays as `.npz`; equal arrays produce equal bytes."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # taken for `allow_pickle`, a keyword beside the arrays


def load_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Load arrays from an `.npz` without unpickling.

    Args:
        path: path of the `.npz` file.
        names: arrays that must be present; without names, all arrays of the file are loaded.

    Raises:
        DataError: the file is absent, unreadable, or lacks an array.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist. Run the stage that writes it.")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = sorted(set(names) - set(file.files))
            if missing:
                raise DataError(
                    f"{path} lacks {', '.join(missing)} (it has {', '.join(file.files)}). Run its stage again."
                )
            return {name: file[name] for name in (names or file.files)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as arrays ({error}). Delete it and run its stage again.") from error


def save_json(path: Path, value: Any) -> None:
    """Save a value as indented JSON with sorted keys."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
        )


def load_json(path: Path) -> Any:
    """Load a JSON file.

    Raises:
        DataError: the file is absent or is not JSON.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist. Run the stage that writes it.")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}). Delete it and run its stage again.") from error


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_input(path: Path) -> str:
    """Return the hex SHA-256 of a stage's input: of a file's bytes, or of the names of all files below a folder."""
    if path.is_file():
        return sha256_file(path)
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
