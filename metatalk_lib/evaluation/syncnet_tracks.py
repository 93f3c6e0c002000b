"""Face tracks and face crops as the published SyncNet scores make them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.signal import medfilt
from torch import Tensor

from metatalk_lib.core.errors import FaceError, ParameterError
from metatalk_lib.networks.s3fd import CHANNEL_MEANS, VARIANCES, S3FDSyncNet
from metatalk_lib.networks.syncnet import SYNCNET_FACE_SIZE
from metatalk_lib.tracking.face_detector import box_overlap

ANCHOR_STRIDES = 4
"""Side of an anchor, in strides of its feature map."""
FIRST_STRIDE = 4
CANDIDATE_SCORE = 0.05
NMS_OVERLAP = 0.3

SYNCNET_SCALE = 0.25
"""Factor by which SyncNet's pipeline reduces frames for face detection."""
SYNCNET_SCORE, SYNCNET_OVERLAP = 0.9, 0.1

SAME_FACE_OVERLAP = 0.5
MAX_MISSED_FRAMES = 25
MIN_DETECTIONS = 101
"""Smallest number of detections in a track: four seconds at 25 fps."""
MIN_SIDE_PX = 100.0


class FaceTrack(NamedTuple):
    """One face through a clip.

    Attributes:
        frame_id: consecutive frames.
        boxes: left, top, right, bottom, px; interpolated where the face was missed.
    """

    frame_id: Int[np.ndarray, " T"]
    boxes: Float[np.ndarray, "T 4"]


def detect_for_syncnet(network: S3FDSyncNet, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "K 5"]:
    """Detect the faces of a frame: left, top, right, bottom, px, and score, the best first.

    The frame is reduced to a quarter of its size; candidates score above 0.05 and pass NMS at an overlap of 0.3; those
    above 0.9 pass a second NMS at 0.1.

    Args:
        network: in evaluation mode.
        image: RGB.

    Source: joonson/syncnet_python run_pipeline.py and detectors/s3fd; their numbers were used.
    """
    small = cv2.resize(image, None, fx=SYNCNET_SCALE, fy=SYNCNET_SCALE, interpolation=cv2.INTER_LINEAR)
    means = torch.tensor(CHANNEL_MEANS[::-1], dtype=torch.float32)
    pixels = (torch.from_numpy(small).float() - means).permute(2, 0, 1)[None]
    with torch.inference_mode():
        offsets, probabilities = network(pixels.to(next(network.parameters()).device))
    boxes = decode_boxes(offsets[0].cpu(), make_anchors(_syncnet_map_sizes(*small.shape[:2])))
    scores = probabilities[0, :, 1].cpu().numpy().astype(np.float64)
    sizes = np.tile((image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]), 2)
    found = np.column_stack([boxes.double().numpy() * sizes, scores])[scores > CANDIDATE_SCORE]
    found = found[suppress(found, NMS_OVERLAP)]
    found = found[found[:, 4] > SYNCNET_SCORE]
    return found[suppress(found, SYNCNET_OVERLAP)]


def link_tracks(detections: Iterable[Float[np.ndarray, "_ 5"]]) -> list[FaceTrack]:
    """Link detections to face tracks through a clip of one shot, in the order of their first frames.

    A face continues a track if it overlaps the track's last box by more than 0.5 (intersection over union), after at
    most 25 frames without it. Tracks of 100 detections or fewer, and of mean sides up to 100 px, are dropped.

    Args:
        detections: detections of every frame, from `detect_for_syncnet`.

    Source: joonson/syncnet_python run_pipeline.py; its numbers were used. Its shot detection is omitted, since a clip
        here is one shot.
    """
    waiting = [[box[:4] for box in found] for found in detections]
    tracks: list[FaceTrack] = []
    while True:
        numbers, boxes = _take_track(waiting)
        if not numbers:
            return tracks
        if len(numbers) < MIN_DETECTIONS:
            continue
        frame_id = np.arange(numbers[0], numbers[-1] + 1)
        filled = np.stack([np.interp(frame_id, numbers, column) for column in np.stack(boxes).T], axis=1)
        if (filled[:, 2:] - filled[:, :2]).mean(axis=0).max() > MIN_SIDE_PX:
            tracks.append(FaceTrack(frame_id, filled))


def track_faces(network: S3FDSyncNet, frames: Iterable[UInt8[np.ndarray, "H W 3"]], name: object) -> list[FaceTrack]:
    """Detect and track the faces of a clip; `name` identifies the clip in the error message.

    Raises:
        FaceError: there is no track.
    """
    counted = [detect_for_syncnet(network, frame) for frame in frames]
    tracks = link_tracks(counted)
    if not tracks:
        seen = sum(len(found) > 0 for found in counted)
        raise FaceError(
            f"{name}: S3FD sees a face on {seen} of {len(counted)} frames, and no track of {MIN_DETECTIONS} frames "
            f"with a face of more than {MIN_SIDE_PX:.0f} px. Use a clip of more than 4 s with one large face."
        )
    return tracks


def make_anchors(sizes: Iterable[Sequence[int]]) -> Float[Tensor, "P 4"]:
    """Make the anchors (centre x, y, width, height, px) of all cells, map by map, row by row.

    Args:
        sizes: rows and columns of each map; the finest has a stride of 4, each further one has twice the stride.
    """
    anchors = []
    for level, (rows, columns) in enumerate(sizes):
        stride = float(FIRST_STRIDE * 2**level)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        side = torch.full((rows * columns,), ANCHOR_STRIDES * stride)
        anchors.append(torch.stack([(x.flatten() + 0.5) * stride, (y.flatten() + 0.5) * stride, side, side], dim=1))
    return torch.cat(anchors)


