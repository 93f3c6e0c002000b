"""Sliders of the explorer: all 257 coefficients in pages, each with a description of its effect."""

import html
from collections.abc import Callable
from functools import partial

import ipywidgets
import numpy as np
from ipywidgets import Layout

from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.visualization.coefficient_changes import PARTS, REACH, STEP, UNITS, YAML_DECIMALS, Changes
from metatalk_lib.visualization.coefficient_effects import describe_effects, label_coefficient

# Sliders per page: one colour's nine harmonics, at most eight modes, three angles or distances.
PAGE_SIZES = {part: 9 if part == "illumination" else min(8, size) for part, size in COEFFICIENT_SIZES.items()}
ROWS = max(PAGE_SIZES.values())
VALUE_STYLE, EFFECT_STYLE = "white-space:nowrap", "font-size:12px;line-height:1.25;overflow-wrap:anywhere"


class CoefficientSliders:
    """A group picker, a page picker and nine rows of a select button, a slider, the value and the described effect.

    The rows are reused for every page, which keeps the browser page light. A slider adds to the fitted value;
    coefficients that are not on the page keep their changes.

    Attributes:
        view: the widget to display.
        group, page: group and page of the displayed coefficients; `page` counts from 0.
        buttons, sliders: one per row; rows beyond the end of the group are hidden.
        selected: part and number of the coefficient that was moved or selected last.
    """

    def __init__(
        self,
        model: FaceModel,
        fitted: Callable[[str], np.ndarray],
        on_change: Callable[[], None],
        on_select: Callable[[], None],
    ) -> None:
        """Build the controls.

        Args:
            model: the face model whose modes are described.
            fitted: returns the fitted values of a part in the displayed frame.
            on_change: called after a coefficient was changed.
            on_select: called after another coefficient was selected.
        """
        self._model, self._fitted, self._on_change, self._on_select = model, fitted, on_change, on_select
        self._changes: dict[str, dict[int, float]] = {part: {} for part in PARTS}
        self._is_filling = False
        self.selected = ("expression", 0)
        self.group = ipywidgets.ToggleButtons(options=PARTS, value="expression", style={"button_width": "7.5em"})
        self.page = ipywidgets.Dropdown(layout=Layout(width="7em"))
        self.buttons = [ipywidgets.Button(layout=Layout(width="10em", flex="0 0 auto")) for _ in range(ROWS)]
        self.sliders = [ipywidgets.FloatSlider(layout=Layout(width="17em", flex="0 0 auto")) for _ in range(ROWS)]
        self._values = [ipywidgets.HTML(layout=Layout(width="10.5em", flex="0 0 auto")) for _ in range(ROWS)]
        self._effects = [ipywidgets.HTML(layout=Layout(flex="1 1 0", min_width="0")) for _ in range(ROWS)]
        rows = zip(self.buttons, self.sliders, self._values, self._effects, strict=True)
        self._rows = [ipywidgets.HBox(row, layout=Layout(align_items="center")) for row in rows]
        pickers = [self.group, ipywidgets.Label("page"), self.page]
        self.view = ipywidgets.VBox([ipywidgets.HBox(pickers, layout=Layout(align_items="center")), *self._rows])
        self.view.add_class("explorer-sliders")
        self._show_group()
        self._connect()

    @property
    def changes(self) -> dict[str, dict[int, float]]:
        """Part -> {number: amount} of every changed coefficient, in the order of the parts."""
        return {part: dict(sorted(amounts.items())) for part, amounts in self._changes.items() if amounts}

    def replace_changes(self, changes: Changes) -> None:
        """Discard all changes and set the given ones; the caller redraws.

        Args:
            changes: part -> {number: amount}, as for `change_coefficients`.
        """
        self._changes = {part: dict(changes.get(part, {})) for part in PARTS}
        self.show_page()

    def select(self, part: str, number: int) -> None:
        """Show a coefficient's page and select it.

        Raises:
            ParameterError: there is no such coefficient.
        """
        label_coefficient(part, number)
        self._is_filling = True
        self.group.value = part
        self._show_group(page=number // PAGE_SIZES[part])
        self._select(part, number)

    def show_page(self) -> None:
        """Update sliders, values and descriptions to the current group, page, frame and changes."""
        part, fitted, effects = self.group.value, self._fitted(self.group.value), self._describe(self.group.value)
        self._is_filling = True
        for position, row in enumerate(self._rows):
            number = self.page.value * PAGE_SIZES[part] + position
            is_shown = position < PAGE_SIZES[part] and number < COEFFICIENT_SIZES[part]
            row.layout.display = "flex" if is_shown else "none"
            if is_shown:
                self._fill_row(position, part, number, float(fitted[number]), effects[number])
        self._is_filling = False

    def _fill_row(self, position: int, part: str, number: int, fitted: float, effect: str) -> None:
        slider, reach, amount = self.sliders[position], REACH[part], self._changes[part].get(number, 0.0)
        # one message: otherwise the browser would answer with the old value on the new page between two of them
        with slider.hold_sync():
            slider.max, slider.min = max(reach, amount), min(-reach, amount)
            slider.step = STEP[part]
            slider.value = amount
        self.buttons[position].description = label_coefficient(part, number)
        self.buttons[position].button_style = "info" if self.selected == (part, number) else ""
        words = html.escape(effect)
        self._effects[position].value = f'<div style="{EFFECT_STYLE}">{words}</div>'
        self._show_value(position, part, fitted, amount)

    def _show_value(self, position: int, part: str, fitted: float, amount: float) -> None:
        now = f"{fitted + amount:+.2f} {UNITS[part]}".replace("-", "−")
        was = f"{fitted:+.2f} → ".replace("-", "−") if amount else ""
        self._values[position].value = f'<div style="{VALUE_STYLE}">{was}<b>{now}</b></div>'

    def _describe(self, part: str) -> tuple[str, ...]:
        return describe_effects(self._model, part)

    def _connect(self) -> None:
        self.group.observe(self._turn_group, names="value")
        self.page.observe(self._turn_page, names="value")
        for position, (slider, button) in enumerate(zip(self.sliders, self.buttons, strict=True)):
            slider.observe(partial(self._move, position), names="value")
            button.on_click(partial(self._pick, position))

    def _show_group(self, page: int = 0) -> None:
        part, size = self.group.value, PAGE_SIZES[self.group.value]
        starts = range(0, COEFFICIENT_SIZES[part], size)
        self._is_filling = True
        self.page.options = [
            (f"{first}–{min(first + size, COEFFICIENT_SIZES[part]) - 1}", i) for i, first in enumerate(starts)
        ]
        self.page.value = page
        self.show_page()

    def _turn_group(self, _event: object) -> None:
        if not self._is_filling:
            self._show_group()
            self._select(self.group.value, 0)

    def _turn_page(self, _event: object) -> None:
        if not self._is_filling:
            self.show_page()
            self._select(self.group.value, self.page.value * PAGE_SIZES[self.group.value])

    def _move(self, position: int, event: dict) -> None:
        if self._is_filling:
            return
        part, number = self._at(position)
        amount = round(event["new"], YAML_DECIMALS) + 0.0
        # the browser rounds a pasted amount to the slider's steps and reports it, although nobody moved the slider
        if abs(amount - self._changes[part].get(number, 0.0)) <= 0.501 * STEP[part]:
            return
        self._changes[part].pop(number, None)
        if amount:
            self._changes[part][number] = amount
        self._show_value(position, part, float(self._fitted(part)[number]), amount)
        self._on_change()
        self._select(part, number)

    def _pick(self, position: int, _button: object) -> None:
        self._select(*self._at(position))

    def _at(self, position: int) -> tuple[str, int]:
        return self.group.value, self.page.value * PAGE_SIZES[self.group.value] + position

    def _select(self, part: str, number: int) -> None:
        if self.selected == (part, number):
            return
        self.selected = (part, number)
        for position, button in enumerate(self.buttons):
            button.button_style = "info" if self._at(position) == self.selected else ""
        self._on_select()
