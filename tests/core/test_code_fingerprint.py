"""Fingerprints of code: they follow imports, and nothing that does not run counts."""

import json
import shutil
from pathlib import Path

import pytest

from metatalk_lib.core import code_fingerprint
from metatalk_lib.core.code_fingerprint import describe_change, digest_modules, digest_stage
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import NOTEBOOKS_DIR, PACKAGE_DIR, STAGES


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's code that may be edited."""
    shutil.copytree(PACKAGE_DIR, tmp_path / PACKAGE_DIR.name, ignore=shutil.ignore_patterns("data", "__pycache__"))
    shutil.copytree(NOTEBOOKS_DIR, tmp_path / "notebooks")
    monkeypatch.setattr(code_fingerprint, "PACKAGE_DIR", tmp_path / PACKAGE_DIR.name)
    monkeypatch.setattr(code_fingerprint, "NOTEBOOKS_DIR", tmp_path / "notebooks")
    return tmp_path


def digest_all() -> dict[str, dict[str, str]]:
    return {stage: digest_stage(stage) for stage in STAGES}


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


def test_comments_and_docstrings_anywhere_make_nothing_out_of_date(tree: Path):
    known = digest_all()
    for path in (tree / PACKAGE_DIR.name).rglob("*.py"):
        text = path.read_text("utf-8")
        path.write_text(f"# a comment\n{text.replace('Args:', 'Arguments:')}\n\n# the end\n", "utf-8")
    assert digest_all() == known


def test_an_edited_line_of_visemes_reaches_all_stages_but_the_first(tree: Path):
    known = digest_all()
    edit(tree / PACKAGE_DIR.name / "speech" / "visemes.py", "INERTIA_S = 0.05", "INERTIA_S = 0.06")
    changes = {stage: describe_change(known[stage], now) for stage, now in digest_all().items()}
    assert changes == {
        stage: "" if stage == "01_crop" else "metatalk_lib/speech/visemes.py changed since" for stage in STAGES
    }


def test_an_edited_line_counts_only_where_it_can_be_reached(tree: Path):
    known, painting = digest_all(), digest_modules("metatalk_lib.neural_renderer.training")
    edit(tree / PACKAGE_DIR.name / "user_study" / "server.py", "DEFAULT_PORT = 8765", "DEFAULT_PORT = 8766")
    changed = [stage for stage, now in digest_all().items() if now != known[stage]]
    assert changed == ["07_user_study"]
    assert digest_modules("metatalk_lib.neural_renderer.training") == painting


def test_methods_and_trainings_have_fingerprints_of_their_own():
    atvg = digest_modules("metatalk_lib.baselines.atvg")
    assert "metatalk_lib/networks/vg_net.py" in atvg
    assert "metatalk_lib/networks/wav2lip.py" not in atvg
    assert "metatalk_lib/baselines/audiodvp.py" not in digest_modules("metatalk_lib.talk.talker")
    assert not any("/evaluation/" in name for name in digest_modules("metatalk_lib.baselines.audiodvp"))


def test_names_that_a_package_passes_on_lead_to_their_modules():
    digests = digest_stage("04_audio_to_expression")
    assert "metatalk_lib/audio_to_expression/silence_gate.py" in digests
    assert not any(name.endswith("__init__.py") for name in digests)
    assert not any("/studio/" in name for name in digest_stage("01_crop"))


def test_only_code_cells_of_a_notebook_count(tree: Path):
    def digest(code: str, text: str = "", outputs: tuple[str, ...] = ()) -> dict[str, str]:
        injected = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]}, "source": ["seed = 1"]}
        executed = {"cell_type": "code", "metadata": {}, "source": [code], "outputs": outputs}
        cells = [{"cell_type": "markdown", "source": [text]}, executed, *([injected] if outputs else [])]
        (tree / "notebooks" / "01_crop.ipynb").write_text(json.dumps({"cells": cells}), "utf-8")
        return digest_stage("01_crop")

    assert digest("a = 1") == digest("a  =  1  # one", "Text.", ("1",)) != digest("a = 2")
    (tree / "notebooks" / "01_crop.ipynb").unlink()
    with pytest.raises(DataError, match="01_crop.ipynb does not exist"):
        digest_stage("01_crop")


def test_changes_are_named():
    assert describe_change({"a.py": "1"}, {"a.py": "1"}) == ""
    assert (
        describe_change({"a.py": "1", "b.py": "1"}, {"a.py": "2", "c.py": "1"}) == "a.py and 2 more files changed since"
    )
