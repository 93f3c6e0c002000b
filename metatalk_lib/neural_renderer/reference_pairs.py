"""Choice of training frames and of reference frames that lend their pixels, and warping of the references."""

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int, UInt8

from metatalk_lib.core.parallel import CORES, draw_ahead
from metatalk_lib.core.progress import track
from metatalk_lib.core.resumable_arrays import SavedRows
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import draw_face
from metatalk_lib.neural_renderer.background_flow import Surroundings
from metatalk_lib.neural_renderer.reference_bank import (
    Reference,
    ReferenceBank,
    ReferenceFollower,
    describe_mouths,
    spread_out,
)
from metatalk_lib.neural_renderer.training_pairs import KEY_FILE, RendererPairs

RUN_FRAMES = 15
"""Consecutive frames per training run, for a long video."""
HIDDEN_FRAMES = 8
"""Neighbouring frames excluded as references in training, a third of a second at 25 fps on either side."""


def choose_frames(
    model: FaceModel, coefficients: Coefficients, frame_id: Int[np.ndarray, " T"], count: int
) -> Int[np.ndarray, " K"]:
    """Choose the frames for training: all of them, or of a long video about `count` whose mouths and poses differ most.

    They are taken in runs of `RUN_FRAMES`, so that windows and changes from frame to frame can be learnt; a run is
    represented by its middle frame, which must be valid.
    """
    if count >= len(frame_id):
        return frame_id
    runs = frame_id[: len(frame_id) // RUN_FRAMES * RUN_FRAMES].reshape(-1, RUN_FRAMES)
    middles = coefficients.select(runs[:, RUN_FRAMES // 2])
    trusted = np.flatnonzero(middles.valid)
    kept = spread_out(describe_mouths(model, middles)[trusted], max(1, count // RUN_FRAMES))
    return runs[trusted[kept]].reshape(-1)


def make_bank(model: FaceModel, coefficients: Coefficients, pairs: RendererPairs, count: int) -> ReferenceBank:
    """Choose the pairs' frames that may lend their pixels: `count` valid ones that differ most, or all if fewer.

    Args:
        model: the face model.
        coefficients: coefficients of the clip.
        pairs: training frames.
        count: maximum number of frames.

    Raises:
        ParameterError: no frame is valid.
    """
    rows = np.flatnonzero(pairs.valid)
    own = coefficients.select(pairs.frame_id[rows])
    kept = spread_out(describe_mouths(model, own), count)
    return ReferenceBank.build(model, own.select(own.frame_id[kept]), pairs.targets[rows[kept]], pairs.size)


def add_references(
    model: FaceModel,
    coefficients: Coefficients,
    pairs: RendererPairs,
    bank: ReferenceBank,
    count: int,
    folder: Path,
    *,
    hidden_frames: int = HIDDEN_FRAMES,
    fits_surroundings: bool = True,
) -> RendererPairs:
    """Warp the nearest frames of the bank to each frame of the pairs, in the order of the pairs.

    No frame is a reference for itself or its neighbours, so that training resembles later use.

    Args:
        model: the face model.
        coefficients: coefficients that include every frame of the pairs.
        pairs: frames that get references; pairs that already have `count` references are returned unchanged.
        bank: reference frames from `make_bank`.
        count: references per frame; 0 for none.
        folder: folder of the pairs, where the references are saved as a memory-mapped file; a killed run is continued.
        hidden_frames: number of excluded neighbours on either side; fewer in a short clip.
        fits_surroundings: whether the references are fitted to the surroundings of the mask.

    Raises:
        ParameterError: too few frames are left to choose from.
        DataError: there is not enough disk space.
    """
    if pairs.references.shape[1] == count:
        return pairs
    own = coefficients.select(pairs.frame_id)
    # limited by the clip's length, since enough frames must remain to choose references from
    reach = max(0, min(hidden_frames, len(bank) // 4, (len(bank) - count - 1) // 2))
    hidden = [range(int(number) - reach, int(number) + reach + 1) for number in pairs.frame_id]
    follower, wanted = ReferenceFollower(bank, count), describe_mouths(model, own)

    def warp(job: tuple[int, list[Reference]]) -> UInt8[np.ndarray, "R H W 3"]:
        index, chosen = job
        drawn = draw_face(model, own, index, pairs.size, region="lower", window=(*pairs.roi,))
        surroundings = Surroundings.of(pairs.targets[index], pairs.masks[index], pairs.size)
        return bank.warp(model, drawn, chosen, surroundings if fits_surroundings else None)

    path, made_from = folder / "references.npy", folder / KEY_FILE
    key = f"{made_from.read_text()} {count} {reach} {fits_surroundings}" if made_from.exists() else ""
    rows = SavedRows(folder, key, len(pairs), {"unfinished_references": (np.uint8, (count, *pairs.targets.shape[1:]))})
    # each choice depends on the one before
    jobs = [(index, follower.choose(wanted[index], hidden[index])) for index in range(len(pairs))][rows.done :]
    for warped in draw_ahead(warp, track(jobs, "warping references", unit="frame"), CORES):
        rows.add(warped)
    (references,) = rows.arrays.values()
    os.replace(cast(str, references.filename), path)
    rows.close()
    return replace(pairs, references=np.load(path, mmap_mode="r"))
