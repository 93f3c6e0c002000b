"""Figures that compare methods: pictures as in the paper's Fig. 3, scores of every character, and loss over time."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.evaluation.methods import METHODS
from metatalk_lib.metrics.catalogue import Metric, find_metric
from metatalk_lib.metrics.intervals import Estimate, bootstrap_mean, to_estimate
from metatalk_lib.reporting.tables import FAILED, NOT_YET, Scores, compute_paper_means
from metatalk_lib.visualization.pictures import show_pictures, subplots

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
"""Okabe and Ito's colours, distinguishable by the colour blind; Tol's wine red replaces yellow, faint on white."""
MARKERS = "os^vp<>"
LINES = ("-", "--", "-.", ":")
"""Line styles; markers and lines distinguish the methods in a greyscale print."""
_GREY = "0.5"
PAPER_LABEL = "paper's mean, its own characters"
GAP = 0.12
"""Gap between characters and between methods, in picture sides."""
INNER_RING = 0.25
"""Radius of the worst method in the radar chart; at the centre all axes would meet."""
LARGEST_PICTURE = 1.6
"""Largest side of a picture, inches; otherwise a few moments of one character would fill the screen."""
TAIL_SHARE = 0.1
"""Last part of a training, as a share of its time; it is compared with the equally long part before."""
SMOOTHING_SHARE = 0.05
"""Window of a loss's running mean, as a share of the curve."""

Pictures = UInt8[np.ndarray, "_ _ _ 3"] | Sequence[UInt8[np.ndarray, "_ _ 3"]]
Curve = Sequence[float | int] | Float[np.ndarray, "_"]


def plot_methods_by_moments(
    crops: Mapping[str, Mapping[str, Pictures]],
    close_ups: Mapping[str, Mapping[str, Pictures]],
    frame_ids: Mapping[str, Sequence[int]],
    *,
    failed: Mapping[str, Collection[str]] | None = None,
    width_inches: float = 12.0,
) -> Figure:
    """Plot pictures as in the paper's Fig. 3: methods down, moments of several characters across.

    The mouth is shown below each crop. A method that a character lacks is marked `not yet`, or `failed`.

    Args:
        crops: character to method to one square picture per moment; the original is the first method.
        close_ups: the same mapping for pictures of the mouth.
        frame_ids: character to the frame numbers of its moments.
        failed: character to methods that failed; they get a row, too.
        width_inches: maximum width of the figure, inches.

    Raises:
        ParameterError: there is nothing to show, or the three differ in characters, methods, or number of moments.
    """
    methods = _check_pictures(crops, close_ups, frame_ids)
    fallen = {name: [row for row in rows if row not in crops[name]] for name, rows in (failed or {}).items()}
    methods += [row for row in dict.fromkeys(itertools.chain(*fallen.values())) if row not in methods]
    counts = [len(frame_ids[character]) for character in crops]
    figure, axes = _picture_grid(counts, len(methods), width_inches)
    start = 0
    for character, count in zip(crops, counts, strict=True):
        columns = axes[:, start : start + count]
        for row, method in enumerate(methods):
            has_pictures = method in crops[character]
            if has_pictures:
                for part, pictures in enumerate((crops, close_ups)):
                    _show_moments(columns[3 * row + part], pictures[character][method])
            name = "" if start else method.replace(" (", "\n(")
            lacking = FAILED if method in fallen.get(character, ()) else NOT_YET
            _name_row(columns[3 * row, 0], name, "" if has_pictures else lacking)
        for ax, number in zip(columns[0], frame_ids[character], strict=True):
            ax.set_title(f"frame {number}", fontsize=8, pad=3)
        middle = (columns[0, 0].get_position().x0 + columns[0, -1].get_position().x1) / 2
        figure.text(middle, 0.995, f"character {character}", ha="center", va="top", fontsize=11)
        start += count + 1
    return figure