def decode_boxes(offsets: Float[Tensor, "*B P 4"], anchors: Float[Tensor, "P 4"]) -> Float[Tensor, "*B P 4"]:
    """Decode the network's offsets from each anchor to boxes: left, top, right, bottom.

    centre = anchor + 0.1 · offset · side, side' = side · exp(0.2 · offset)
    """
    centre = anchors[:, :2] + VARIANCES[0] * offsets[..., :2] * anchors[:, 2:]
    side = anchors[:, 2:] * torch.exp(VARIANCES[1] * offsets[..., 2:])
    return torch.cat([centre - side / 2, centre + side / 2], dim=-1)


def suppress(found: Float[np.ndarray, "K 5"], overlap: float) -> list[int]:
    """Non-maximum suppression: indices of the boxes that no better one overlaps by more than `overlap`, the best first.

    Args:
        found: boxes (left, top, right, bottom) with scores.
        overlap: largest allowed intersection over union.
    """
    boxes, order, kept = found[:, :4], np.argsort(-found[:, 4], kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[_overlaps(boxes[best], boxes[rest]) <= overlap]
    return kept


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of a box with others."""
    shared = np.concatenate([np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])], axis=1)
    shared_area, own_area, areas = (
        np.prod(np.maximum(boxes[:, 2:4] - boxes[:, :2], 0), axis=1) for boxes in (shared, box[None], others)
    )
    return shared_area / (own_area + areas - shared_area)


def _take_track(waiting: list[list[np.ndarray]]) -> tuple[list[int], list[np.ndarray]]:
    """Extract the first track from the unassigned boxes `waiting`, and remove its boxes there."""
    numbers: list[int] = []
    boxes: list[np.ndarray] = []
    for number, found in enumerate(waiting):
        if numbers and number - numbers[-1] > MAX_MISSED_FRAMES:
            break
        near = [i for i, box in enumerate(found) if not boxes or box_overlap(boxes[-1], box) > SAME_FACE_OVERLAP]
        if near:
            numbers.append(number)
            boxes.append(found.pop(near[0]))
    return numbers, boxes


def _syncnet_map_sizes(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Rows and columns of the six feature maps; the third pool and strided convolutions round up, later pools down."""
    sizes = np.array([rows, columns]) // FIRST_STRIDE
    yield tuple(sizes)
    for rounds_up in (True, False, False, True, True):
        sizes = -(-sizes // 2) if rounds_up else sizes // 2
        yield tuple(sizes)


MEDIAN_FRAMES = 13
MIN_BOXES = MEDIAN_FRAMES // 2 + 1
"""Minimum number of boxes; fewer are dominated by the zeros that the filter assumes beyond both ends."""
_MARGIN = 0.4
"""Margin of the crop beyond the box, in half sides: on the left and right, and twice as much below."""
PADDING_GREY = 110
"""Grey level beyond the frame."""


def crop_faces(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], boxes: Float[np.ndarray, "T 4"]
) -> Iterator[UInt8[np.ndarray, "224 224 3"]]:
    """Crop the face from every frame.

    Half the larger side s and the centre (x, y) of the boxes are median filtered over 13 frames; rows y - s to
    y + 1.8 s and columns x - 1.4 s to x + 1.4 s are resized to 224 px, bilinearly. Areas beyond the frame are grey.

    Args:
        frames: RGB or BGR images, one for each box.
        boxes: left, top, right, bottom, px.

    Raises:
        ParameterError: frames and boxes differ in number, a box has no area, or there are fewer than `MIN_BOXES`.

    Source: joonson/syncnet_python run_pipeline.py, whose numbers are used.
    """
    if len(boxes) < MIN_BOXES:
        raise ParameterError(f"crop_faces: {len(boxes)} boxes; the filter needs {MIN_BOXES}.")
    sides = boxes[:, 2:] - boxes[:, :2]
    if not (sides > 0).all():
        raise ParameterError(f"crop_faces: box {int((sides <= 0).any(axis=1).argmax())} is empty.")
    half = medfilt(sides.max(axis=1).astype(np.float64) / 2, MEDIAN_FRAMES)
    x, y = (medfilt(boxes[:, [axis, axis + 2]].mean(axis=1, dtype=np.float64), MEDIAN_FRAMES) for axis in (0, 1))
    count = 0
    for count, frame in enumerate(frames, 1):
        if count > len(boxes):
            break
        yield _cut(frame, half[count - 1], x[count - 1], y[count - 1])
    if count != len(boxes):
        raise ParameterError(f"crop_faces: {len(boxes)} boxes for {count} frames. Give one for each frame.")


def _cut(frame: np.ndarray, half: float, x: float, y: float) -> UInt8[np.ndarray, "224 224 3"]:
    border, width = int(half * (1 + 2 * _MARGIN)), half * (1 + _MARGIN)
    grey = (PADDING_GREY,) * 3
    padded = cv2.copyMakeBorder(frame, border, border, border, border, cv2.BORDER_CONSTANT, value=grey)
    row, column = y + border, x + border
    rows = slice(int(row - half), int(row + half * (1 + 2 * _MARGIN)))
    return cv2.resize(padded[rows, int(column - width) : int(column + width)], (SYNCNET_FACE_SIZE, SYNCNET_FACE_SIZE))
