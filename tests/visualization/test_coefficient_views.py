"""The explorer's pictures, and the curve: known pixels, limits, refusals."""

import cv2
import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.face_renderer import Render, render_face
from metatalk_lib.visualization.coefficient_changes import PARTS, change_coefficients
from metatalk_lib.visualization.coefficient_explorer import draw_curve, thin_curve
from metatalk_lib.visualization.coefficient_views import (
    BACKGROUND,
    ERROR_REACH,
    STRIP_AMOUNTS,
    STRIP_ZOOM,
    draw_error_map,
    draw_views,
    encode_png,
    error_scale_colours,
    neutral_coefficients,
    render_coefficients,
    render_modes,
    render_overlays,
    render_strip,
    spread_rows,
)
from tests.synthetic import make_coefficients, make_face_model

SIZE = 48


@pytest.fixture(scope="module")
def model():
    return make_face_model()


@pytest.fixture
def coefficients():
    return make_coefficients(frames=4)


def frames(count: int = 4) -> list[np.ndarray]:
    return [np.full((SIZE, SIZE, 3), 60 + 10 * row, dtype=np.uint8) for row in range(count)]


def test_rendering_covers_the_face_and_keeps_the_background(model, coefficients):
    alone = render_coefficients(model, coefficients, 0, SIZE)
    over = render_coefficients(model, coefficients, 0, SIZE, background=frames()[3])
    assert (alone[0, 0] == BACKGROUND).all()
    assert (over[0, 0] == 90).all()
    face = (alone != BACKGROUND).any(-1)
    assert 0.02 < face.mean() < 0.9
    np.testing.assert_array_equal(alone[face], over[face])


def test_rendering_refuses_a_wrong_row_or_background(model, coefficients):
    with pytest.raises(ParameterError, match="no row 9"):
        render_coefficients(model, coefficients, 9, SIZE)
    with pytest.raises(ParameterError, match="the background has shape"):
        render_coefficients(model, coefficients, 0, SIZE, background=np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(ParameterError, match="no row 9"):
        draw_views(model, coefficients, 9, frames()[0])


def test_views_are_frame_render_overlay_and_error(model, coefficients):
    frame = frames()[2]
    views = draw_views(model, coefficients, 1, frame)
    np.testing.assert_array_equal(views.original, frame)
    np.testing.assert_array_equal(views.render, render_coefficients(model, coefficients, 1, SIZE))
    np.testing.assert_array_equal(views.overlay, render_coefficients(model, coefficients, 1, SIZE, background=frame))
    render = render_face(model, coefficients, 1, SIZE)
    difference = np.abs(frame.astype(float) - render.image).mean(-1)
    assert views.mean_error == pytest.approx(difference[render.mask].mean(), rel=1e-5)
    assert (views.error[~render.mask] == BACKGROUND).all()


def test_error_map_is_dark_at_zero_and_bright_from_the_end_of_its_scale_on():
    frame = np.full((4, 4, 3), 100, dtype=np.uint8)
    image = frame.copy()
    image[0, 0], image[0, 1], image[0, 2], image[3] = 100 + ERROR_REACH, 255, (0, 100, 100), 0
    mask = np.ones((4, 4), dtype=bool)
    mask[3] = False
    pixels, mean = draw_error_map(frame, Render(image, mask))
    colours = error_scale_colours(256)

    def colour(row, column):
        return "#" + "".join(f"{value:02x}" for value in pixels[row, column])

    assert colour(1, 1) == colours[0]
    assert colour(0, 0) == colour(0, 1) == colours[-1]
    assert colour(0, 2) == colours[int(100 / 3 / ERROR_REACH * 255)]
    assert (pixels[3] == BACKGROUND).all()
    assert mean == pytest.approx((ERROR_REACH + 155 + 100 / 3) / 12, rel=1e-5)


def test_error_map_of_a_perfect_face_is_zero_and_of_no_face_is_nan():
    frame = np.full((4, 4, 3), 100, dtype=np.uint8)
    pixels, mean = draw_error_map(frame, Render(frame, np.ones((4, 4), dtype=bool)))
    assert mean == 0
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) == 1
    pixels, mean = draw_error_map(frame, Render(frame, np.zeros((4, 4), dtype=bool)))
    assert np.isnan(mean)
    assert (pixels == BACKGROUND).all()