def plot_metric_dots(
    scores: Mapping[str, Scores],
    metrics: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    columns: int = 3,
    seed: int = 0,
) -> Figure:
    """Plot the scores of every character in one panel per metric: dots for characters, a diamond for mean and interval.

    Grey crosses are the paper's means over its own characters, in panels whose metric has the paper's name.

    Args:
        scores: character to method to metric to value, with its interval if there is one.
        metrics: metrics of the panels, in reading order.
        labels: labels of methods that were run at another size.
        columns: panels per row.
        seed: seed of the mean's 95 % interval, which resamples the characters.

    Raises:
        ParameterError: there is nothing to show, a metric has no scores, or the catalogue lacks it.
    """
    methods = _list_methods(scores)
    if not methods or not metrics:
        raise ParameterError("plot_metric_dots: there are no scores or no metrics to show.")
    columns = min(columns, len(metrics))
    rows = -(-len(metrics) // columns)
    size = 12.0, rows * (0.5 * len(methods) + 1.0) + 0.5
    figure, axes = subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, name in zip(axes.flat, metrics, strict=False):
        _draw_dots(ax, scores, methods, name, seed)
    for ax in axes.flat[len(metrics) :]:
        ax.set_visible(False)
    names = [(labels or {}).get(method, method).replace(" (", "\n(") for method in methods]
    axes[0, 0].set_yticks(range(len(methods)), names)
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    entries = [zip(*reversed(ax.get_legend_handles_labels()), strict=True) for ax in axes.flat]
    handles = dict(itertools.chain(*entries))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    return figure


def plot_metric_radar(scores: Scores, metrics: Sequence[str], *, labels: Mapping[str, str] | None = None) -> Figure:
    """Plot methods as polygons on one axis per metric; outward is better.

    Radius = 1/4 + 3/4 (worst - v) / (worst - best), with v the value, or for a target its distance to the ideal.

    Every axis is stretched to the methods shown, so that small differences look as large as large ones; the caption in
    the figure says so, and the two ends stand beside each name.

    Args:
        scores: method to metric to value, such as the means of `tables.average_characters`.
        metrics: three or more.
        labels: labels of methods that were run at another size.

    Methods that lack one of the metrics are named without a polygon.

    Raises:
        ParameterError: there are fewer than three metrics, or no method has all of them.
    """
    lacking = [method for method, found in scores.items() if not set(metrics) <= set(found)]
    scores = {method: found for method, found in scores.items() if method not in lacking}
    estimates = _collect_estimates(scores, metrics)
    columns = [_scale(find_metric(name), [value.mean for value in column]) for name, column in estimates.items()]
    angles = np.linspace(0, 2 * np.pi, len(metrics), endpoint=False)
    figure, ax = subplots(figsize=(10, 6.4), subplot_kw={"projection": "polar"})
    ax.set_position((0.2, 0.18, 0.42, 0.7))
    for row, method in enumerate(scores):
        radii = [radius[row] for radius, _ in columns]
        partial = any(_covers_less(column[row], column) for column in estimates.values())
        label = (labels or {}).get(method, method) + (", over fewer characters" if partial else "")
        closed = np.append(angles, angles[0]), [*radii, radii[0]]
        ax.plot(*closed, label=label, linestyle=LINES[row % len(LINES)], markersize=5, **_style(row))
    for method in lacking:
        ax.plot([], [], " ", label=f"{(labels or {}).get(method, method)}: {FAILED}")
    names = [f"{find_metric(name).label}\n{ends}" for name, (_, ends) in zip(metrics, columns, strict=True)]
    _label_radar(ax, angles, names)
    figure.legend(loc="upper right", fontsize=9, frameon=False)
    figure.supxlabel(
        "Outward is better. Each axis runs from the worst method shown (inner ring) to the best (outer ring), the two "
        "values\nunder its name: lengths on one axis compare methods, lengths on different axes compare nothing.",
        fontsize=9,
    )
    return figure


def plot_training_plateaus(histories: Mapping[str, tuple[Curve, Curve]], *, loss_label: str) -> Figure:
    """Plot the losses of several trainings over wall time: measured values, running mean, and the end of the shortest.

    The legend gives the change of the mean loss from the second-last to the last tenth of the time; near 0 is a
    plateau.

    Args:
        histories: label to (seconds since the start, rising; loss at each time).
        loss_label: label of the loss, with its unit; the same for all trainings.

    Raises:
        ParameterError: there is no training, lengths differ, a curve has fewer than two values, times do not rise, or a
            loss is not finite.
    """
    if not histories:
        raise ParameterError("plot_training_plateaus: there is no training to show.")
    figure, ax = subplots(figsize=(9, 3.6), layout="constrained")
    ends = []
    for row, (label, curve) in enumerate(histories.items()):
        seconds, loss = _check_curve(label, *curve)
        smooth, colour = _running_mean(loss), PALETTE[row % len(PALETTE)]
        change = measure_plateau(seconds, loss)
        ax.plot(seconds, loss, color=colour, linewidth=0.5, alpha=0.35)
        name = f"{label}: {seconds[-1]:.0f} s, last tenth {change:+.1f} % on the one before"
        ax.plot(seconds, smooth, color=colour, linestyle=LINES[row % len(LINES)], linewidth=2, label=name)
        ends.append(seconds[-1])
    ax.axvline(min(ends), color=_GREY, linewidth=1, label=f"end of the shortest: {min(ends):.0f} s")
    ax.set(xlabel="training time, s", ylabel=loss_label, xlim=(0, 1.02 * max(ends)), ylim=(0, None))
    ax.legend(fontsize=9)
    return figure


def _draw_dots(ax: Axes, scores: Mapping[str, Scores], methods: Sequence[str], name: str, seed: int) -> None:
    metric = find_metric(name)
    found: dict[int, list[float]] = {}
    lanes = np.linspace(-0.3, 0.12, len(scores)) if len(scores) > 1 else [0.0]
    for place, (lane, (character, by_method)) in enumerate(zip(lanes, scores.items(), strict=True)):
        rows = [row for row, method in enumerate(methods) if name in by_method.get(method, {})]
        values = [to_estimate(by_method[methods[row]][name]) for row in rows]
        for row, value in zip(rows, values, strict=True):
            found.setdefault(row, []).append(value.mean)
            if value.low is not None and value.high is not None:
                ax.plot([value.low, value.high], [row + lane] * 2, color=_style(place)["color"], linewidth=0.8)
        dots = [value.mean for value in values], [row + lane for row in rows]
        ax.scatter(*dots, s=18, label=f"character {character}", **_style(place))
    if not found:
        raise ParameterError(f"plot_metric_dots: no score of `{name}`. Leave it out.")
    for row in sorted(set(range(len(methods))) - set(found)):
        ax.text(0.02, row, FAILED, color=_GREY, fontsize=8, va="center", transform=ax.get_yaxis_transform())
    if len(scores) > 1:
        _draw_means(ax, found, len(scores), seed)
    paper = compute_paper_means().get(metric.name, {})
    if shown := [(paper[method], row + 0.3) for row, method in enumerate(methods) if method in paper]:
        means, lines = zip(*shown, strict=True)
        ax.scatter(means, lines, marker="x", color=_GREY, s=40, label=PAPER_LABEL)
    _dress_panel(ax, metric)


def _dress_panel(ax: Axes, metric: Metric) -> None:
    """Set title, unit, the direction that is better, and the ideal of a metric with a target."""
    if metric.direction == "target":
        ax.axvline(metric.ideal, color=_GREY, linewidth=0.8, linestyle=":", zorder=0)
    arrow = {"lower": "← {}", "higher": "{} →", "target": "→ {} ←"}[metric.direction].format(metric.advice)
    ax.set_title(metric.name, fontsize=10)
    ax.set_xlabel(f"{metric.unit}   {arrow}".strip(), fontsize=9)
    ax.tick_params(labelsize=8)
    ax.locator_params(axis="x", nbins=5)
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)


