"""Training pairs of the neural face renderer: synthetic lower face, mask and real image, in one fixed rectangle.

The rectangle (`Roi`) holds the dilated lower-face mask of every frame of the clip, so that the network spends no time
on pixels that are never changed. Masks depend on identity and pose alone, never on what the mouth does.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from metatalk_lib.artifacts import atomic_path, load_arrays, load_json, save_arrays, save_json
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.face_model import Coefficients, FaceModel
from metatalk_lib.generator_input import Condition
from metatalk_lib.progress import track
from metatalk_lib.reference_frames import Reference, ReferenceBank
from metatalk_lib.renderer import draw_face, lower_face_mask
from metatalk_lib.roi import Roi, enclosing_roi
from metatalk_lib.saved_rows import SavedRows
from metatalk_lib.surroundings import Surroundings
from metatalk_lib.threads import CORES, draw_ahead, torch_threads

DILATION_PER_SIDE = 1 / 64
"""Width of the rim by which a mask is dilated, in units of the crop's side: AudioDVP's 4 px at 256 px."""


class Cut(NamedTuple):
    """A part of the rectangle: rows and columns."""

    rows: slice
    columns: slice


_ARRAYS = ("frame_id", "renders", "masks", "targets", "references", "valid")
WHOLE = Cut(slice(None), slice(None))
KEY_FILE = "made_from.txt"
"""Names what finished pairs were made from."""


@dataclass(frozen=True)
class RendererPairs:
    """Aligned frames in the rectangle; row i of every array belongs to `frame_id[i]`.

    Attributes:
        frame_id: (T,) numbers in the source video, increasing.
        renders: (T, H, W, 3) synthetic lower face, RGB, black where nothing is drawn.
        masks: (T, H, W) dilated lower-face mask.
        targets: (T, H, W, 3) the real crop, RGB.
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
        """Pairs on disk travel to another process by name, not by content."""
        if isinstance(self.targets, np.memmap):
            return open_pairs, (Path(self.targets.filename).parent,)
        return RendererPairs, tuple(getattr(self, field.name) for field in fields(self))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            values = getattr(self, name)
            for row in values if values.ndim > 1 else [values]:
                digest.update(np.ascontiguousarray(row).tobytes())
        return digest.hexdigest()

    def select(self, rows: Int[np.ndarray, " K"]) -> "RendererPairs":
        """Some of the frames, in memory."""
        arrays = {name: np.asarray(getattr(self, name)[rows]) for name in _ARRAYS}
        return replace(self, **arrays)

    def without_references(self) -> "RendererPairs":
        """The same frames before anything was lent to them."""
        return replace(self, references=no_references(self.targets))

    def windows(
        self, rows: Sequence[int], width: int, cuts: Sequence[Cut] | None = None
    ) -> tuple[UInt8[np.ndarray, "B K H W 3"], Bool[np.ndarray, "B K"]]:
        """Renders of the `width` frames round each row, oldest first, and which of them exist.

        Neighbours are found by frame_id: a frame that is not among the pairs is absent, never replaced.
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
        """What the generator is given for some rows.

        Args:
            rows: of the pairs.
            window: synthetic frames, odd.
            references: how many of the R are used, the nearest ones.
            cuts: a part of the rectangle for each row, all of one size; the whole rectangle by default.

        Raises:
            ParameterError: more references are asked for than there are.
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


class DrawnFrame(NamedTuple):
    """What is drawn of one frame, in the rectangle.

    Attributes:
        image: the synthetic lower face, black where nothing is drawn.
        mask: where the network shall paint.
        references: real frames warped to the drawn face.
    """

    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    references: UInt8[np.ndarray, "R H W 3"]


class PairRow(NamedTuple):
    """One frame of training pairs; see `RendererPairs`."""

    render: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    target: UInt8[np.ndarray, "H W 3"]


@torch_threads(1)
def draw_frame(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    roi: Roi,
    bank: ReferenceBank | None = None,
    chosen: Sequence[Reference] = (),
    image: UInt8[np.ndarray, "H W 3"] | None = None,
) -> DrawnFrame:
    """Draw one row of `coefficients`, with the chosen references of the bank warped to it.

    Args:
        model: the face model.
        coefficients: of a clip.
        index: row of `coefficients`.
        size: side of the crop, px.
        roi: the rectangle.
        bank: lends its frames.
        chosen: which of them.
        image: the rectangle of the frame to paint, whose surroundings the references are fitted to.
    """
    drawn = draw_face(model, coefficients, index, size, region="lower", window=tuple(roi))
    mask = dilated_mask(model, coefficients, index, size, roi)
    references = np.zeros((0, roi.height, roi.width, 3), np.uint8)
    if bank is not None and len(chosen):
        surroundings = None if image is None else Surroundings.of(image, mask, size)
        references = bank.warp(model, drawn, chosen, surroundings)
    return DrawnFrame(drawn.render.image, mask, references)


