"""Fingerprints of the code that a stage, a finished video or a training can reach by imports.

Comments, docstrings and formatting do not count, and neither does code that is out of reach: an edited drawing of
figures does not train a network again. The studio is not followed: its videos are inputs with a key of their own.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import NOTEBOOKS_DIR, PACKAGE_DIR

_PACKAGE = PACKAGE_DIR.name
_DIGITS = 16
_NOT_FOLLOWED = f"{_PACKAGE}.studio."

Digests = Mapping[str, str]
"""File of the project, such as `metatalk_lib/speech/visemes.py`, to a digest of its code."""


def digest_stage(stage: str) -> dict[str, str]:
    """Digest the code cells of a stage's notebook and every module that they reach.

    Outputs, text, and the parameters that papermill injects do not count: a notebook may be run and saved in place.

    Args:
        stage: name of the stage, such as `01_crop`.

    Raises:
        DataError: the notebook does not exist.
    """
    path = NOTEBOOKS_DIR / f"{stage}.ipynb"
    if not path.is_file():
        raise DataError(f"the notebook {path} does not exist. Install the project again.")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code" and not _is_injected(cell)]
    tree = ast.parse("\n".join(code))
    return {f"notebooks/{path.name}": _digest(tree), **digest_modules(*_find_imports(tree))}


def digest_modules(*modules: str) -> dict[str, str]:
    """Digest modules of this library and every module that they reach by imports, lazy ones included.

    Args:
        modules: full names, such as `metatalk_lib.talk.talker`.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        path = module_path(waiting.pop())
        name = path.relative_to(PACKAGE_DIR.parent).as_posix()
        if name not in found:
            found[name], reached = _read(path, path.stat().st_mtime_ns)
            waiting += reached
    return dict(sorted(found.items()))


def fingerprint_modules(*modules: str) -> str:
    """Combine the digests of `digest_modules` into one."""
    return combine_digests(digest_modules(*modules))


def combine_digests(digests: Digests) -> str:
    """Combine the digests of several files into one, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def describe_change(before: Digests, now: Digests) -> str:
    """Name the files whose code differs, the first one and the number of others; empty where none does."""
    changed = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    if not changed:
        return ""
    more = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
    return f"{changed[0]}{more} changed since"


def module_path(module: str) -> Path:
    """File of a module of this library; of a package, its `__init__.py`."""
    path = PACKAGE_DIR.parent / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.lru_cache(maxsize=1024)
def _read(path: Path, _changed_ns: int) -> tuple[str, tuple[str, ...]]:
    """Digest a file and list the modules that it imports; read again when its time of change differs."""
    tree = ast.parse(path.read_text("utf-8"))
    return _digest(tree), tuple(sorted(_find_imports(tree)))


def _digest(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            lines = [line for line in body if not _is_text(line)] or [ast.Pass()]
            node.body = lines  # type: ignore[attr-defined]  # `ast` has no common class of nodes with a body
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:_DIGITS]


def _is_text(statement: ast.AST) -> bool:
    """True for a docstring, also one that stands below a constant."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _find_imports(tree: ast.Module) -> set[str]:
    return {module for module in _list_imports(tree) if not module.startswith(_NOT_FOLLOWED)}


def _list_imports(tree: ast.Module) -> Iterator[str]:
    """Modules of this library that some code imports; names that a package passes on lead to their own modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == _PACKAGE)
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and not node.level
            and node.module.split(".")[0] == _PACKAGE
        ):
            for alias in node.names:
                if _is_package(f"{node.module}.{alias.name}"):
                    attributes = set(_list_attributes(tree, alias.asname or alias.name))
                    yield from (_find_home(f"{node.module}.{alias.name}", name) for name in attributes)
                else:
                    yield _find_home(node.module, alias.name)


def _list_attributes(tree: ast.Module, name: str) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.attr


def _is_package(module: str) -> bool:
    return module_path(module).name == "__init__.py"


def _find_home(module: str, name: str) -> str:
    """The module that defines what `from module import name` gives."""
    if not _is_package(module):
        return module
    if module_path(f"{module}.{name}").is_file():
        return f"{module}.{name}"
    return f"{module}.{home}" if (home := list_exports(module).get(name)) else module


def list_exports(package: str) -> dict[str, str]:
    """Names that a package passes on lazily, by its `__init__.pyi`: name to the package's module that defines it."""
    stub = module_path(package).with_suffix(".pyi")
    if not stub.is_file():
        return {}
    tree = ast.parse(stub.read_text("utf-8"))
    return {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def _is_injected(cell: Mapping[str, Any]) -> bool:
    return "injected-parameters" in cell["metadata"].get("tags", ())
