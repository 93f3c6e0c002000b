"""Files about the project agree with each other: cards, citation, lock, environment."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from training.licences import SOURCES, describe_licence

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WEIGHTS = sorted((ROOT / "metatalk_lib" / "data").glob("*.safetensors"))


def bare(requirement: str) -> str:
    """The normalised name of a requirement."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def read_lock() -> dict[str, str]:
    """Package to version, as pinned; markers are left out."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = [line.partition(";")[0].strip() for line in lines if not line.startswith("#")]
    return {bare(pin): pin.partition("==")[2] for pin in pins}


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda path: path.stem)
def test_a_card_ends_with_licence_and_training_data(weights: Path):
    card = weights.with_suffix(".md").read_text("utf-8")
    kinds = [kind for kind in SOURCES if f"\n- {kind}: " in card]
    assert kinds
    assert card.endswith(f"\n\n{describe_licence(*kinds)}")


def test_the_recorded_voices_licences_are_where_the_cards_point_to():
    assert "\n## Recorded voices\n" in (ROOT / "training" / "README.md").read_text("utf-8")


def test_the_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert f"\n## [{PROJECT['version']}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_lock_pins_every_direct_dependency():
    lock = read_lock()
    named = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert [name for name in map(bare, named) if not lock.get(name)] == []


def test_conda_gets_one_opencv_of_the_locks_version():
    pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"][-1]["pip"]
    assert pip == ["-r requirements.lock", "./.conda/opencv-python", "./.conda/mediapipe", "-e ."]
    assert "mediapipe" not in read_lock()
    stand_in = tomllib.loads((ROOT / ".conda" / "opencv-python" / "pyproject.toml").read_text("utf-8"))["project"]
    assert "opencv-python" not in read_lock()
    assert stand_in["dependencies"] == [f"opencv-python-headless=={read_lock()['opencv-python-headless']}"]
