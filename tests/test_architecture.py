"""The layers of ARCHITECTURE.md, read out of the imports."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ames_ray"

LAYERS = [
    {"types", "errors", "files", "ownership", "card"},
    {"images", "datasets", "store", "evaluation", "downloads"},
    {"backbones"},
    {"descriptors", "model"},
    {"extraction", "retrieval"},
    {"training", "tuning"},
    {"search"},
    {"config"},
    {"distributed"},
    {"report", "samples"},
    {"service"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ALLOWED_SIBLINGS = {("store", "datasets"), ("datasets", "images")}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _imports(path: Path) -> list[str]:
    """Full names of the modules that a file imports, those for type checking left out."""
    tree = ast.parse(path.read_text())
    typing_only = [
        n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)
    ]
    skipped = {id(inner) for outer in typing_only for inner in ast.walk(outer)}
    found: list[str] = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


def _part(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if here == "__init__":
        return
    for name in _imports(path):
        there = _part(name) if name.startswith("ames_ray.") else ""
        if not there or there == here:
            continue
        below = LEVEL[there] < LEVEL[here] or (LEVEL[there] == LEVEL[here] == 0)
        assert below or (here, there) in ALLOWED_SIBLINGS, f"{here} imports {name}"


def test_only_one_folder_imports_ray() -> None:
    folders = {
        path.relative_to(PACKAGE).parts[0]
        for path in MODULES
        if any(name == "ray" or name.startswith("ray.") for name in _imports(path))
    }
    assert folders == {"distributed"}


@pytest.mark.parametrize("folder", ["images", "datasets", "store", "evaluation"])
def test_the_lowest_parts_know_no_torch(folder: str) -> None:
    for path in (PACKAGE / folder).rglob("*.py"):
        assert not any(name.split(".")[0] == "torch" for name in _imports(path)), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, node.name


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target
