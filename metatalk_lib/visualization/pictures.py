"""Figures of pictures: pure `plot_*` functions that take arrays and return a Figure (curves: `curve_figures`)."""

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from metatalk_lib.reconstruction.surface_points import SurfacePoints
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import LandmarkTrack


def subplots(*args: Any, **options: Any) -> tuple[Figure, Any]:
    """Call `pyplot.subplots` and detach the figure from pyplot, so that a notebook shows it once and frees it."""
    figure, axes = plt.subplots(*args, **options)
    plt.close(figure)
    return figure, axes


def show_pictures(axes: Iterable[Axes], pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]], name: str) -> None:
    """Show pictures in a row of axes without ticks, with the row's name at its left.

    Args:
        axes: one per picture.
        pictures: RGB pictures.
        name: name of the row.
    """
    for column, (ax, picture) in enumerate(zip(axes, pictures, strict=True)):
        ax.imshow(picture)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_ylabel("" if column else name, fontsize=8)


def plot_fitted_landmarks(
    frame: UInt8[np.ndarray, "S S 3"],
    observed: Float[np.ndarray, "68 2"],
    *,
    fitted: Float[np.ndarray, "68 2"] | None = None,
    frame_id: int,
) -> Figure:
    """Plot a frame with its observed landmarks and, if given, the fitted ones joined to them.

    Args:
        frame: the crop.
        observed: observed landmarks, px of the crop.
        fitted: fitted landmarks, px of the crop.
        frame_id: number of the frame.
    """
    figure, ax = subplots(figsize=(5, 5), layout="tight")
    ax.imshow(frame)
    if fitted is not None:
        ax.plot(*np.stack([observed, fitted], axis=1).T, color="white", linewidth=0.7)
        ax.scatter(*fitted.T, s=8, color="tab:orange", label="fitted")
    ax.scatter(*observed.T, s=8, color="tab:cyan", label="observed")
    ax.set_title(f"frame {frame_id}, {len(frame)} px", fontsize=9)
    ax.legend(fontsize=8, loc="lower right")
    ax.set_axis_off()
    return figure


def plot_dense_points(
    frame: UInt8[np.ndarray, "S S 3"], surface: SurfacePoints | None, row: int, *, frame_id: int
) -> Figure:
    """Plot a frame with its surface points, if any; a dot's radius is the point's standard deviation in the fit.

    Args:
        frame: the crop.
        surface: points in px of the crop; those that hardly count are left out. None shows the frame alone.
        row: row of the frame in `surface`.
        frame_id: number of the frame.
    """
    figure, ax = subplots(figsize=(6, 6), layout="tight")
    ax.imshow(frame)
    if surface is not None:
        doubt_px = surface.doubt_px(row)
        counts = doubt_px < len(frame) / 20
        diameter = 2 * doubt_px[counts] * 72 * 6 / len(frame)  # typographic points
        ax.scatter(*surface.points[row, counts].T, s=diameter**2, color="tab:orange", alpha=0.35, linewidths=0)
        ax.scatter(*surface.points[row, counts].T, s=2, color="white")
    ax.set_title(f"frame {frame_id}, {len(frame)} px", fontsize=9)
    ax.set_axis_off()
    return figure


def plot_overlay_sheet(pictures: UInt8[np.ndarray, "K R S S 3"], frame_ids: Sequence[int]) -> Figure:
    """Plot a contact sheet with one column per frame; the rows are frame, overlay and render.

    Args:
        pictures: pictures from `coefficient_views.render_overlays`.
        frame_ids: numbers of the frames.
    """
    count, rows, size = pictures.shape[:3]
    figure, axes = subplots(rows, count, figsize=(2.1 * count, 2.1 * rows), layout="tight", squeeze=False)
    for column, frame_id in enumerate(frame_ids):
        for row in range(rows):
            axes[row, column].imshow(pictures[column, row])
            axes[row, column].set_axis_off()
        axes[0, column].set_title(f"frame {frame_id}, {size} px", fontsize=8)
    return figure


def plot_mode_sheet(
    pictures: UInt8[np.ndarray, "K A S S 3"], *, part: str, modes: Sequence[int], amounts: Sequence[float]
) -> Figure:
    """Plot renders with single modes moved: one row per mode, one column per amount.

    Args:
        pictures: pictures from `coefficient_views.render_modes`.
        part: name of the coefficients.
        modes: numbers of the modes.
        amounts: changes, standard deviations.
    """
    figure, axes = subplots(
        len(modes), len(amounts), figsize=(2 * len(amounts), 2 * len(modes)), layout="tight", squeeze=False
    )
    for row, mode in enumerate(modes):
        for ax, picture in zip(axes[row], pictures[row], strict=True):
            ax.imshow(picture)
            ax.set_xticks([])
            ax.set_yticks([])
        axes[row, 0].set_ylabel(f"{part} {mode}", fontsize=8)
    for column, amount in enumerate(amounts):
        axes[0, column].set_title(f"{amount:+g} σ", fontsize=8)
    return figure


