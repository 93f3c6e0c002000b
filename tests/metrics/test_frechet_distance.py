"""The Fréchet distance against pytorch-fid's number."""

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.metrics.frechet_distance import compute_frechet_distance
from tests.reference import load_front


def test_distance_equals_pytorch_fid():
    golden = load_front("ssim_fid")
    generator = torch.Generator().manual_seed(7)
    first = torch.rand(1, 3, 12, 16, generator=generator)
    torch.randn(1, 3, 96, 128, generator=generator)
    x = torch.randn(50, 8, generator=generator).double().numpy()
    y = (torch.randn(40, 8, generator=generator) * 1.3 + 0.2).double().numpy()
    assert first.shape == (1, 3, 12, 16)
    assert compute_frechet_distance(x, y) == pytest.approx(float(golden["frechet"]), rel=1e-6)


def test_it_is_zero_for_equal_sets_symmetric_and_the_squared_shift():
    values = np.random.default_rng(0).normal(size=(40, 6))
    other = np.random.default_rng(1).normal(size=(60, 6)) * 2
    assert abs(compute_frechet_distance(values, values)) < 1e-6
    assert compute_frechet_distance(values, values + 3) == pytest.approx(6 * 9)
    assert compute_frechet_distance(values, other) == pytest.approx(compute_frechet_distance(other, values), rel=1e-6)


def test_fewer_pictures_than_features_give_a_finite_value():
    generator = np.random.default_rng(0)
    distance = compute_frechet_distance(generator.normal(size=(5, 20)), generator.normal(size=(7, 20)))
    assert np.isfinite(distance)
    assert distance > 0


def test_bad_sets_are_refused():
    with pytest.raises(ParameterError, match=r"\(1, 6\) and \(4, 6\)"):
        compute_frechet_distance(np.zeros((1, 6)), np.zeros((4, 6)))
    with pytest.raises(ParameterError, match=r"\(4, 5\) and \(4, 6\)"):
        compute_frechet_distance(np.zeros((4, 5)), np.zeros((4, 6)))
