"""Parameter files: flat YAML, one for each character and one for each profile, found and merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.paths import HOME_DIR, PARAMS_DIR
from metatalk_lib.core.stage_configs import check_known

PATH_PARAMETERS = ("outputs_dir", "video", "corpus_dir", "driving_audio")
"""Parameters that hold a path; an empty one, and the video `studio`, stand for something else."""


def load_params(*paths: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Merge flat YAML files, later ones winning, then the overrides; every key must be known.

    Raises:
        ParameterError: a file is absent, not YAML, not a flat mapping, or holds an unknown key.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged.update(_load_yaml(path))
    merged.update(overrides or {})
    check_known(merged)
    return merged


def count_from(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Make the paths among some parameters absolute, counted from a folder; all others stay.

    Args:
        folder: such as the working folder of a command line.
        values: parameters by name.
    """
    return {
        name: str(folder / Path(value).expanduser())
        if name in PATH_PARAMETERS and isinstance(value, str) and value and (name, value) != ("video", "studio")
        else value
        for name, value in values.items()
    }


def character_params_path(character: str) -> Path:
    """`params/<character>.yaml` of the user's folder or, of an installed package, the one that comes with it.

    Raises:
        ParameterError: there is no such file.
    """
    return _named_file(f"{character}.yaml", "character")


def profile_params_path(profile: str) -> Path:
    """`params/profiles/<profile>.yaml`, found as `character_params_path` finds a character.

    Raises:
        ParameterError: there is no such file.
    """
    return _named_file(f"profiles/{profile}.yaml", "profile")


def _named_file(name: str, kind: str) -> Path:
    places = dict.fromkeys((HOME_DIR / "params" / name, PARAMS_DIR / name))
    path = next((place for place in places if place.exists()), None)
    if path is None:
        found = ", ".join(sorted({other.stem for place in places for other in place.parent.glob("*.yaml")}))
        missing = next(iter(places))
        raise ParameterError(f"no {kind} `{missing.stem}`: {missing} does not exist. There are: {found}.")
    return path


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ParameterError(f"cannot read the parameter file {path}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or any(isinstance(value, dict | list) for value in content.values()):
        raise ParameterError(f"{path} must be flat `name: value` lines, without lists or nesting.")
    return content
