"""Draw the pictures of the README: a moving one, and a thumbnail of each notebook.

    python -m benchmarks.media [--folder outputs/A]

The folder is that of a character whose seven stages are finished. The moving picture shows the held-out tail, the
source beside the finished video that its own audio drives. The thumbnails are cut out of the executed notebooks.
"""

import argparse
import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from metatalk_lib.core.artifacts import atomic_path, load_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.tracking.crop import CropTransform, load_crop

MEDIA = PROJECT_ROOT / "docs" / "media"
SIDE_PX, SHOWN_FPS, SECONDS, QUALITY = 360, 12.5, 3.0, 80
GAP_PX = 4
THUMBNAIL_PX = (220, 165)
CHARACTERISTIC = {
    "01_crop": "make_contact_sheet(",
    "02_pseudo_video": "plot_mouth_sheet(",
    "03_reconstruction": "render_overlays(",
    "04_audio_to_expression": "plot_audio_features(",
    "05_neural_renderer": "error_maps(",
    "06_evaluation": "plot_score_bars(",
    "07_user_study": "plot_clips(",
}
"""Notebook to a call in the cell whose picture stands for it."""


class MovingPicture(NamedTuple):
    """Frames, and how long each is shown, ms."""

    frames: list[np.ndarray]
    duration_ms: float


def pair_frames(folder: Path) -> MovingPicture:
    """The held-out tail: the source's crop beside the same crop of the finished video, at about `SHOWN_FPS`.

    Raises:
        DataError: stage 01 or 05 is not finished, or the source is not where stage 01 found it.
    """
    place = load_crop(folder / "01_crop" / "crop.json")
    source, ours = Path(place["source"]), folder / "05_neural_renderer" / "talk_held_out.mp4"
    for path in (source, ours):
        if not path.exists():
            raise DataError(f"{path} does not exist. Run stages 01 to 05 of {folder.name} again.")
    crop, start = (
        CropTransform(**{name: place[name] for name in ("left", "top", "side", "size")}),
        place["held_out_start"],
    )
    fps = float(probe_video(source).fps)
    step, count = max(1, round(fps / SHOWN_FPS)), min(probe_video(ours).frame_count, round(SECONDS * fps))
    shown = (read_frames(source, start, start + count, step=step), read_frames(ours, 0, count, step=step))
    gap = np.full((SIDE_PX, GAP_PX, 3), 255, np.uint8)
    frames = []
    for pair in zip(*shown, strict=True):
        left, right = (np.asarray(shrink(crop.crop_image(frame))) for frame in pair)
        frames.append(np.concatenate([left, gap, right], axis=1))
    return MovingPicture(frames, 1000 * step / fps)


def shrink(image: np.ndarray) -> Image.Image:
    """A square picture at the moving picture's size."""
    return Image.fromarray(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def save_moving(path: Path, moving: MovingPicture) -> None:
    """Write an animated WebP that plays for ever."""
    first, *others = map(Image.fromarray, moving.frames)
    with atomic_path(path) as temporary:
        options = {"duration": round(moving.duration_ms), "loop": 0, "quality": QUALITY, "method": 6}
        first.save(temporary, save_all=True, append_images=others, **options)


def find_picture(notebook: Path, call: str) -> Image.Image:
    """The first picture that a notebook's cell with a certain call showed.

    Raises:
        DataError: the notebook was not executed, or has no such cell.
    """
    for cell in load_json(notebook)["cells"]:
        if cell["cell_type"] == "code" and call in "".join(cell["source"]):
            for output in cell["outputs"]:
                if picture := output.get("data", {}).get("image/png"):
                    return Image.open(io.BytesIO(base64.b64decode("".join(picture)))).convert("RGB")
    raise DataError(f"{notebook} shows no picture by `{call}`. Run it, or name another call in CHARACTERISTIC.")


def cut_thumbnail(picture: Image.Image) -> Image.Image:
    """The top left of a picture in the thumbnails' shape, as much as fits, made small."""
    wide, high = THUMBNAIL_PX
    scale = min(picture.width / wide, picture.height / high)
    cut = picture.crop((0, 0, round(wide * scale), round(high * scale)))
    return cut.resize(THUMBNAIL_PX, Image.Resampling.LANCZOS)


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=PROJECT_ROOT / "outputs" / "A", help="a character's folder")
    folder = parser.parse_args().folder
    save_moving(MEDIA / "talking.webp", pair_frames(folder))
    for stage, call in CHARACTERISTIC.items():
        with atomic_path(MEDIA / f"{stage}.png") as temporary:
            cut_thumbnail(find_picture(folder / "notebooks" / f"{stage}.ipynb", call)).save(temporary, optimize=True)
    print(f"written: {MEDIA}")


if __name__ == "__main__":
    main()
