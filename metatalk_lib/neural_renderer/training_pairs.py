"""Training pairs of the neural face renderer: synthetic lower face, mask and real image, in one fixed rectangle.

The rectangle (`Roi`) contains the dilated lower-face mask of every frame of the clip, so the network spends no time on
pixels that never change. Masks depend on identity and pose alone, never on the expression.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Int, UInt8

from metatalk_lib.core.artifacts import atomic_path, load_arrays, save_arrays
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.resumable_arrays import SavedRows
from metatalk_lib.face3d.coefficients import Coefficients, rows_by_frame
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.neural_renderer.conditioning import Condition
from metatalk_lib.neural_renderer.drawing import draw_frame, no_references
from metatalk_lib.neural_renderer.lower_face_region import Roi


class Cut(NamedTuple):
    """Rows and columns of a part of the rectangle."""

    rows: slice
    columns: slice


_ARRAYS = ("frame_id", "renders", "masks", "targets", "references", "valid")
WHOLE = Cut(slice(None), slice(None))
KEY_FILE = "made_from.txt"
"""File with the key of finished pairs, which identifies their inputs."""


@dataclass(frozen=True)
class RendererPairs:
    """Aligned frames in the rectangle; row i of every array belongs to `frame_id[i]`.

    Attributes:
        frame_id: (T,) frame numbers in the source video, increasing.
        renders: (T, H, W, 3) synthetic lower face, RGB, black where nothing is drawn.
        masks: (T, H, W) dilated lower-face mask.
        targets: (T, H, W, 3) real image, RGB.
        references: (T, R, H, W, 3) real frames warped to the frame's face, the nearest first; R may be 0.
        valid: (T,) whether the frame may be a training target.
        roi: the rectangle.
        size: side of the crop, px.
    """

    frame_id: Int[np.ndarray, " T"]
    renders: UInt8[np.ndarray, "T H W 3"]
    masks: Bool[np.ndarray, "T H W"]
    targets: UInt8[np.ndarray, "T H W 3"]
    references: UInt8[np.ndarray, "T R H W 3"]
    valid: Bool[np.ndarray, " T"]
    roi: Roi
    size: int

    def __len__(self) -> int:
        return len(self.frame_id)

    def __reduce__(self):
        """Pickle pairs on disk by their folder, not by their content."""
        if isinstance(self.targets, np.memmap):
            return open_pairs, (Path(cast(str, self.targets.filename)).parent,)
        return RendererPairs, tuple(getattr(self, field.name) for field in fields(self))

    @cached_property
    def digest(self) -> str:
        """Compute the SHA-256 of all arrays."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            values = getattr(self, name)
            for row in values if values.ndim > 1 else [values]:
                digest.update(np.ascontiguousarray(row).tobytes())
        return digest.hexdigest()

    def select(self, rows: Int[np.ndarray, " K"]) -> "RendererPairs":
        """Select some of the frames, copied to memory."""
        arrays: dict[str, Any] = {name: np.asarray(getattr(self, name)[rows]) for name in _ARRAYS}
        return replace(self, **arrays)

    def without_references(self) -> "RendererPairs":
        """Return the same pairs without references."""
        return replace(self, references=no_references(self.targets))

    def windows(
        self, rows: Sequence[int], width: int, cuts: Sequence[Cut] | None = None
    ) -> tuple[UInt8[np.ndarray, "B K H W 3"], Bool[np.ndarray, "B K"]]:
        """Collect the renders of the `width` frames centred on each row, oldest first, and which of them exist.

        Neighbours are found by frame_id: a frame that is not among the pairs is marked absent, never replaced.
        """
        cuts = cuts or [WHOLE] * len(rows)
        row_of = {int(number): row for row, number in enumerate(self.frame_id)}
        offsets = range(-(width // 2), width // 2 + 1)
        shape = self.renders[rows[0]][cuts[0]].shape
        images = np.zeros((len(rows), width, *shape), np.uint8)
        known = np.zeros((len(rows), width), bool)
        for item, row in enumerate(rows):
            for position, offset in enumerate(offsets):
                neighbour = row_of.get(int(self.frame_id[row]) + offset)
                if neighbour is not None:
                    images[item, position], known[item, position] = self.renders[neighbour][cuts[item]], True
        return images, known

    def condition(
        self, rows: Sequence[int], window: int, references: int, cuts: Sequence[Cut] | None = None
    ) -> Condition:
        """Assemble the generator's input for some rows.

        Args:
            rows: rows of the pairs.
            window: number of synthetic frames, odd.
            references: number of references to use; the nearest of the R are taken.
            cuts: part of the rectangle for each row, all of one size; by default the whole rectangle.

        Raises:
            ParameterError: there are fewer than `references` references.
        """
        if references > self.references.shape[1]:
            raise ParameterError(
                f"the pairs hold {self.references.shape[1]} references a frame, {references} are asked for. "
                "Add them with add_references."
            )
        cuts = cuts or [WHOLE] * len(rows)
        places = list(zip(rows, cuts, strict=True))
        return Condition(
            *self.windows(rows, window, cuts),
            np.stack([self.targets[row][cut] for row, cut in places]),
            np.stack([self.masks[row][cut] for row, cut in places]),
            np.stack([self.references[row, :references][(slice(None), *cut)] for row, cut in places]),
        )


class PairRow(NamedTuple):
    """One frame of training pairs; see `RendererPairs`."""

    render: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    target: UInt8[np.ndarray, "H W 3"]


def render_pairs(
    model: FaceModel,
    coefficients: Coefficients,
    frames: Iterable[tuple[int, UInt8[np.ndarray, "S S 3"]]],
    frame_count: int,
    roi: Roi,
    folder: Path,
    *,
    key: str = "",
    draw: Callable[[int, np.ndarray], PairRow] | None = None,
) -> RendererPairs:
    """Make training pairs: draw the synthetic lower face and the mask of each frame and store them with the real image.

    The arrays are memory-mapped files in `folder`, so even minutes of video take little memory.

    Args:
        model: the face model.
        coefficients: coefficients that include every wanted frame.
        frames: (frame_id, crop image) of the wanted frames, frame_id increasing.
        frame_count: number of items in `frames`.
        roi: the rectangle.
        folder: folder of the arrays; pairs with another key in it are overwritten.
        key: digest of the inputs; rows that an interrupted run left under the same key are reused. Without a key all
            rows are made.
        draw: alternative function that makes a pair from a row of the coefficients and its crop image.

    Raises:
        ParameterError: `frame_count` is not the number of frames.
        DataError: a frame has no coefficients, or the disk is full.
    """
    if (kept := find_pairs(folder, key)) is not None:
        return kept
    for name in (KEY_FILE, "frames.npz", "references.npy"):
        (folder / name).unlink(missing_ok=True)
    shape = (roi.height, roi.width)
    kinds = {"renders": (np.uint8, (*shape, 3)), "masks": (np.bool_, shape), "targets": (np.uint8, (*shape, 3))}
    rows = SavedRows(folder, key, frame_count, kinds)
    row_of, count, size = rows_by_frame(coefficients), 0, 0

    def draw_lower_face(index: int, image: np.ndarray) -> PairRow:
        drawn = draw_frame(model, coefficients, index, image.shape[0], roi)
        return PairRow(drawn.image, drawn.mask, roi.cut(image))

    draw = draw or draw_lower_face
    frame_id, valid = np.zeros(frame_count, np.int64), np.zeros(frame_count, bool)
    for number, image in frames:
        if number not in row_of or count == frame_count:
            _refuse(number, count, frame_count, row_of)
        index, size = row_of[number], image.shape[0]
        if count >= rows.done:
            rows.add(*draw(index, image))
        frame_id[count], valid[count] = number, coefficients.valid[index]
        count += 1
    if count != frame_count:
        raise ParameterError(f"render_pairs got {count} frames, expected {frame_count}.")
    save_arrays(folder / "frames.npz", frame_id=frame_id, valid=valid, roi=np.array(roi), size=np.array(size))
    _mark_finished(folder, key)
    rows.close()
    return open_pairs(folder)


def _mark_finished(folder: Path, key: str) -> None:
    if key:
        with atomic_path(folder / KEY_FILE) as temporary:
            temporary.write_text(key)


def find_pairs(folder: Path, key: str) -> RendererPairs | None:
    """Open the pairs that an earlier `render_pairs` finished with the same key; None if there are none, or no key."""
    path = folder / KEY_FILE
    return open_pairs(folder) if key and path.exists() and path.read_text() == key else None


def open_pairs(folder: Path) -> RendererPairs:
    """Open the pairs of `render_pairs` and `add_references` in a folder, memory-mapped.

    Raises:
        DataError: the folder does not contain complete pairs.
    """
    frames = load_arrays(folder / "frames.npz", "frame_id", "valid", "roi", "size")
    try:
        renders, masks, targets = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("renders", "masks", "targets")
        )
        path = folder / "references.npy"
        references = np.load(path, mmap_mode="r") if path.exists() else no_references(targets)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} does not hold whole pairs ({error}). Delete it and make them again.") from error
    roi, size = Roi(*frames["roi"].tolist()), int(frames["size"])
    return RendererPairs(frames["frame_id"], renders, masks, targets, references, frames["valid"], roi, size)


def remove_pairs(folder: Path) -> None:
    """Delete the files of `render_pairs`; they can be recomputed at any time."""
    shutil.rmtree(folder, ignore_errors=True)


def _refuse(number: int, count: int, frame_count: int, rows: dict[int, int]) -> None:
    if count == frame_count:
        raise ParameterError(
            f"render_pairs got more than the {frame_count} frames announced; frame {number} is too many."
        )
    raise DataError(
        f"frame {number} has no coefficients (there are {len(rows)}, from {min(rows)} to {max(rows)}). "
        "Run 03_reconstruction again."
    )
