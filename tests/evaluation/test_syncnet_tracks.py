"""S3FD's boxes and SyncNet's face tracks: geometry, thresholds and what counts as one face."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import FaceError
from metatalk_lib.evaluation import syncnet_tracks
from metatalk_lib.networks.s3fd import S3FDSyncNet


class Planted(S3FDSyncNet):
    """Answers as if one anchor of the second map saw a face."""

    def __init__(self, probability: float = 0.99) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, images):
        offsets, _ = super().forward(images)
        probabilities = torch.tensor([1.0, 0.0]).repeat(offsets.shape[1], 1)
        first_map = (images.shape[2] // 4) * (images.shape[3] // 4)
        chosen = first_map + 2 * -(-(images.shape[3] // 4) // 2) + 3
        probabilities[chosen] = torch.tensor([1 - self.probability, self.probability])
        probabilities[chosen + 1] = torch.tensor([0.08, 0.92])
        return torch.zeros_like(offsets), probabilities[None]


@pytest.mark.parametrize("size", [(240, 320), (301, 257), (512, 640)])
def test_syncnet_anchors_are_as_many_as_its_answers(size):
    image = np.zeros((*size, 3), np.uint8)
    found = syncnet_tracks.detect_for_syncnet(Planted().eval(), image)
    # cell (2, 3) of the second map: stride 8, side 32, on a quarter of the frame; its neighbour overlaps it by 0.6
    scale = size[1] / round(size[1] / 4), size[0] / round(size[0] / 4)
    expected = np.array([28 - 16, 20 - 16, 28 + 16, 20 + 16]) * [*scale, *scale]
    assert len(found) == 1
    np.testing.assert_allclose(found[0, :4], expected, atol=0.01)


class Blind(S3FDSyncNet):
    """Sees nothing."""

    def forward(self, images):
        offsets, probabilities = super().forward(images)
        return offsets, torch.zeros_like(probabilities)


def test_faint_faces_are_left_out():
    image = np.zeros((240, 320, 3), np.uint8)
    assert syncnet_tracks.detect_for_syncnet(Planted(0.905).eval(), image)[0, 4] == pytest.approx(0.92)
    assert len(syncnet_tracks.detect_for_syncnet(Blind().eval(), image)) == 0


def test_a_clip_without_a_face_is_named():
    with pytest.raises(FaceError, match=r"a\.mp4: S3FD sees a face on 0 of 3 frames"):
        syncnet_tracks.track_faces(Blind().eval(), [np.zeros((240, 320, 3), np.uint8)] * 3, "a.mp4")


def test_boxes_are_decoded_about_their_anchors():
    anchors = torch.tensor([[10.0, 20.0, 16.0, 16.0]])
    boxes = syncnet_tracks.decode_boxes(torch.tensor([[1.0, -1.0, 0.0, 5.0]]), anchors)
    height = 16 * np.exp(1.0)
    np.testing.assert_allclose(boxes[0], [3.6, 18.4 - height / 2, 19.6, 18.4 + height / 2], rtol=1e-6)


def test_the_best_of_overlapping_boxes_is_kept():
    found = np.array([[0, 0, 9, 9, 0.6], [1, 1, 10, 10, 0.9], [20, 0, 29, 9, 0.7]])
    assert syncnet_tracks.suppress(found, 0.3) == [1, 2]
    assert syncnet_tracks.suppress(found, 0.8) == [1, 2, 0]
    touching = np.array([[0.0, 0, 9, 9, 0.9], [9.0, 0, 18, 9, 0.8]])
    assert syncnet_tracks.suppress(touching, 0.0) == [0, 1]


def clip_of(boxes: dict[int, list[list[float]]], length: int) -> list[np.ndarray]:
    return [np.array([[*box, 0.95] for box in boxes.get(i, [])], float).reshape(-1, 5) for i in range(length)]


def test_a_face_is_followed_over_gaps_and_filled_in():
    moving = {i: [[i, 0, 200 + i, 200]] for i in range(160) if not 60 <= i < 84}
    (track,) = syncnet_tracks.link_tracks(clip_of(moving, 160))
    np.testing.assert_array_equal(track.frame_id, np.arange(160))
    np.testing.assert_allclose(track.boxes[70], [70, 0, 270, 200])


def test_long_gaps_jumps_and_other_faces_make_other_tracks():
    gap = {i: [[0, 0, 200, 200]] for i in range(260) if not 120 <= i < 150}
    assert [len(track.frame_id) for track in syncnet_tracks.link_tracks(clip_of(gap, 260))] == [120, 110]
    two = {i: [[0, 0, 200, 200], [400, 0, 600, 200]] for i in range(110)}
    assert [track.boxes[0, 0] for track in syncnet_tracks.link_tracks(clip_of(two, 110))] == [0, 400]


def test_short_tracks_and_small_faces_are_dropped():
    assert syncnet_tracks.link_tracks(clip_of({i: [[0, 0, 200, 200]] for i in range(100)}, 100)) == []
    assert len(syncnet_tracks.link_tracks(clip_of({i: [[0, 0, 200, 200]] for i in range(101)}, 101))) == 1
    assert syncnet_tracks.link_tracks(clip_of({i: [[0, 0, 90, 100]] for i in range(150)}, 150)) == []
