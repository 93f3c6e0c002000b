"""Comparison figures: they hold what they were given, turn every axis the right way, and refuse what does not fit."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation import methods
from metatalk_lib.metrics.intervals import Estimate
from metatalk_lib.reporting import paper_figures, tables
from metatalk_lib.reporting.paper_figures import (
    plot_methods_by_moments,
    plot_metric_dots,
    plot_metric_radar,
    plot_training_plateaus,
)

SCORES = {
    "A": {"Ours": {"SSIM": 0.9, "FFD (open)": 0.02}, "AudioDVP": {"SSIM": 0.8, "FFD (open)": 0.03}},
    "B": {"Ours": {"SSIM": Estimate(0.94, 0.9, 0.96, 5), "FFD (open)": 0.01}, "Wav2Lip": {"SSIM": 0.5}},
}


def pictures(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, size, size, 3)).astype(np.uint8)


def texts(figure: Figure) -> str:
    figure.canvas.draw()
    found = [text.get_text() for ax in figure.axes for text in ax.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join([*found, *legends, figure.get_supxlabel(), *(text.get_text() for text in figure.texts)])


def dots(ax: Axes, label: str) -> dict[float, float]:
    """Height to value of the dots of one legend entry."""
    (points,) = [points for points in ax.collections if points.get_label() == label]
    return {round(float(y), 3): float(x) for x, y in points.get_offsets()}


def means(ax: Axes) -> list[float]:
    return [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "D"]


def test_moments_show_each_crop_with_its_mouth_below() -> None:
    crops = {"A": {"original": pictures(2, 16), "Ours": pictures(2, 16, 1)}, "B": {"original": pictures(3, 12, 2)}}
    mouths = {"A": {"original": pictures(2, 8), "Ours": pictures(2, 8, 1)}, "B": {"original": list(pictures(3, 8, 2))}}
    figure = plot_methods_by_moments(crops, mouths, {"A": [4, 9], "B": [1, 2, 3]})
    grid = np.array(figure.axes).reshape(5, 6)
    np.testing.assert_array_equal(grid[0, 1].images[0].get_array(), crops["A"]["original"][1])
    np.testing.assert_array_equal(grid[1, 1].images[0].get_array(), mouths["A"]["original"][1])
    np.testing.assert_array_equal(grid[3, 0].images[0].get_array(), crops["A"]["Ours"][0])
    np.testing.assert_array_equal(grid[1, 5].images[0].get_array(), mouths["B"]["original"][2])
    assert [ax.get_title() for ax in grid[0]] == ["frame 4", "frame 9", "", "frame 1", "frame 2", "frame 3"]
    assert [grid[row, 0].get_ylabel() for row in (0, 3)] == ["original", "Ours"]
    assert not grid[0, 2].get_visible()
    assert "not yet" in [text.get_text() for text in grid[3, 3].texts]
    assert "character A" in texts(figure)
    assert grid[0, 0].get_position().y0 > grid[1, 0].get_position().y0 > grid[3, 0].get_position().y1


def test_few_moments_do_not_fill_the_screen() -> None:
    one = {"A": {"original": pictures(1, 8)}}
    assert plot_methods_by_moments(one, one, {"A": [0]}).get_size_inches()[0] < 3


def test_moments_that_do_not_fit_are_refused() -> None:
    one = {"A": {"Ours": pictures(2, 8)}}
    with pytest.raises(ParameterError, match="are of none, none, none"):
        plot_methods_by_moments({}, {}, {})
    with pytest.raises(ParameterError, match="are of A, A, B"):
        plot_methods_by_moments(one, one, {"B": [1, 2]})
    with pytest.raises(ParameterError, match="of different methods"):
        plot_methods_by_moments(one, {"A": {"AudioDVP": pictures(2, 8)}}, {"A": [1, 2]})
    with pytest.raises(ParameterError, match="A, Ours has 2 crops and 2 close-ups of 3 moments"):
        plot_methods_by_moments(one, one, {"A": [1, 2, 3]})


def test_dots_stand_for_characters_and_diamonds_for_their_means() -> None:
    figure = plot_metric_dots(SCORES, ["SSIM", "FFD (open)"], labels={"AudioDVP": "AudioDVP (small)"})
    ssim, ffd = figure.axes[:2]
    assert [label.get_text() for label in ssim.get_yticklabels()] == ["Wav2Lip", "AudioDVP\n(small)", "Ours"]
    assert dots(ssim, "character A") == {0.7: 0.8, 1.7: 0.9}
    assert list(dots(ssim, "character B").values()) == [0.5, 0.94]
    assert means(ssim) == pytest.approx([0.5, 0.8, 0.92])
    assert means(ffd) == pytest.approx([0.03, 0.015])
    assert [text.get_text() for text in ssim.texts] == ["n = 1", "n = 1"]
    intervals = [sorted(line.get_xdata()) for line in ssim.lines if len(line.get_xdata()) == 2]
    assert [0.9, 0.96] in intervals
    assert ssim.get_ylim() == (2.5, -0.5)


def test_the_papers_means_stand_under_its_own_names_only() -> None:
    figure = plot_metric_dots(SCORES, ["SSIM", "FFD (open)"])
    cross = "paper's mean, its own characters"
    paper = tables.compute_paper_means()["SSIM"]
    assert list(dots(figure.axes[0], cross).values()) == [paper[name] for name in ("Wav2Lip", "AudioDVP", "Ours")]
    assert cross not in [points.get_label() for points in figure.axes[1].collections]
    others = {"A": {"Baseline": {"SSIM": 0.5}}}
    assert cross not in texts(plot_metric_dots(others, ["SSIM"]))
    assert cross in texts(figure)


def test_panels_say_which_way_is_better_and_their_unit() -> None:
    metrics = ["LSE-D", "PSNR in mask, dB", "sharpness ratio in mask"]
    figure = plot_metric_dots({"A": {"Ours": dict.fromkeys(metrics, 2.0)}}, metrics)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["← lower is better", "dB   higher is better →", "→ 1 is ideal ←"]
    ideal = [line.get_xdata()[0] for line in figure.axes[2].lines if line.get_linestyle() == ":"]
    assert ideal == [1.0]
    assert not means(figure.axes[0])  # one character is no mean


def test_methods_of_the_paper_stand_in_its_order_and_configurations_as_they_come() -> None:
    rows = {"Ours": {"SSIM": 0.9}, "ATVG": {"SSIM": 0.5}}
    ticks = plot_metric_dots({"A": rows}, ["SSIM"]).axes[0].get_yticklabels()
    assert [label.get_text() for label in ticks] == ["ATVG", "Ours"]
    rows = {name: {"SSIM": 0.5} for name in methods.ABLATIONS}
    ticks = plot_metric_dots({"A": rows}, ["SSIM"]).axes[0].get_yticklabels()
    assert [label.get_text() for label in ticks] == list(methods.ABLATIONS)


def test_dots_without_scores_are_refused() -> None:
    for scores, metrics in (({}, ["SSIM"]), ({"A": {}}, ["SSIM"]), (SCORES, [])):
        with pytest.raises(ParameterError, match="no scores or no metrics"):
            plot_metric_dots(scores, metrics)
    with pytest.raises(ParameterError, match="no score of `LSE-D`"):
        plot_metric_dots(SCORES, ["LSE-D"])
    with pytest.raises(ParameterError, match="no metric `beauty`"):
        plot_metric_dots(SCORES, ["beauty"])


def test_outward_is_better_on_every_axis_of_the_radar() -> None:
    metrics = ["LSE-D (open)", "SSIM", "sharpness ratio in mask"]
    values = {"Ours": (8.0, 0.9, 1.1), "AudioDVP": (9.0, 0.8, 1.4), "Wav2Lip": (8.5, 0.85, 0.75)}
    scores = {method: dict(zip(metrics, row, strict=True)) for method, row in values.items()}
    figure = plot_metric_radar(scores, metrics, labels={"AudioDVP": "AudioDVP (small)"})
    ours, small, middle = (line.get_ydata() for line in figure.axes[0].lines)
    inner = paper_figures.INNER_RING
    np.testing.assert_allclose(ours, 1)
    np.testing.assert_allclose(small, inner)
    np.testing.assert_allclose(middle[:3], [(1 + inner) / 2, (1 + inner) / 2, inner + (1 - inner) * 0.5])
    assert middle[0] == middle[3]
    for words in ("LSE-D (open)\n9 to 8", "SSIM\n0.8 to 0.9", "1.4 to 1.1", "Outward is better", "AudioDVP (small)"):
        assert words in texts(figure)


def test_equal_methods_lie_on_the_outer_ring_and_partial_means_say_so() -> None:
    metrics = ["SSIM", "LSE-C", "likeness"]
    scores = {"Ours": dict.fromkeys(metrics, 0.5), "ATVG": dict.fromkeys(metrics, Estimate(0.5, count=1))}
    figure = plot_metric_radar(scores, metrics)
    for line in figure.axes[0].lines:
        np.testing.assert_allclose(line.get_ydata(), 1)
    assert "ATVG, over fewer characters" in texts(figure)
    assert "Ours, over" not in texts(figure)


def test_a_radar_that_says_nothing_is_refused() -> None:
    with pytest.raises(ParameterError, match="3 metrics and a method that has all, got 2 and 0"):
        plot_metric_radar({"Ours": {}, "ATVG": {}}, ["SSIM", "FID"])
    with pytest.raises(ParameterError, match="3 metrics and a method that has all, got 3 and 0"):
        plot_metric_radar({"Ours": {"SSIM": 1.0}}, ["SSIM", "FID", "LSE-D"])


def test_methods_that_failed_are_named_in_every_figure() -> None:
    metrics = ["SSIM", "FID", "LSE-D"]
    scores = {"Ours": dict.fromkeys(metrics, 1.0), "ATVG": {"SSIM": 1.0}, "Wav2Lip": {}}
    radar = plot_metric_radar(scores, metrics, labels={"ATVG": "ATVG (open)"})
    assert {"Ours", "ATVG (open): failed", "Wav2Lip: failed"} <= set(texts(radar).splitlines())
    panels = plot_metric_dots({"A": scores}, metrics).axes
    assert [sum(text.get_text() == "failed" for text in ax.texts) for ax in panels] == [1, 2, 2]
    one = {"A": {"original": pictures(2, 8)}}
    figure = plot_methods_by_moments(one, one, {"A": [1, 2]}, failed={"A": ["ATVG", "original"]})
    assert [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel()] == ["original", "ATVG"]
    assert "failed" in texts(figure)


def test_trainings_share_a_time_axis_with_the_equal_time_marked() -> None:
    seconds = np.arange(101.0)
    histories = {"AudioDVP": (seconds, np.full(101, 4.0)), "Ours": (seconds[:51], 10 - seconds[:51] / 10)}
    figure = plot_training_plateaus(histories, loss_label="L1, of 255")
    lines = {line.get_label().split(":")[0]: line for line in figure.axes[0].lines}
    np.testing.assert_allclose(lines["AudioDVP"].get_ydata(), 4.0)
    assert list(lines["end of the shortest"].get_xdata()) == [50, 50]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == "AudioDVP: 100 s, last tenth +0.0 % on the one before"
    assert labels[1] == "Ours: 50 s, last tenth -8.7 % on the one before"  # 5.25 after 5.75
    assert figure.axes[0].get_xlabel() == "training time, s"
    assert figure.axes[0].get_ylabel() == "L1, of 255"
    assert figure.axes[0].get_ylim()[0] == 0


def test_the_running_mean_keeps_a_line_and_smooths_noise() -> None:
    smooth = paper_figures._running_mean(np.arange(200.0))
    np.testing.assert_allclose(smooth[10:-10], np.arange(10.0, 190.0))
    noise = np.random.default_rng(0).normal(size=200)
    assert paper_figures._running_mean(noise).std() < 0.5 * noise.std()


def test_trainings_that_make_no_curve_are_refused() -> None:
    with pytest.raises(ParameterError, match="no training to show"):
        plot_training_plateaus({}, loss_label="")
    with pytest.raises(ParameterError, match="training `x`: 3 times and 2 losses"):
        plot_training_plateaus({"x": ([1.0, 2.0, 3.0], [1.0, 2.0])}, loss_label="")
    for seconds, loss in (([1.0, 1.0], [2.0, 1.0]), ([1.0, 2.0], [2.0, float("nan")])):
        with pytest.raises(ParameterError, match="times must rise, and losses be finite"):
            plot_training_plateaus({"x": (seconds, loss)}, loss_label="")


def test_no_figure_stays_open() -> None:
    before = plt.get_fignums()
    plot_metric_dots(SCORES, ["SSIM"])
    one = {"A": {"original": pictures(1, 8)}}
    plot_methods_by_moments(one, one, {"A": [0]})
    assert plt.get_fignums() == before
