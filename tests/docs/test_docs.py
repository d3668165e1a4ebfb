from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from tests.docs.blocks import blocks

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]


def _commands(page: str) -> list[str]:
    """Every ames-ray command that the tests do not run, continuation lines joined, comments dropped."""
    lines = "\n".join(block.text for block in blocks(page) if block.not_run).replace("\\\n", " ").splitlines()
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
