"""Feathered masks: inside only, with and without the picture's border as an edge."""

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.feathering import feather_mask
from tests.neural_renderer.test_compositing import make_mask


def test_feather_rises_inside_only():
    mask = make_mask(64, 80)
    opacity = feather_mask(mask, 6)
    assert (opacity[~mask] == 0).all()
    assert opacity[mask].min() > 0
    assert opacity[32, 40] == 1
    row = opacity[32, 40:]
    assert (np.diff(row) <= 1e-6).all()
    assert 0.3 < opacity[mask].mean() < 1


def test_feather_treats_the_pictures_border_as_no_edge():
    mask = np.zeros((20, 20), bool)
    mask[10:] = True
    assert (feather_mask(mask, 4)[19] == 1).all()
    assert (feather_mask(np.ones((5, 5), bool), 4) == 1).all()


def test_feather_refuses_no_width():
    with pytest.raises(ParameterError, match="feather_px must be positive"):
        feather_mask(np.ones((4, 4), bool), 0)


def test_the_pictures_border_may_be_an_edge():
    opacity = feather_mask(np.ones((20, 20), bool), 4, start_px=0.5, mask_size=3, is_border_edge=True)
    assert 0 < opacity[0, 10] < opacity[2, 10] < 1
    assert opacity[10, 10] == 1
