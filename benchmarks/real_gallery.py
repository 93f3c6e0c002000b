"""A page of real clips: eight mouths of each, painted above real, and the frame in which they differ most."""

import html
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from metatalk_lib.core.artifacts import atomic_path, load_json
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.tracking.crop import CropTransform, load_crop, save_image
from metatalk_lib.tracking.landmarks import MOUTH, LandmarkTrack

CLOSE_UPS, CLOSE_UP_PX, FACE_PX = 8, 160, 480
ROOM = 1.7
"""Side of a close-up, in mouth widths."""


def write_gallery(folder: Path, names: list[str]) -> Path:
    """Write `index.html` and its pictures beside the clips' outputs, and return the page's path.

    Args:
        folder: folder of all clips' outputs.
        names: clips whose stage 05 is finished.
    """
    parts = ["<!doctype html><meta charset='utf-8'><title>Real clips</title>", "<h1>Real clips</h1>"]
    parts.append("<p>The held-out tail speaks its own sound: painted above, real below; then the worst frame.</p>")
    for name in names:
        mouths, worst, frame_id = draw_clip(folder / name)
        save_image(folder / f"{name}_mouths.png", mouths)
        save_image(folder / f"{name}_worst.png", worst)
        notices = "".join(f"<li>{html.escape(line)}</li>" for line in read_notices(folder / name))
        parts.append(
            f"<h2>{html.escape(name)}</h2><img src='{name}_mouths.png' alt='mouths of {name}'>"
            f"<p>frame {frame_id}</p><img src='{name}_worst.png' alt='worst frame of {name}'><ul>{notices}</ul>"
        )
    page = folder / "index.html"
    with atomic_path(page) as temporary:
        temporary.write_text("\n".join(parts) + "\n", "utf-8")
    return page


def draw_clip(folder: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Draw the mouths and the worst frame of a clip; with that frame's number."""
    crop, transform = load_crop(folder / "01_crop" / "crop.json"), CropTransform.load(folder / "01_crop" / "crop.json")
    track = LandmarkTrack.load(folder / "01_crop" / "landmarks.npz")
    finished, start = folder / "05_neural_renderer" / "talk_held_out.mp4", crop["held_out_start"]
    count = min(probe_video(finished).frame_count, crop["frame_count"] - start)
    shown = set(np.linspace(0, count - 1, CLOSE_UPS).round().astype(int).tolist())
    columns: list[np.ndarray] = []
    worst: tuple[float, int, Any] = (-1.0, start, None)
    pairs = zip(read_frames(finished, 0, count), read_frames(crop["source"], start, start + count), strict=True)
    for row, (painted, real) in enumerate(pairs):
        points = track.landmarks[start + row]
        difference = float(cv2.absdiff(painted, real).mean())
        if difference > worst[0]:
            squares = [cv2.resize(transform.crop_image(image), (FACE_PX, FACE_PX)) for image in (painted, real)]
            worst = (difference, start + row, np.concatenate(squares, axis=1))
        if row in shown:
            columns.append(np.concatenate([cut_mouth(image, points) for image in (painted, real)], axis=0))
    return np.concatenate(columns, axis=1), worst[2], worst[1]


def cut_mouth(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Cut out the square around a mouth and scale it to the close-up's size."""
    mouth = landmarks[MOUTH].astype(np.float64)
    half = ROOM * np.ptp(mouth[:, 0]) / 2
    scale = CLOSE_UP_PX / (2 * half)
    corner = mouth.mean(axis=0) - half
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(image, matrix, (CLOSE_UP_PX, CLOSE_UP_PX), flags=interpolation)


def read_notices(folder: Path) -> list[str]:
    """List the findings of a clip's stages that are not ok."""
    found = [
        (path.parent.name[:2], finding)
        for path in sorted(folder.glob("*/summary.json"))
        for finding in load_json(path).get("findings", [])
    ]
    return [f"{stage}: {f['name']} {f['figure']}. {f['advice']}" for stage, f in found if f["status"] != "ok"]
