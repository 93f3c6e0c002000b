"""The coefficient explorer: a thin ipywidgets shell around the pure functions of the `coefficient_*` modules.

The widget only displays. Its settings can be copied as YAML; no later cell reads a slider.
"""

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import ipywidgets
import numpy as np
from ipywidgets import Layout
from jaxtyping import Float, Int, UInt8

from metatalk_lib.core.errors import MetaTalkError, ParameterError
from metatalk_lib.core.parallel import torch_threads
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.video import read_frames
from metatalk_lib.visualization.coefficient_changes import (
    SHARED_PARTS,
    UNITS,
    change_coefficients,
    format_yaml,
    parse_yaml,
    random_changes,
)
from metatalk_lib.visualization.coefficient_effects import describe_effects, label_coefficient
from metatalk_lib.visualization.coefficient_sliders import CoefficientSliders
from metatalk_lib.visualization.coefficient_views import (
    ERROR_REACH,
    STRIP_AMOUNTS,
    Strip,
    draw_views,
    encode_png,
    error_scale_colours,
    neutral_coefficients,
    render_strip,
    resize_frame,
)

VIEW_SIZE, STRIP_SIZE = 256, 112  # sides of the large and the small pictures, px
VIEW_NAMES = ("original", "render", "overlay", "error")
STRIP_NAMES = ("lowered", "as fitted", "raised", "difference")
_WIDTH = 4 * VIEW_SIZE + 48  # of the explorer, px; a narrower page shrinks the pictures


