"""A fixed square crop around the face, its size chosen from the face's pixels, and the inverse map to the source."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from metatalk_lib.core.artifacts import atomic_path, load_json, save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check
from metatalk_lib.core.parallel import read_ahead
from metatalk_lib.core.progress import track as show_progress
from metatalk_lib.media.video import VideoInfo, probe_video, read_frames, read_selected_frames
from metatalk_lib.media.video_writer import VideoWriter, open_video_writer, write_video
from metatalk_lib.tracking.face_detector import face_width
from metatalk_lib.tracking.landmarks import LandmarkTrack

SMALL_SIZE = 256
"""Side of the second, small copy, px, and of the crop of a small face."""
CROP_SIZES = (512, 768, 1024)
"""Possible sides of a high-definition crop, px."""
NATURAL_SIDE = 1.85
"""Preferred side of the square, in face widths, which shows the whole head."""
TIGHTEST_SIDE, WIDEST_SIDE = 1.6, 2.2
"""Range of sides, in face widths, within which a size is used without resampling."""
LEAST_TRAINED = 3
"""The held-out tail is at most one part in so many: a clip of a few seconds keeps most of them to train on."""
LEAST_HELD_OUT_FRAMES, LEAST_HELD_OUT_S = 14, 0.64
"""Shortest held-out tail: control rows are shifted by five frames, and SyncNet sees sixteen at its 25 per second."""
LARGEST_CROP_ENLARGEMENT = 1.25
"""Largest enlargement to 512 px; a face that needs more gets a 256 px crop."""

# margins around the landmarks, in face widths: the hairline above the brows, the lowered jaw, the ears
_ABOVE_BROWS = 0.40
_BELOW_CHIN = 0.05
_JAW_DROP = 0.15
_BESIDE = 0.08


@dataclass(frozen=True)
class CropTransform:
    """A square of the source frame, scaled to `size` pixels. It may extend beyond the frame.

    Attributes:
        left, top: first column and row of the square in the source, px.
        side: side of the square in the source, px.
        size: side of the crop, px; equal to `side` if nothing is resampled.
    """

    left: int
    top: int
    side: int
    size: int

    def to_crop(self, points: Float[np.ndarray, "*P 2"]) -> Float[np.ndarray, "*P 2"]:
        """Map source px to crop px: x' = (x - left + 0.5) size / side - 0.5."""
        return ((points - (self.left, self.top) + 0.5) * (self.size / self.side) - 0.5).astype(points.dtype)

    def to_source(self, points: Float[np.ndarray, "*P 2"]) -> Float[np.ndarray, "*P 2"]:
        """Map crop px to source px, the inverse of `to_crop`."""
        return ((points + 0.5) * (self.side / self.size) - 0.5 + (self.left, self.top)).astype(points.dtype)

    def crop_image(self, frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "size size 3"]:
        """Cut out the square, repeating edge pixels beyond the frame. If size equals side, the pixels are unchanged."""
        bottom, right = self.top + self.side, self.left + self.side
        if min(self.left, self.top) >= 0 and bottom <= frame.shape[0] and right <= frame.shape[1]:
            return resize_square(np.ascontiguousarray(frame[self.top : bottom, self.left : right]), self.size)
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, frame.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, frame.shape[1] - 1)
        return resize_square(frame[rows[:, None], columns], self.size)

    def paste(
        self,
        frame: UInt8[np.ndarray, "H W 3"],
        image: UInt8[np.ndarray, "size size 3"],
        alpha: Float[np.ndarray, "size size"] | None = None,
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Paste a crop into a copy of its source frame: out = alpha image + (1 - alpha) frame.

        Args:
            frame: the source frame; not changed.
            image: the crop.
            alpha: weight of the crop in [0, 1]; None pastes the whole square. Where it is 0, the frame is unchanged.
        """
        out = frame.copy()
        top, bottom = max(self.top, 0), min(self.top + self.side, frame.shape[0])
        left, right = max(self.left, 0), min(self.left + self.side, frame.shape[1])
        inside = np.s_[top - self.top : bottom - self.top, left - self.left : right - self.left]
        square = resize_square(image, self.side)[inside]
        target = out[top:bottom, left:right]
        if alpha is None:
            target[:] = square
            return out
        weight = np.clip(resize_square(alpha.astype(np.float32), self.side)[inside], 0.0, 1.0)[..., None]
        blended = np.rint(weight * square + (1.0 - weight) * target).astype(np.uint8)
        np.copyto(target, blended, where=weight > 0)
        return out

    @classmethod
    def load(cls, path: str | Path) -> "CropTransform":
        """Load the transform from a `crop.json`.

        Raises:
            DataError: the file is absent, is not JSON, or lacks a field.
        """
        return cls(**{name: load_crop(path)[name] for name in ("left", "top", "side", "size")})


def choose_crop(track: LandmarkTrack, info: VideoInfo, crop_size: int = 0) -> CropTransform:
    """Choose the square that contains the face in every frame.

    The natural side is 1.85 median face widths, or more if the head moves. The size is the one of 512, 768 and 1024
    nearest to it that lies between 1.6 and 2.2 face widths and contains the face in every frame; the crop is then cut
    out without resampling. If there is none, the natural square is resampled to the size that scales it least; a face
    so small that 512 would enlarge it by more than 1.25 is resampled to 256.

    Args:
        track: landmarks of the clip.
        info: properties of the source video.
        crop_size: side of the crop, 256, 512, 768 or 1024 px; 0 chooses it automatically.

    Raises:
        ParameterError: the size is not one of these.
        DataError: a landmark is not finite.

    Source: original to this project.
    """
    if crop_size not in (0, SMALL_SIZE, *CROP_SIZES):
        raise ParameterError(
            f"crop_size is {crop_size}; it must be 0, {SMALL_SIZE}, {', '.join(map(str, CROP_SIZES))}."
        )
    if not np.isfinite(track.landmarks).all():
        raise DataError("the landmarks are not all finite. Run 01_crop again.")
    width = float(np.median(face_width(track.landmarks)))
    low, high = _needed_rectangle(track.landmarks, width, info)
    needed = int(np.ceil((high - low).max())) + 1
    side, size = _choose_size(width, needed, crop_size)
    corner = np.rint((low + high + 1 - side) / 2).astype(int)
    frame = np.array([info.width, info.height])
    # stay within the picture if the square fits and still contains the face
    inside = np.clip(corner, 0, np.maximum(frame - side, 0))
    fits = (side <= frame) & (inside <= np.floor(low)) & (inside + side > np.ceil(high))
    left, top = np.where(fits, inside, corner)
    return CropTransform(int(left), int(top), side, size)


def describe_crop(transform: CropTransform, track: LandmarkTrack) -> str:
    """Describe the chosen crop in one line, with a plain notice if the face is small."""
    width = float(np.median(face_width(track.landmarks)))
    scale = transform.size / transform.side
    how = "cut out without resampling" if transform.side == transform.size else f"resampled by {scale:.3f}"
    text = (
        f"crop: {transform.side} px square at ({transform.left}, {transform.top}), {how}, {transform.size} px; "
        f"face {width:.0f} px wide"
    )
    if transform.size == SMALL_SIZE:
        text += (
            f". Notice: the face has too few pixels for 512 px (its natural square is {NATURAL_SIDE * width:.0f} px), "
            "so the crop is 256 px and not high definition. Film closer or at a higher resolution."
        )
    return text


def measure_crop(transform: CropTransform, track: LandmarkTrack) -> dict[str, float]:
    """Return the figures of the summary: sizes in px, and the share of the crop's side that the face fills."""
    width = float(np.median(face_width(track.landmarks)))
    return {
        "face_width_px": round(width, 2),
        "crop_side_px": transform.side,
        "crop_size_px": transform.size,
        "resampling": round(transform.size / transform.side, 4),
        "face_share": round(width / transform.side, 4),
    }


def held_out_start(info: VideoInfo, held_out_seconds: float) -> int:
    """Return the first frame_id of the held-out tail, on which no stage trains.

    The tail is as long as asked for, at least as long as measures need it, and at most a third of the clip.

    Raises:
        DataError: less than one second would be left for training.
    """
    least = max(LEAST_HELD_OUT_FRAMES, round(LEAST_HELD_OUT_S * info.fps))
    start = info.frame_count - min(max(round(held_out_seconds * info.fps), least), info.frame_count // LEAST_TRAINED)
    if start < info.fps:
        raise DataError(
            f"the video {info.path} lasts {info.duration_s:.2f} s; with its tail held out less than 1 s is left to "
            "train on. Give a longer video."
        )
    return start


def check_held_out(info: VideoInfo, held_out: int, held_out_seconds: float) -> Check:
    """Say how long the held-out tail is, and where that is not what was asked for.

    Args:
        info: properties of the source video.
        held_out: first frame of the tail, from `held_out_start`.
        held_out_seconds: length asked for, s.
    """
    seconds = float((info.frame_count - held_out) / info.fps)
    figure = f"{seconds:.2f} s, frames {held_out} to {info.frame_count - 1}"
    if info.frame_count - held_out >= round(held_out_seconds * info.fps):
        return Check("held-out tail", "ok", figure)
    figure += f": a third of the clip, where {held_out_seconds:g} s were asked for"
    return Check("held-out tail", "notice", figure, "Measures over so few frames say little: give a longer video.")


def save_crop(path: str | Path, transform: CropTransform, info: VideoInfo, held_out: int) -> None:
    """Write `crop.json`: the square; the source with its size, rate and length; and the start of the held-out tail."""
    save_json(
        Path(path),
        {
            "left": transform.left,
            "top": transform.top,
            "side": transform.side,
            "size": transform.size,
            "source": str(info.path),
            "width": info.width,
            "height": info.height,
            "fps": [info.fps.numerator, info.fps.denominator],
            "frame_count": info.frame_count,
            "held_out_start": held_out,
        },
    )


def load_crop(path: str | Path) -> dict[str, Any]:
    """Load `crop.json` and check that it has all fields.

    Raises:
        DataError: the file is absent, is not JSON, or lacks a field.
    """
    values = load_json(Path(path))
    names = {"left", "top", "side", "size", "source", "width", "height", "fps", "frame_count", "held_out_start"}
    missing = sorted(names - set(values)) if isinstance(values, dict) else sorted(names)
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}. Run 01_crop again.")
    return values


def write_face_videos(source: str | Path, transform: CropTransform, face_path: Path, small_path: Path) -> int:
    """Write the square at its own size and at 256 px, both without sound, and return the number of frames.

    Both are made in one pass: the small copy is reduced from the source's pixels, not from the encoded square. One
    thread decodes and crops, one encodes the square, and the calling thread encodes the small copy.
    """
    info = probe_video(source)
    images = map(transform.crop_image, read_frames(source))
    if transform.size == SMALL_SIZE:
        count = write_video(face_path, show_progress(images, "cropping", total=info.frame_count), fps=info.fps)
        with atomic_path(small_path) as temporary:
            shutil.copyfile(face_path, temporary)
        return count
    with (
        open_video_writer(face_path, fps=info.fps) as face,
        open_video_writer(small_path, fps=info.fps) as small,
        # closed before the writers: even after an error, no thread may continue to add to a closed file
        closing(read_ahead(images)) as cut_out,
        closing(read_ahead(_add_each(face, cut_out))) as written,
    ):
        for image in show_progress(written, "cropping", total=info.frame_count):
            small.add(resize_square(image, SMALL_SIZE))
    return face.count


def _add_each(writer: VideoWriter, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield images after they are written."""
    for image in images:
        writer.add(image)
        yield image


def make_contact_sheet(
    face_path: str | Path,
    transform: CropTransform,
    track: LandmarkTrack,
    *,
    tiles: int = 12,
    columns: int = 4,
    tile_px: int = SMALL_SIZE,
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw evenly spaced frames of the face video with landmarks and frame_ids.

    Bridged frames get a red border, frames with a hidden mouth an orange one; if there are any, one of each is shown.

    Args:
        face_path: the face video, or its 256 px copy, which is read in a third of the time.
        transform: map from source px to px of the face video.
        track: landmarks of the clip.
        tiles: number of frames.
        columns: tiles per row.
        tile_px: side of a tile, px.
    """
    chosen = _choose_tiles(track, tiles)
    sheet = np.full((-(-len(chosen) // columns) * tile_px, columns * tile_px, 3), 255, np.uint8)
    points = transform.to_crop(track.landmarks[chosen])
    for place, (index, image) in enumerate(zip(chosen, read_selected_frames(face_path, chosen), strict=True)):
        tile = cv2.resize(image, (tile_px, tile_px), interpolation=cv2.INTER_AREA)
        for x, y in (points[place] + 0.5) * tile_px / transform.size - 0.5:
            # sub-pixel centre, in sixteenths of a pixel
            cv2.circle(tile, (round(x * 16), round(y * 16)), 24, (0, 255, 120), -1, cv2.LINE_AA, 4)
        cv2.putText(
            tile,
            str(track.frame_id[index]),
            (8, tile_px - 10),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        border = (240, 150, 30) if _is_hidden(track, int(index)) else None if track.detected[index] else (230, 40, 40)
        if border:
            cv2.rectangle(tile, (0, 0), (tile_px - 1, tile_px - 1), border, 5)
        row, column = divmod(place, columns)
        sheet[row * tile_px : (row + 1) * tile_px, column * tile_px : (column + 1) * tile_px] = tile
    return sheet


def _choose_tiles(track: LandmarkTrack, tiles: int) -> np.ndarray:
    """Choose evenly spaced frames, and among them the first bridged one and the first hidden mouth."""
    chosen = np.unique(np.linspace(0, len(track.frame_id) - 1, tiles).astype(int))
    hidden = track.occluded if track.occluded is not None else np.zeros_like(track.detected)
    for special in (~track.detected & ~hidden, hidden):
        if special.any() and not special[chosen].any():
            first = int(np.flatnonzero(special)[0])
            chosen[np.abs(chosen - first).argmin()] = first
    return np.unique(chosen)


def _is_hidden(track: LandmarkTrack, index: int) -> bool:
    return track.occluded is not None and bool(track.occluded[index])


def save_image(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture as PNG."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes())


def resize_square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square picture to `size` px: averaged if it shrinks, cubic if it grows, unchanged if it fits."""
    if image.shape[0] == size:
        return image
    interpolation = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=interpolation)


def _needed_rectangle(landmarks: np.ndarray, width: float, info: VideoInfo) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the area that the square must contain.

    It covers all landmarks and, as far as the picture extends, also the forehead and the open jaw.
    """
    low, high = landmarks.min(axis=(0, 1)).astype(np.float64), landmarks.max(axis=(0, 1)).astype(np.float64)
    chin = landmarks[:, 8, 1]
    roomy_low = np.array([low[0] - _BESIDE * width, low[1] - _ABOVE_BROWS * width])
    roomy_high = np.array(
        [high[0] + _BESIDE * width, max(chin.max() + _BELOW_CHIN * width, np.median(chin) + _JAW_DROP * width)]
    )
    last = np.array([info.width - 1.0, info.height - 1.0])
    return np.minimum(low, np.maximum(roomy_low, 0.0)), np.maximum(high, np.minimum(roomy_high, last))


def _choose_size(width: float, needed: int, crop_size: int) -> tuple[int, int]:
    """Choose the side of the square in the source and in the crop, px."""
    natural = max(round(NATURAL_SIDE * width), needed)
    candidates: tuple[int, ...]
    if crop_size:
        candidates = (crop_size,)
    elif LARGEST_CROP_ENLARGEMENT * natural < CROP_SIZES[0]:
        candidates = (SMALL_SIZE,)
    else:
        candidates = CROP_SIZES
    exact = [size for size in candidates if TIGHTEST_SIDE * width <= size <= WIDEST_SIDE * width and size >= needed]
    if exact:
        size = min(exact, key=lambda size: abs(size - natural))
        return size, size
    return natural, min(candidates, key=lambda size: abs(np.log(size / natural)))
