"""The source video of stage 01: a user's own, or the studio's."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.stage_configs import CropConfig
from metatalk_lib.studio.source import resolve_source


def test_source_of_a_users_video(tmp_path: Path):
    (tmp_path / "a.mp4").touch()
    assert resolve_source(CropConfig(video=str(tmp_path / "a.mp4"))) == tmp_path / "a.mp4"
    with pytest.raises(DataError, match=r"none\.mp4 does not exist\. Check the parameter `video`"):
        resolve_source(CropConfig(video=str(tmp_path / "none.mp4")))


def test_the_studio_is_asked_for_its_video(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked = []

    def ensure_studio_video(*values):
        asked.append(values)
        return tmp_path / "source.mp4"

    fake = SimpleNamespace(ensure_studio_video=ensure_studio_video)
    monkeypatch.setitem(sys.modules, "metatalk_lib.studio.render_video", fake)
    config = CropConfig(character="C", studio_seconds=5.0, studio_scale=0.5, seed=3)
    assert resolve_source(config) == tmp_path / "source.mp4"
    assert asked == [("C", 5.0, 0.5, 3)]
