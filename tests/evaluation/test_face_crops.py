"""The crops that SyncNet sees: where they lie, what is beyond the frame, and that they do not shake."""

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation.syncnet_tracks import crop_faces


def ramp_frames(count: int, height: int = 400, width: int = 500) -> list[np.ndarray]:
    """Red tells the column, green the row, both over two."""
    columns, rows = np.meshgrid(np.arange(width) / 2, np.arange(height) / 2)
    image = np.stack([columns, rows, np.full_like(rows, 7)], axis=2).astype(np.uint8)
    return [image] * count


def test_the_crop_lies_where_the_recipe_says():
    boxes = np.tile([200.0, 120, 280, 220], (20, 1))
    crops = list(crop_faces(ramp_frames(20), boxes))
    assert len(crops) == 20
    # half side 50 round (240, 170): rows 120 to 260, columns 170 to 310, 140 px to 224
    middle = crops[10].astype(float)
    assert middle[0, 0, :2] == pytest.approx([85, 60], abs=0.6)
    assert middle[-1, -1, :2] == pytest.approx([155 - 0.5, 130 - 0.5], abs=0.6)


def test_beyond_the_frame_all_is_grey():
    boxes = np.tile([0.0, 300, 100, 400], (20, 1))
    crop = list(crop_faces(ramp_frames(20), boxes))[10]
    assert (crop[-20:] == 110).all()
    assert (crop[:, :20] == 110).all()
    assert crop[60, 120, 2] == 7


def test_one_wild_box_does_not_move_the_crop():
    boxes = np.tile([200.0, 120, 280, 220], (30, 1))
    boxes[15] = (10, 10, 400, 390)
    crops = list(crop_faces(ramp_frames(30), boxes))
    np.testing.assert_array_equal(crops[15], crops[14])


def test_bad_boxes_are_refused():
    boxes = np.tile([200.0, 120, 280, 220], (20, 1))
    for count in (0, 19, 21):
        with pytest.raises(ParameterError, match=f"20 boxes for {count} frames"):
            list(crop_faces(ramp_frames(count), boxes))
    boxes[3, 2] = 200
    with pytest.raises(ParameterError, match="box 3 is empty"):
        list(crop_faces(ramp_frames(20), boxes))


def test_too_few_boxes_for_the_filter_are_refused():
    boxes = np.tile(np.float32([60, 60, 160, 160]), (6, 1))
    with pytest.raises(ParameterError, match="6 boxes; the filter needs 7"):
        next(crop_faces([np.zeros((200, 200, 3), np.uint8)] * 6, boxes))
