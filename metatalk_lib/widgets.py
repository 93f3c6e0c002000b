"""Views of fitted coefficients: pure functions that draw, and a thin ipywidgets shell around them.

The widgets only look. What they find is copied as YAML; no later cell reads a slider.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import ipywidgets
import numpy as np
from jaxtyping import Bool, Int, UInt8

from metatalk_lib.errors import MetaTalkError, ParameterError
from metatalk_lib.face_model import Coefficients, FaceModel
from metatalk_lib.renderer import render_face
from metatalk_lib.video import read_frames

BACKGROUND = 40  # grey level behind a face that is shown alone
EXPLORED_MODES = 8
SHARED_PARTS = ("identity", "texture")
FRAME_PARTS = ("expression", "rotation", "translation")
AXES = ("x", "y", "z")
# Reach of a slider: standard deviations for modes, radians, decimetres.
SLIDER_REACH = {"identity": 3.0, "expression": 3.0, "texture": 3.0, "rotation": 0.6, "translation": 1.0}

Changes = Mapping[str, Mapping[int, float]]


def change_coefficients(coefficients: Coefficients, index: int, changes: Changes) -> Coefficients:
    """Add amounts to single coefficients; the input stays as it is.

    Args:
        coefficients: fitted coefficients.
        index: row of the frame whose expression, rotation or translation changes.
        changes: part -> {number of the coefficient: amount}, such as `{"expression": {0: 1.5}}`; modes in standard
            deviations, rotation in radians, translation in decimetres.

    Raises:
        ParameterError: an unknown part, a coefficient that does not exist, or a row that does not exist.
    """
    _check_index(coefficients, index)
    changed = {}
    for part, amounts in changes.items():
        if part not in SHARED_PARTS + FRAME_PARTS:
            raise ParameterError(f"no part `{part}` to change. There are: {', '.join(SHARED_PARTS + FRAME_PARTS)}.")
        values = getattr(coefficients, part).copy()
        row = values if part in SHARED_PARTS else values[index]
        for number, amount in amounts.items():
            if not 0 <= number < len(row):
                raise ParameterError(f"{part} has coefficients 0 to {len(row) - 1}; there is no {number}.")
            row[number] += amount
        changed[part] = values
    return replace(coefficients, **changed)


def render_coefficients(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    background: UInt8[np.ndarray, "S S 3"] | None = None,
) -> UInt8[np.ndarray, "S S 3"]:
    """The synthetic face of one frame, alone or laid over a picture.

    Args:
        model: the face model.
        coefficients: what to draw.
        index: row of the frame.
        size: side of the picture, px.
        background: square RGB picture of that side; dark grey where absent.

    Raises:
        ParameterError: the row does not exist, or the background has another size.
    """
    _check_index(coefficients, index)
    if background is None:
        background = np.full((size, size, 3), BACKGROUND, dtype=np.uint8)
    if background.shape != (size, size, 3):
        raise ParameterError(f"the background has shape {background.shape}; expected ({size}, {size}, 3).")
    render = render_face(model, coefficients, index, size)
    return np.where(render.mask[..., None], render.image, background)


def render_overlays(
    model: FaceModel, coefficients: Coefficients, frames: Iterable[np.ndarray], index: Sequence[int]
) -> UInt8[np.ndarray, "K 3 S S 3"]:
    """Frame, overlay and render of chosen frames, for a contact sheet.

    Args:
        model: the face model.
        coefficients: a fit of the video.
        frames: the video's images in order, one for each coefficient row.
        index: increasing rows to draw.

    Raises:
        ParameterError: a row that the video does not have.
    """
    wanted = set(index)
    drawn = []
    for row, frame in enumerate(frames):
        if row in wanted:
            alone = render_coefficients(model, coefficients, row, len(frame))
            over = render_coefficients(model, coefficients, row, len(frame), background=frame)
            drawn.append(np.stack([frame, over, alone]))
        if row >= max(wanted):
            break
    if len(drawn) != len(wanted):
        raise ParameterError(f"{len(wanted)} rows asked for, {len(drawn)} drawn: the video has too few frames.")
    return np.stack(drawn)


def render_modes(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    part: str = "expression",
    modes: Sequence[int] = (0, 1, 2, 3),
    amounts: Sequence[float] = (-2.0, 0.0, 2.0),
) -> UInt8[np.ndarray, "K A S S 3"]:
    """The face of one frame with single modes moved by some standard deviations.

    Args:
        model: the face model.
        coefficients: the starting point.
        index: row of the frame.
        size: side of a picture, px.
        part: `identity`, `expression` or `texture`.
        modes: numbers of the modes, one a row of pictures.
        amounts: standard deviations, one a column.
    """
    rows = [
        [
            render_coefficients(model, change_coefficients(coefficients, index, {part: {mode: amount}}), index, size)
            for amount in amounts
        ]
        for mode in modes
    ]
    return np.array(rows)


def neutral_coefficients(coefficients: Coefficients) -> Coefficients:
    """The person looking straight ahead with a resting face: mean distance and light, no expression, no turn."""
    centre = coefficients.translation.mean(0)
    return replace(
        coefficients.select(coefficients.frame_id[:1]),
        expression=np.zeros((1, 64), dtype=np.float32),
        illumination=coefficients.illumination.mean(0, keepdims=True),
        rotation=np.zeros((1, 3), dtype=np.float32),
        translation=centre[None].astype(np.float32),
    )


def format_yaml(frame_id: int, changes: Changes) -> str:
    """The changes as YAML text, to be pasted beside the parameters.

    Args:
        frame_id: number of the frame that was looked at.
        changes: as for `change_coefficients`.
    """
    lines = [f"frame_id: {frame_id}"]
    for part, amounts in changes.items():
        moved = ", ".join(f"{number}: {amount:.3f}" for number, amount in sorted(amounts.items()) if amount)
        if moved:
            lines.append(f"{part}: {{{moved}}}")
    return "\n".join(lines)


class CoefficientExplorer:
    """Sliders for the first modes and the pose, a frame scrubber, and original, render and overlay side by side.

    Attributes:
        view: the widget to display.
        scrubber, sliders, copy_button, reset_button: the controls; `sliders` by part.
        yaml, errors: where the YAML text and messages appear.
    """

    def __init__(
        self, model: FaceModel, coefficients: Coefficients, load_frame: Callable[[int], np.ndarray], *, size: int = 320
    ) -> None:
        """Build the sliders.

        Args:
            model: the face model.
            coefficients: a fit of the video.
            load_frame: gives the square RGB picture of a row.
            size: side of the shown pictures, px.
        """
        self._model, self._coefficients, self._load_frame, self._size = model, coefficients, load_frame, size
        self._pictures = [ipywidgets.Image(format="png") for _ in range(3)]
        self.errors = ipywidgets.Output()
        self.yaml = ipywidgets.Textarea(layout=ipywidgets.Layout(width="40em", height="7em"))
        last = len(coefficients.frame_id) - 1
        self.scrubber = ipywidgets.IntSlider(0, 0, last, description="frame", continuous_update=False)
        self.sliders = {part: self._make_sliders(part) for part in SLIDER_REACH}
        self.copy_button = ipywidgets.Button(description="copy as YAML")
        self.reset_button = ipywidgets.Button(description="reset")
        self.copy_button.on_click(self._show_yaml)
        self.reset_button.on_click(self._reset)
        self.view = self._lay_out()
        self._connect()
        self._redraw()

    @property
    def changes(self) -> dict[str, dict[int, float]]:
        """Part -> {number: amount} of every slider that is not at zero."""
        moved = {part: {i: s.value for i, s in enumerate(own) if s.value} for part, own in self.sliders.items()}
        return {part: amounts for part, amounts in moved.items() if amounts}

    def _make_sliders(self, part: str) -> list[ipywidgets.FloatSlider]:
        names = AXES if part in ("rotation", "translation") else range(EXPLORED_MODES)
        reach = SLIDER_REACH[part]
        return [
            ipywidgets.FloatSlider(0.0, min=-reach, max=reach, step=reach / 60, description=f"{part[:4]} {name}",
                                   continuous_update=False)
            for name in names
        ]  # fmt: skip

    def _lay_out(self) -> ipywidgets.Widget:
        tabs = ipywidgets.Tab([ipywidgets.VBox(own) for own in self.sliders.values()])
        for position, part in enumerate(self.sliders):
            tabs.set_title(position, part)
        buttons = ipywidgets.HBox([self.copy_button, self.reset_button])
        pictures = ipywidgets.HBox(self._pictures)
        return ipywidgets.VBox([self.scrubber, pictures, tabs, buttons, self.yaml, self.errors])

    def _connect(self) -> None:
        for slider in [self.scrubber, *(slider for own in self.sliders.values() for slider in own)]:
            slider.observe(self._redraw, names="value")

    def _redraw(self, _event: object = None) -> None:
        self.errors.outputs = ()
        try:
            for picture, pixels in zip(self._pictures, self._draw(self.scrubber.value), strict=True):
                picture.value = _encode_png(pixels)
        except (MetaTalkError, ValueError, RuntimeError) as error:
            self.errors.append_stderr(f"{error}\n")

    def _draw(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        frame = _resize(self._load_frame(row), self._size)
        changed = change_coefficients(self._coefficients, row, self.changes)
        alone = render_coefficients(self._model, changed, row, self._size)
        return frame, alone, render_coefficients(self._model, changed, row, self._size, background=frame)

    def _show_yaml(self, _event: object = None) -> None:
        self.yaml.value = format_yaml(int(self._coefficients.frame_id[self.scrubber.value]), self.changes)

    def _reset(self, _event: object = None) -> None:
        for own in self.sliders.values():
            for slider in own:
                slider.value = 0.0


def frame_loader(video_path: Path) -> Callable[[int], UInt8[np.ndarray, "S S 3"]]:
    """A function that reads one frame of a video by its number."""
    return lambda row: next(iter(read_frames(video_path, start=row, stop=row + 1)))


def spread_rows(valid: Bool[np.ndarray, " T"], count: int) -> Int[np.ndarray, " K"]:
    """Rows for a contact sheet: evenly spread over the frames that were fitted.

    Raises:
        ParameterError: no frame was fitted, or fewer than one row is asked for.
    """
    rows = np.flatnonzero(valid)
    if len(rows) == 0 or count < 1:
        raise ParameterError(f"cannot take {count} of {len(rows)} fitted frames. Ask for one at least.")
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]


def _check_index(coefficients: Coefficients, index: int) -> None:
    if not 0 <= index < len(coefficients.frame_id):
        raise ParameterError(f"there are rows 0 to {len(coefficients.frame_id) - 1}; there is no row {index}.")


def _resize(frame: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)


def _encode_png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
