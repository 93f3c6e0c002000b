"""LSE against the published scores' numbers, and what it refuses."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics.lse import (
    MAX_OFFSET,
    compute_lse,
    compute_offset_distances,
    embed_clip,
    embed_faces,
    embed_speech,
)
from metatalk_lib.networks.syncnet import SyncNet
from tests.reference import load_front


def make_streams() -> tuple[torch.Tensor, torch.Tensor]:
    """The golden's streams: the same 60 points three apart, in noise."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    base, projection = draw(68, 64), draw(64, 1024) * 0.1
    faces = base[:60] @ projection + draw(60, 1024) * 0.3
    return faces, base[3:63] @ projection + draw(60, 1024) * 0.3


def test_lse_equals_the_published_scores():
    golden = load_front("lse")
    distances = compute_offset_distances(*make_streams())
    np.testing.assert_allclose(distances, golden["mean_dist_31"], rtol=1e-6)
    score = compute_lse(distances)
    assert score.distance == pytest.approx(float(golden["lse_d"]), rel=1e-6)
    assert score.confidence == pytest.approx(float(golden["lse_c"]), rel=1e-5)
    assert score.offset == int(golden["offset"])


@pytest.mark.parametrize("shift", [-10, -1, 0, 4, 15])
def test_the_offset_is_positive_where_sound_comes_first(shift):
    points = torch.randn(120, 32, generator=torch.Generator().manual_seed(1))
    faces, speech = points[20:100], points[20 + shift : 100 + shift]
    assert compute_lse(compute_offset_distances(faces, speech)).offset == shift


def test_equal_streams_agree_exactly_and_constant_ones_have_no_confidence():
    points = torch.randn(400, 32, generator=torch.Generator().manual_seed(1))
    assert compute_lse(compute_offset_distances(points, points)).distance < 1e-5
    still = points[:1].expand(400, -1)
    assert (
        abs(compute_lse(compute_offset_distances(still, points)).confidence)
        < 0.5 * compute_lse(compute_offset_distances(points, points)).confidence
    )


def test_windows_are_the_frames_and_steps_of_the_recipe():
    """A clip's embeddings are those of its own windows: five frames, and columns 4f to 4f + 19."""
    network = SyncNet(0.0625).eval()
    generator = np.random.default_rng(0)
    faces = generator.integers(0, 256, (27, 224, 224, 3)).astype(np.uint8)
    pcm = generator.integers(-3000, 3000, 27 * 640).astype(np.int16)
    seen, heard = embed_faces(network, faces), embed_speech(network, pcm)
    assert len(seen) == 23
    assert len(heard) >= 22
    torch.testing.assert_close(embed_faces(network, faces[21:26])[0], seen[21])
    bgr = torch.from_numpy(faces[3:8, ..., ::-1].copy()).permute(3, 0, 1, 2)[None].float()
    with torch.no_grad():
        torch.testing.assert_close(network.forward_lip(bgr)[0], seen[3])


def test_bad_clips_name_both_lengths():
    network = SyncNet(0.0625).eval()
    faces, pcm = np.zeros((30, 224, 224, 3), np.uint8), np.zeros(30 * 640, np.int16)
    with pytest.raises(ParameterError, match=r"5 of 224 px and 1\.20 s"):
        embed_clip(network, faces[:5], pcm)
    with pytest.raises(ParameterError, match=r"30 of 224 px and 0\.04 s"):
        embed_clip(network, faces, pcm[:700])
    with pytest.raises(ParameterError, match="30 of 112 px"):
        embed_clip(network, faces[:, :112, :112], pcm)
    with pytest.raises(ParameterError, match="must be alike"):
        compute_offset_distances(torch.zeros(5, 4), torch.zeros(6, 4))
    assert MAX_OFFSET == 15
