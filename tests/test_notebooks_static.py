"""Static checks of the notebooks: anatomy, parameters, cleanliness."""

import ast
import importlib
import inspect
import statistics

import nbformat
import pytest
import yaml

from metatalk_lib.core.paths import NOTEBOOKS_DIR, PARAMS_DIR
from metatalk_lib.core.stage_configs import STAGE_CONFIGS, known_parameters

STAGE_NAMES = tuple(STAGE_CONFIGS)


def load(stage: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS_DIR / f"{stage}.ipynb", as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def declared_parameters(source: str) -> dict[str, tuple[str, object]]:
    """Name -> (annotation, default) of a parameters cell; anything but annotated literals is refused."""
    declared = {}
    for statement in ast.parse(source).body:
        assert isinstance(statement, ast.AnnAssign), f"not `name: type = literal`: {ast.unparse(statement)}"
        declared[statement.target.id] = (ast.unparse(statement.annotation), ast.literal_eval(statement.value))
    return declared


def test_the_folder_holds_exactly_the_stages():
    assert sorted(path.stem for path in NOTEBOOKS_DIR.glob("*.ipynb")) == sorted(STAGE_NAMES)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_anatomy(stage: str):
    cells = load(stage).cells
    assert 12 <= len(cells) <= 40
    number = stage[:2]
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith(f"# {number} ")
    assert all(word in cells[0].source for word in ("Reads", "Writes", "Paper", "Time"))
    assert tags(cells[1]) == ["parameters"]
    assert sum("parameters" in tags(cell) for cell in cells) == 1
    headings = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.split("\n")]
    headings = [line for line in headings if line.startswith("## ")]
    assert headings[0].startswith("## Inputs")
    assert headings[-1].startswith("## Save and summary")
    assert any(heading.startswith("## Checks") for heading in headings)
    assert any(heading.startswith("## 1. ") for heading in headings)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_parameters_cell_equals_the_config_model(stage: str):
    declared = declared_parameters(load(stage).cells[1].source)
    fields = STAGE_CONFIGS[stage].model_fields
    assert {name: default for name, (_, default) in declared.items()} == {
        name: field.default for name, field in fields.items()
    }
    for line in load(stage).cells[1].source.splitlines():
        comment = line.partition("#")[2]
        assert comment.strip(), f"no help comment: {line}"
        assert "=" not in comment, f"papermill drops a parameter whose comment holds an equals sign: {line}"
    for name, (annotation, default) in declared.items():
        assert "|" not in annotation, f"papermill drops a parameter whose annotation holds a bar: {name}"
        assert annotation == type(default).__name__, f"{name}: {annotation} = {default!r}"


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_cells_are_short_and_hold_no_definitions(stage: str):
    cells = code_cells(load(stage))
    lengths = [len(cell.source.strip().splitlines()) for cell in cells if "parameters" not in tags(cell)]
    assert max(lengths) <= 15
    assert statistics.median(lengths) <= 6
    for position, cell in enumerate(cells):
        tree = ast.parse(cell.source)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While)
        assert not any(isinstance(node, kinds) for node in ast.walk(tree)), cell.source
        imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
        assert not imports or position == 1, f"import outside the setup cell:\n{cell.source}"


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_notebooks_are_stripped(stage: str):
    notebook = load(stage)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    assert "widgets" not in notebook.metadata


def test_yaml_files_hold_known_keys_of_the_right_type():
    paths = sorted(PARAMS_DIR.rglob("*.yaml"))
    assert len(paths) >= 11
    for path in paths:
        values = yaml.safe_load(path.read_text("utf-8"))
        assert set(values) <= known_parameters(), path
        for config in STAGE_CONFIGS.values():
            config.from_values(values)


def resolve(node: ast.expr, names: dict[str, object]) -> object | None:
    """Resolve a name or a dotted name; None if it is not imported."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(resolve(node.value, names), node.attr, None)
    return None


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_everything_imported_exists_and_is_called_with_arguments_it_knows(stage: str):
    trees = [ast.parse(cell.source) for cell in code_cells(load(stage))]
    names: dict[str, object] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                part = f"{node.module}.{alias.name}"
                module = importlib.import_module(node.module)
                found = getattr(module, alias.name, None)
                names[alias.asname or alias.name] = found or importlib.import_module(part)
    checked = 0
    for node in (node for tree in trees for node in ast.walk(tree)):
        called = resolve(node.func, names) if isinstance(node, ast.Call) else None
        if not inspect.isfunction(called):
            continue
        known = inspect.signature(called).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
        wrong = [word.arg for word in node.keywords if word.arg and word.arg not in known and not takes_any]
        assert not wrong, f"{ast.unparse(node.func)} has no parameter {', '.join(wrong)}"
        checked += 1
    assert checked > 3
