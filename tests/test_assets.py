"""The asset table and its checks."""

import dataclasses
from pathlib import Path

import pytest

from metatalk_lib import assets
from metatalk_lib.errors import DataError, ParameterError


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
