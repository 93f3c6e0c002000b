"""The README's pictures: where they come from, and that they stay small."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import media
from metatalk_lib.core.errors import DataError


def encode(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def write_notebook(path: Path, picture: Image.Image) -> Path:
    output = {"data": {"image/png": encode(picture)}}
    cells = [
        {"cell_type": "markdown", "source": ["plot_it()"]},
        {"cell_type": "code", "source": ["plot_other()"], "outputs": []},
        {"cell_type": "code", "source": ["x = 1\n", "plot_it(x)"], "outputs": [{"text": "1"}, output]},
    ]
    path.write_text(json.dumps({"cells": cells}), "utf-8")
    return path


def test_a_picture_is_found_by_the_call_that_drew_it(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", Image.new("RGB", (8, 6), "red"))
    assert media.find_picture(notebook, "plot_it(").size == (8, 6)
    with pytest.raises(DataError, match=r"a\.ipynb shows no picture by `plot_other\(`"):
        media.find_picture(notebook, "plot_other(")


@pytest.mark.parametrize("size", [(1000, 200), (200, 1000), (440, 330)])
def test_a_thumbnail_shows_the_top_left(size):
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", (0, 0, min(size) // 2, min(size) // 2))
    thumbnail = media.cut_thumbnail(picture)
    assert thumbnail.size == media.THUMBNAIL_PX
    assert thumbnail.getpixel((5, 5)) == (255, 0, 0)


def test_the_moving_picture_keeps_its_frames_and_their_time(tmp_path):
    frames = [np.full((8, 16, 3), 80 * number, np.uint8) for number in range(3)]
    media.save_moving(tmp_path / "a.webp", media.MovingPicture(frames, 80.0))
    with Image.open(tmp_path / "a.webp") as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"]) == (3, (16, 8), 0)


def test_an_unfinished_character_is_refused(tmp_path):
    place = {"left": 0, "top": 0, "side": 8, "size": 8, "source": str(tmp_path / "gone.mp4"), "width": 8, "height": 8}
    place |= {"fps": [25, 1], "frame_count": 2, "held_out_start": 1}
    (tmp_path / "01_crop").mkdir()
    (tmp_path / "01_crop" / "crop.json").write_text(json.dumps(place), "utf-8")
    with pytest.raises(DataError, match=r"gone\.mp4 does not exist\. Run stages 01 to 05"):
        media.pair_frames(tmp_path)


def test_what_is_committed_stays_small():
    sizes = {path.name: path.stat().st_size for path in media.MEDIA.iterdir()}
    assert sizes["talking.webp"] < 5e6
    assert sum(sizes.values()) < 10e6
    assert {f"{stage}.png" for stage in media.CHARACTERISTIC} < set(sizes)
