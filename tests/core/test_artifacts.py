"""Files are whole or absent, and equal content gives equal bytes."""

import os
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core import artifacts
from metatalk_lib.core.artifacts import create_map
from metatalk_lib.core.errors import DataError


def test_a_failing_writer_leaves_neither_file_nor_rest(tmp_path: Path):
    def write_half(path: Path) -> None:
        with artifacts.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_half(tmp_path / "x.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_writer_keeps_the_old_file(tmp_path: Path):
    artifacts.save_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        artifacts.save_json(tmp_path / "x.json", {"a": float("nan")})
    assert artifacts.load_json(tmp_path / "x.json") == {"a": 1}


def test_temporary_name_keeps_the_suffix(tmp_path: Path):
    with artifacts.atomic_path(tmp_path / "new" / "clip.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"0")
    assert (tmp_path / "new" / "clip.mp4").exists()


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = create_map(tmp_path / "good.npy", np.uint8, (3, 5))
    values[1] = 7
    values.flush()
    assert np.load(tmp_path / "good.npy")[1].tolist() == [7] * 5

    def full(*_: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match=r"no room for .*bad.npy, 2 MB \(No space left"):
        create_map(tmp_path / "bad.npy", np.uint8, (2_000_000,))
    assert not (tmp_path / "bad.npy").exists()


def test_a_map_that_is_made_anew_leaves_the_earlier_one_to_its_reader(tmp_path: Path):
    earlier = create_map(tmp_path / "rows.npy", np.uint8, (9,))
    earlier[:] = 7
    assert create_map(tmp_path / "rows.npy", np.uint8, (3,)).tolist() == [0] * 3
    assert earlier.tolist() == [7] * 9


def test_arrays_round_trip_with_equal_bytes(tmp_path: Path):
    values = {"a": np.arange(6).reshape(2, 3), "b": np.float32([1.5])}
    artifacts.save_arrays(tmp_path / "1.npz", **values)
    artifacts.save_arrays(tmp_path / "2.npz", **values)
    assert artifacts.sha256_file(tmp_path / "1.npz") == artifacts.sha256_file(tmp_path / "2.npz")
    loaded = artifacts.load_arrays(tmp_path / "1.npz", "a", "b")
    assert all(np.array_equal(loaded[name], values[name]) for name in values)
    assert set(artifacts.load_arrays(tmp_path / "1.npz")) == {"a", "b"}


def test_unusable_array_files_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.npz does not exist"):
        artifacts.load_arrays(tmp_path / "gone.npz")
    artifacts.save_arrays(tmp_path / "x.npz", a=np.zeros(1))
    with pytest.raises(DataError, match="lacks b"):
        artifacts.load_arrays(tmp_path / "x.npz", "b")
    (tmp_path / "broken.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        artifacts.load_arrays(tmp_path / "broken.npz")


def test_pickles_are_refused(tmp_path: Path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        artifacts.load_arrays(tmp_path / "evil.npz", "a")


def test_unusable_json_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        artifacts.load_json(tmp_path / "gone.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        artifacts.load_json(tmp_path / "x.json")
