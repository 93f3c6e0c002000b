"""The renderer's losses against values computed by hand."""

import pytest
import torch

from metatalk_lib.networks.patch_gan import MultiScalePatchGAN
from metatalk_lib.neural_renderer.losses import (
    detail_loss,
    edge_loss,
    feature_loss,
    masked_l1,
    motion_loss,
    verdict_loss,
)


def test_masked_l1_by_hand():
    image, reference = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    reference[..., 0] = 9
    mask = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert masked_l1(image, reference, mask) == 1
    assert masked_l1(image, reference, torch.zeros_like(mask)) == 0


def test_edge_loss_ignores_brightness_and_sees_moved_edges():
    step = torch.zeros(1, 3, 4, 4)
    step[..., 2:] = 1
    assert edge_loss(step + 0.5, step) == 0
    # one of the three column differences is off by one in every row
    assert edge_loss(torch.zeros_like(step), step) == pytest.approx(1 / 3)
    assert edge_loss(step.flip(-1), step) == pytest.approx(2 / 3)


def test_detail_loss_asks_for_as_much_detail_wherever_it_lies():
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    other = noise.flip(-1)
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1)
    assert detail_loss(noise, noise) == 0
    assert detail_loss(other, noise) < 0.2 * detail_loss(blurred, noise)


def test_detail_loss_is_the_difference_of_root_mean_square_slopes():
    ramp = torch.arange(34.0).expand(1, 3, 34, 34) / 10
    step = torch.zeros(1, 3, 34, 34)
    assert detail_loss(ramp, step) == pytest.approx(0.1, abs=0.005)
    # one edge of 1.6 has as much mean slope as the ramp of 0.1, and more energy
    step[..., 17:] = 3.3
    assert detail_loss(step, ramp) > 0.1


def test_motion_loss_compares_changes_not_pictures():
    still, moving = torch.zeros(1, 2, 3, 2, 2), torch.zeros(1, 2, 3, 2, 2)
    moving[:, 1] = 0.5
    assert motion_loss(still + 0.3, still) == 0
    assert motion_loss(still, moving) == pytest.approx(0.5)


def test_verdicts_and_features_of_a_discriminator():
    judge = MultiScalePatchGAN(3, width=2, scales=2)
    image, other = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    features = judge(image)
    assert [len(scale) for scale in features] == [5, 5]
    assert features[0][0].shape[-1] == 2 * features[1][0].shape[-1]
    assert feature_loss(features, judge(image)) == 0
    assert feature_loss(features, judge(other)) > 0
    certain = [[torch.full((1, 1, 2, 2), 20.0)]]
    assert verdict_loss(certain, is_real=True) < 1e-6
    assert verdict_loss(certain, is_real=False) > 10
