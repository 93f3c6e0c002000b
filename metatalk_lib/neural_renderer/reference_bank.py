"""Reference frames: real frames of the person whose pixels supply freckles, teeth and lips to the painted face.

For each frame to paint, the frames of the person with the nearest mouth and pose are retrieved and warped so that every
point of the face lies where it is to be painted. The network only has to choose between them and to correct the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.camera import MM_PER_DM
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import DrawnFace, face_topology, project_vertices
from metatalk_lib.neural_renderer.background_flow import Surroundings, fit_surroundings
from metatalk_lib.neural_renderer.warping import locate_pixels, sample_pixels, trusted_surface
from metatalk_lib.tracking.landmarks import MOUTH

ANGLES = 3
_UPPER_LIP, _LOWER_LIP, _CHIN, _FRONT = [61, 62, 63], [65, 66, 67], [7, 8, 9], [51, 57, 62, 66]
_LEFT_CORNER, _RIGHT_CORNER = 48, 54
_X, _Y, _Z = range(3)
MEASURES = {"openness": 1.0, "width": 0.7, "pucker": 0.7, "upper teeth": 1.5, "lower teeth": 1.5}
"""Measures of a mouth beside its contours, with their weights in a distance; chosen on clips of real people by how
much the warped nearest mouth differs from the real one."""
MM_PER_DEGREE = 0.4
"""Difference in mouth shape that one degree of head rotation counts as, mm."""
STAY_FACTOR = 0.85
"""Factor on the distance of references already in use; without it the choice flickers between equally near frames."""
POSE_WEIGHT, POSE_STAY_FACTOR = 8.0, 0.4
"""For the reference chosen by pose: additional weight of the rotation, and the factor in place of `STAY_FACTOR`."""
FADE_FRAMES = 8
"""Frames over which the reference chosen by pose fades into the next one."""
APART_FRAMES = 4
"""References of one frame are more than this many frames apart, if possible, so that they differ in more than noise."""
BANK_FILES = ("references.npy", "references.npz")


def describe_mouths(model: FaceModel, coefficients: Coefficients) -> Float[np.ndarray, "T 68"]:
    """Compute a descriptor of mouth shape and head rotation for each frame; distances between rows are in mm.

    It holds the 20 points of the lips' contours without identity and pose, the `MEASURES` times their weights, and
    three rotation angles scaled by `MM_PER_DEGREE`. How much the teeth show is told by how far the inner edge of the
    upper lip is above its rest, and that of the lower lip below its place on the jaw.

    Source: original to this project.
    """
    shape = (torch.from_numpy(coefficients.expression) @ _mouth_modes(model)).numpy()
    return np.concatenate([shape, np.degrees(coefficients.rotation) * MM_PER_DEGREE], axis=1).astype(np.float32)


@lru_cache(maxsize=4)
def _mouth_modes(model: FaceModel) -> Float[torch.Tensor, "E 65"]:
    """Change of a descriptor's contours (RMS) and measures by each expression mode, mm."""
    with torch.no_grad():
        moved = torch.einsum("lv,evc->elc", model.landmark_matrix.to_dense(), model.expression_basis) * MM_PER_DM
    contours = moved[:, MOUTH].flatten(1) / moved[0, MOUTH].shape[0] ** 0.5
    upper, lower, chin = (moved[:, points, _Y].mean(1) for points in (_UPPER_LIP, _LOWER_LIP, _CHIN))
    measures = {
        "openness": upper - lower,
        "width": moved[:, _RIGHT_CORNER, _X] - moved[:, _LEFT_CORNER, _X],
        "pucker": moved[:, _FRONT, _Z].mean(1),
        "upper teeth": upper,
        "lower teeth": chin - lower,
    }
    weighted = torch.stack([measures[name] * weight for name, weight in MEASURES.items()], dim=1)
    return torch.cat([contours, weighted], dim=1)


