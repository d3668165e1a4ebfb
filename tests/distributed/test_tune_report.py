"""The report of a search that ran on Ray: its trials on the map, the gap to the optimum, the front."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.report.shell import escape
from tests.distributed.test_tune_command import BUDGETS
from tests.report.runs import make_input, tuned
from tests.report.test_page import Blocks

SEARCH = """
trials: 12
space:
  lamb: {float: [0, 1]}
  temp: {float: [0.1, 4], log: true}
  num_rerank: {choice: [5, 15]}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning")
    make_input(folder)
    for name, text in (("search", SEARCH), ("budgets", BUDGETS)):
        (folder / f"{name}.yaml").write_text(text)
    return folder


def page_left(folder: Path) -> str:
    """The page that the search left, which is the one that `ames-ray report` makes."""
    left = (folder / "report.html").read_text()
    assert main(["report", str(folder), f"output={folder / 'again.html'}"]) == 0
    assert (folder / "again.html").read_text() == left
    return left


@pytest.mark.usefixtures("local_ray")
def test_a_search_with_its_trials_and_the_gap_to_the_optimum(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = tuned(here, tmp_path / "out", str(here / "search.yaml"), capsys)
    folder = tmp_path / "out" / "search"
    text = page_left(folder)
    result = json.loads((folder / "result.json").read_bytes())
    trials = list(csv.DictReader((folder / "trials.csv").open()))
    gap = 100 * (result["exact"]["value"] - result["best"]["value"])
    assert f"<code>{escape(command)}</code>" in text
    assert f"<b>{max(gap, 0):.3f}</b>" in text
    assert text.count('class="trial"') == len(trials) == 12
    assert text.count("<tr") == 1 + 12
    islands = Blocks(text).islands()
    way, *fields = islands["readouts"]
    assert [len(field["x"]) for field in fields] == [101, 101]
    best = max(float(trial["medium_mAP"]) for trial in trials)
    assert f"best so far {100 * best:.2f}" in way["stops"][-1][1]


@pytest.mark.usefixtures("local_ray")
def test_a_front_is_drawn_and_tabled(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuned(here, tmp_path / "out", str(here / "budgets.yaml"), capsys)
    folder = tmp_path / "out" / "budgets"
    text = page_left(folder)
    front = list(csv.DictReader((folder / "front.csv").open()))
    trials = list(csv.DictReader((folder / "trials.csv").open()))
    table = text[text.index("that nothing beats</summary>") :].partition("</table>")[0]
    assert table.count("<tr") == 1 + len(front)
    assert [f"<td>{100 * float(row['medium_mAP']):.2f}</td>" in table for row in front] == [True] * len(front)
    drawing = text[text.index("against bytes an image") :].partition("</svg>")[0]
    assert drawing.count('class="kept"') == len(front)
    assert drawing.count('class="kept"') + drawing.count('class="beaten"') == len(trials)
