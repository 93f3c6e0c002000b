"""Weights and published checkpoints: what is read, what is refused, and what the one line says."""

import collections
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from metatalk_lib.core import checkpoints
from metatalk_lib.core.checkpoints import load_checkpoint, load_published, load_strictly, save_weights, takes_open
from metatalk_lib.core.errors import DataError, ParameterError

ADVICE = "Fetch it again."
PATH = Path("weights.pth")


class Small(nn.Sequential):
    """A network that is built without arguments."""

    def __init__(self) -> None:
        super().__init__(*make_network())


class Stranger:
    """An object that a checkpoint must not bring in."""


def make_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def save_bytes(value: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("is_zip", [True, False])
def test_tensors_and_plain_values_are_read(tmp_path, is_zip):
    path = tmp_path / "weights.pth"
    value = {"state": collections.OrderedDict(weight=torch.arange(6.0)), "step": 3, "rates": [0.1]}
    path.write_bytes(save_bytes(value, _use_new_zipfile_serialization=is_zip))
    read = load_checkpoint(path, ADVICE)
    assert torch.equal(read["state"]["weight"], value["state"]["weight"])
    assert (read["step"], read["rates"]) == (3, [0.1])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing.pth does not exist. Fetch it again."):
        load_checkpoint(tmp_path / "nothing.pth", ADVICE)


def test_a_git_lfs_pointer_is_called_one(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 288860037\n")
    with pytest.raises(DataError, match="is a git-LFS pointer, not the file itself. Run `git lfs pull`"):
        load_checkpoint(path, ADVICE)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"PK\x03\x04abc", save_bytes({"a": torch.ones(99)})[:-200], b"\x80\x74" + bytes(60)],
    ids=["empty", "page", "zip", "cut", "noise"],
)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"no checkpoint of torch, or it is damaged .*, {len(content)} bytes") as info:
        load_checkpoint(path, ADVICE)
    assert "\n" not in str(info.value)
    assert "weights_only" not in str(info.value)


def test_an_object_of_a_strange_class_is_not_made(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(save_bytes({"net": Stranger()}))
    with pytest.raises(DataError, match=r"holds an object of \S*Stranger, which could run anything"):
        load_checkpoint(path, ADVICE)


class Caller:
    """An object that would call something when it is read."""

    def __reduce__(self):
        return print, ("called",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_an_optimiser_beside_the_weights_is_passed_over(tmp_path, capsys, is_zip):
    path, network = tmp_path / "weights.pth", nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    value = {"G": network.state_dict(), "opt": optimiser, "epoch": 3}
    path.write_bytes(save_bytes(value, _use_new_zipfile_serialization=is_zip))
    read = load_checkpoint(path, ADVICE)
    assert torch.equal(read["G"]["weight"], network.weight)
    assert read["epoch"] == 3
    assert not isinstance(read["opt"], torch.optim.Optimizer)
    path.write_bytes(save_bytes(value | {"more": Caller()}, _use_new_zipfile_serialization=is_zip))
    with pytest.raises(DataError, match=r"more than tensors and an optimiser \(GLOBAL \S*print was not an allowed"):
        load_checkpoint(path, ADVICE)
    assert capsys.readouterr().out == ""


def test_nested_weights_are_found_and_may_hold_more_only_where_that_is_said(tmp_path):
    path, network = tmp_path / "weights.pth", Small()
    more = {f"module.{key}": value for key, value in network.state_dict().items()} | {"similarity": torch.ones(1)}
    torch.save({"model": more}, path)
    loaded = load_published(Small, "syncnet", path, nesting="model", may_hold_more=True)
    assert torch.equal(loaded[0].weight, network[0].weight)
    with pytest.raises(DataError, match=r"does not fit Small: none missing; 1 unknown \(similarity\)"):
        load_published(Small, "syncnet", path, nesting="model")
    with pytest.raises(DataError, match="6 missing"):
        load_published(Small, "syncnet", path, may_hold_more=True)


def test_equal_keys_load_with_or_without_counters():
    source, target = make_network(), make_network()
    weights = source.state_dict()
    load_strictly(target, weights, PATH, ADVICE)
    assert all(torch.equal(value, weights[key]) for key, value in target.state_dict().items())
    old = collections.OrderedDict((key, value) for key, value in weights.items() if "tracked" not in key)
    old._metadata = weights._metadata  # a new version number: torch alone would refuse
    load_strictly(target, old, PATH, ADVICE)


def test_wrong_weights_are_refused_and_named():
    network = make_network()
    weights = dict(network.state_dict())
    other = {key: value for key, value in weights.items() if key != "0.bias"} | {"0.scale": torch.ones(3)}
    with pytest.raises(DataError, match=r"weights.pth .* Sequential: 1 missing \(0\.bias\); 1 unknown \(0\.scale\)"):
        load_strictly(network, other, PATH, ADVICE)
    with pytest.raises(DataError, match=r"6 missing \(0\.weight, 0\.bias, 1\.weight, 1\.bias, …\); none unknown"):
        load_strictly(network, {}, PATH, ADVICE)
    with pytest.raises(DataError, match=r"1 of another shape \(0\.bias \(4,\) \(expected \(3,\)\)\)"):
        load_strictly(network, weights | {"0.bias": torch.ones(4)}, PATH, ADVICE)
    with pytest.raises(DataError, match=r"NaN or infinity: 1 affected \(0\.bias\)"):
        load_strictly(network, weights | {"0.bias": torch.full((3,), torch.nan)}, PATH, ADVICE)
    for value in ([1, 2], {"0.weight": [0.0]}):
        with pytest.raises(DataError, match="holds no named tensors where Sequential expects them. Fetch it again."):
            load_strictly(network, value, PATH, ADVICE)


def test_open_weights_are_taken_where_a_published_file_is_missing(monkeypatch):
    placed = {"atnet": True, "vgnet": False}
    monkeypatch.setattr(checkpoints, "find_asset", lambda name: SimpleNamespace(is_present=placed[name]))
    assert not takes_open("auto", "atnet")
    assert takes_open("auto", "atnet", "vgnet")
    assert takes_open("open", "atnet")
    assert not takes_open("official", "vgnet")
    with pytest.raises(ParameterError, match="weights is `mine`; there are auto, open, official"):
        takes_open("mine", "atnet")


def test_weights_are_equal_bytes_that_others_may_read(tmp_path: Path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(1)}
    for name in ("one", "two"):
        save_weights(tmp_path / name, tensors, {"step": "3"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    np.testing.assert_array_equal(load_file(tmp_path / "one")["a"], tensors["a"])
    (tmp_path / "plain").touch()
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "plain").stat().st_mode
