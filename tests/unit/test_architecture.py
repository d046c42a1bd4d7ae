"""``docs/architecture.md`` against the disk and the imports."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "coder_lsp"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FLOOR = {"types", "errors", "config", "paths", "interpreter", "__version__"}
DATA = PACKAGE / "demo" / "project"
"""The project that the demo completes: data, whatever its files are called."""


def section(title: str) -> str:
    match = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, title
    return match[1]


def tree() -> list[str]:
    """Paths in the tree, relative to the root; a folder ends with ``/``."""
    block = section("The tree").split("```")[1]
    found, above = [], []
    for line in block.strip("\n").splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], line.split()[0]]
        found.append("".join(above))
    return found


def table(header: str) -> dict[str, set[str]]:
    """Rows of the table under ``header``: each name of the first column -> names of the second."""
    rows = section("Rules").split(f"| {header} |")[1].split("\n\n")[0].splitlines()[2:]
    result = {}
    for row in rows:
        first, second = row.strip("|").split("|")
        names = re.findall(r"`([^`]+)`", first) or [first.strip()]
        for name in names:
            result[name] = set(re.findall(r"`([^`]+)`", second)) or ({"*"} if "everything" in second else set())
    return result


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if DATA not in path.parents)


def imports(path: Path) -> set[str]:
    """Every module that a file imports while it runs, at its top or later; imports for annotations do not count."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def owner(path: Path) -> str:
    """The package of ``coder_lsp`` that a file belongs to, or the module at its top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_everything_in_the_tree_exists():
    for entry in tree():
        assert list(ROOT.glob(entry.rstrip("/"))), f"{entry} is in docs/architecture.md and not on disk"


def test_everything_that_counts_is_in_the_tree():
    listed = tree()
    expected = [path for path in modules() if path.name != "__init__.py"]
    expected += [path for path in PACKAGE.rglob("*.toml") if DATA not in path.parents]
    expected += (ROOT / "native" / "src").iterdir()
    expected += (ROOT / "scripts").iterdir()
    expected += (ROOT / "docs").glob("*.md")
    for path in expected:
        name = path.relative_to(ROOT).as_posix()
        assert any(fnmatch.fnmatch(name, entry) for entry in listed), f"{name} is missing in docs/architecture.md"
    folders = {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in modules()}
    folders |= {f"tests/{path.name}/" for path in (ROOT / "tests").iterdir() if any(path.glob("**/*.py"))}
    assert folders <= set(listed)


def test_every_entry_of_the_tree_says_what_it_is():
    block = section("The tree").split("```")[1]
    bare = [line for line in block.strip("\n").splitlines() if len(line.split()) < 2 and not line.endswith("/")]
    assert bare == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_package_imports_only_what_is_below_it(path):
    package = owner(path)
    allowed = table("package | may import").get(package, set())
    if "*" in allowed or package == "__init__":
        return
    names = {name.split(".")[1] for name in imports(path) if name.startswith("coder_lsp.")}
    assert names - {package} - FLOOR <= allowed


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_library_stays_where_it_belongs(path):
    here = path.relative_to(PACKAGE).with_suffix("").as_posix()
    imported = imports(path)
    for library, homes in table("library | where").items():
        used = any(name == library or name.startswith(f"{library}.") for name in imported)
        at_home = any(here.startswith(home) if home.endswith("/") else here == home for home in homes)
        assert at_home or not used, f"{here} imports {library}, which belongs to {', '.join(sorted(homes))}"


def test_the_native_module_has_one_home():
    users = {path.relative_to(PACKAGE).as_posix() for path in modules() if "coder_lsp.engine._native" in imports(path)}
    assert "engine/llama.py" in users
    assert all(user == "engine/llama.py" or user.startswith("bench/") for user in users)


def test_importing_the_server_loads_nothing_heavy():
    """It must answer an editor within a second and stay small."""
    program = "import sys, coder_lsp.server.server; print(*sys.modules)"
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "llama_cpp",
        "coder_lsp.engine._native",
        "huggingface_hub",
        "tree_sitter",
        "numpy",
        "rich",
        "watchdog",
    }
    assert heavy.isdisjoint(done.stdout.split())


def test_modules_say_what_they_are_for():
    for path in modules():
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_links_of_the_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
