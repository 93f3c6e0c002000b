"""Moments of a clip for the paper's Fig. 3."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from metatalk_lib.core.artifacts import load_arrays, save_arrays
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation.held_out import FinishedVideo, HeldOut
from metatalk_lib.evaluation.image_measures import square_about
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.neural_renderer.lower_face_region import dilated_mask


class Moments(NamedTuple):
    """Pictures of the same moments of every video, for the comparison figure.

    Attributes:
        crops: row name to (K, P, P, 3) pictures of the whole crop.
        close_ups: row name to (K, P, P, 3) pictures of the masked region.
        frame_id: (K,) frame numbers in the source.
    """

    crops: dict[str, UInt8[np.ndarray, "K P P 3"]]
    close_ups: dict[str, UInt8[np.ndarray, "K P P 3"]]
    frame_id: Int[np.ndarray, " K"]

    def save(self, path: Path) -> None:
        """Save as `.npz`."""
        pictures = {f"crops/{name}": images for name, images in self.crops.items()}
        pictures |= {f"close_ups/{name}": images for name, images in self.close_ups.items()}
        save_arrays(path, frame_id=self.frame_id, **pictures)

    @classmethod
    def load(cls, path: Path) -> "Moments":
        """Load moments that `save` wrote.

        Raises:
            DataError: the file is absent or unreadable.
        """
        arrays = load_arrays(path)
        parts = {
            part: {name.partition("/")[2]: images for name, images in arrays.items() if name.startswith(f"{part}/")}
            for part in ("crops", "close_ups")
        }
        return cls(**parts, frame_id=arrays["frame_id"])


def sample_moments(
    held_out: HeldOut, model: FaceModel, videos: Mapping[str, FinishedVideo], rows: Sequence[int], *, size: int = 192
) -> Moments:
    """Take whole crops and close-ups of the masked region at chosen moments.

    Args:
        held_out: the frames to compare.
        model: face model that determines the mask.
        videos: row name to video; `original` is put first.
        rows: K rows of the held-out frames, ascending.
        size: side of a picture, px.

    Raises:
        ParameterError: a row is out of range.
    """
    if not len(rows) or min(rows) < 0 or max(rows) >= len(held_out):
        raise ParameterError(f"sample_moments: rows {list(rows)} are not within 0 to {len(held_out) - 1}.")
    window = square_about(
        np.logical_or.reduce([dilated_mask(model, held_out.coefficients, row, held_out.crop.size) for row in rows])
    )
    streams = {"original": held_out.originals(), **{name: video.crops(held_out) for name, video in videos.items()}}
    crops, close_ups = {}, {}
    for name, frames in streams.items():
        picked = [frame for row, frame in enumerate(frames) if row in rows]
        crops[name] = np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in picked])
        mouths = [cv2.resize(frame[window], (size, size), interpolation=cv2.INTER_CUBIC) for frame in picked]
        close_ups[name] = np.stack(mouths)
    return Moments(crops, close_ups, held_out.frame_id[list(rows)])