def _draw_means(ax: Axes, found: Mapping[int, list[float]], characters: int, seed: int) -> None:
    """Draw each method's mean over its characters below its dots, with their number where some are missing."""
    for row, values in sorted(found.items()):
        mean, low, high, count = bootstrap_mean(values, seed=seed)
        y = row + 0.3
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color="black", linewidth=1.4)
        label = "mean, 95 % interval" if row == min(found) else None
        ax.plot(mean, y, "D", color="black", markersize=5, linestyle="none", label=label)
        if count is not None and count < characters:
            ax.annotate(f"n = {count}", (mean, y), (6, -3), textcoords="offset points", fontsize=7, va="top")


def _collect_estimates(scores: Scores, metrics: Sequence[str]) -> dict[str, list[Estimate]]:
    """Map each metric to the values of all methods."""
    if len(metrics) < 3 or not scores:
        raise ParameterError(
            f"a radar needs 3 metrics and a method that has all, got {len(metrics)} and {len(scores)}."
        )
    return {name: [to_estimate(found[name]) for found in scores.values()] for name in metrics}


def _covers_less(value: Estimate, others: Sequence[Estimate]) -> bool:
    """Whether a mean is known to cover fewer characters than another one."""
    return value.count is not None and any(other.count is None or other.count > value.count for other in others)


