"""Curves: they return a figure of what they were given and leave pyplot empty."""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from metatalk_lib.pseudo_video.lip_lead import estimate_lead
from metatalk_lib.tracking.landmarks import LandmarkTrack
from metatalk_lib.visualization.curves import (
    plot_audio_features,
    plot_curves,
    plot_landmark_motion,
    plot_lead,
    plot_mel_spectrogram,
    plot_mfcc_blocks,
    plot_training_curve,
)


def test_blocks_share_one_colour_scale():
    mfcc = np.random.default_rng(0).normal(size=(9, 28, 12)).astype(np.float32)
    figure = plot_mfcc_blocks(mfcc, [1, 4], fps=25.0)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert np.array_equal(images[1].get_array(), mfcc[4].T)
    assert len({image.get_clim() for image in images}) == 1
    assert plt.get_fignums() == []


def test_features_are_shown_in_the_order_of_their_peaks():
    features = np.zeros((10, 256), np.float32)
    features[8, 0] = features[2, 255] = 1
    shown = plot_audio_features(np.zeros(6400, np.float32), features, fps=25.0).axes[1].images[0].get_array()
    assert shown[-1].argmax() == 8
    assert shown[-2].argmax() == 2


def test_curves_keep_their_values_and_names():
    figure = plot_curves({"first": np.arange(5.0), "second": np.ones(5)}, fps=25.0, label="mm", shaded=np.arange(5) > 3)
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == ["first", "second"]
    assert lines[0].get_xdata().tolist() == [0, 0.04, 0.08, 0.12, 0.16]


def test_training_curve_marks_the_kept_epoch():
    figure = plot_training_curve([3.0, 2.0, 1.0], [3.0, 2.0, 2.5], best_epoch=1, baseline=4.0, unit="σ²")
    kept = next(line for line in figure.axes[0].lines if line.get_label() == "kept")
    assert (list(kept.get_xdata()), list(kept.get_ydata())) == ([1], [2.0])
    assert figure.axes[0].get_ylim() == pytest.approx((0, 4.2))


def test_landmark_motion_shows_both_tracks_and_shades_bridged_frames():
    points = np.random.default_rng(0).normal(size=(6, 68, 2)).astype(np.float32)
    detected = np.array([True, True, False, True, True, True])
    track = LandmarkTrack(np.arange(6), points, points + 1, np.zeros((6, 4), np.float32), detected)
    axes = plot_landmark_motion(track, Fraction(25)).axes
    assert [line.get_label() for line in axes[0].lines] == ["predicted", "smoothed"]
    assert all(len(ax.collections[0].get_paths()) == 1 for ax in axes)


def test_the_mel_spectrogram_is_shown_over_seconds():
    figure = plot_mel_spectrogram(np.random.default_rng(0).normal(size=32000).astype(np.float32))
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (80, 161)
    assert image.get_extent() == [0, 161 / 80, 0, 80]


def plot_estimate(heard: np.ndarray, seen: np.ndarray) -> Figure:
    lead = estimate_lead(heard, seen, Fraction(25))
    chosen = {"lead_s": lead.lead_s, "chance": lead.chance, "is_measured": lead.is_measured}
    return plot_lead(lead.leads_s, lead.correlations, **chosen)


def test_the_chosen_lead_is_named():
    heard = np.sin(np.arange(100) / 3)
    figure = plot_estimate(heard, np.roll(heard, -2))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert any(label.startswith("chosen: ") for label in labels)
    still = plot_estimate(heard, np.zeros(100))
    labels = [text.get_text() for text in still.axes[0].get_legend().get_texts()]
    assert any("default" in label and "60 ms" in label for label in labels)
