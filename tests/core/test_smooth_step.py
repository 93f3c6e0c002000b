"""smooth_step: known values, both directions, floating types, and the scalar of compiled loops."""

import numpy as np
import pytest

from metatalk_lib.core.smooth_step import smooth_share, smooth_step


def test_it_rises_from_low_to_high_and_falls_where_they_are_swapped():
    np.testing.assert_array_equal(smooth_step(2.0, 4.0, np.array([1.0, 2.0, 3.0, 4.0, 9.0])), [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(smooth_step(4.0, 2.0, np.array([1.0, 2.0, 3.0, 4.0, 9.0])), [1, 1, 0.5, 0, 0])


def test_its_ends_are_level():
    step = 1e-4
    for end in (0.0, 1.0):
        assert abs(smooth_step(0.0, 1.0, end + step) - smooth_step(0.0, 1.0, end - step)) < 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_keep_their_floating_type_and_are_not_changed(dtype):
    values = np.linspace(-1, 2, 7, dtype=dtype)
    before = values.copy()
    assert smooth_step(0, 1, values).dtype == dtype
    np.testing.assert_array_equal(values, before)


def test_the_scalar_of_compiled_loops_is_the_same_cubic():
    for share in np.linspace(0, 1, 11):
        assert smooth_share(share) == smooth_step(0.0, 1.0, share)
