"""The reports of training and tuning in a real browser: charts that tell their numbers, tables that sort."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ames_ray.files import Storage
from ames_ray.report.training_page import training_page
from ames_ray.report.training_run import TrainingRun
from ames_ray.report.tuning_page import tuning_page
from ames_ray.report.tuning_run import TuningRun
from ames_ray.tuning.grid import Grid, GridTable
from tests.browser.chromium import set_window
from tests.browser.made_pages import HOSTILE
from tests.browser.test_search_page import find, press, texts

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FIGURE = "medium_mAP"


def made_run(name: str, steps: int, *, finished: bool = True) -> TrainingRun:
    """Loss 1 / step; validation 60.5, 61.5 …; the global ranking has 61."""
    total = np.arange(1, steps + 1, dtype=np.float64)
    columns = {
        "total": total,
        "loss": 1 / total,
        "token_mse": 0 * total,
        "accuracy": total / steps,
        "gradient_norm": 10 / total,
    }
    epochs = {"epoch": np.arange(1.0, 4.0), FIGURE: np.array([0.605, 0.615, 0.612])}
    result = {"best_epoch": 2, "before": {FIGURE: 0.61}}
    card: dict[str, Any] = {"config": {"lr": steps / 1000, "note": HOSTILE[0]}, "result": result}
    return TrainingRun(name, columns, epochs, card if finished else {})


def made_search(folder: Path) -> tuple[TuningRun, GridTable]:
    """A front of two networks, six trials of which one failed, and a grid with one undefined cell."""
    trials = [
        {
            "trial": n,
            "state": "failed" if n == 3 else "complete",
            "reason": "<i>out of memory</i>" if n == 3 else "",
            "model": ("/w/full.pt", "/w/binary.pt")[n % 2],
            "query_desc_num": 10,
            "db_desc_num": 10,
            "lamb": n / 10,
            "temp": 0.1 * (n + 1),
            "num_rerank": 10,
            "bytes_an_image": 2560 / (1 + 15 * (n % 2)),
            "seconds_a_query": 0.01 * (n + 1),
            FIGURE: None if n == 3 else 0.5 + 0.01 * ((7 * n) % 6),
        }
        for n in range(6)
    ]
    best = {key: trials[5][key] for key in ("model", "query_desc_num", "db_desc_num", "lamb", "temp")}
    best |= {"num_rerank": 10, "value": 0.55}
    config = {"query": "/s/q", "gallery": ["/s/g"], "ground_truth": "/d/gnd.json", "model": ["/w/full.pt"]}
    space = {name: {"float": [0, 1]} for name in ("lamb", "temp", "num_rerank")}
    card = {"config": config | {"output": "/o"}, "settings": {"space": space}}
    exact = {**best, "lamb": 0.25, "temp": 0.1, "value": 0.56, "settings": 12}
    document = {
        "card": card,
        "figure": FIGURE,
        "best": best,
        "exact": exact,
        "front": [trials[5], trials[4]],
    }
    (folder / "result.json").write_text(json.dumps(document))
    values = np.linspace(0.4, 0.6, 12).reshape(2, 3, 2)
    values[0, 0, 0] = np.nan
    table = GridTable(Grid((0.0, 0.25, 1.0), (0.1, 1.0), (5, 10)), {FIGURE: values})
    return TuningRun(Storage.at(folder), document, trials), table


def opened(browser: Chrome, folder: Path, page: bytes) -> Chrome:
    path = folder / "report.html"
    path.write_bytes(page)
    browser.get(path.as_uri())
    return browser


@pytest.fixture
def training(browser: Chrome, tmp_path: Path) -> Chrome:
    runs = [made_run("first", 900), made_run("<b>second</b>", 300), made_run("third", 10, finished=False)]
    return opened(browser, tmp_path, training_page(runs))


@pytest.fixture
def tuning(browser: Chrome, tmp_path: Path) -> Chrome:
    return opened(browser, tmp_path, tuning_page(*made_search(tmp_path)))


def test_a_chart_tells_what_the_pointer_stands_on_and_keys_go_on(training: Chrome) -> None:
    chart, readout = find(training, "svg.readable"), find(training, ".readout")
    assert readout.text == ""
    ActionChains(training).move_to_element(chart).perform()
    assert readout.text == "epoch 2: global ranking 61.00, first 61.50, <b>second</b> 61.50, third 61.50"
    ActionChains(training).click(chart).send_keys(Keys.ARROW_RIGHT).perform()
    assert readout.text.startswith("epoch 3: ")
    press(training, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert readout.text.startswith("epoch 1: ")
    assert len(training.find_elements(By.CSS_SELECTOR, ".cursor")) == 1
    loss = training.find_elements(By.CSS_SELECTOR, "svg.readable")[1]
    training.execute_script("arguments[0].focus()", loss)
    press(training, Keys.ARROW_RIGHT)
    # 900 steps in parts of 6: the mean of 1 / 1 … 1 / 6, the same for all runs.
    assert texts(training, ".readout")[1] == ("step 6: first 0.4083, <b>second</b> 0.4083, third 0.4083")


def test_several_runs_have_a_legend_a_table_and_colours_of_their_own(training: Chrome) -> None:
    names = ["first", "<b>second</b>", "third"]
    assert texts(training, ".keys")[0] == "".join(["global ranking", *names])
    strokes = training.execute_script(
        "return [0, 1, 2].map((n) => getComputedStyle(document.querySelector(`.run-${n} polyline`)).stroke)"
    )
    assert len(set(strokes)) == 3
    assert texts(training, "tbody tr:first-child td")[:2] == ["first", "900"]
    headings = training.find_elements(By.CSS_SELECTOR, "section th button")
    headings[1].click()
    assert texts(training, "section tbody td:nth-child(2)") == ["900", "300", "10"]
    headings[0].send_keys(Keys.ENTER)
    assert texts(training, "section tbody td:first-child") == ["<b>second</b>", "first", "third"]
    assert "third is not finished" in find(training, ".note").text
    assert texts(training, "details td:first-child")[:1] == ["lr"]


def test_maps_tell_their_cells_and_carry_trials_and_the_optimum(tuning: Chrome) -> None:
    _, first, second = tuning.find_elements(By.CSS_SELECTOR, "svg.readable")
    assert len(first.find_elements(By.CSS_SELECTOR, ".trial, .optimum")) == 0
    # Trials of the optimum's network alone: 1 and 5, as 3 failed.
    assert len(second.find_elements(By.CSS_SELECTOR, ".trial")) == 2
    assert len(second.find_elements(By.CSS_SELECTOR, ".optimum")) == 1
    tuning.execute_script("arguments[0].focus()", first)
    press(tuning, Keys.ARROW_RIGHT)
    assert texts(tuning, ".readout")[1] == "λ 0, γ 0.1: undefined"
    press(tuning, Keys.ARROW_RIGHT, Keys.ARROW_UP)
    assert texts(tuning, ".readout")[1] == "λ 0.25, γ 1: 54.55 %"
    press(tuning, *4 * [Keys.ARROW_RIGHT])
    assert texts(tuning, ".readout")[1].startswith("λ 1, γ 1")
    cross, cells = (second.find_element(By.CSS_SELECTOR, name).rect for name in (".optimum", ".cells"))
    # The middle of the second of three columns, of the lower one of two rows.
    assert cross["x"] + cross["width"] / 2 == pytest.approx(cells["x"] + cells["width"] / 2, abs=1.5)
    assert cross["y"] + cross["height"] / 2 == pytest.approx(cells["y"] + 3 * cells["height"] / 4, abs=1.5)


def test_best_front_and_trials_are_there_as_text(tuning: Chrome) -> None:
    assert texts(tuning, ".hero b") == ["55.00", "56.00", "1.000"]
    assert find(tuning, ".command").text.startswith("ames-ray evaluate query=/s/q gallery=/s/g ")
    assert texts(tuning, ".note li") == ["1 of 6 trials failed: <i>out of memory</i>"]
    assert len(tuning.find_elements(By.CSS_SELECTOR, "g path.kept, g path.beaten")) == 5
    trials = tuning.find_elements(By.CSS_SELECTOR, "details")[-2]
    assert len(trials.find_elements(By.CSS_SELECTOR, "tbody tr")) == 6
    names = [button.text for button in trials.find_elements(By.CSS_SELECTOR, "th button")]
    place = names.index("medium mAP")
    trials.find_elements(By.CSS_SELECTOR, "th button")[place].click()
    column = [
        row.find_elements(By.CSS_SELECTOR, "td")[place].text
        for row in trials.find_elements(By.CSS_SELECTOR, "tbody tr")
    ]
    assert column == ["55.00", "54.00", "52.00", "51.00", "50.00", "–"]


@pytest.mark.parametrize("kind", ["training", "tuning"])
def test_a_phone_shows_all_in_light_and_dark(kind: str, request: pytest.FixtureRequest) -> None:
    browser: Chrome = request.getfixturevalue(kind)
    colours = []
    for width, dark in ((360, True), (390, False), (1280, False)):
        set_window(browser, width, 800, dark=dark)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        script = "return getComputedStyle(document.querySelector('.run-0 polyline')).stroke"
        colours.append(browser.execute_script(script))
    assert colours[0] != colours[1]
    assert colours[1] == colours[2]
    loaded = (
        "return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length"
    )
    assert browser.execute_script(loaded) == 0
