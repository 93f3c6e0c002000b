"""Rows of arrays on disk: what was saved is kept, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core import resumable_arrays
from metatalk_lib.core.resumable_arrays import SavedRows

KINDS = {"pictures": (np.uint8, (4, 5)), "flags": (np.bool_, ())}


def fill(folder: Path, key: str, count: int, value: int) -> SavedRows:
    rows = SavedRows(folder, key, 6, KINDS)
    for _ in range(count):
        rows.add(np.full((4, 5), value, np.uint8), np.array(True))
    return rows


def test_saved_rows_are_taken_up_under_the_same_key_only(tmp_path: Path):
    fill(tmp_path, "one", 3, 7).save()
    again = fill(tmp_path, "one", 2, 9)
    assert again.done == 5
    assert again.arrays["pictures"][:, 0, 0].tolist() == [7, 7, 7, 9, 9, 0]
    assert SavedRows(tmp_path, "other", 6, KINDS).done == 0
    assert not np.load(tmp_path / "pictures.npy").any()


@pytest.mark.parametrize("change", ["no key", "other shape", "file gone", "file torn", "counter torn"])
def test_what_cannot_be_trusted_is_made_again(tmp_path: Path, change: str):
    fill(tmp_path, "one", 3, 7).save()
    key, count = ("", 6) if change == "no key" else ("one", 7 if change == "other shape" else 6)
    if change == "file gone":
        (tmp_path / "flags.npy").unlink()
    if change == "file torn":
        (tmp_path / "pictures.npy").write_bytes(b"")
    if change == "counter torn":
        (tmp_path / "pictures_done.json").write_text("{")
    assert SavedRows(tmp_path, key, count, KINDS).done == 0


def test_rows_are_saved_now_and_then_and_the_counter_goes_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fill(tmp_path, "one", 3, 7)
    assert not (tmp_path / "pictures_done.json").exists()
    monkeypatch.setattr(resumable_arrays, "SAVE_S", 0.0)
    rows = fill(tmp_path, "one", 6, 8)
    assert SavedRows(tmp_path, "one", 6, KINDS).done == 6
    rows.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flags.npy", "pictures.npy"]
