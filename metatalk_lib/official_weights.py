"""Checkpoints that others published: read without running what they hold, and loaded key by key."""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from metatalk_lib.assets import find_asset, require_file
from metatalk_lib.errors import DataError

Network = TypeVar("Network", bound=nn.Module)

GIT_LFS_START = b"version https://git-lfs.github.com/spec/"
# Added by torch 0.4.1; state dicts of older files lack it, and it changes nothing in evaluation mode.
_LATER_ENTRY = ".num_batches_tracked"
_LISTED = 4


def load_checkpoint(path: Path, advice: str, *, may_be_script: bool = False) -> Any:
    """What `torch.save` wrote, on the CPU; only tensors and plain Python values are accepted.

    Args:
        path: the file.
        advice: what errors tell to do: where the file comes from.
        may_be_script: take a TorchScript archive, too, and give its state dict; its `forward` is not run.

    Raises:
        DataError: the file is absent, is a git-LFS pointer, is no checkpoint or a damaged one, or holds objects of
            classes that would have to be run.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist. {advice}")
    with open(path, "rb") as file:
        if file.read(len(GIT_LFS_START)) == GIT_LFS_START:
            raise DataError(f"{path} is a git-LFS pointer, not the file itself. Run `git lfs pull` there. {advice}")
    if may_be_script and _is_script(path):
        try:
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
        except Exception as error:  # damaged archives fail in many ways
            raise DataError(f"{path} is a damaged TorchScript archive ({type(error).__name__}). {advice}") from error
    try:
        with warnings.catch_warnings():
            # torch remarks on the pickle protocol of files that it then refuses
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make the unpickler fail in many ways
        unknown = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if unknown:
            raise DataError(
                f"{path} holds an object of {unknown[1]}, which could run anything, so it is not read. {advice}"
            ) from error
        raise DataError(
            f"{path} is no checkpoint of torch, or it is damaged ({type(error).__name__}, {path.stat().st_size} "
            f"bytes). {advice}"
        ) from error


def load_published(
    network_class: type[Network], asset: str, path: Path | None = None, *, may_be_script: bool = False
) -> Network:
    """A network with its published weights, in evaluation mode.

    Takes a flat state dict, or one under `state_dict`; `module.`, which parallel training puts into keys, is left out.

    Args:
        network_class: built without arguments.
        asset: name of the asset.
        path: the file; where the asset lies when none is given.
        may_be_script: as in `load_checkpoint`.

    Raises:
        DataError: the file is missing, cannot be read safely, or does not fit the network key by key.
    """
    path = path or require_file(asset)
    advice = f"Fetch it again from {find_asset(asset).source}."
    content = load_checkpoint(path, advice, may_be_script=may_be_script)
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if isinstance(weights, Mapping):
        weights = {str(key).replace("module.", ""): value for key, value in weights.items()}
    with torch.device("meta"):
        network = network_class()
    network = network.to_empty(device="cpu")
    load_strictly(network, weights, path, advice)
    return network.eval()


def load_strictly(network: nn.Module, weights: object, path: Path, advice: str) -> None:
    """Load a state dict into a network: every key, no other, equal shapes, finite values.

    Counters of BatchNorm, which old files lack, may be absent.

    Args:
        network: changed in place.
        weights: the state dict.
        path: where it was read from, for messages.
        advice: what errors tell to do.

    Raises:
        DataError: it is no state dict, or keys, shapes or values are wrong.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise DataError(f"{path} holds no named tensors where {type(network).__name__} expects them. {advice}")
    own = network.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith(_LATER_ENTRY)]
    unknown = [key for key in weights if key not in own]
    if missing or unknown:
        raise DataError(
            f"{path} does not fit {type(network).__name__}: {_list('missing', missing)}; "
            f"{_list('unknown', unknown)}. {advice}"
        )
    misshapen = [
        f"{key} {tuple(value.shape)} (expected {tuple(own[key].shape)})"
        for key, value in weights.items()
        if value.shape != own[key].shape
    ]
    if misshapen:
        raise DataError(
            f"{path} does not fit {type(network).__name__}: {_list('of another shape', misshapen)}. {advice}"
        )
    broken = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise DataError(f"{path} holds NaN or infinity: {_list('affected', broken)}. {advice}")
    # a plain dict: without torch's version number, absent counters are filled in
    network.load_state_dict(dict(weights), strict=True)


def _is_script(path: Path) -> bool:
    """A TorchScript archive is a zip file with a `constants.pkl`, which `torch.save` never writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _list(what: str, names: list[str]) -> str:
    """`2 missing (a, b)`; long lists are cut."""
    if not names:
        return f"none {what}"
    more = ", …" if len(names) > _LISTED else ""
    return f"{len(names)} {what} ({', '.join(map(str, names[:_LISTED]))}{more})"