@torch_threads(1)
def dilated_mask(
    model: FaceModel, coefficients: Coefficients, index: int, size: int, roi: Roi | None = None
) -> Bool[np.ndarray, "H W"]:
    """Lower-face mask of one frame (closed united with wide open), dilated by 1/64 of the crop's side.

    Args:
        model: the face model.
        coefficients: of the clip; the frame's expression plays no part.
        index: row of `coefficients`.
        size: side of the crop, px.
        roi: only this rectangle; it must hold the whole mask for the result to equal that part of the full mask.

    Source: paper section 2.4; AudioDVP's mask (3×3 dilation, four times at 256 px), scaled with the crop.
    """
    mask = lower_face_mask(model, coefficients, index, size, window=None if roi is None else tuple(roi))
    rim = max(1, round(size * DILATION_PER_SIDE))
    kernel = np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def find_roi(
    model: FaceModel,
    coefficients: Coefficients,
    size: int,
    *,
    multiple: int,
    folder: Path | None = None,
    key: str = "",
) -> Roi:
    """The smallest rectangle with sides that are multiples of `multiple` and that holds every frame's dilated mask.

    Args:
        model: the face model.
        coefficients: of the whole clip, the held-out tail included, so that one rectangle serves both.
        size: side of the crop, px; must itself be a multiple of `multiple`.
        multiple: 2^depth of the U-Net.
        folder: keeps the rectangle for a run that was killed; None keeps nothing.
        key: what it is made from, as for `render_pairs`.

    Raises:
        ParameterError: `size` is no multiple of `multiple`.
        DataError: no frame shows any lower face.
    """
    path = None if folder is None else folder / "roi.json"
    if path is not None and path.exists() and (kept := load_json(path))["key"] == key:
        return Roi(*kept["roi"])

    def find_bounds(index: int) -> Int[np.ndarray, "4"]:
        ys, xs = np.nonzero(dilated_mask(model, coefficients, index, size))
        return np.array([xs.min(), ys.min(), -xs.max() - 1, -ys.max() - 1] if len(xs) else [size, size, 0, 0])

    rows = track(range(len(coefficients)), "finding the rectangle", unit="frame")
    least = np.min(list(draw_ahead(find_bounds, rows, CORES)), axis=0)
    roi = enclosing_roi(np.concatenate([least[:2], -least[2:]]), size, multiple=multiple)
    if path is not None:
        save_json(path, {"key": key, "roi": list(roi)})
    return roi


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
    """Draw the synthetic lower face and the mask of each frame and put them beside the real image.

    The arrays are memory-mapped files in `folder`, so that three minutes of video need no memory.

    Args:
        model: the face model.
        coefficients: hold every frame that is asked for.
        frames: (frame_id, crop image) of the wanted frames, frame_id increasing.
        frame_count: their number.
        roi: the rectangle.
        folder: other pairs in it are thrown away; `remove_pairs` deletes it.
        key: what the pairs are made from, in short; what an earlier, killed run left with the same one is taken as it
            is. Without one all are made.
        draw: another way to make a pair from a row of the coefficients and its crop image.

    Raises:
        ParameterError: `frame_count` is not the number of frames.
        DataError: a frame has no coefficients, or the disk no room.
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
    if key:
        with atomic_path(folder / KEY_FILE) as temporary:
            temporary.write_text(key)
    rows.close()
    return open_pairs(folder)


def find_pairs(folder: Path, key: str) -> RendererPairs | None:
    """What an earlier `render_pairs` finished in a folder with the same key; None where there is none, or no key."""
    path = folder / KEY_FILE
    return open_pairs(folder) if key and path.exists() and path.read_text() == key else None


def open_pairs(folder: Path) -> RendererPairs:
    """What `render_pairs` and `add_references` left in a folder, memory-mapped.

    Raises:
        DataError: the folder does not hold whole pairs.
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


def no_references(targets: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T 0 H W 3"]:
    """The `references` of pairs that have none."""
    return np.zeros((len(targets), 0, *targets.shape[1:]), np.uint8)


def remove_pairs(folder: Path) -> None:
    """Delete the files of `render_pairs`; they can be made again at any time."""
    shutil.rmtree(folder, ignore_errors=True)


def rows_by_frame(coefficients: Coefficients) -> dict[int, int]:
    """frame_id -> row of `coefficients`."""
    return {int(number): row for row, number in enumerate(coefficients.frame_id)}


def _refuse(number: int, count: int, frame_count: int, rows: dict[int, int]) -> None:
    if count == frame_count:
        raise ParameterError(
            f"render_pairs got more than the {frame_count} frames announced; frame {number} is too many."
        )
    raise DataError(
        f"frame {number} has no coefficients (there are {len(rows)}, from {min(rows)} to {max(rows)}). "
        "Run 03_reconstruction again."
    )