def plot_mouth_sheet(
    images: UInt8[np.ndarray, "K M M 3"], frames: Sequence[int], labels: Sequence[str], *, columns: int = 12
) -> Figure:
    """Plot small pictures of the mouth in reading order, each with its frame number and a label.

    Args:
        images: K square pictures.
        frames: frame numbers of the pictures.
        labels: labels of the pictures.
        columns: pictures per row.
    """
    rows = -(-len(images) // columns)
    figure, axes = subplots(rows, columns, figsize=(columns, 1.25 * rows), squeeze=False, layout="tight")
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, frame, label in zip(axes.flat, images, frames, labels, strict=False):
        ax.imshow(image)
        ax.set_title(f"{frame} {label}", fontsize=8, pad=2)
    return figure


def plot_region(
    image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"], *, frame_id: int, ax: Axes | None = None
) -> Figure:
    """Plot a frame with a region outlined.

    Args:
        image: RGB frame.
        mask: the region.
        frame_id: number of the frame, for the title.
        ax: axes to draw on; a new figure by default.
    """
    if ax is None:
        _, ax = subplots(figsize=(4.5, 4.5), layout="tight")
    ax.imshow(image)
    ax.contour(mask, levels=[0.5], colors=["#ffb000"], linewidths=1.2)
    ax.set_title(f"frame_id {frame_id}, {image.shape[1]} × {image.shape[0]} px", fontsize=9)
    ax.set_axis_off()
    return cast(Figure, ax.figure)


def plot_score_bars(
    scores: Mapping[str, float], *, label: str, highlighted: Sequence[str], ax: Axes | None = None
) -> Figure:
    """Plot one bar per row, methods in colour and control rows in grey, with values at the ends.

    Args:
        scores: row name to value; NaN for a method that failed, and its bar says so.
        label: name of the measure, with unit and direction.
        highlighted: rows drawn in colour.
        ax: axes to draw on; a new figure by default.
    """
    if ax is None:
        _, ax = subplots(figsize=(8, 0.34 * len(scores) + 0.8), layout="tight")
    names = list(scores)
    colours = ["tab:blue" if name in highlighted else "0.7" for name in names]
    bars = ax.barh(names, list(scores.values()), color=colours)
    labels = ["failed" if np.isnan(value) else f"{value:.3f}" for value in scores.values()]
    ax.bar_label(bars, labels, fontsize=8, padding=2)
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.margins(x=0.12)
    ax.invert_yaxis()
    ax.tick_params(axis="y", labelsize=8)
    ax.set_xlabel(label)
    return cast(Figure, ax.figure)


def plot_picture_rows(
    rows: Mapping[str, UInt8[np.ndarray, "K H W 3"]],
    frame_ids: Sequence[int] | Int[np.ndarray, " K"],
    *,
    label: str = "frame",
    width_inches: float = 12.0,
) -> Figure:
    """Plot named rows of pictures, one column per frame.

    Args:
        rows: name to K pictures; all pictures have one size.
        frame_ids: frame numbers of the columns.
        label: text before the number above a column.
        width_inches: width of the figure, inches.
    """
    count = len(frame_ids)
    height, width = next(iter(rows.values())).shape[1:3]
    cell = width_inches / count
    size = (width_inches, len(rows) * cell * height / width + 0.3)
    figure, axes = subplots(len(rows), count, figsize=size, squeeze=False, layout="constrained")
    for row_axes, (name, pictures) in zip(axes, rows.items(), strict=True):
        show_pictures(row_axes, pictures, name)
    for ax, number in zip(axes[0], frame_ids, strict=True):
        ax.set_title(f"{label} {number}", fontsize=8)
    return figure


def plot_pictures_at_scale(
    rows: Mapping[str, UInt8[np.ndarray, "K H W 3"]],
    frame_ids: Sequence[int] | Int[np.ndarray, " K"],
    *,
    scale: int = 1,
) -> Figure:
    """Plot pictures side by side without resampling: one pixel is `scale` x `scale` pixels of the figure.

    Args:
        rows: name to K pictures of one size, drawn above each other in this order.
        frame_ids: frame numbers of the columns.
        scale: integer magnification.
    """
    sheet = np.concatenate([np.concatenate(list(pictures), axis=1) for pictures in rows.values()], axis=0)
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    dpi = 100
    figure, ax = subplots(figsize=(sheet.shape[1] / dpi, sheet.shape[0] / dpi), dpi=dpi)
    ax.set_position((0, 0, 1, 1))
    ax.imshow(sheet, interpolation="nearest")
    ax.set_axis_off()
    numbers = ", ".join(str(number) for number in frame_ids)
    ax.set_title(f"rows from the top: {', '.join(rows)}; frames {numbers}; scale {scale}:1", fontsize=8)
    return figure


def plot_painted_region(
    frame: UInt8[np.ndarray, "S S 3"],
    mask: Bool[np.ndarray, "H W"],
    roi: tuple[int, int, int, int],
    *,
    frame_id: int,
) -> Figure:
    """Plot the crop with the rectangle that the network processes, and the painted mask within it.

    Args:
        frame: the crop.
        mask: mask of the rectangle.
        roi: left, top, right, bottom in crop px, exclusive ends.
        frame_id: number of the frame.
    """
    left, top, right, bottom = roi
    figure, (whole_ax, part_ax) = subplots(1, 2, figsize=(9, 4.4), layout="constrained")
    whole_ax.imshow(frame)
    edge = plt.Rectangle(
        (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color="tab:orange", linewidth=2
    )
    whole_ax.add_patch(edge)
    part_ax.imshow(frame[top:bottom, left:right])
    part_ax.contour(mask, levels=[0.5], colors=["tab:orange"])
    whole_ax.set_title(f"frame {frame_id}, {frame.shape[0]} px", fontsize=9)
    part_ax.set_title(f"rectangle of {right - left} x {bottom - top} px and the mask", fontsize=9)
    for ax in (whole_ax, part_ax):
        ax.set_axis_off()
    return figure


def plot_clips(images: Sequence[UInt8[np.ndarray, "_ _ 3"]], titles: Sequence[str]) -> Figure:
    """Plot one picture per clip in a row, each with its title.

    Args:
        images: RGB pictures of any size.
        titles: one title per picture.
    """
    figure, axes = subplots(1, len(images), figsize=(3.2 * len(images), 3.4), squeeze=False, layout="tight")
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        ax.imshow(image)
        ax.set_title(title, fontsize=8)
        ax.set_axis_off()
    return figure


def plot_crop(
    frame: UInt8[np.ndarray, "H W 3"], transform: CropTransform, track: LandmarkTrack, index: int = 0
) -> Figure:
    """Plot a source frame with the square and the landmarks, beside the crop."""
    figure, (left, right) = subplots(1, 2, figsize=(10, 5), layout="constrained")
    left.imshow(frame)
    square = (transform.left - 0.5, transform.top - 0.5)
    left.add_patch(Rectangle(square, transform.side, transform.side, fill=False, edgecolor="tab:orange", linewidth=2))
    right.imshow(transform.crop_image(frame))
    for axes, points in ((left, track.landmarks[index]), (right, transform.to_crop(track.landmarks[index]))):
        axes.scatter(points[:, 0], points[:, 1], s=6, c="tab:cyan", linewidths=0)
        axes.set(xlabel="x, px", ylabel="y, px")
    left.set(
        title=f"source, frame_id {track.frame_id[index]}", xlim=_wide(left.get_xlim()), ylim=_wide(left.get_ylim())
    )
    right.set_title(f"crop, {transform.size} px")
    return figure


def _wide(limits: tuple[float, float]) -> tuple[float, float]:
    """Widen axis limits slightly."""
    low, high = limits
    return low - 0.02 * (high - low), high + 0.02 * (high - low)


def show_video(path: Path) -> HTML:
    """Return a player for a finished video, which stays a file beside the notebook.

    The link is relative, so that it works wherever the outputs folder is served. An executed copy in the folder
    `notebooks` and a notebook run by hand find the file at different places; the browser takes the first that exists.

    Args:
        path: path of the video, `<outputs>/<character>/<stage>/<name>.mp4`.
    """
    places = [f"../{path.parent.name}/{path.name}", os.path.relpath(path)]
    sources = "".join(f'<source src="{html.escape(place)}" type="video/mp4">' for place in places)
    return HTML(f'<video controls loop style="max-width: 100%">{sources}</video><p>{html.escape(str(path))}</p>')
