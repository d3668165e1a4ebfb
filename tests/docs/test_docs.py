from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from tests.extract_here import extract_here
from tests.photos import make_photos

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]


def _commands(page: str) -> list[str]:
    """Every ames-ray command of a page's code blocks, continuation lines joined, comments dropped."""
    blocks = re.findall(r"```(?:\w*)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    words = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [w for w in words if w.startswith("ames-ray ") and "VERB" not in w]


def test_the_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert made["REFERENCE"].read_text() == made["reference"](), "run `make docs`"


@pytest.mark.parametrize("page", [p for p in PAGES if p != "docs/reference.md"])
def test_every_command_of_the_docs_is_one_that_ames_ray_accepts(page: str) -> None:
    for command in _commands(page):
        words = command.split()[1:]
        name = next(n for n in sorted(VERBS, key=len, reverse=True) if " ".join(words).startswith(n))
        compose(VERBS[name].load_config(), words[len(name.split()) :])


def test_make_targets_that_the_docs_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`?make ([a-z-]+)`?", (ROOT / page).read_text()):
            if f"make {target}" in "\n".join(
                re.findall(r"```.*?```|`[^`]*`", (ROOT / page).read_text(), re.DOTALL)
            ):
                assert target in targets, f"{page}: make {target}"


def test_no_page_speaks_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    texts = [capsys.readouterr().out, *((ROOT / page).read_text() for page in PAGES)]
    assert not any(str(ROOT) in text for text in texts)


@pytest.fixture(scope="module")
def a_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store/` in it, made of six pictures without Ray."""
    folder = tmp_path_factory.mktemp("docs")
    make_photos(folder / "photos", 6, size=200)
    extract_here([f"images={folder / 'photos'}", f"output={folder / 'store'}", "backbone=sift"])
    return folder


@pytest.mark.parametrize("page", ["README.md", "docs/store.md"])
def test_the_python_of_the_docs_runs(page: str, a_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(a_store)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(block, names)
        descriptors: Any = names["descriptors"] if "descriptors" in names else names["batch"]
        assert getattr(descriptors, "descriptors", descriptors).shape[-1] == 128
