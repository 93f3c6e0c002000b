"""The asset table and its checks."""

import dataclasses
from pathlib import Path

import pytest

from metatalk_lib.core import assets
from metatalk_lib.core.errors import DataError, ParameterError


def test_every_asset_states_source_and_licence():
    assert all(asset.source and asset.licence and asset.tier in {"open", "official"} for asset in assets.ASSETS)


def test_open_assets_are_there_after_installation():
    missing = [asset.name for asset in assets.ASSETS if asset.tier == "open" and not asset.is_present]
    assert missing == []


def test_unknown_asset_is_named():
    with pytest.raises(ParameterError, match="no asset `nothing`"):
        assets.find_asset("nothing")


def test_a_wrong_checksum_is_an_error(tmp_path: Path):
    file = tmp_path / "weights.pth"
    asset = dataclasses.replace(assets.find_asset("fid_inception"), path=file)
    assert assets.verify_asset(asset) == "missing"
    file.write_bytes(b"abc")  # SHA-256 ba7816bf…
    with pytest.raises(DataError, match="SHA-256 begins ba7816bf, expected 6726825d"):
        assets.verify_asset(asset)
    assert assets.verify_asset(dataclasses.replace(asset, sha256_prefix="ba7816bf")) == "verified"
    assert assets.verify_asset(dataclasses.replace(asset, sha256_prefix="")) == "present"


def test_a_missing_file_is_named_with_every_place_its_source_and_licence(tmp_path: Path, monkeypatch):
    file = tmp_path / "net.pth"
    asset = dataclasses.replace(assets.find_asset("fan"), path=file, sha256_prefix="ba7816bf")
    monkeypatch.setattr(assets, "ASSETS", (asset,))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub_file = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    assert asset.places[:2] == (file, hub_file)
    with pytest.raises(DataError) as caught:
        assets.require_file("fan")
    assert all(part in str(caught.value) for part in (str(file), str(hub_file), asset.source, asset.licence))
    hub_file.parent.mkdir(parents=True)
    hub_file.write_bytes(b"abc")
    assert assets.require_file("fan") == hub_file
    assert assets.verify_asset(asset) == "verified"
    hub_file.write_bytes(b"abcd")
    with pytest.raises(DataError, match=r"hub.*net\.pth: its SHA-256 begins"):
        assets.require_file("fan")
    # what is placed for this project goes first
    file.write_bytes(b"abc")
    assert assets.require_file("fan") == file


def test_only_torchs_own_files_are_looked_for_in_its_folder():
    asset = assets.find_asset("atnet")
    assert asset.places == (asset.path,)
    assert assets.find_asset("anny").places == ()


def test_only_official_files_are_placed(monkeypatch: pytest.MonkeyPatch):
    assert not any(assets.find_asset(name).tier == "open" for name in assets.list_placed())
    monkeypatch.setattr(assets.Asset, "is_present", True)
    assert "syncnet" in assets.list_placed()
    assert "syncnet_open" not in assets.list_placed()
