"""Fréchet distance of finished videos: FID if Inception's weights are placed, else FFD (open), never mixed.

FID uses the crop, as `pytorch-fid` reads its files; FFD uses the face, rotated upright by its landmarks. Both depend
strongly on the number of frames, so all videos of one table have equal numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.checkpoints import load_published
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation.face_features import find_network_file
from metatalk_lib.networks.inception import FIDInception

_BATCH = 50
"""Batch size of Inception, as in `pytorch-fid`."""


@dataclass(frozen=True)
class FrechetJudge:
    """Feature network of the Fréchet distance.

    Attributes:
        inception: Inception in evaluation mode; None uses the face network.
        files: files of the weights.
    """

    inception: FIDInception | None = None
    files: tuple[Path, ...] = ()

    @property
    def metric(self) -> str:
        """Name of the distance."""
        return "FFD (open)" if self.inception is None else "FID"


def load_frechet_judge(network: str = "auto", *, device: torch.device | None = None) -> FrechetJudge:
    """Load the judge selected by the parameters; `auto` uses Inception if its file is placed.

    Raises:
        DataError: a file is missing, is not the right one, or does not fit.
        ParameterError: there is no such network.
    """
    if network not in ("auto", "open", "inception"):
        raise ParameterError(f"no features `{network}` for the Fréchet distance: auto, open or inception.")
    if network == "open" or (network == "auto" and not find_asset("fid_inception").is_present):
        return FrechetJudge(files=(find_network_file(),))
    inception = load_published(FIDInception, "fid_inception").to(device or torch.device("cpu"))
    return FrechetJudge(inception, (require_file("fid_inception"),))


def compute_inception_features(
    network: FIDInception, frames: Iterable[UInt8[np.ndarray, "H W 3"]]
) -> Float[np.ndarray, "T 2048"]:
    """Compute Inception's `pool3` features of every frame.

    Args:
        network: Inception in evaluation mode.
        frames: RGB frames of one size.

    Source: mseitzer/pytorch-fid fid_score.py, whose numbers are used.
    """
    device = next(network.parameters()).device
    features: list[np.ndarray] = []
    batch: list[np.ndarray] = []

    def flush() -> None:
        pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            features.append(network(pixels.to(device)).cpu().numpy())
        batch.clear()

    for frame in frames:
        batch.append(frame)
        if len(batch) == _BATCH:
            flush()
    if batch:
        flush()
    return np.concatenate(features)
