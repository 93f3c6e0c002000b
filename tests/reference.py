"""Golden outputs of the official networks under weight rule B, and the weights and inputs they were made with.

The files in `data/reference` hold key lists and output values only; weights and inputs are drawn anew by the published
rule, so the comparison needs no checkpoint.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

REFERENCE_DIR = Path(__file__).resolve().parent / "data" / "reference"
WEIGHT_SEED = 2000
TOLERANCE = 1e-5


def load_keys(name: str) -> list[tuple[str, tuple[int, ...], str]]:
    """The official state dict's (key, shape, dtype) in order."""
    content = json.loads((REFERENCE_DIR / f"{name}.json").read_text("utf-8"))
    return [(key, tuple(shape), dtype) for key, shape, dtype in content["params"]]


def load_golden(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The meta data and the arrays of `<name>_B.npz`."""
    with np.load(REFERENCE_DIR / f"{name}_B.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(str(arrays.pop("meta"))), arrays


def load_front(name: str) -> dict[str, np.ndarray]:
    """The arrays of `front_<name>.npz`, the goldens of stages that are no networks."""
    with np.load(REFERENCE_DIR / f"front_{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files if key != "meta"}


def build_weights(name: str) -> dict[str, Tensor]:
    """Weights of rule B for the official state dict `name`; keys ending `.pe` are left out (the class makes them)."""
    meta, _ = load_golden(name)
    scale, offset = meta["running_var_rule_B"]
    weights = {}
    for index, (key, shape, dtype) in enumerate(load_keys(name)):
        if dtype.startswith("int"):
            weights[key] = torch.zeros(shape, dtype=torch.int64)
        elif not key.endswith(".pe"):
            draw = torch.randn(shape, generator=torch.Generator().manual_seed(WEIGHT_SEED + index))
            weights[key] = _apply_rule(key, draw, scale, offset)
    return weights


def build_inputs(name: str) -> list[Tensor]:
    """The golden's inputs in order."""
    meta, _ = load_golden(name)
    generator = torch.Generator().manual_seed(meta["input_seed"])
    inputs = []
    for entry in meta["inputs"]:
        block, shape = entry["block"], list(entry["shape"])
        if block > 1:
            shape[-2:] = [shape[-2] // block, shape[-1] // block]
        draw = {"randn": torch.randn, "rand": torch.rand}[entry["dist"]](shape, generator=generator)
        if block > 1:
            draw = draw.repeat_interleave(block, dim=-1).repeat_interleave(block, dim=-2)
        inputs.append(draw * entry["mul"] + entry["add"])
    return inputs


def assert_keys_equal(network: nn.Module, name: str) -> None:
    """Same keys with the same shapes and dtypes as the official state dict; none missing, none more."""
    own = {
        key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in network.state_dict().items()
    }
    official = {key: (shape, dtype) for key, shape, dtype in load_keys(name)}
    assert own == official


def load_rule_b(network: nn.Module, name: str) -> nn.Module:
    """Fill the network with rule-B weights by strict keys and put it in evaluation mode."""
    network.load_state_dict(build_weights(name), strict=True)
    return network.eval()


def golden_error(name: str, output: str, value: Tensor) -> float:
    """Largest |value − golden| over the golden's absolute maximum; at most `TOLERANCE` for the official class."""
    meta, arrays = load_golden(name)
    assert tuple(value.shape) == tuple(arrays[f"{output}__shape"])
    flat = value.detach().numpy().ravel()
    if meta["outputs"][output]["stored"] == "full":
        golden = arrays[output].ravel()
    else:
        flat, golden = flat[arrays[f"{output}__index"]], arrays[f"{output}__values"]
    return float(np.abs(flat - golden).max() / meta["outputs"][output]["absmax"])


def _apply_rule(key: str, draw: Tensor, scale: float, offset: float) -> Tensor:
    if key.endswith("running_var"):
        return draw.abs() * scale + offset
    if draw.ndim >= 2:
        return draw * math.sqrt(2 * draw.shape[0] / draw.numel())
    if key.endswith(("weight", "alpha")):
        return 1 + 0.1 * draw
    return 0.1 * draw
