"""Memory-mapped arrays filled row by row; a restarted run resumes at the first missing row."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metatalk_lib.core.artifacts import create_map, load_json, save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import ensure_dir

SAVE_S = 20.0
"""Time between flushes of the rows to disk, s."""


class SavedRows:
    """Memory-mapped arrays, one file each, with a counter of the rows that are safely on disk.

    Attributes:
        arrays: memory-mapped arrays by name.
        done: number of filled rows, including those of an earlier run.

    Args:
        folder: folder of the `<name>.npy` files and, until `close`, of the counter.
        key: identifies the inputs of the rows; rows of an earlier run are reused only under the same, non-empty key.
        row_count: number of rows of every array.
        rows: data type and shape of one row, by name.

    Raises:
        DataError: the disk is full.
    """

    def __init__(
        self, folder: Path, key: str, row_count: int, rows: Mapping[str, tuple[type, tuple[int, ...]]]
    ) -> None:
        self.key, self.saved_at = key, time.monotonic()
        self.counter = ensure_dir(folder) / f"{next(iter(rows))}_done.json"
        paths = {name: folder / f"{name}.npy" for name in rows}
        shapes = {name: (row_count, *shape) for name, (_, shape) in rows.items()}
        self.done = self._count_kept(paths, shapes)
        self.arrays = {
            name: np.load(path, mmap_mode="r+") if self.done else create_map(path, rows[name][0], shapes[name])
            for name, path in paths.items()
        }

    def _count_kept(self, paths: Mapping[str, Path], shapes: Mapping[str, tuple[int, ...]]) -> int:
        if not self.key or not self.counter.exists():
            return 0
        try:
            kept = load_json(self.counter)
            found = {name: np.load(path, mmap_mode="r").shape for name, path in paths.items()}
        except (DataError, OSError, EOFError, ValueError):
            return 0
        return int(kept["done"]) if kept["key"] == self.key and found == shapes else 0

    def add(self, *values: np.ndarray) -> None:
        """Fill the next row of every array, in the order of their names."""
        for array, value in zip(self.arrays.values(), values, strict=True):
            array[self.done] = value
        self.done += 1
        if time.monotonic() - self.saved_at >= SAVE_S:
            self.save()

    def save(self) -> None:
        """Flush the filled rows to disk and save their number."""
        for array in self.arrays.values():
            array.flush()
        save_json(self.counter, {"key": self.key, "done": self.done})
        self.saved_at = time.monotonic()

    def close(self) -> None:
        """Flush the complete arrays and delete the counter."""
        for array in self.arrays.values():
            array.flush()
        self.counter.unlink(missing_ok=True)