class CoefficientExplorer:
    """All 257 coefficients on sliders with their effects, next to the frame, the rendered face and their difference.

    Attributes:
        view: the widget to display.
        scrubber: slider of the frame's row.
        sliders: the page of sliders.
        pictures: `original`, `render`, `overlay`, `error`; strip: `lowered`, `as fitted`, `raised`, `difference`.
        curve: the selected coefficient over time.
        seed, random_button, reset_button, copy_button, apply_button: the actions.
        yaml, status, errors: outputs for the YAML text, the last action and messages.
    """

    def __init__(
        self,
        model: FaceModel,
        coefficients: Coefficients,
        load_frame: Callable[[int], np.ndarray],
        *,
        fps: Fraction | float | None = None,
        size: int = VIEW_SIZE,
    ) -> None:
        """Build the controls and draw the first frame.

        Args:
            model: the face model.
            coefficients: a fit of the video.
            load_frame: function that returns the square RGB picture of a row.
            fps: frame rate, Hz, for curves over seconds; None shows them over frame_id.
            size: side of the large pictures, px.
        """
        self._model, self._coefficients, self._load_frame, self._size = model, coefficients, load_frame, size
        self._neutral = neutral_coefficients(coefficients)
        self._times = coefficients.frame_id / (float(fps) if fps else 1.0)
        self._time_label = "time, s" if fps else "frame_id"
        self._frame: np.ndarray | None = None
        self._strips: dict[tuple[str, int], Strip] = {}
        last = len(coefficients) - 1
        self.scrubber = ipywidgets.IntSlider(0, 0, last, continuous_update=False, readout=False, layout=_grow())
        self.sliders = CoefficientSliders(model, self._fitted, self._redraw, self._show_selected)
        self.pictures = {name: _picture(f"explorer-{name}") for name in VIEW_NAMES}
        self.strip = {name: _picture(f"explorer-strip-{number}") for number, name in enumerate(STRIP_NAMES)}
        self.curve, self.status, self.errors = ipywidgets.HTML(layout=_grow()), ipywidgets.HTML(), ipywidgets.Output()
        self._title, self._frame_label = ipywidgets.HTML(), ipywidgets.HTML(layout=Layout(flex="0 0 auto"))
        self._captions = {name: ipywidgets.HTML() for name in (*VIEW_NAMES, *STRIP_NAMES)}
        self.seed = ipywidgets.BoundedIntText(0, 0, 2**31 - 1, description="seed", layout=Layout(width="9em"))
        self.seed.style.description_width = "3em"
        self.random_button = _button("random", "a Gaussian change of the whole group, drawn with the seed beside")
        self.reset_button = _button("reset", "all 257 coefficients as they were fitted")
        self.copy_button = _button("copy as YAML", "write the frame and the changes into the field below")
        self.apply_button = _button("apply YAML", "take the frame and the changes from the field below")
        self.yaml = ipywidgets.Textarea(layout=Layout(width="100%", height="6em"))
        self.view = self._lay_out()
        self._connect()
        self._change_frame()
        self._show_selected()

    @property
    def changes(self) -> dict[str, dict[int, float]]:
        """Return part -> {number: amount} of all coefficients that differ from the fit."""
        return self.sliders.changes

    def _lay_out(self) -> ipywidgets.Widget:
        for name, text in {"original": "original", "render": "render", "overlay": "render over original"}.items():
            self._captions[name].value = _caption(text)
        pictures = [_captioned(self.pictures[name], self._captions[name], self._size) for name in VIEW_NAMES]
        strip = [_captioned(self.strip[name], self._captions[name], STRIP_SIZE) for name in STRIP_NAMES]
        buttons = [self.random_button, self.seed, self.reset_button, self.copy_button, self.apply_button, self.status]
        parts = [
            _row(pictures),
            _row([ipywidgets.Label("frame"), self.scrubber, self._frame_label]),
            self._title,
            _row([*strip, self.curve]),
            self.sliders.view,
            _row(buttons),
            self.yaml,
            self.errors,
        ]
        view = ipywidgets.VBox(parts, layout=Layout(width="100%", max_width=f"{_WIDTH}px", padding="0 8px 0 0"))
        view.add_class("coefficient-explorer")
        return view

    def _connect(self) -> None:
        self.scrubber.observe(self._change_frame, names="value")
        self.random_button.on_click(self._draw_random)
        self.reset_button.on_click(self._reset)
        self.copy_button.on_click(self._copy)
        self.apply_button.on_click(self._apply)

    @contextmanager
    def _errors_shown(self) -> Iterator[None]:
        """Show errors instead of raising them, and clear those shown before."""
        self.errors.outputs = ()
        try:
            with torch_threads(1):
                yield
        except (MetaTalkError, ValueError, RuntimeError) as error:
            self.errors.append_stderr(f"{error}\n")

    def _fitted(self, part: str) -> np.ndarray:
        values = getattr(self._coefficients, part)
        return values if part in SHARED_PARTS else values[self.scrubber.value]

    def _change_frame(self, _event: object = None) -> None:
        with self._errors_shown():
            row, self._frame = self.scrubber.value, None
            self._frame = resize_frame(self._load_frame(row), self._size)
            self.pictures["original"].value = encode_png(self._frame)
            seconds = f", {self._times[row]:.2f} s" if self._time_label.startswith("time") else ""
            self._frame_label.value = f"frame_id {self._coefficients.frame_id[row]}{seconds}"
            self.sliders.show_page()
            self._draw_views()

    def _redraw(self) -> None:
        with self._errors_shown():
            self._draw_views()

    def _draw_views(self) -> None:
        row = self.scrubber.value
        if self._frame is None:
            raise ParameterError(f"row {row} has no picture. Choose another frame.")
        changed = change_coefficients(self._coefficients, row, self.changes)
        views = draw_views(self._model, changed, row, self._frame)
        for name in VIEW_NAMES[1:]:
            self.pictures[name].value = encode_png(getattr(views, name))
        self._captions["error"].value = _error_caption(views.mean_error)
        self._draw_curve()

    def _draw_curve(self) -> None:
        part, number = self.sliders.selected
        values = getattr(self._coefficients, part)[..., number]
        value = float(self._fitted(part)[number]) + self.changes.get(part, {}).get(number, 0.0)
        label = ", ".join(text for text in (label_coefficient(part, number), UNITS[part]) if text)
        if part in SHARED_PARTS:
            label += ", one value for the whole clip"
        values = np.broadcast_to(values, len(self._coefficients))
        row = self.scrubber.value
        self.curve.value = draw_curve(values, self._times, row, value=value, label=label, time_label=self._time_label)

    def _show_selected(self) -> None:
        """Show the strip and the curve of the selected coefficient; each strip is drawn only once."""
        with self._errors_shown():
            part, number = self.sliders.selected
            if (part, number) not in self._strips:
                self._strips[part, number] = render_strip(
                    self._model, self._neutral, 0, STRIP_SIZE, part=part, number=number
                )
            strip, reach = self._strips[part, number], f"{STRIP_AMOUNTS[part]:g} {UNITS[part]}"
            effect = describe_effects(self._model, part)[number]
            self._title.value = f"<b>{label_coefficient(part, number)}</b>: {html.escape(effect)}"
            for name, picture in zip(STRIP_NAMES, (*strip.pictures, strip.difference), strict=True):
                self.strip[name].value = encode_png(picture)
            texts = (f"−{reach}", "as fitted", f"+{reach}", f"change ≤ {strip.greatest:.0f}")
            for name, text in zip(STRIP_NAMES, texts, strict=True):
                self._captions[name].value = _caption(text)
            self._draw_curve()

    def _draw_random(self, _event: object = None) -> None:
        with self._errors_shown():
            part, seed = self.sliders.group.value, self.seed.value
            self._take(self.changes | {part: random_changes(part, seed)})
            self.status.value = f"random {part}, seed {seed}"
            self.seed.value = seed + 1

    def _reset(self, _event: object = None) -> None:
        with self._errors_shown():
            self._take({})
            self.status.value = "as fitted"

    def _copy(self, _event: object = None) -> None:
        self.yaml.value = format_yaml(int(self._coefficients.frame_id[self.scrubber.value]), self.changes)
        self.status.value = "the YAML is in the field below"

    def _apply(self, _event: object = None) -> None:
        with self._errors_shown():
            frame_id, changes = parse_yaml(self.yaml.value)
            self._coefficients.select(np.array([frame_id]))  # raises if there is no such frame
            self.scrubber.value = int(np.searchsorted(self._coefficients.frame_id, frame_id))
            self._take(changes)
            self.status.value = "applied"

    def _take(self, changes: dict[str, dict[int, float]]) -> None:
        self.sliders.replace_changes(changes)
        self._draw_views()


