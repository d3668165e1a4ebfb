"""The report of an evaluation in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ames_ray.files import Storage
from ames_ray.report.evaluation import Evaluation
from ames_ray.report.evaluation_page import evaluation_page
from ames_ray.report.pictures import embed
from ames_ray.report.query_pictures import QueryPictures
from tests.browser.chromium import set_window
from tests.browser.made_pages import HOSTILE, make_pictures
from tests.browser.test_search_page import find, press, texts, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selenium.webdriver import Chrome

BEFORE, AFTER = [0.9, 0.5, None, 0.1, 0.4], [0.95, 0.3, None, 0.6, 0.4]


def made_pictures(folder: Path) -> QueryPictures:
    """Of queries 1 and 4; the photo of image 2 is gone. The lists of query 1 are those of both setups."""
    uris = make_pictures(folder, 5)
    Path(uris[2]).unlink()
    before = [[2, "negative", 1, 1], [3, "junk", None, None], [4, "positive", 2, 2]]
    after = [[4, "positive", 1, 2], [2, "negative", 2, 1]]
    lists = {1: [before, after], 4: [after, before]}
    return QueryPictures(
        {1: 0, 4: 1}, {"all": lists, "b": {1: [before, after]}}, HOSTILE[:5], embed(uris), []
    )


@pytest.fixture
def report(browser: Chrome, tmp_path: Path) -> Chrome:
    return opened(browser, tmp_path, (0.1, 0.9), (0.2, 1.5))


def opened(browser: Chrome, folder: Path, lambs: Sequence[float], temps: Sequence[float]) -> Chrome:
    """The page of a sweep that is the better the larger λ and γ are."""
    rows = [
        {"lamb": lamb, "temp": temp, "num_rerank": 100, "public_mAP@100": lamb * temp}
        for lamb in lambs
        for temp in temps
    ]

    def side(values: list[float | None], settings: dict[str, float]) -> dict[str, object]:
        figures = {"public_mAP@100": 0.5625 if settings else 0.475}
        counts = {"queries": 5}
        return {
            "protocol": "gldv2",
            "figures": figures,
            "per_query": {"all": values, "b": values},
            "settings": settings,
            "counts": counts,
            "notes": ["<b>note</b>"],
        }

    chosen = {"lamb": lambs[-1], "temp": temps[-1], "num_rerank": 100}
    document = {
        "card": {"job": "<i>evaluate</i>"},
        "global": side(BEFORE, {}),
        "best": side(AFTER, chosen),
        "figure": "public_mAP@100",
        "rows": rows,
    }
    evaluation = Evaluation(Storage.at(folder), "evaluation-1.json", document)
    path = folder / "report.html"
    path.write_bytes(evaluation_page(evaluation, names=HOSTILE[:5], pictures=made_pictures(folder)))
    browser.get(path.as_uri())
    return browser


def test_the_worst_queries_come_first_and_other_orders_work(report: Chrome) -> None:
    def numbers() -> list[str]:
        return texts(report, "#queries .numbers > span:first-child")

    assert numbers() == ["AP 30.00", "AP 40.00", "AP 60.00", "AP 95.00"]
    assert "4 queries, 1 without positives left out" in find(report, "#count").text
    assert texts(report, "#queries .numbers > span:last-child") == ["−20.00", "+0.00", "+50.00", "+5.00"]
    find(report, "#order input[value='Gain']").click()
    assert numbers() == ["AP 60.00", "AP 95.00", "AP 40.00", "AP 30.00"]
    find(report, "#order input[value='List']").click()
    titles = "return [...document.querySelectorAll('#queries bdi')].map((e) => e.title)"
    assert report.execute_script(titles)[:2] == HOSTILE[:2]
    find(report, "#setup input[value='b']").click()
    assert len(numbers()) == 4


def test_the_worst_queries_show_what_they_found_with_frames(report: Chrome) -> None:
    assert len(report.find_elements(By.CSS_SELECTOR, "#queries li.wide")) == 2
    report.execute_script("scrollTo(0, document.body.scrollHeight)")
    until(report, "document.querySelector('.found .gone')?.textContent === 'the photo is not there any more'")
    until(report, "[...document.querySelectorAll('#queries img')].every((i) => i.naturalWidth === 40)")
    worst = "#queries li:first-child .ranking"
    assert texts(report, f"{worst} > span") == ["Before", "Re-ranked"]
    assert texts(report, f"{worst}:first-child .place") == ["1 ✗", "–", "2 ✓"]
    assert texts(report, f"{worst}:last-child .place") == ["1 ✓ ↑1", "2 ✗ ↓1"]
    frames = report.execute_script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((e) => getComputedStyle(e).boxShadow.match(/rgb[^)]*\\)/)[0])",
        f"{worst}:first-child .found .picture",
    )
    assert frames == ["rgb(194, 59, 46)", "rgb(152, 147, 138)", "rgb(31, 138, 76)"]
    assert find(report, "#verdicts").is_displayed()
    find(report, "#setup input[value='b']").click()
    assert len(report.find_elements(By.CSS_SELECTOR, "#queries li.wide")) == 1
    assert len(report.find_elements(By.CSS_SELECTOR, "#queries li.shown")) == 2


def test_a_result_is_looked_at_beside_its_query_by_keys_alone(report: Chrome) -> None:
    find(report, ".found").send_keys(Keys.ARROW_RIGHT)
    press(report, Keys.ENTER)
    assert find(report, "#look-title").text == HOSTILE[3]
    assert find(report, "#look-facts").text == "no rank · not counted"
    assert len(report.find_elements(By.CSS_SELECTOR, "#pair figure")) == 2
    until(report, "[...document.querySelectorAll('#pair img')].every((i) => i.naturalWidth === 40)")
    press(report, Keys.ARROW_RIGHT)
    assert find(report, "#look-facts").text == "rank 2 · shows the same"
    press(report, Keys.ARROW_RIGHT)
    assert texts(report, "#look-title") == [HOSTILE[4].encode("utf-8", "backslashreplace").decode()]
    press(report, Keys.ESCAPE)
    until(report, "!document.getElementById('look').open")
    until(report, "document.activeElement.querySelector('.place')?.textContent === '2 ✓'")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert report.execute_script(f"return {ring}") == "solid"
    find(report, "#queries li:first-child .ranking:last-child .found").click()
    assert find(report, "#look-facts").text == "rank 1 · before re-ranking 2 · shows the same"
    find(report, "#next").click()
    assert texts(report, "#pair .gone") == ["the photo is not there any more"]
    find(report, "#close").click()
    assert not find(report, "#look").is_displayed()


def test_the_table_of_settings_sorts(report: Chrome) -> None:
    def column() -> list[str]:
        return texts(report, "tbody td:nth-child(4)")

    headings = report.find_elements(By.CSS_SELECTOR, "th button")
    headings[3].click()
    assert column() == ["135.00", "18.00", "15.00", "2.00"]
    headings[3].click()
    assert column() == ["2.00", "15.00", "18.00", "135.00"]
    assert texts(report, "tr.best td:first-child") == ["0.9"]


def test_texts_are_texts_and_a_phone_shows_all(report: Chrome) -> None:
    assert "<b>note</b>" in texts(report, ".note li")
    assert "<i>evaluate</i>" in texts(report, "details dd")
    assert len(report.find_elements(By.CSS_SELECTOR, ".cell")) == 4
    for width in (360, 1280):
        set_window(report, width, 800, dark=width == 360)
        assert report.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_map_of_many_settings_tells_its_cells_and_fits_a_phone(browser: Chrome, tmp_path: Path) -> None:
    report = opened(browser, tmp_path, [n / 40 for n in range(41)], [n / 10 for n in range(1, 11)])
    report.execute_script("arguments[0].focus()", find(report, "svg.readable"))
    press(report, Keys.ARROW_RIGHT)
    assert find(report, ".readout").text == "λ 0, γ 0.1: 0.00 %"
    press(report, *[Keys.ARROW_RIGHT] * 20, Keys.ARROW_UP)
    assert find(report, ".readout").text == "λ 0.5, γ 0.2: 10.00 %"
    set_window(report, 400, 800)
    wide = "return [document.documentElement.scrollWidth, document.querySelector('svg.readable').clientWidth]"
    page, drawing = report.execute_script(wide)
    assert page == 400
    assert drawing > 200