def spread_out(descriptors: Float[np.ndarray, "T D"], count: int) -> Int[np.ndarray, " K"]:
    """Select rows that cover the space: the one nearest to the mean, then always the one farthest from those; sorted.

    Args:
        descriptors: one row for each item.
        count: number of rows to select; all if there are fewer.

    Source: farthest-point sampling, Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985.
    """
    if count >= len(descriptors):
        return np.arange(len(descriptors))
    chosen = [int(np.linalg.norm(descriptors - descriptors.mean(axis=0), axis=1).argmin())]
    nearest = np.linalg.norm(descriptors - descriptors[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(descriptors - descriptors[chosen[-1]], axis=1))
    return np.sort(chosen)


class Reference(NamedTuple):
    """A reference for one frame: one row of the bank, or two while one fades into the other.

    Attributes:
        rows: rows of the bank.
        shares: blending weight of each row; they sum to 1.
    """

    rows: tuple[int, ...]
    shares: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class ReferenceBank:
    """The frames that references are chosen from, all cut to one rectangle of the crop.

    Attributes:
        coefficients: coefficients of these frames; the identity is that of the frames to paint.
        images: (R, H, W, 3) rectangle of each frame, RGB; may be a memory map.
        points: (R, V, 2) projected vertices of each frame, px of the crop.
        descriptors: (R, 68) mouth and rotation of each frame, see `describe_mouths`.
        size: side of the crop, px.
    """

    coefficients: Coefficients
    images: UInt8[np.ndarray, "R H W 3"]
    points: Float[np.ndarray, "R V 2"]
    descriptors: Float[np.ndarray, "R 68"]
    size: int

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def build(
        cls, model: FaceModel, coefficients: Coefficients, images: UInt8[np.ndarray, "R H W 3"], size: int
    ) -> "ReferenceBank":
        """Build a bank: project and describe the frames of a crop of `size` px.

        Raises:
            ParameterError: there are no frames, or the numbers of images and coefficients differ.
        """
        if not 0 < len(images) == len(coefficients):
            raise ParameterError(f"ReferenceBank: {len(images)} images for {len(coefficients)} frames.")
        points = np.stack([project_vertices(model, coefficients, row, size) for row in range(len(coefficients))])
        return cls(coefficients, images, points, describe_mouths(model, coefficients), size)

    def save(self, folder: Path) -> None:
        """Write `references.npy` (images) and `references.npz` (coefficients)."""
        with atomic_path(folder / BANK_FILES[0]) as temporary, open(temporary, "wb") as file:
            np.save(file, self.images)
        self.coefficients.save(folder / BANK_FILES[1])

    @classmethod
    def load(cls, folder: Path, model: FaceModel, size: int) -> "ReferenceBank":
        """Read the files of `save`; the images stay on disk.

        Raises:
            DataError: a file is missing or unreadable, or does not fit the other file or the face model.
        """
        path, coefficients = folder / BANK_FILES[0], Coefficients.load(folder / BANK_FILES[1])
        try:
            return cls.build(model, coefficients, np.load(path, mmap_mode="r", allow_pickle=False), size)
        except (OSError, ValueError, ParameterError) as error:
            raise DataError(f"{path} holds no usable frames ({error}). Run 05_neural_renderer again.") from error

    def warp(
        self,
        model: FaceModel,
        drawn: DrawnFace,
        references: Sequence[Reference],
        surroundings: Surroundings | None = None,
    ) -> UInt8[np.ndarray, "K H W 3"]:
        """Warp the references so that every point of the face moves to where it is drawn.

        Args:
            model: the face model.
            drawn: the lower face to paint, in the bank's rectangle.
            references: references chosen by a `ReferenceFollower`.
            surroundings: surroundings of the frame to paint; None moves pixels off the face as the face moves.
        """
        rows = sorted({row for reference in references for row in reference.rows})
        trusted = trusted_surface(drawn.raster, self.size)
        places = locate_pixels(drawn.raster, face_topology(model).lower, drawn.points, self.points[rows], trusted)
        if surroundings is not None:
            images = [self.images[row] for row in rows]
            places = fit_surroundings(places, images, trusted, surroundings)
        carried = {row: sample_pixels(self.images[row], place) for row, place in zip(rows, places, strict=True)}
        warped = []
        for reference in references:
            first, *others = (carried[row] for row in reference.rows)
            shares = reference.shares
            warped.append(cv2.addWeighted(first, shares[0], others[0], shares[1], 0) if others else first)
        return np.stack(warped)


class ReferenceFollower:
    """Chooses references for consecutive frames; each one stays until another is clearly nearer.

    The last of several references is chosen by pose, stays long, and fades into the next: it supplies skin with the
    right light and position that does not flicker. The others are chosen by the mouth.

    Args:
        bank: the frames to choose from.
        count: number of references for each frame.
    """

    def __init__(self, bank: ReferenceBank, count: int) -> None:
        self.bank, self.count = bank, count
        self.mouths: list[int] = []
        self.pose = self.fading = -1
        self.age = FADE_FRAMES

    def choose(self, wanted: Float[np.ndarray, "68"], hidden: range = range(0)) -> list[Reference]:
        """Choose the references of the next frame, the nearest mouth first.

        Args:
            wanted: descriptor of the frame, a row of `describe_mouths`.
            hidden: frame_ids that must not be chosen: in training the frame itself and its neighbours.

        Raises:
            ParameterError: fewer than `count` frames are left to choose from.
        """
        ids = self.bank.coefficients.frame_id
        allowed = np.flatnonzero((ids < hidden.start) | (ids >= hidden.stop))
        if len(allowed) < self.count:
            raise ParameterError(
                f"{len(allowed)} reference frames are left to choose {self.count} from. Use a longer video, a larger "
                "renderer_bank, or fewer renderer_references."
            )
        by_pose = 1 if self.count > 1 else 0
        difference = self.bank.descriptors - wanted
        self.mouths = _nearest(difference, allowed, ids, self.count - by_pose, self.mouths, STAY_FACTOR)
        chosen = [Reference((row,)) for row in self.mouths]
        return [*chosen, self._choose_pose(difference, allowed)] if by_pose else chosen

    def _choose_pose(self, difference: np.ndarray, allowed: np.ndarray) -> Reference:
        self.age += 1
        difference[:, -ANGLES:] *= POSE_WEIGHT
        if self.age > FADE_FRAMES or self.pose not in allowed:
            shown = [self.pose] if self.pose >= 0 else []
            (row,) = _nearest(difference, allowed, self.bank.coefficients.frame_id, 1, shown, POSE_STAY_FACTOR)
            if row != self.pose:
                self.fading, self.pose = self.pose, row
                self.age = 1 if self.fading >= 0 else FADE_FRAMES + 1
        if self.age > FADE_FRAMES or self.fading not in allowed:
            return Reference((self.pose,))
        share = self.age / (FADE_FRAMES + 1)
        return Reference((self.pose, self.fading), (share, 1 - share))


def _nearest(
    difference: np.ndarray, allowed: np.ndarray, ids: np.ndarray, count: int, shown: list[int], stay_factor: float
) -> list[int]:
    """The `count` nearest allowed rows that are apart in time; rows in use (`shown`) count as nearer."""
    distance = np.linalg.norm(difference, axis=1)
    distance[shown] *= stay_factor
    order = allowed[np.argsort(distance[allowed], kind="stable")].tolist()
    chosen: list[int] = []
    for row in order:
        if len(chosen) < count and all(abs(ids[row] - ids[other]) > APART_FRAMES for other in chosen):
            chosen.append(row)
    return chosen + [row for row in order if row not in chosen][: count - len(chosen)]
