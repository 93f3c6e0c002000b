"""The judging benchmark's comparison of tables when a character is scored again."""

from pathlib import Path

from benchmarks.judging import read_tables


def write_tables(folder: Path, *, of_a: str, of_b: str, faces: str = "1") -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("table2", "controls"):
        (folder / f"{name}.csv").write_text(f"character,metric,Ours\nA,SSIM,{of_a}\nB,SSIM,{of_b}\n", "utf-8")
    (folder / "faces.csv").write_text(f"video,likeness\nours,{faces}\n", "utf-8")
    (folder / "scores.json").write_text("{}", "utf-8")
    return folder


def test_only_the_characters_own_rows_count(tmp_path: Path):
    before = read_tables(write_tables(tmp_path, of_a="0.9", of_b="not yet"), "A")
    assert set(before) == {"table2.csv", "controls.csv", "faces.csv", "scores.json"}
    assert read_tables(write_tables(tmp_path, of_a="0.9", of_b="0.8"), "A") == before
    changed = read_tables(write_tables(tmp_path, of_a="0.91", of_b="0.8", faces="2"), "A")
    assert [name for name in before if changed[name] != before[name]] == ["controls.csv", "faces.csv", "table2.csv"]