def frame_loader(video_path: Path) -> Callable[[int], UInt8[np.ndarray, "S S 3"]]:
    """Make a function that reads one frame of a video by its number."""
    return lambda row: next(iter(read_frames(video_path, start=row, stop=row + 1)))


def _grow() -> Layout:
    return Layout(flex="1 1 0", min_width="0")


def _row(children: list[ipywidgets.Widget]) -> ipywidgets.HBox:
    return ipywidgets.HBox(children, layout=Layout(width="100%", align_items="center", overflow="hidden"))


def _button(name: str, tooltip: str) -> ipywidgets.Button:
    return ipywidgets.Button(description=name, tooltip=tooltip, layout=Layout(width="9em", flex="0 0 auto"))


def _picture(name: str) -> ipywidgets.Image:
    picture = ipywidgets.Image(format="png", layout=Layout(width="100%"))
    picture.add_class(name)
    return picture


def _captioned(picture: ipywidgets.Image, caption: ipywidgets.HTML, side: int) -> ipywidgets.VBox:
    return ipywidgets.VBox([picture, caption], layout=Layout(flex=f"0 1 {side}px", min_width="0", margin="0 6px 0 0"))


def _caption(text: str) -> str:
    return f'<div style="text-align:center;line-height:1.5;white-space:nowrap">{text}</div>'


