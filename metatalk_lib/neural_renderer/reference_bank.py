"""Real frames of the person that lend their pixels: freckles, teeth and lips come from where they were really filmed.

For each frame to paint, those frames of the person are retrieved whose mouth and pose are nearest, and are warped so
that every point of their face lies where it is to be painted. What is left for the network is to choose between them
and to mend what differs.
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
MM_PER_DEGREE = 0.15
"""One degree of turn of the head counts as much as this difference in mouth shape."""
STAY_FACTOR = 0.85
"""A frame that is shown already counts as that much nearer: without it the choice flickers between equals."""
POSE_WEIGHT, POSE_STAY_FACTOR = 8.0, 0.4
"""For the reference that is chosen by pose: how much more turn counts against the mouth, and how long it stays."""
FADE_FRAMES = 8
"""In so many frames it fades into the next one."""
APART_FRAMES = 4
"""References of one frame are further apart than this, where there are enough: they must differ in more than noise."""
BANK_FILES = ("references.npy", "references.npz")


def describe_mouths(model: FaceModel, coefficients: Coefficients) -> Float[np.ndarray, "T 63"]:
    """Mouth shape and turn of the head of each frame; distances between rows are root mean squares in mm.

    The 20 mouth landmarks without identity and pose, and three angles at `MM_PER_DEGREE`.

    Source: original to this project.
    """
    modes = _mouth_modes(model)
    shape = (torch.from_numpy(coefficients.expression) @ modes).numpy() * (MM_PER_DM / np.sqrt(modes.shape[1] // 3))
    return np.concatenate([shape, np.degrees(coefficients.rotation) * MM_PER_DEGREE], axis=1).astype(np.float32)


@lru_cache(maxsize=4)
def _mouth_modes(model: FaceModel) -> Float[torch.Tensor, "E M"]:
    """Displacement of the mouth landmarks by each expression mode, dm."""
    lips = model.landmark_matrix.to_dense()[MOUTH]
    with torch.no_grad():
        return torch.einsum("lv,evc->elc", lips, model.expression_basis).flatten(1)


def spread_out(descriptors: Float[np.ndarray, "T D"], count: int) -> Int[np.ndarray, " K"]:
    """Rows that cover the space: the one nearest to the mean, then always the one farthest from those chosen; sorted.

    Args:
        descriptors: a row an item.
        count: rows wanted; all where there are not more.

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
    """What lends its pixels to one frame: a row of the bank, or two while one fades into the other.

    Attributes:
        rows: of the bank.
        shares: of each, together 1.
    """

    rows: tuple[int, ...]
    shares: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class ReferenceBank:
    """Frames that may lend their pixels, all in one rectangle of the crop.

    Attributes:
        coefficients: of these frames; identity as in the frames to paint.
        images: (R, H, W, 3) the rectangle of each, RGB; may be a memory map.
        points: (R, V, 2) their projected vertices, px of the crop.
        descriptors: (R, 63) see `describe_mouths`.
        size: side of the crop, px.
    """

    coefficients: Coefficients
    images: UInt8[np.ndarray, "R H W 3"]
    points: Float[np.ndarray, "R V 2"]
    descriptors: Float[np.ndarray, "R 63"]
    size: int

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def build(
        cls, model: FaceModel, coefficients: Coefficients, images: UInt8[np.ndarray, "R H W 3"], size: int
    ) -> "ReferenceBank":
        """Project and describe the frames of a crop of `size` px.

        Raises:
            ParameterError: there is no frame, or the numbers of frames differ.
        """
        if not 0 < len(images) == len(coefficients):
            raise ParameterError(f"ReferenceBank: {len(images)} images for {len(coefficients)} frames.")
        points = np.stack([project_vertices(model, coefficients, row, size) for row in range(len(coefficients))])
        return cls(coefficients, images, points, describe_mouths(model, coefficients), size)

    def save(self, folder: Path) -> None:
        """Write `references.npy` (the images) and `references.npz` (their coefficients)."""
        with atomic_path(folder / BANK_FILES[0]) as temporary, open(temporary, "wb") as file:
            np.save(file, self.images)
        self.coefficients.save(folder / BANK_FILES[1])

    @classmethod
    def load(cls, folder: Path, model: FaceModel, size: int) -> "ReferenceBank":
        """Read what `save` wrote; the images stay on disk.

        Raises:
            DataError: a file is missing, unreadable, or does not fit the other or the face model.
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
        """The references with every point of the face moved to where it is drawn.

        Args:
            model: the face model.
            drawn: the lower face to paint, in the bank's rectangle.
            references: from a `ReferenceFollower`.
            surroundings: of the frame to paint; without them, what is off the face moves as the face does.
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
    """Chooses each frame's references in the order of the frames; one stays until another is clearly nearer.

    The last of several is chosen by pose, stays long, and fades into the next: it lends skin whose light and place are
    right and that does not flicker. The others are chosen by the mouth.

    Args:
        bank: to choose from.
        count: references a frame.
    """

    def __init__(self, bank: ReferenceBank, count: int) -> None:
        self.bank, self.count = bank, count
        self.mouths: list[int] = []
        self.pose = self.fading = -1
        self.age = FADE_FRAMES

    def choose(self, wanted: Float[np.ndarray, "63"], hidden: range = range(0)) -> list[Reference]:
        """The next frame's references, the nearest mouth first.

        Args:
            wanted: the frame's row of `describe_mouths`.
            hidden: frame_ids that may not lend it anything: itself and its neighbours, in training.

        Raises:
            ParameterError: fewer frames than `count` are left to choose from.
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
    """The `count` allowed rows with the smallest difference that are apart in time; those shown count as nearer."""
    distance = np.linalg.norm(difference, axis=1)
    distance[shown] *= stay_factor
    order = allowed[np.argsort(distance[allowed], kind="stable")].tolist()
    chosen: list[int] = []
    for row in order:
        if len(chosen) < count and all(abs(ids[row] - ids[other]) > APART_FRAMES for other in chosen):
            chosen.append(row)
    return chosen + [row for row in order if row not in chosen][: count - len(chosen)]
