"""Face coefficients from Deep3DFaceRecon's published network: align each frame, run the network, convert the pose.

Identity, expression and texture are meaningful for bfm09 only. The network receives a separate square of each frame,
aligned by five landmarks; `move_poses` converts its poses to the camera of the whole crop.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.checkpoints import load_checkpoint, load_strictly
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import SLICES
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.networks.face_regressors import Deep3DRegressor
from metatalk_lib.reconstruction.coefficient_conventions import from_deep3d
from metatalk_lib.reconstruction.five_point_alignment import FaceAlignment, align_faces, move_poses
from metatalk_lib.reconstruction.gauss_newton import project_landmarks

ASSET = "deep3d"
CHECKPOINT_ENTRY = "net_recon"
"""Entry of the network in the checkpoint, which also holds the state of its training."""
_BATCH = 16


class Deep3DRegression(NamedTuple):
    """Output of the network for T frames, in our conventions.

    Attributes:
        coefficients: (T, 257) in the order of `coefficients.SLICES`, valid in the crop; identity and texture are
            equal in all rows.
        landmark_error_px: (T,) mean distance between the model's 68 landmarks and the observed ones, px of the crop.
        residual_px: (T,) mean distance between the model's 68 landmarks in the crop's camera and in the aligned
            picture's camera, which is the error of the change of cameras, px of the crop.
    """

    coefficients: Float[np.ndarray, "T 257"]
    landmark_error_px: Float[np.ndarray, " T"]
    residual_px: Float[np.ndarray, " T"]


def load_deep3d_regressor(path: Path | None = None, device: str | torch.device = "cpu") -> Deep3DRegressor:
    """Load the network with the published weights, in evaluation mode.

    Args:
        path: checkpoint of Deep3DFaceRecon_pytorch; by default the asset `deep3d`.
        device: device on which the network runs.

    Raises:
        DataError: the file is missing, is not a checkpoint, or does not contain this network.

    Source: nesting of sicxu/Deep3DFaceRecon_pytorch models/base_model.py, checkpoint `epoch_20.pth`.
    """
    path = require_file(ASSET) if path is None else path
    asset = find_asset(ASSET)
    advice = f"Fetch {asset.places[0].name} from {asset.source} again (licence: {asset.licence})."
    checkpoint = load_checkpoint(path, advice)
    if not isinstance(checkpoint, dict) or CHECKPOINT_ENTRY not in checkpoint:
        has = ", ".join(map(str, list(checkpoint)[:5])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise DataError(f"{path} has no entry `{CHECKPOINT_ENTRY}` (it has {has or 'none'}). {advice}")
    network = Deep3DRegressor()
    load_strictly(network, checkpoint[CHECKPOINT_ENTRY], path, advice)
    return network.to(device).eval()


def regress_deep3d(
    network: Deep3DRegressor,
    model: FaceModel,
    frames: Iterable[np.ndarray],
    landmarks_crop: Float[np.ndarray, "T 68 2"],
    size: int,
    *,
    shared_mask: Bool[np.ndarray, " _"] | None = None,
    batch: int = _BATCH,
) -> Deep3DRegression:
    """Estimate the coefficients of a face video; the frames are read once, one batch at a time.

    The network processes every frame independently. Identity and texture are averaged over frames, since a clip shows
    one person; nothing is smoothed over time.

    Args:
        network: network from `load_deep3d_regressor`.
        model: the face model bfm09, on the CPU.
        frames: images of the crop, RGB `uint8` (size, size, 3), one for every row of landmarks in order.
        landmarks_crop: landmarks in px of the crop.
        size: side of the crop, px.
        shared_mask: frames over which identity and texture are averaged: those with a face that may be used for
            training; by default all.
        batch: frames per batch.

    Raises:
        ParameterError: lengths or sizes disagree, the network is in training mode, or the model is not bfm09.
        DataError: there is no frame, landmarks cannot be aligned, or an output is not finite.
    """
    count = len(landmarks_crop)
    shared_mask = np.ones(count, dtype=bool) if shared_mask is None else shared_mask
    if len(shared_mask) != count or batch < 1:
        raise ParameterError(
            f"regress_deep3d: {count} frames of landmarks, {len(shared_mask)} values of `shared_mask`, batch {batch}. "
            "Pass the same frames to each and a batch of at least 1."
        )
    if network.training:
        raise ParameterError("regress_deep3d: the network is in training mode and mixes frames. Call network.eval().")
    if not shared_mask.any():
        raise DataError("regress_deep3d: no frame to take identity and texture from. Check landmarks.npz.")
    alignments = align_faces(landmarks_crop, size, size)
    answers = [_ask(network, images) for images in _align_batches(frames, alignments, batch)]
    rows = from_deep3d(torch.cat(answers), model).numpy()
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(
            f"regress_deep3d: the network's answer is not finite in {len(bad)} frames, the first at position {bad[0]}. "
            "Its weights may be damaged; fetch them again."
        )
    for name in ("identity", "texture"):
        rows[:, SLICES[name]] = rows[shared_mask, SLICES[name]].mean(axis=0, dtype=np.float64)
    return _bring_home(model, rows, alignments, landmarks_crop)


def _align_batches(
    frames: Iterable[np.ndarray], alignments: list[FaceAlignment], batch: int
) -> Iterator[Float[torch.Tensor, "B 3 224 224"]]:
    """Yield batches of aligned pictures in [0, 1], as many pictures as there are alignments."""
    waiting: list[np.ndarray] = []
    count = 0
    for frame in frames:
        if count < len(alignments):
            waiting.append(alignments[count].crop_image(frame))
        count += 1
        if len(waiting) == batch or (waiting and count == len(alignments)):
            yield torch.from_numpy(np.stack(waiting)).permute(0, 3, 1, 2).float() / 255
            waiting = []
    if count != len(alignments):
        raise ParameterError(
            f"regress_deep3d: {count} frames for {len(alignments)} rows of landmarks. Pass the same frames to each."
        )


def _ask(network: Deep3DRegressor, images: Float[torch.Tensor, "B 3 224 224"]) -> Float[torch.Tensor, "B 257"]:
    device = next(network.parameters()).device
    with torch.inference_mode():
        return network(images.to(device)).float().cpu()


def _bring_home(
    model: FaceModel, rows: np.ndarray, alignments: list[FaceAlignment], landmarks_crop: np.ndarray
) -> Deep3DRegression:
    """Convert poses of the aligned squares to poses of the crop, with errors measured at the model's landmarks."""
    with torch.inference_mode():
        shape = [torch.from_numpy(rows[:, SLICES[name]]) for name in ("identity", "expression")]
        points = model.compute_landmarks(*shape).double().numpy()
    moved = move_poses(rows[:, SLICES["rotation"]], rows[:, SLICES["translation"]], alignments, points)
    rows[:, SLICES["rotation"]], rows[:, SLICES["translation"]] = moved.rotation, moved.translation
    pose = np.concatenate([moved.rotation, moved.translation], axis=1)
    seen = project_landmarks(points, pose, alignments[0].width)
    error = np.linalg.norm(seen - landmarks_crop, axis=-1).mean(axis=1)
    return Deep3DRegression(rows, error.astype(np.float32), moved.residual_px.astype(np.float32))
