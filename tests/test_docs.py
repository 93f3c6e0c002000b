"""The docs name things that exist: modules, files, commands, parameters, links."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from metatalk_lib.cli import app
from metatalk_lib.core.paths import PROJECT_ROOT, STAGES
from metatalk_lib.core.stage_configs import known_parameters

LIBRARY = PROJECT_ROOT / "metatalk_lib"
README = PROJECT_ROOT / "README.md"
PAGES = [
    *(PROJECT_ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(PROJECT_ROOT / name / "README.md" for name in ("training", "outputs")),
    *sorted((PROJECT_ROOT / "docs").glob("*.md")),
]
MADE_LATER = ("outputs/", "<", "my_name", "NN_name", "pairs/", *STAGES)
"""Parts of paths that only a run or the reader makes."""
SUFFIXES = ("py", "md", "ipynb", "yaml", "yml", "json", "npz", "npy", "mp4", "wav", "csv", "html", "tex", "toml", "jpg")
SUFFIXES += ("safetensors", "pth", "model", "sqlite", "cff", "lock", "txt", "png", "webp")


def read_prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def list_names(page: Path) -> list[str]:
    """Everything between backticks, code blocks left out."""
    return re.findall(r"`([^`\n]+)`", read_prose(page))


def list_commands(page: Path) -> list[str]:
    """Lines of code blocks, and what stands between backticks."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] + list_names(page)


@cache
def defined_in(path: Path) -> set[str]:
    """Names at the top of a module, and methods and attributes of its classes."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@cache
def read_sources() -> str:
    """All code, notebooks and parameter files as one text."""
    folders = ("metatalk_lib", "training", "benchmarks", "notebooks", "params", "tests")
    suffixes = (".py", ".ipynb", ".yaml")
    paths = [path for name in folders for path in (PROJECT_ROOT / name).rglob("*") if path.suffix in suffixes]
    return "\n".join(path.read_text("utf-8") for path in paths if path != Path(__file__))


def is_path(name: str) -> bool:
    return re.fullmatch(r"[\w./-]+", name) is not None and ("/" in name or name.endswith((".py", ".ipynb")))


def exists(name: str, page: Path) -> bool:
    """Whether a path leads somewhere from the root, the library, or the page; modules may lack their suffix."""
    places = [root / name for root in (PROJECT_ROOT, LIBRARY, page.parent)]
    return any(place.exists() or place.with_name(f"{place.name}.py").exists() for place in places)


def resolves(dotted: str) -> bool:
    """Whether `package.module.name` is a module of the project, or something that one defines."""
    parts = dotted.removeprefix("metatalk_lib.").split(".")
    for root in (LIBRARY, PROJECT_ROOT):
        for count in range(len(parts), 0, -1):
            module = root.joinpath(*parts[:count]).with_suffix(".py")
            if module.exists():
                return set(parts[count:]) <= defined_in(module)
        if root.joinpath(*parts, "__init__.py").exists():
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
class TestPage:
    def test_paths_exist(self, page: Path):
        if page.parent.name == "outputs":
            pytest.skip("tells of what runs leave")
        paths = [name for name in list_names(page) if is_path(name) and not any(part in name for part in MADE_LATER)]
        assert [name for name in paths if not exists(name, page)] == []

    def test_modules_and_what_they_define_exist(self, page: Path):
        dotted = [name for name in list_names(page) if re.fullmatch(r"[a-z]\w*(\.\w+)+", name)]
        names = [name for name in dotted if name.rpartition(".")[2] not in SUFFIXES]
        assert [name for name in names if not resolves(name) and not is_ignored(name, page)] == []

    def test_identifiers_occur_in_the_code(self, page: Path):
        names = {name for name in list_names(page) if re.fullmatch(r"[A-Za-z]\w*_\w+", name)}
        assert [name for name in sorted(names) if name not in read_sources() and not exists(name, page)] == []

    def test_commands_exist(self, page: Path):
        makefile = (PROJECT_ROOT / "Makefile").read_text("utf-8")
        text = "\n".join(list_commands(page))
        targets = set(re.findall(r"^make ([a-z][a-z-]*)(?!…)\b", text, flags=re.MULTILINE))
        assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
        modules = re.findall(r"python -m ((?:training|benchmarks)\.\w+)", text)
        assert [name for name in modules if not resolves(name)] == []
        known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
        assert set(re.findall(r"(?:^|bin/)metatalk ([a-z]+)", text, flags=re.MULTILINE)) <= known

    def test_parameters_exist(self, page: Path):
        text = "\n".join(list_commands(page))
        names = re.findall(r"-p (\w+)=", text) + re.findall(r"^(\w+): [\w.-]+$", text, flags=re.MULTILINE)
        assert set(names) <= known_parameters()

    def test_links_lead_somewhere(self, page: Path):
        prose = read_prose(page)
        links = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'src="([^"]+)"', prose)
        for link in links:
            target, _, anchor = link.partition("#")
            if "://" in link:
                continue
            path = page.parent / target if target else page
            assert path.exists(), link
            assert not anchor or anchor in list_anchors(path), link


def list_anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_ignored(name: str, page: Path) -> bool:
    """The changelog tells of names that were, and compares them with today's."""
    return page.name == "CHANGELOG.md" and name == "metatalk_lib.mfcc"


def test_the_map_of_modules_is_the_folder():
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition("\n## Packages and modules\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, flags=re.MULTILINE)
    written = {package: re.findall(r"`(\w+)`", modules) for package, modules in rows}
    found: dict[str, list[str]] = {path.parent.name: [] for path in LIBRARY.glob("*/__init__.py")}
    for path in sorted(LIBRARY.glob("*/*.py")):
        if path.stem != "__init__":
            found[path.parent.name].append(path.stem)
    assert written == found


def test_the_readme_is_one_screen():
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) <= 100
    cells = [cell.strip() for line in lines if line.startswith("|") for cell in line.split("|")]
    assert max(map(len, cells)) <= 200


def test_every_page_can_be_reached_from_the_readme():
    links = re.findall(r"\]\((docs/[\w.]+\.md)\)", README.read_text("utf-8"))
    assert {PROJECT_ROOT / link for link in links} == set((PROJECT_ROOT / "docs").glob("*.md"))
