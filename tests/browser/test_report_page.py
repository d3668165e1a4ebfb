"""The report of an evaluation in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By

from ames_ray.files import Storage
from ames_ray.report.evaluation import Evaluation
from ames_ray.report.evaluation_page import evaluation_page
from tests.browser.chromium import set_window
from tests.browser.made_pages import HOSTILE, make_pictures
from tests.browser.test_search_page import find, texts, until

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

BEFORE, AFTER = [0.9, 0.5, None, 0.1, 0.4], [0.95, 0.3, None, 0.6, 0.4]


@pytest.fixture
def report(browser: Chrome, tmp_path: Path) -> Chrome:
    rows = [
        {"lamb": lamb, "temp": temp, "num_rerank": 100, "public_mAP@100": lamb * temp}
        for lamb in (0.1, 0.9)
        for temp in (0.2, 1.5)
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

    chosen = {"lamb": 0.9, "temp": 1.5, "num_rerank": 100}
    document = {
        "card": {"job": "<i>evaluate</i>"},
        "global": side(BEFORE, {}),
        "best": side(AFTER, chosen),
        "figure": "public_mAP@100",
        "rows": rows,
    }
    evaluation = Evaluation(Storage.at(tmp_path), "evaluation-1.json", document)
    uris = make_pictures(tmp_path, 5)
    path = tmp_path / "report.html"
    path.write_bytes(evaluation_page(evaluation, names=HOSTILE[:5], uris=uris))
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
    assert texts(report, "#queries bdi")[:2] == HOSTILE[:2]
    find(report, "#setup input[value='b']").click()
    assert len(numbers()) == 4
    report.execute_script("scrollTo(0, document.body.scrollHeight)")
    until(report, "[...document.querySelectorAll('#queries img')].every((i) => i.naturalWidth === 40)")


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
