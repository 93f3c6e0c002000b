"""Characters together in one table: who stands in it, who is left out, and what is written for all of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from metatalk_lib.cli import app
from metatalk_lib.core import notebook_runner
from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.stage_configs import EvaluationConfig
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED
from metatalk_lib.evaluation.methods import ABLATIONS, METHODS
from metatalk_lib.reporting.characters import describe_protocol, load_finished, write_tables
from metatalk_lib.reporting.moments import Moments
from metatalk_lib.reporting.tables import build_controls

LABELS = {name: name for name in METHODS} | {"Wav2Lip": "Wav2Lip (open weights)"}


def finish(
    outputs: Path,
    name: str,
    ssim: float,
    *,
    wav2lip: str = LABELS["Wav2Lip"],
    is_done: bool = True,
    wrong: tuple[str, ...] = (),
    **protocol: object,
) -> None:
    """Write what stage 06 of a character leaves; every method scores the same."""
    folder = outputs / name / "06_evaluation"
    score = {"SSIM": ssim, "LSE-D (open)": [8.0, 7.5, 8.5, 3], "opening r": 0.5}
    saved = {
        "labels": LABELS | {"Wav2Lip": wav2lip},
        "crop_px": 512,
        "protocol": {"lip_sync_recipe": "tracker"} | protocol,
        "wrong_controls": list(wrong),
        "methods": {method: score for method in METHODS},
        "controls": {row: {"SSIM": 0.9, "LSE-D (open)": 9.0} for row in (GROUND_TRUTH, REENCODED, *CONTROL_ROWS)},
        "ablation": {row: score for row in ABLATIONS},
    }
    save_json(folder / "scores.json", saved)
    pictures = {"original": np.zeros((2, 8, 8, 3), np.uint8)}
    Moments(pictures, pictures, np.array([3, 4])).save(folder / "moments.npz")
    if is_done:
        save_json(folder / "summary.json", {})


def test_tables_of_all_finished_characters_are_written(tmp_path: Path):
    for name, ssim in (("B", 0.9), ("A", 0.8)):
        finish(tmp_path, name, ssim)
    finish(tmp_path, "C", 0.1, is_done=False)
    folder = write_tables(tmp_path, seed=0, asked="ABC")
    names = {f"{stem}.{end}" for stem in ("table2", "controls", "table3") for end in ("csv", "html", "tex")}
    assert {path.name for path in folder.iterdir()} == names | {"figure3.jpg", "findings.txt"}
    table = pd.read_csv(folder / "table2.csv", index_col=[0, 1], dtype=str)
    assert table.loc[("A", "SSIM"), "Ours"] == "0.8"
    assert table.loc[("mean of 2", "SSIM"), "Ours"].startswith("0.85 [0.8")
    assert table.loc[("C", "SSIM"), "Ours"] == "not yet"
    assert table.columns[1] == "Wav2Lip (open weights)"
    controls = pd.read_csv(folder / "controls.csv", index_col=[0, 1], dtype=str)
    assert controls.columns.tolist() == [GROUND_TRUTH, REENCODED, *CONTROL_ROWS]
    assert controls.index.tolist() == [(name, metric) for name in "AB" for metric in ("LSE-D (open)", "SSIM")]
    findings = (folder / "findings.txt").read_text("utf-8")
    assert "A: ours against the AudioDVP configuration: not better in LSE-D (open) (8 against 8), SSIM" in findings
    assert "Better in all on 0 of 2 characters." in findings
    assert "not measured" not in findings
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_tables(tmp_path, seed=0, asked="ABC")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write_tables(tmp_path, seed=0)
    alone = pd.read_csv(folder / "table2.csv", index_col=[0, 1], dtype=str)
    assert alone.index.get_level_values(0).unique().tolist() == ["A", "B", "mean of 2"]


def test_a_failed_method_is_named_with_its_reason(tmp_path: Path):
    finish(tmp_path, "A", 0.8)
    path = tmp_path / "A" / "06_evaluation" / "scores.json"
    saved = load_json(path)
    saved["methods"]["ATVG"], saved["ablation"]["Our A2E"] = {}, {}
    save_json(path, saved | {"failed": {"ATVG": "no video: too short.", "Our A2E": "no video: too short."}})
    found = load_finished(tmp_path)
    assert "A, ATVG failed: no video: too short." in found.describe()
    built = found.build_tables(seed=0)
    assert built["table2"][0].loc[("A", "SSIM"), "ATVG"] == "failed"
    assert built["table3"][0].loc[("A", "SSIM"), "Our A2E"] == "failed"
    assert [ax.get_ylabel() for ax in found.plot_figure3().axes if ax.get_ylabel()] == ["original", "ATVG"]
    assert found.choose_metrics(["LSE-D (open)", "LSE-D"]) == ["LSE-D (open)", "SSIM"]


def test_methods_of_another_kind_do_not_stand_in_one_table(tmp_path: Path):
    finish(tmp_path, "A", 0.8)
    finish(tmp_path, "B", 0.9, wav2lip="Wav2Lip", is_done=False)
    methods = load_finished(tmp_path).methods
    assert list(methods) == ["A"]
    assert tuple(methods["A"]) == METHODS, "in the paper's order, which JSON does not keep"
    found = load_finished(tmp_path, current="B")
    assert list(found.methods) == ["B"]
    (said,) = found.notes
    assert said.startswith("A is left out: its Wav2Lip is `Wav2Lip (open weights)`, not `Wav2Lip`.")
    assert said in found.describe()


def test_who_was_judged_otherwise_than_most_is_left_out(tmp_path: Path):
    finish(tmp_path, "A", 0.8, lip_sync_recipe="s3fd")
    finish(tmp_path, "B", 0.9, wrong=("LSE",))
    finish(tmp_path, "C", 0.9)
    found = load_finished(tmp_path)
    assert list(found.methods) == ["B", "C"]
    assert found.notes[0].startswith("A is left out: its lip_sync_recipe is `s3fd`, not `tracker`.")
    assert found.notes[1] == "B: controls in the wrong order; its figures mean nothing in: LSE."
    assert list(load_finished(tmp_path, current="A").methods) == ["A"]


def test_scores_of_an_older_version_are_left_out(tmp_path: Path):
    for name in "ABC":
        finish(tmp_path, name, 0.9)
    for name in "AB":
        path = tmp_path / name / "06_evaluation" / "scores.json"
        save_json(path, {key: value for key, value in load_json(path).items() if key != "crop_px"})
    found = load_finished(tmp_path)
    assert list(found.methods) == ["C"]
    assert found.notes[0] == "A is left out: its scores are an older version's. Run 06_evaluation of it again."
    assert found.build_tables(seed=0)["table2"][1].endswith("Gaussian window of 11 px; side in px: C 512.")
    (tmp_path / "C" / "06_evaluation" / "summary.json").unlink()
    with pytest.raises(DataError, match="every scores.json is an older version's"):
        load_finished(tmp_path)


def test_the_protocol_is_of_what_judges_not_of_the_person(tmp_path: Path):
    weights, own = tmp_path / "judge.bin", tmp_path / "A" / "a2e.bin"
    own.parent.mkdir()
    for path in (weights, own):
        path.write_bytes(b"1")
    protocols = [
        describe_protocol(EvaluationConfig(**values), [weights, own], tmp_path / "A")
        for values in (
            {},
            {"character": "B", "threads": 1, "controls_must_hold": False, "lip_sync_network": "open"},
            {"lip_sync_recipe": "s3fd"},
        )
    ]
    assert protocols[0] == protocols[1] != protocols[2]
    own.write_bytes(b"2")
    assert describe_protocol(EvaluationConfig(), [weights, own], tmp_path / "A") == protocols[0]
    weights.write_bytes(b"2")
    assert describe_protocol(EvaluationConfig(), [weights, own], tmp_path / "A") != protocols[0]


def test_nothing_finished_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no character has finished 06_evaluation"):
        write_tables(tmp_path, seed=0)
    with pytest.raises(ParameterError, match="controls of A has no `Wav2Lip`"):
        build_controls({"A": {"Wav2Lip": {"SSIM": 0.5}}}, open_metrics=())


def test_running_several_characters_ends_with_their_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ran = []
    monkeypatch.setattr(
        notebook_runner, "run_character", lambda values, stages, force: ran.append((values["character"], stages))
    )
    for name in "AB":
        finish(tmp_path, name, 0.9)
    arguments = ["run", "--from", "06", "--to", "06", "-p", f"outputs_dir={tmp_path}", "--character", "A"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert not (tmp_path / "tables").exists()
    result = CliRunner().invoke(app, [*arguments, "--character", "B"])
    assert result.exit_code == 0, result.output
    assert [name for name, _ in ran] == ["A", "A", "B"]
    assert f"Tables of all characters: {tmp_path / 'tables'}" in result.output.replace("\n", "")
    assert (tmp_path / "tables" / "table2.html").is_file()
