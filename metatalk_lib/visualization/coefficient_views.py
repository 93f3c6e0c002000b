"""Pictures of coefficients: pure functions from coefficients to pixels, fast enough to follow a slider."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.face_renderer import Render, render_face
from metatalk_lib.visualization.coefficient_changes import change_coefficients, check_row

BACKGROUND = 40  # grey level behind a face that is drawn alone
ERROR_REACH = 64  # grey levels at the bright end of the error map's scale
ERROR_PALETTE = cv2.COLORMAP_INFERNO  # dark to bright, safe for colour blindness
# Amount by which a coefficient is moved to show its effect, in the part's unit.
STRIP_AMOUNTS = {
    "identity": 2.0,
    "expression": 2.0,
    "texture": 2.0,
    "illumination": 0.3,
    "rotation": 0.3,
    "translation": 0.3,
}
STRIP_ZOOM = 1.5  # magnification of a strip's close-ups relative to the whole crop
PNG_SPEED = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # lossless at the fastest level that still shrinks


class Views(NamedTuple):
    """Four pictures of one frame, RGB and of one size.

    Attributes:
        original: the source frame.
        render: the synthetic face alone.
        overlay: the synthetic face over the frame.
        error: difference between face and frame inside the mask, see `draw_error_map`.
        mean_error: mean absolute difference inside the mask, grey levels; NaN where nothing is drawn.
    """

    original: UInt8[np.ndarray, "S S 3"]
    render: UInt8[np.ndarray, "S S 3"]
    overlay: UInt8[np.ndarray, "S S 3"]
    error: UInt8[np.ndarray, "S S 3"]
    mean_error: float


class Strip(NamedTuple):
    """Pictures of the effect of one coefficient.

    Attributes:
        pictures: the face with the coefficient lowered, unchanged and raised.
        difference: grey picture of |raised − lowered|, averaged over the colours; the greatest difference is brightest.
        greatest: greatest difference, grey levels.
    """

    pictures: UInt8[np.ndarray, "3 S S 3"]
    difference: UInt8[np.ndarray, "S S 3"]
    greatest: float


def render_coefficients(
    model: FaceModel,
    coefficients: Coefficients,
    index: int,
    size: int,
    *,
    background: UInt8[np.ndarray, "S S 3"] | None = None,
) -> UInt8[np.ndarray, "S S 3"]:
    """Draw the synthetic face of one frame, alone or over a picture.

    Args:
        model: the face model.
        coefficients: coefficients to draw.
        index: row of the frame.
        size: side of the picture, px.
        background: square RGB picture of the same side; dark grey by default.

    Raises:
        ParameterError: the row does not exist, or the background has another size.
    """
    check_row(coefficients, index)
    if background is not None and background.shape != (size, size, 3):
        raise ParameterError(f"the background has shape {background.shape}; expected ({size}, {size}, 3).")
    return _lay_over(render_face(model, coefficients, index, size), background)


def draw_views(model: FaceModel, coefficients: Coefficients, index: int, frame: UInt8[np.ndarray, "S S 3"]) -> Views:
    """Draw the original, the render, the overlay and the error map of one frame; the face is rendered once.

    Args:
        model: the face model.
        coefficients: coefficients to draw.
        index: row of the frame.
        frame: picture of that row; all four pictures have its side.

    Raises:
        ParameterError: the row does not exist.
    """
    check_row(coefficients, index)
    render = render_face(model, coefficients, index, len(frame))
    error, mean_error = draw_error_map(frame, render)
    return Views(frame, _lay_over(render, None), _lay_over(render, frame), error, mean_error)


def draw_error_map(frame: UInt8[np.ndarray, "S S 3"], render: Render) -> tuple[UInt8[np.ndarray, "S S 3"], float]:
    """Map the difference between the drawn face and the frame to false colours.

        e(x, y) = mean over colours of |frame − render|, from 0 (dark) to ERROR_REACH grey levels and more (bright)

    Args:
        frame: RGB picture.
        render: the drawn face; outside its mask the map is dark grey.

    Returns:
        The map (RGB), and the mean of e inside the mask (grey levels; NaN where nothing is drawn).
    """
    error = cv2.absdiff(frame, render.image).astype(np.float32).mean(axis=2)
    levels = np.clip(error * (255 / ERROR_REACH), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(levels, ERROR_PALETTE)[..., ::-1]
    mean = float(error[render.mask].mean()) if render.mask.any() else float("nan")
    return _lay_over(Render(colours, render.mask), None), mean


def error_scale_colours(count: int = 9) -> list[str]:
    """Return the error map's colours from 0 to ERROR_REACH as `#rrggbb`, for a legend."""
    levels = np.linspace(0, 255, count).round().astype(np.uint8)[None]
    return [f"#{r:02x}{g:02x}{b:02x}" for b, g, r in cv2.applyColorMap(levels, ERROR_PALETTE)[0].tolist()]