def _error_caption(mean_error: float) -> str:
    bar = f"background:linear-gradient(90deg,{','.join(error_scale_colours())})"
    scale = f'0 <span style="display:inline-block;width:40px;height:9px;{bar}"></span> {ERROR_REACH}'
    return _caption(f"error {scale} of 255, mean {mean_error:.1f}")


MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 50, 10, 20, 30
LEAST_RANGE = 0.02  # smallest span of the vertical axis, in the coefficient's unit; a constant is a line in its middle
CURVE_COLOUR, CURSOR_COLOUR = "#1f77b4", "#ff7f0e"


def draw_curve(
    values: Float[np.ndarray, " T"],
    times: Float[np.ndarray, " T"],
    row: int,
    *,
    value: float,
    label: str,
    time_label: str,
    width: int = 560,
    height: int = 150,
) -> str:
    """Draw the curve, a line at the current frame, and a dot at the changed value of that frame.

    Args:
        values: fitted values of every frame.
        times: times of every frame, increasing.
        row: position of the current frame.
        value: value of the current frame including the change.
        label: label of the vertical axis, with unit.
        time_label: label of the horizontal axis, with unit.
        width: maximum width of the drawing, px; it shrinks in a narrower place.
        height: height of the drawing, px.

    Returns:
        SVG text; labels take the colour of the surrounding text.
    """
    left, right, top, bottom = MARGIN_LEFT, width - MARGIN_RIGHT, MARGIN_TOP, height - MARGIN_BOTTOM
    low, high = _axis_range(values, value)
    x = np.interp(times, (times[0], max(times[-1], times[0] + 1e-9)), (left, right))
    y = np.interp(np.append(values, value), (low, high), (bottom, top))
    points = " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in thin_curve(values, right - left))
    lines = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)} over time" style="width:100%;'
        f'max-width:{width}px;display:block;font:11px sans-serif;fill:currentColor;line-height:1">',
        f'<text x="4" y="11">{html.escape(label)}</text>',
        f'<text x="{left}" y="{height - 16}">{times[0]:.4g}</text>',
        f'<text x="{right}" y="{height - 16}" text-anchor="end">{times[-1]:.4g}</text>',
        f'<text x="{(left + right) / 2}" y="{height - 5}" text-anchor="middle">{html.escape(time_label)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        tick, at = low + share * (high - low), bottom + share * (top - bottom)
        lines.append(f'<path d="M{left} {at}H{right}" stroke="currentColor" stroke-opacity="0.15"/>')
        lines.append(f'<text x="{left - 5}" y="{at + 4}" text-anchor="end">{_signed(tick)}</text>')
    lines.append(f'<polyline points="{points}" fill="none" stroke="{CURVE_COLOUR}" stroke-width="1.3"/>')
    lines.append(f'<path d="M{x[row]:.1f} {top}V{bottom}" stroke="{CURSOR_COLOUR}"/>')
    lines.append(f'<circle cx="{x[row]:.1f}" cy="{y[-1]:.1f}" r="4" fill="{CURSOR_COLOUR}"/></svg>')
    return "".join(lines)


def thin_curve(values: Float[np.ndarray, " T"], columns: int) -> Int[np.ndarray, " K"]:
    """Select positions that draw the same curve with fewer points: minimum and maximum of each column, and the ends.

    Args:
        values: values of every frame.
        columns: width of the drawing, px.
    """
    if len(values) <= 2 * columns:
        return np.arange(len(values))
    length = len(values) // columns
    starts = np.arange(columns) * length
    blocks = values[: columns * length].reshape(columns, length)
    rest = np.arange(columns * length, len(values))
    return np.unique(np.concatenate(([0], starts + blocks.argmin(1), starts + blocks.argmax(1), rest)))


def _signed(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-", "−")


def _axis_range(values: Float[np.ndarray, " T"], value: float) -> tuple[float, float]:
    low, high = min(float(values.min()), value), max(float(values.max()), value)
    missing = max(LEAST_RANGE - (high - low), 0.0) / 2
    return low - missing, high + missing
