"""The house: imports only go down, nothing goes round, packages and modules stay small, and no name stands twice."""

import ast
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from metatalk_lib.core.paths import PACKAGE_DIR, PROJECT_ROOT

LAYERS = (
    *("core", "networks", "media", "face3d", "speech", "metrics", "tracking", "studio", "reconstruction"),
    *("pseudo_video", "audio_to_expression", "neural_renderer", "talk", "baselines", "visualization", "evaluation"),
    *("reporting", "user_study", "cli"),
)
"""Bottom to top: a package imports only packages to its left."""
MODULES = {
    path.relative_to(PROJECT_ROOT).with_suffix("").as_posix().replace("/", "."): path
    for path in sorted(PACKAGE_DIR.rglob("*.py"))
    if path.name != "__init__.py"
}
PACKAGES = [path.parent for path in sorted(PACKAGE_DIR.glob("*/__init__.py"))]
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 20, 400, 60


def list_imports(tree: ast.Module) -> Iterator[str]:
    """Everything of this project that a file imports, lazy imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in whole)


def layer_of(module: str) -> str:
    return module.split(".")[1]


ARROWS = [(module, target) for module, tree in TREES.items() for target in list_imports(tree) if target in MODULES]


def test_every_package_has_a_layer():
    assert {layer_of(module) for module in MODULES} == set(LAYERS)


def test_arrows_only_go_down():
    place = {name: number for number, name in enumerate(LAYERS)}
    across = [(module, target) for module, target in ARROWS if layer_of(module) != layer_of(target)]
    assert len(across) > 100
    assert [arrow for arrow in across if place[layer_of(arrow[0])] <= place[layer_of(arrow[1])]] == []


def test_library_modules_import_modules_and_never_what_a_package_passes_on():
    targets = {name for tree in TREES.values() for name in list_imports(tree) if name.startswith("metatalk_lib")}
    assert targets - set(MODULES) <= {"metatalk_lib"}  # the root itself, for its version


def test_there_are_no_circles():
    reached: dict[str, set[str]] = {}

    def visit(module: str, above: tuple[str, ...]) -> set[str]:
        assert module not in above, " -> ".join([*above, module])
        if module not in reached:
            below = {target for start, target in ARROWS if start == module}
            reached[module] = below.union(*(visit(target, (*above, module)) for target in below))
        return reached[module]

    for module in MODULES:
        visit(module, ())


def test_networks_know_nothing_and_the_studio_is_used_by_nobody():
    others = {target for module, target in ARROWS if layer_of(module) == "networks" and layer_of(target) != "networks"}
    assert others <= {"metatalk_lib.core.errors"}
    assert not [arrow for arrow in ARROWS if layer_of(arrow[1]) == "studio" != layer_of(arrow[0])]


def test_only_the_protocol_of_the_evaluation_takes_a_stage():
    takers = {module for module, tree in TREES.items() if "Stage" in set(list_names(tree))}
    assert takers == {"metatalk_lib.core.stage", "metatalk_lib.evaluation.protocol"}


def list_names(tree: ast.Module) -> Iterator[str]:
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


@pytest.mark.parametrize(("folder", "other"), [("training", "benchmarks"), ("benchmarks", "training")])
def test_training_and_benchmarks_do_not_import_each_other(folder: str, other: str):
    for path in (PROJECT_ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == other), path


def test_packages_and_modules_are_small():
    assert {name: count for name, count in Counter(map(layer_of, MODULES)).items() if count > MOST_MODULES} == {}
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > MOST_LINES} == {}


def test_functions_fit_a_screen():
    functions = [
        (f"{module}.{node.name}", node.end_lineno - node.lineno + 1)
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 1000
    assert [(name, lines) for name, lines in functions if lines > MOST_FUNCTION_LINES] == []


def list_definitions(tree: ast.Module) -> Iterator[str]:
    """Public names that a module defines: functions, classes and constants."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = itertools.chain.from_iterable(map(ast.walk, targets))
            yield from (name.id for name in names if isinstance(name, ast.Name))


def test_no_public_name_stands_in_two_modules():
    places: dict[str, list[str]] = {}
    for module, tree in TREES.items():
        for name in list_definitions(tree):
            if not name.startswith("_"):
                places.setdefault(name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_packages_only_pass_on_what_their_modules_define():
    for stub in PACKAGE_DIR.rglob("*.pyi"):
        for node in ast.parse(stub.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                module = f"metatalk_lib.{stub.parent.name}.{node.module}"
                assert {alias.name for alias in node.names} <= set(list_definitions(TREES[module])), stub


@pytest.mark.parametrize(
    "package", [path.parent for path in sorted(PACKAGE_DIR.glob("*/__init__.py"))], ids=lambda p: p.name
)
def test_packages_hold_nothing_but_their_modules(package: Path):
    kinds = (ast.Expr, ast.Import, ast.Assign)
    body = ast.parse((package / "__init__.py").read_text("utf-8")).body
    assert all(isinstance(node, kinds) for node in body)
    assert body == body[:1] or "lazy_loader" in ast.unparse(ast.Module(body, []))
