"""The lips benchmark's tools: alignment in time, and correct curves."""

import numpy as np
import pytest

from benchmarks.lip_speaker import face, lip_positions, opening_of, to_expression
from benchmarks.lips import align_in_time, edge_error, find_edges, play_music
from benchmarks.real_lips import fast_share
from metatalk_lib.speech.visemes import ARKIT_ACTIONS


def test_equal_sequences_are_aligned_frame_by_frame():
    walk = np.cumsum(np.random.default_rng(0).normal(size=(30, 4)), axis=0)
    left, right = align_in_time(walk, walk)
    assert left.tolist() == right.tolist() == list(range(30))


def test_a_slower_speaker_is_aligned_to_a_faster_one():
    fast = np.cumsum(np.random.default_rng(0).normal(size=(30, 4)), axis=0)
    slow = np.repeat(fast, 2, axis=0)
    left, right = align_in_time(fast, slow)
    assert (left == right // 2).all()
    assert (np.diff(left) >= 0).all()
    assert (np.diff(right) >= 0).all()
    assert (left[0], right[0], left[-1], right[-1]) == (0, 0, 29, 59)


def test_lip_positions_move_with_the_jaw_and_the_opening_in_proportion():
    actions = np.zeros((3, 52), np.float32)
    actions[:, ARKIT_ACTIONS.index("jawOpen")] = (0.0, 0.25, 0.5)
    expression = to_expression(actions)
    moved = lip_positions(expression)
    assert moved.shape[1] % 3 == 0
    assert not moved[0].any()
    np.testing.assert_allclose(moved[2], 2 * moved[1], atol=1e-5)
    opening = opening_of(expression)
    assert opening[0] < 3 < opening[1] < opening[2]
    assert face().name == "open"


def test_the_music_is_music():
    samples = play_music(2.0)
    assert len(samples) == 32000
    assert 0.05 < samples.std() < 1
    assert samples == pytest.approx(play_music(2.0))


def test_the_fast_share_of_a_slow_and_a_fast_movement():
    time_s = np.arange(250) / 25
    opening = 2 * np.sin(2 * np.pi * time_s) + np.sin(2 * np.pi * 5 * time_s)
    assert fast_share(opening) == pytest.approx(0.2, abs=0.01)


def test_edges_of_long_pauses_are_found_and_short_closures_are_not():
    share = np.ones(100)
    share[:20] = share[50:55] = share[60:80] = 0
    assert find_edges(share).tolist() == [20, 60, 80]
    assert edge_error(np.array([21, 60, 78]), np.array([20, 60, 80])) == pytest.approx(1.0)
    assert edge_error(np.array([]), np.array([20, 60, 80])) == edge_error(np.arange(9), np.array([1])) == np.inf