def _scale(metric: Metric, values: Sequence[float]) -> tuple[np.ndarray, str]:
    """Return the radius of each value, and the worst and the best value as text."""
    shown = np.array(values)
    badness = {"lower": shown, "higher": -shown, "target": np.abs(shown - metric.ideal)}[metric.direction]
    worst, best = int(np.argmax(badness)), int(np.argmin(badness))
    span = badness[worst] - badness[best]
    share = (badness[worst] - badness) / span if span > 0 else np.ones(len(shown))
    return INNER_RING + (1 - INNER_RING) * share, f"{shown[worst]:.4g} to {shown[best]:.4g}"


def _style(place: int) -> dict[str, Any]:
    """Return colour and marker for a position; the first 49 pairs differ."""
    return {"color": PALETTE[place % len(PALETTE)], "marker": MARKERS[(place + place // len(PALETTE)) % len(MARKERS)]}


def _label_radar(ax: Axes, angles: np.ndarray, names: Sequence[str]) -> None:
    """Place the names outside the outer ring, clockwise from the top, and draw the rings of worst and best."""
    polar = cast(PolarAxes, ax)
    polar.set_theta_zero_location("N")
    polar.set_theta_direction(-1)
    ax.set_xticks(angles, [""] * len(angles))
    ax.set_yticks([INNER_RING, 1], ["", ""])
    ax.set_ylim(0, 1.04)
    ax.spines["polar"].set_visible(False)
    ax.grid(color="0.85")
    for angle, name in zip(angles, names, strict=True):
        across, up = np.sin(angle), np.cos(angle)
        side = "center" if abs(across) < 0.1 else "left" if across > 0 else "right"
        height = "center" if abs(up) < 0.5 else "bottom" if up > 0 else "top"
        ax.text(angle, 1.08, name, ha=side, va=height, fontsize=9)


def _picture_grid(counts: Sequence[int], methods: int, width_inches: float) -> tuple[Figure, np.ndarray]:
    """Create hidden square axes: two rows and a gap per method, and the columns and a gap per character."""
    widths = [ratio for count in counts for ratio in (*[1] * count, GAP)][:-1]
    heights = ([1, 1, GAP] * methods)[:-1]
    left, top, edge = 0.5, 0.6, 0.05  # inches, for the names and around the pictures
    cell = min((width_inches - left - edge) / sum(widths), LARGEST_PICTURE)
    width, height = left + cell * sum(widths) + edge, top + cell * sum(heights) + edge
    spacing = {"width_ratios": widths, "height_ratios": heights, "wspace": 0.03, "hspace": 0.03}
    spacing |= {"left": left / width, "right": 1 - edge / width, "top": 1 - top / height, "bottom": edge / height}
    figure, axes = subplots(len(heights), len(widths), figsize=(width, height), squeeze=False, gridspec_kw=spacing)
    for ax in axes.flat:
        ax.set_visible(False)
    return figure, axes


def _show_moments(axes: np.ndarray, pictures: Pictures) -> None:
    for ax in axes:
        ax.set_visible(True)
    show_pictures(axes, pictures, "")


def _name_row(ax: Axes, name: str, note: str) -> None:
    """Write the method's name at the crop's lower edge, between crop and close-up, and a note in place of pictures."""
    if note:
        ax.set(visible=True, xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.text(0.5, 0.0, note, color=_GREY, ha="center", va="center", transform=ax.transAxes)
    ax.set_ylabel(name, fontsize=9)
    ax.yaxis.set_label_coords(-0.08, 0)


def _list_methods(scores: Mapping[str, Scores]) -> list[str]:
    """List all methods of all characters, in the paper's order if all are the paper's, else in order of appearance."""
    found = list(dict.fromkeys(method for by_method in scores.values() for method in by_method))
    return sorted(found, key=METHODS.index) if set(found) <= set(METHODS) else found


def _check_pictures(
    crops: Mapping[str, Mapping[str, Pictures]],
    close_ups: Mapping[str, Mapping[str, Pictures]],
    frame_ids: Mapping[str, Sequence[int]],
) -> list[str]:
    """Check that the three mappings match, and return all methods in order."""
    if not crops or not set(crops) == set(close_ups) == set(frame_ids):
        names = ["/".join(part) or "none" for part in (crops, close_ups, frame_ids)]
        raise ParameterError(f"plot_methods_by_moments: crops, close-ups and frames are of {', '.join(names)}.")
    for character, moments in frame_ids.items():
        if set(crops[character]) != set(close_ups[character]):
            raise ParameterError(f"plot_methods_by_moments: {character} has crops and close-ups of different methods.")
        for method in crops[character]:
            counts = len(crops[character][method]), len(close_ups[character][method]), len(moments)
            if len(set(counts)) > 1 or not len(moments):
                raise ParameterError(
                    f"plot_methods_by_moments: {character}, {method} has {counts[0]} crops and {counts[1]} close-ups "
                    f"of {counts[2]} moments."
                )
    return list(dict.fromkeys(method for by_method in crops.values() for method in by_method))


def _check_curve(label: str, seconds: Curve, loss: Curve) -> tuple[np.ndarray, np.ndarray]:
    times, values = np.asarray(seconds, np.float64), np.asarray(loss, np.float64)
    if len(times) != len(values) or len(times) < 2:
        raise ParameterError(f"training `{label}`: {len(times)} times and {len(values)} losses; needed are 2, as many.")
    if not (np.diff(times) > 0).all() or not np.isfinite(values).all():
        raise ParameterError(f"training `{label}`: times must rise, and losses be finite.")
    return times, values


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Compute the mean over a centred window, which is cut off at both ends."""
    half = max(1, round(SMOOTHING_SHARE * len(values) / 2))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def measure_plateau(seconds: Float[np.ndarray, " N"], loss: Float[np.ndarray, " N"]) -> float:
    """Compute the change of mean loss from the second-last to the last tenth of the time, %; near 0 is a plateau."""
    return 100 * (_mean_of_tail(seconds, loss, 1) / _mean_of_tail(seconds, loss, 2) - 1)


def _mean_of_tail(seconds: np.ndarray, values: np.ndarray, part: int) -> float:
    """Compute the mean over the last (1) or the second-last (2) part of the time, linear between the values."""
    area = np.concatenate([[0.0], np.cumsum(np.diff(seconds) * (values[1:] + values[:-1]) / 2)])
    length = TAIL_SHARE * (seconds[-1] - seconds[0])
    low, high = np.interp(seconds[-1] - length * np.array([part, part - 1]), seconds, area)
    return float((high - low) / length)