def render_overlays(
    model: FaceModel, coefficients: Coefficients, frames: Iterable[np.ndarray], index: Sequence[int]
) -> UInt8[np.ndarray, "K 3 S S 3"]:
    """Stack frame, overlay and render of chosen frames, for a contact sheet.

    Args:
        model: the face model.
        coefficients: fitted coefficients of the video.
        frames: images of the video in order, one for each row of coefficients.
        index: rows to draw, increasing.

    Raises:
        ParameterError: the video lacks one of the rows.
    """
    wanted = set(index)
    drawn = []
    for row, frame in enumerate(frames):
        if row in wanted:
            views = draw_views(model, coefficients, row, frame)
            drawn.append(np.stack([views.original, views.overlay, views.render]))
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
    """Draw the face of one frame with single coefficients moved by some amounts.

    Args:
        model: the face model.
        coefficients: starting point of the changes.
        index: row of the frame.
        size: side of a picture, px.
        part: one of the six parts.
        modes: numbers of the coefficients, one per row of pictures.
        amounts: changes in the part's unit (standard deviations for modes), one per column.
    """
    rows = [
        [
            render_coefficients(model, change_coefficients(coefficients, index, {part: {mode: amount}}), index, size)
            for amount in amounts
        ]
        for mode in modes
    ]
    return np.array(rows)


def render_strip(
    model: FaceModel, coefficients: Coefficients, index: int, size: int, *, part: str, number: int
) -> Strip:
    """Draw a close-up with one coefficient lowered and raised by `STRIP_AMOUNTS`, and the difference of the two.

    Args:
        model: the face model.
        coefficients: starting point of the changes, such as `neutral_coefficients`.
        index: row of the frame.
        size: side of a picture, px.
        part: one of the six parts.
        number: number of the coefficient.
    """
    reach = STRIP_AMOUNTS[part]
    whole = round(STRIP_ZOOM * size)
    middle_row, middle_column = np.argwhere(render_face(model, coefficients, index, whole).mask).mean(axis=0)
    top, left = (int(np.clip(round(middle - size / 2), 0, whole - size)) for middle in (middle_row, middle_column))
    low, middle, high = render_modes(
        model, coefficients, index, whole, part=part, modes=(number,), amounts=(-reach, 0.0, reach)
    )[0, :, top : top + size, left : left + size]
    difference = cv2.absdiff(high, low).astype(np.float32).mean(axis=2)
    greatest = float(difference.max())
    grey = (difference * (255 / max(greatest, 1.0))).astype(np.uint8)
    return Strip(np.stack((low, middle, high)), np.repeat(grey[..., None], 3, axis=2), greatest)


def neutral_coefficients(coefficients: Coefficients) -> Coefficients:
    """Return the person looking straight ahead at rest: no expression, no rotation, mean translation and light."""
    centre = coefficients.translation.mean(0)
    return replace(
        coefficients.select(coefficients.frame_id[:1]),
        expression=np.zeros((1, 64), dtype=np.float32),
        illumination=coefficients.illumination.mean(0, keepdims=True),
        rotation=np.zeros((1, 3), dtype=np.float32),
        translation=centre[None].astype(np.float32),
    )


def spread_rows(valid: Bool[np.ndarray, " T"], count: int) -> Int[np.ndarray, " K"]:
    """Choose rows for a contact sheet, evenly spread over the fitted frames.

    Raises:
        ParameterError: no frame was fitted, or fewer than one row is requested.
    """
    rows = np.flatnonzero(valid)
    if len(rows) == 0 or count < 1:
        raise ParameterError(f"cannot take {count} of {len(rows)} fitted frames. Ask for one at least.")
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]


def resize_frame(frame: UInt8[np.ndarray, "H H 3"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """Resize the frame by averaging its pixels."""
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)


def encode_png(pixels: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Encode RGB pixels as a PNG file, lossless."""
    return cv2.imencode(".png", pixels[..., ::-1], PNG_SPEED)[1].tobytes()


def _lay_over(render: Render, background: np.ndarray | None) -> UInt8[np.ndarray, "S S 3"]:
    return np.where(render.mask[..., None], render.image, np.uint8(BACKGROUND) if background is None else background)
