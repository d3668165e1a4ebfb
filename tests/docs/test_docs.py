from __future__ import annotations

import json
import re
import runpy
from itertools import takewhile
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from tests.datasets.authors_data import make_authors_data
from tests.docs.blocks import blocks
from tests.test_architecture import LAYERS, LEVEL

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]


def _commands(page: str) -> list[str]:
    """Every ames-ray command that the tests do not run, continuation lines joined, comments dropped."""
    lines = "\n".join(block.text for block in blocks(page) if block.not_run).replace("\\\n", " ").splitlines()
    words = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [w for w in words if w.startswith("ames-ray ") and "VERB" not in w]


MADE = runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("name", ["reference.md", "numbers.md"])
def test_what_is_generated_is_up_to_date(name: str) -> None:
    page = ROOT / "docs" / name
    assert page.read_text() == MADE["PAGES"][page](), "run `make docs`"


def test_every_result_is_on_the_page_of_numbers() -> None:
    page = (ROOT / "docs" / "numbers.md").read_text()
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        for title, section in json.loads(path.read_text()).items():
            assert f"### {path.stem}: {title}\n" in page
            assert section["command"] in page


def test_a_goal_that_is_missed_is_called_so() -> None:
    goal = MADE["Goal"]("rate", ("file", "section", {"size": 2}, "rate"), "≥", 3.0)
    entries = [{"size": 1, "rate": 9.0}, {"size": 2, "rate": {"median": 2.0, "runs": [1.0, 4.0]}}]
    assert MADE["_judged"](goal, {"file": {"section": entries}}) == ["rate", "≥ 3", "2", "**not met**"]
    assert MADE["_judged"](goal._replace(relation="≤"), {"file": {"section": entries}})[3] == "met"
    assert MADE["_judged"](goal, {"file": {}})[3] == "not measured yet"


@pytest.mark.parametrize("page", [p for p in PAGES if p != "docs/reference.md"])
def test_every_command_of_the_docs_is_one_that_ames_ray_accepts(page: str, tmp_path: Path) -> None:
    make_authors_data(tmp_path)
    for command in _commands(page):
        words = command.replace("data_root=/data", f"data_root={tmp_path}").split()[1:]
        name = next(n for n in sorted(VERBS, key=len, reverse=True) if " ".join(words).startswith(n))
        rest = words[len(name.split()) :]
        compose(VERBS[name].load_config(rest), rest)


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


def test_the_layers_of_the_story_are_those_of_the_code() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Layers")[2].split("```")[1]
    told = [set(takewhile(LEVEL.__contains__, line.split())) for line in table.strip().splitlines()]
    assert told == LAYERS[::-1]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_three_examples(name: str) -> None:
    assert len(VERBS[name].load_config().examples) >= 3
