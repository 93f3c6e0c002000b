"""Docstrings say the thing itself, and every public name of the library has one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKED_FOLDERS = ("metatalk_lib", "training", "benchmarks", "tests")
BANNED_FIRST_WORDS = ("what", "how")
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def texts_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each string that stands alone: docstrings, and notes below a constant or a field."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def banned_beginnings(source: str) -> list[int]:
    """Lines at which a text begins with a banned word."""
    lines = []
    for line, text in texts_of(ast.parse(source)):
        words = text.split(maxsplit=1)
        if words and words[0].rstrip(":,;.?!").lower() in BANNED_FIRST_WORDS:
            lines.append(line)
    return lines


def undocumented_names(tree: ast.Module) -> list[str]:
    """Public module, classes, functions and methods without a docstring.

    Functions inside functions are private, and a network's `forward` does as its class says.
    """
    missing = [] if ast.get_docstring(tree) else ["the module"]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, DEFINITIONS) or node.name.startswith("_") or node.name == "forward":
                continue
            if ast.get_docstring(node) is None:
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return missing


@pytest.mark.parametrize("folder", CHECKED_FOLDERS)
def test_no_docstring_begins_with_what_or_how(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in python_files(folder)
        for line in banned_beginnings(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"docstrings begin with What or How; name the thing itself: {', '.join(found)}"


def test_every_public_name_of_the_library_has_a_docstring():
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files("metatalk_lib")
        for name in undocumented_names(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not missing, "no docstring:\n" + "\n".join(missing)


@pytest.mark.parametrize(
    "source",
    [
        '"""What this module does."""',
        'def f():\n    """How a thing is done."""',
        'class A:\n    """what it is"""',
        'class A:\n    async def f(self):\n        """\n        What: a list."""',
        'LIMIT = 3\n"""How many."""',
        'class A:\n    width: int\n    """What the width is."""',
    ],
)
def test_a_banned_beginning_is_found_wherever_a_text_may_stand(source):
    assert len(banned_beginnings(source)) == 1


@pytest.mark.parametrize("source", ['"""Whatever comes."""', '"""However long."""', 'x = "What"', '""""""'])
def test_other_beginnings_and_values_pass(source):
    assert banned_beginnings(source) == []


def test_undocumented_names_are_found():
    source = "def f(): ...\nclass A:\n    def g(self): ...\n    def _h(self): ...\n"
    assert undocumented_names(ast.parse(source)) == ["the module", "f", "A", "A.g"]
