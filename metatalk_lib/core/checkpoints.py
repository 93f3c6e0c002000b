"""Weights of networks: safetensors, and checkpoints of other projects, read without executing code in them.

Both are loaded with strict keys.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.errors import DataError, ParameterError

_Network = TypeVar("_Network", bound=nn.Module)
Weights = Literal["auto", "open", "official"]
"""Origin of a compared method's weights; see `takes_open`."""

GIT_LFS_START = b"version https://git-lfs.github.com/spec/"
# Added by torch 0.4.1; state dicts of older files lack it, and it changes nothing in evaluation mode.
_LATER_ENTRY = ".num_batches_tracked"
_LISTED = 4
_PLAIN = {
    "collections.OrderedDict",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v2",
    "torch.serialization._get_layout",
}
"""The only callables allowed in unpickling a checkpoint with an optimiser: those that make dictionaries and tensors."""


def save_weights(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Save named tensors as `.safetensors`; equal tensors produce equal bytes."""
    with atomic_path(path) as temporary:
        # `save_file` is not used, because it makes the file readable by its owner only
        temporary.write_bytes(save({name: value.cpu().contiguous() for name, value in tensors.items()}, metadata))


def load_weights(path: Path, advice: str) -> dict[str, torch.Tensor]:
    """Load named tensors from `.safetensors`.

    Args:
        path: path of the `.safetensors` file.
        advice: advice for error messages: where the file comes from.

    Raises:
        DataError: the file is absent or is not of this format.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist. {advice}")
    try:
        return load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} does not hold the expected weights ({error}). {advice}") from error


def takes_open(weights: str, *assets: str) -> bool:
    """Whether to use the weights that this project trained.

    Args:
        weights: `open` (this project's), `official` (published), or `auto`: published if all files are present.
        assets: names of the published files.

    Raises:
        ParameterError: `weights` is none of the three.
    """
    if weights not in get_args(Weights):
        raise ParameterError(f"weights is `{weights}`; there are {', '.join(get_args(Weights))}.")
    return weights == "open" or (weights == "auto" and not all(find_asset(name).is_present for name in assets))


def load_checkpoint(path: Path, advice: str, *, may_be_script: bool = False) -> Any:
    """Load a `torch.save` checkpoint on the CPU; only tensors and plain Python values are accepted.

    An optimiser saved with the weights is skipped: none of its objects is created or run.

    Args:
        path: the file.
        advice: last sentence of error messages: where the file comes from.
        may_be_script: also accept a TorchScript archive and return its state dict; its `forward` is not run.

    Raises:
        DataError: the file is absent, a git-LFS pointer, not a checkpoint, damaged, or holds executable objects.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist. {advice}")
    with open(path, "rb") as file:
        if file.read(len(GIT_LFS_START)) == GIT_LFS_START:
            raise DataError(f"{path} is a git-LFS pointer, not the file itself. Run `git lfs pull` there. {advice}")
    if may_be_script and _is_script(path):
        try:
            script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]  # torch gives it no types
            return dict(script.state_dict())
        except Exception as error:  # damaged archives fail in many ways
            raise DataError(f"{path} is a damaged TorchScript archive ({type(error).__name__}). {advice}") from error
    try:
        with warnings.catch_warnings():
            # torch warns about the pickle protocol of files that it then rejects
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes make the unpickler fail in many ways
        unknown = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        if unknown and unknown[1].startswith("torch.optim."):
            return _load_without_optimiser(path, advice)
        if unknown:
            raise DataError(
                f"{path} holds an object of {unknown[1]}, which could run anything, so it is not read. {advice}"
            ) from error
        raise DataError(
            f"{path} is no checkpoint of torch, or it is damaged ({type(error).__name__}, {path.stat().st_size} "
            f"bytes). {advice}"
        ) from error


def load_published(
    network_class: type[_Network],
    asset: str,
    path: Path | None = None,
    *,
    may_be_script: bool = False,
    nesting: str = "state_dict",
    may_hold_more: bool = False,
) -> _Network:
    """Build a network and load its published weights, in evaluation mode.

    Accepts a flat state dict, or one under `nesting`; `module.`, which parallel training adds to keys, is removed.

    Args:
        network_class: class of the network; constructed without arguments.
        asset: name of the asset.
        path: the file; by default where the asset is placed.
        may_be_script: as in `load_checkpoint`.
        nesting: key of the state dict in the file.
        may_hold_more: ignore keys that the network does not have, where the published code also ignores them.

    Raises:
        DataError: the file is missing, cannot be read safely, or does not fit the network key by key.
    """
    path = path or require_file(asset)
    advice = f"Fetch it again from {find_asset(asset).source}."
    content = load_checkpoint(path, advice, may_be_script=may_be_script)
    weights = content.get(nesting, content) if isinstance(content, Mapping) else content
    if isinstance(weights, Mapping):
        weights = {str(key).replace("module.", ""): value for key, value in weights.items()}
    with torch.device("meta"):
        network = network_class()
    network = network.to_empty(device="cpu")
    if may_hold_more and isinstance(weights, Mapping):
        own = network.state_dict()
        weights = {key: value for key, value in weights.items() if key in own}
    load_strictly(network, weights, path, advice)
    return network.eval()


def load_strictly(network: nn.Module, weights: object, path: Path, advice: str) -> None:
    """Load a state dict into a network: every key, no other, equal shapes, finite values.

    Counters of BatchNorm, which old files lack, may be absent.

    Args:
        network: changed in place.
        weights: the state dict.
        path: where it was read from, for messages.
        advice: last sentence of error messages.

    Raises:
        DataError: `weights` is not a state dict, or keys, shapes or values are wrong.
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


class _Inert:
    """Placeholder for parts of an optimiser; every operation that the pickle applies to it does nothing."""

    def __init__(self, *values: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if module.startswith("torch.optim.") or path in (
            "collections.defaultdict",
            "__builtin__.dict",
            "builtins.dict",
        ):
            return _Inert
        if path in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"GLOBAL {path} was not an allowed global")


def _load_without_optimiser(path: Path, advice: str) -> Any:
    """Read a checkpoint with an unpickler that allows tensors only and replaces an optimiser by inert placeholders."""
    reader = ModuleType("plain_pickle")
    vars(reader).update(Unpickler=_PlainUnpickler, load=lambda file, **_: _PlainUnpickler(file).load())
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
    except Exception as error:  # foreign bytes make the unpickler fail in many ways
        raise DataError(
            f"{path} holds more than tensors and an optimiser ({error}), so it is not read. {advice}"
        ) from error


def _is_script(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip file with a `constants.pkl`, which `torch.save` never writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _list(what: str, names: list[str]) -> str:
    """Format names as `2 missing (a, b)`; long lists are truncated."""
    if not names:
        return f"none {what}"
    more = ", …" if len(names) > _LISTED else ""
    return f"{len(names)} {what} ({', '.join(map(str, names[:_LISTED]))}{more})"
