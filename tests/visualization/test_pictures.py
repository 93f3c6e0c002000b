"""Figures hold what they were given; pyplot keeps none of them open."""

import matplotlib.pyplot as plt
import numpy as np

from metatalk_lib.visualization import curves
from metatalk_lib.visualization import pictures as figures


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*shape, 8, 8, 3)).astype(np.uint8)


def test_fitted_landmarks_show_observed_and_fitted_points():
    observed = np.arange(136.0).reshape(68, 2)
    figure = figures.plot_fitted_landmarks(pictures(1)[0], observed, fitted=observed + 1, frame_id=7)
    shown = [np.asarray(points.get_offsets()) for points in figure.axes[0].collections]
    np.testing.assert_allclose(shown[0], observed + 1)
    np.testing.assert_allclose(shown[1], observed)
    assert "frame 7" in figure.axes[0].get_title()


def test_overlay_sheet_has_a_column_a_frame():
    sheet = pictures(4, 3)
    axes = figures.plot_overlay_sheet(sheet, [0, 10, 20, 30]).axes
    assert len(axes) == 12
    np.testing.assert_array_equal(axes[1].images[0].get_array(), sheet[1, 0])
    np.testing.assert_array_equal(axes[4].images[0].get_array(), sheet[0, 1])


def test_pose_is_shown_in_degrees_over_seconds():
    figure = curves.plot_pose(np.full((5, 3), np.pi / 6), np.zeros((5, 3)), fps=25.0)
    seconds, degrees = figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose(degrees, 30)
    np.testing.assert_allclose(seconds, np.arange(5) / 25)


def test_expression_curves_show_the_modes_that_vary_most():
    expression = np.zeros((20, 64))
    expression[:, [3, 40]] = np.linspace(-1, 1, 20)[:, None]
    ax = curves.plot_expression_curves(expression, fps=25.0, count=2).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mode 3", "mode 40"]


def test_mode_sheet_has_a_row_a_mode():
    sheet = pictures(2, 3)
    axes = figures.plot_mode_sheet(sheet, part="expression", modes=(0, 5), amounts=(-2.0, 0.0, 2.0)).axes
    np.testing.assert_array_equal(axes[3].images[0].get_array(), sheet[1, 0])
    assert axes[3].get_ylabel() == "expression 5"
    assert axes[0].get_title() == "-2 σ"


def test_no_figure_stays_open():
    before = plt.get_fignums()
    curves.plot_pose(np.zeros((5, 3)), np.zeros((5, 3)), fps=25.0)
    assert plt.get_fignums() == before
