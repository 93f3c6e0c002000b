"""Draw the pictures of docs/gallery.md: what stages 03 and 05 make of studio characters, and of real people.

    python -m benchmarks.gallery [--clips FOLDER] [--parts faces mouths]

Of real people only what was fitted is drawn for the docs, in the model's own mean skin: their pictures do not belong to
the project. Their mouths, painted and real, go to `outputs/bench/gallery`.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.reconstruction import REAL, SECONDS, open_clip
from benchmarks.renderer_cases import Case, open_real, open_studio, train
from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.neural_renderer.inspection import cut_mouths, paint_pairs
from metatalk_lib.reconstruction.landmark_fit import predicted_landmarks
from metatalk_lib.studio.render_video import ensure_studio_video
from metatalk_lib.tracking.crop import save_image
from metatalk_lib.tracking.landmarks import mouth_opening
from metatalk_lib.visualization.coefficient_views import draw_views, render_coefficients, resize_frame

CHARACTERS = "ACEG"
MOUTH_CHARACTERS = "ABDF"
"""Crops of 512, 768, 1024 and 512 px."""
CELL_PX = 256
FRAMES_OF_A_CLIP = 4
JPEG_QUALITY = 90
DETECTED, FITTED = (255, 120, 60), (90, 220, 255)
FOLDER = PROJECT_ROOT / "docs" / "gallery"
OWN_FOLDER = PROJECT_ROOT / "outputs" / "bench" / "gallery"
CLOSE_UPS = 8
GAP_PX = 4


def draw_character(model: FaceModel, name: str) -> np.ndarray:
    """Frame, overlay, render and error map of a character with the mouth well open, side by side."""
    clip = open_clip(ensure_studio_video(name, SECONDS))
    fit = clip.fit(model)
    row = int(np.argsort(mouth_opening(clip.landmarks))[-len(fit) // 10])
    frame = next(iter(clip.reader()(row, row + 1)))
    views = draw_views(model, fit, row, resize_frame(frame, CELL_PX))
    return np.concatenate([views.original, views.overlay, views.render, views.error], axis=1)


def draw_clip(model: FaceModel, path: Path) -> np.ndarray:
    """Four moments of a real clip: the fitted face in the mean skin, with the detector's landmarks and the fit's."""
    clip = open_clip(path, "largest")
    fit = clip.fit(model)
    plain = without_likeness(fit)
    fitted = predicted_landmarks(model, fit, clip.crop.size) * (CELL_PX / clip.crop.size)
    detected = clip.landmarks * (CELL_PX / clip.crop.size)
    by_opening = np.argsort(mouth_opening(clip.landmarks))
    rows = by_opening[np.linspace(0, len(fit) - 1, FRAMES_OF_A_CLIP).round().astype(int)]
    cells = []
    for row in rows.tolist():
        cell = np.ascontiguousarray(render_coefficients(model, plain, row, CELL_PX))
        for points, colour in ((detected[row], DETECTED), (fitted[row], FITTED)):
            for x, y in np.round(16 * points).astype(int).tolist():
                cv2.circle(cell, (x, y), 16 + 8, colour, -1, cv2.LINE_AA, shift=4)
        cells.append(cell)
    return np.concatenate(cells, axis=1)


def without_likeness(fit: Coefficients) -> Coefficients:
    """The same face in the model's mean skin under plain light."""
    return dataclasses.replace(fit, texture=np.zeros_like(fit.texture), illumination=np.zeros_like(fit.illumination))


def draw_mouths(case: Case) -> np.ndarray:
    """Eight held-out mouths at 1:1: above the real ones, below what the renderer paints in their place."""
    renderer, _ = train(case)
    rows = np.linspace(0, len(case.held_out) - 1, CLOSE_UPS).round().astype(int)
    some = case.held_out.select(rows)
    sheets = (
        cut_mouths(images, case.landmarks[rows], width=case.settings.size // 4)
        for images in (some.targets, paint_pairs(renderer, some))
    )
    gap = ((0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0))
    lines = (np.concatenate(list(np.pad(sheet, gap, constant_values=255)), axis=1) for sheet in sheets)
    return np.concatenate(list(lines), axis=0)


def save_jpeg(path: Path, image: np.ndarray) -> None:
    """Write an RGB picture."""
    code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(code.tobytes())


def draw_faces(model: FaceModel, clips: list[Path]) -> None:
    """The sheets of stage 03."""
    sheet = np.concatenate([draw_character(model, name) for name in CHARACTERS], axis=0)
    save_jpeg(FOLDER / "reconstruction_studio.jpg", sheet)
    if clips:
        sheet = np.concatenate([draw_clip(model, path) for path in clips], axis=0)
        save_jpeg(FOLDER / "reconstruction_real.jpg", sheet)


def draw_close_ups(model: FaceModel, clips: list[Path]) -> None:
    """The sheets of stage 05; those of real people stay out of the project."""
    with tempfile.TemporaryDirectory() as folder:
        for name in MOUTH_CHARACTERS:
            save_jpeg(FOLDER / f"mouths_{name}.jpg", draw_mouths(open_studio(name, model, Path(folder))))
        for path in clips:
            save_image(OWN_FOLDER / f"mouths_{path.stem}.png", draw_mouths(open_real(path, model, Path(folder))))


def main() -> None:
    """Draw all sheets; those of real people only where their clips are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=REAL, help="folder with videos of real people")
    parser.add_argument("--parts", nargs="+", default=("faces", "mouths"), choices=("faces", "mouths"))
    arguments = parser.parse_args()
    model, clips = load_face_model(), sorted(arguments.clips.glob("*.mp4"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    if "faces" in arguments.parts:
        draw_faces(model, clips)
    if "mouths" in arguments.parts:
        draw_close_ups(model, clips)


if __name__ == "__main__":
    main()
