"""Draw the pictures of docs/gallery.md: what stage 03 makes of studio characters, and of real people.

    python -m benchmarks.gallery [--clips FOLDER]

Of real people only what was fitted is drawn, in the model's own mean skin: their pictures do not belong to the project.
"""

import argparse
import dataclasses
from pathlib import Path

import cv2
import numpy as np

from benchmarks.reconstruction import REAL, SECONDS, open_clip
from metatalk_lib.artifacts import atomic_path
from metatalk_lib.coefficient_views import draw_views, render_coefficients, resize_frame
from metatalk_lib.face_model import Coefficients, FaceModel, load_face_model
from metatalk_lib.landmark_fit import predicted_landmarks
from metatalk_lib.landmarks import mouth_opening
from metatalk_lib.paths import PROJECT_ROOT
from metatalk_lib.studio import ensure_studio_video

CHARACTERS = "ACEG"
CELL_PX = 256
FRAMES_OF_A_CLIP = 4
JPEG_QUALITY = 90
DETECTED, FITTED = (255, 120, 60), (90, 220, 255)
FOLDER = PROJECT_ROOT / "docs" / "gallery"


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


def save_jpeg(path: Path, image: np.ndarray) -> None:
    """Write an RGB picture."""
    code = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(code.tobytes())


def main() -> None:
    """Draw both sheets; the one of real people only where their clips are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=REAL, help="folder with videos of real people")
    arguments = parser.parse_args()
    model = load_face_model()
    FOLDER.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate([draw_character(model, name) for name in CHARACTERS], axis=0)
    save_jpeg(FOLDER / "reconstruction_studio.jpg", sheet)
    clips = sorted(arguments.clips.glob("*.mp4"))
    if clips:
        sheet = np.concatenate([draw_clip(model, path) for path in clips], axis=0)
        save_jpeg(FOLDER / "reconstruction_real.jpg", sheet)


if __name__ == "__main__":
    main()