def test_a_moved_mode_changes_the_picture(model, coefficients):
    pictures = render_modes(model, coefficients, 1, SIZE, modes=(0, 5), amounts=(-2.0, 0.0, 2.0))
    assert pictures.shape == (2, 3, SIZE, SIZE, 3)
    np.testing.assert_array_equal(pictures[0, 1], pictures[1, 1])
    np.testing.assert_array_equal(pictures[0, 1], render_coefficients(model, coefficients, 1, SIZE))
    assert (pictures[0, 0] != pictures[0, 2]).any()


def is_part_of(part: np.ndarray, whole: np.ndarray) -> bool:
    places = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
    return bool((places == part).all(axis=(-3, -2, -1)).any())


@pytest.mark.parametrize("part", PARTS)
def test_strip_lowers_and_raises_one_coefficient(model, coefficients, part):
    strip = render_strip(model, coefficients, 0, SIZE, part=part, number=1)
    raised = change_coefficients(coefficients, 0, {part: {1: STRIP_AMOUNTS[part]}})
    for picture, shown in zip(strip.pictures[1:], (coefficients, raised), strict=True):
        assert is_part_of(picture, render_coefficients(model, shown, 0, round(STRIP_ZOOM * SIZE)))
    rows, columns = np.nonzero((strip.pictures[1] != BACKGROUND).any(-1))
    assert abs(np.mean(rows) - SIZE / 2) < 2
    assert abs(np.mean(columns) - SIZE / 2) < 2
    difference = np.abs(strip.pictures[2].astype(float) - strip.pictures[0]).mean(-1)
    assert strip.greatest == pytest.approx(difference.max(), rel=1e-5)
    assert strip.greatest > 0
    assert strip.difference.max() >= 254
    assert not strip.difference[difference == 0].any()


def test_overlays_hold_frame_overlay_and_render(model, coefficients):
    pictures = render_overlays(model, coefficients, frames(), [1, 3])
    assert pictures.shape == (2, 3, SIZE, SIZE, 3)
    np.testing.assert_array_equal(pictures[1, 0], frames()[3])
    np.testing.assert_array_equal(pictures[1, 2], render_coefficients(model, coefficients, 3, SIZE))
    with pytest.raises(ParameterError, match="2 rows asked for, 1 drawn"):
        render_overlays(model, coefficients, frames(2), [1, 3])


def test_neutral_face_looks_ahead_and_keeps_the_person(coefficients):
    neutral = neutral_coefficients(coefficients)
    assert len(neutral) == 1
    assert not neutral.expression.any()
    assert not neutral.rotation.any()
    np.testing.assert_array_equal(neutral.identity, coefficients.identity)


def test_rows_are_spread_over_fitted_frames():
    valid = np.array([False, True, True, False, True, True])
    np.testing.assert_array_equal(spread_rows(valid, 2), [1, 5])
    np.testing.assert_array_equal(spread_rows(valid, 9), [1, 2, 4, 5])
    with pytest.raises(ParameterError, match="0 fitted frames"):
        spread_rows(np.zeros(3, dtype=bool), 2)


def test_png_is_lossless():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    again = cv2.imdecode(np.frombuffer(encode_png(pixels), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(again, pixels)


def curve_of(values: np.ndarray, row: int, value: float) -> str:
    times = np.arange(len(values)) / 25
    return draw_curve(values, times, row, value=value, label="a & b, σ", time_label="time, s", width=110, height=100)


def test_curve_runs_from_corner_to_corner_and_marks_the_frame():
    text = curve_of(np.array([0.0, 1.0, 2.0]), 1, 1.5)
    assert 'points="50.0,70.0 75.0,45.0 100.0,20.0"' in text
    assert 'd="M75.0 20V70"' in text
    assert 'cx="75.0" cy="32.5"' in text
    assert "a &amp; b, σ" in text
    assert text.count(">0.08<") == 1


def test_curve_of_one_frame_or_one_value_is_flat_in_the_middle():
    assert 'points="50.0,45.0"' in curve_of(np.array([3.0]), 0, 3.0)
    assert 'points="50.0,45.0 100.0,45.0"' in curve_of(np.array([3.0, 3.0]), 1, 3.0)


def test_thinned_curves_keep_ends_and_extremes():
    values = np.random.default_rng(0).standard_normal(5042)
    kept = thin_curve(values, 100)
    assert len(kept) <= 201 + 42
    assert {0, 5041, int(values.argmax()), int(values.argmin())} <= set(kept.tolist())
    np.testing.assert_array_equal(thin_curve(values[:200], 100), np.arange(200))
