"""Changes of single coefficients: applied to a fit, drawn at random, written as YAML and read back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d.coefficients import COEFFICIENT_SIZES, Coefficients

PARTS = tuple(COEFFICIENT_SIZES)
SHARED_PARTS = ("identity", "texture")
UNITS = {"identity": "σ", "expression": "σ", "texture": "σ", "illumination": "", "rotation": "rad", "translation": "dm"}
# The largest change that the explorer offers, in the part's unit.
REACH = {
    "identity": 3.0,
    "expression": 3.0,
    "texture": 3.0,
    "illumination": 0.6,
    "rotation": 0.6,
    "translation": 0.9,
}
# One slider step; 60 steps reach the end of the slider.
STEP = {part: reach / 60 for part, reach in REACH.items()}
# Standard deviation of a random change, in the part's unit.
RANDOM_SPREAD = {
    "identity": 1.0,
    "expression": 1.0,
    "texture": 1.0,
    "illumination": 0.05,
    "rotation": 0.15,
    "translation": 0.15,
}
YAML_DECIMALS = 3  # decimals of an amount, so that the drawn and the written number are the same

Changes = Mapping[str, Mapping[int, float]]


def change_coefficients(coefficients: Coefficients, index: int, changes: Changes) -> Coefficients:
    """Add amounts to single coefficients; the input is not changed.

    Args:
        coefficients: fitted coefficients.
        index: row of the frame whose expression, illumination, rotation or translation changes.
        changes: part -> {number of the coefficient: amount}, such as `{"expression": {0: 1.5}}`; modes in standard
            deviations, rotation in radians, translation in decimetres.

    Raises:
        ParameterError: the part, the coefficient or the row does not exist.
    """
    check_row(coefficients, index)
    changed = {}
    for part, amounts in changes.items():
        check_numbers(part, amounts)
        values = getattr(coefficients, part).copy()
        row = values if part in SHARED_PARTS else values[index]
        for number, amount in amounts.items():
            row[number] += amount
        changed[part] = values
    return replace(coefficients, **changed)


def random_changes(part: str, seed: int) -> dict[int, float]:
    """Draw a Gaussian change of every coefficient of a part; equal seeds give equal changes.

    The standard deviation is `RANDOM_SPREAD`; draws are clipped at `REACH` and rounded to the slider's steps.

    Args:
        part: one of the six parts.
        seed: seed of the random generator.

    Raises:
        ParameterError: the part is unknown.
    """
    check_numbers(part, {})
    draws = RANDOM_SPREAD[part] * np.random.default_rng(seed).standard_normal(COEFFICIENT_SIZES[part])
    draws = np.clip(draws, -REACH[part], REACH[part])
    draws = (np.round(draws / STEP[part]) * STEP[part]).round(YAML_DECIMALS)
    return {number: float(amount) for number, amount in enumerate(draws) if amount}


def format_yaml(frame_id: int, changes: Changes) -> str:
    """Format the changes as YAML text, to be pasted beside the parameters; amounts of zero are left out.

    Args:
        frame_id: number of the displayed frame.
        changes: part -> {number: amount}, as for `change_coefficients`.
    """
    lines = [f"frame_id: {frame_id}"]
    for part, amounts in changes.items():
        moved = ", ".join(
            f"{number}: {amount:.{YAML_DECIMALS}f}" for number, amount in sorted(amounts.items()) if amount
        )
        if moved:
            lines.append(f"{part}: {{{moved}}}")
    return "\n".join(lines)


def parse_yaml(text: str) -> tuple[int, dict[str, dict[int, float]]]:
    """Parse the frame_id and the changes from the text that `format_yaml` wrote.

    Args:
        text: YAML text; every part may be left out.

    Raises:
        ParameterError: the text is not YAML, has no frame_id, or has an unknown part, coefficient or amount.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"the changes are not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or type(values.get("frame_id")) is not int:
        raise ParameterError("the changes must be lines `name: value`, one of them `frame_id: NUMBER`.")
    changes = {part: amounts for part, amounts in values.items() if part != "frame_id"}
    for part, amounts in changes.items():
        if not isinstance(amounts, dict):
            raise ParameterError(f"{part}: expected {{number: amount}}, such as {{0: 1.5}}, got {amounts!r}.")
        check_numbers(part, amounts)
    read = {part: {number: float(amount) for number, amount in own.items()} for part, own in changes.items()}
    return values["frame_id"], read


def check_row(coefficients: Coefficients, index: int) -> None:
    """Raise a ParameterError if the coefficients have no such row."""
    if not 0 <= index < len(coefficients):
        raise ParameterError(f"there are rows 0 to {len(coefficients) - 1}; there is no row {index}.")


def check_numbers(part: str, amounts: Mapping[Any, Any]) -> None:
    """Raise a ParameterError for an unknown part or coefficient, or an amount that is not a finite number."""
    if part not in PARTS:
        raise ParameterError(f"no part `{part}` to change. There are: {', '.join(PARTS)}.")
    for number, amount in amounts.items():
        if type(number) is not int or not 0 <= number < COEFFICIENT_SIZES[part]:
            raise ParameterError(f"{part} has coefficients 0 to {COEFFICIENT_SIZES[part] - 1}; there is no {number}.")
        is_number = isinstance(amount, int | float | np.number) and not isinstance(amount, bool)
        if not is_number or not np.isfinite(amount):
            raise ParameterError(f"{part} {number}: expected a finite number, got {amount!r}.")
