"""The page of the search service in a real browser, against a real server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("selenium")
pytest.importorskip("fastapi")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ames_ray.config.compose import compose
from ames_ray.config.serve import ServeConfig
from ames_ray.service.app import make_app
from ames_ray.service.engine import SearchEngine
from tests.browser.chromium import complaints, set_window
from tests.browser.test_search_page import find, focused, press, texts, until
from tests.search.small import make_store, turned
from tests.service.server import running

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ALL_DRAWN = "[...document.querySelectorAll('.card img')].every((i) => i.complete && i.naturalWidth)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("service_page")
    make_store(folder)
    turned(folder / "photos" / "coffee_280x210.png", folder / "me.png")
    (folder / "page.jpg").write_bytes(b"<html>404</html>")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    words = [f"store={folder / 'store'}", "num_rerank=6", "num_results=9"]
    with running(make_app(SearchEngine(compose(ServeConfig, words), "cpu"))) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser: Chrome, address: str) -> Chrome:
    browser.get(address)
    until(browser, "document.getElementById('summary').textContent")
    return browser


def search(page: Chrome, photo: Path) -> None:
    page.execute_script("document.body.removeAttribute('aria-busy')")
    find(page, "#file").send_keys(str(photo))
    until(page, "document.body.getAttribute('aria-busy') === 'false'")


def test_a_photo_is_searched_with_and_a_click_says_why(page: Chrome, folder: Path) -> None:
    assert "11 images · described by sift" in find(page, "#summary").text
    assert "20 MB and 50 megapixels" in find(page, "#limits").text
    search(page, folder / "me.png")
    assert texts(page, ".name")[0] == "coffee_280x210.png"
    assert texts(page, ".rank") == [str(rank) for rank in range(1, 10)]
    assert "9 results" in find(page, "#count").text
    assert "280 × 210 pixels" in find(page, "#query-name").text
    until(page, ALL_DRAWN)
    assert page.execute_script("return document.getElementById('query-picture').naturalWidth") == 280
    find(page, ".card").click()
    assert find(page, "#why-title").text == "coffee_280x210.png"
    assert "Lines join mutual nearest neighbours" in find(page, "#why-legend").text
    lines = page.find_elements(By.CSS_SELECTOR, "#pair .match")
    assert len(lines) == int(texts(page, ".score")[0].split()[0]) > 10
    # A turned picture: both ends of every line lie inside their own half.
    ends = page.execute_script(
        "return [...document.querySelectorAll('#pair .match .touch')]"
        ".map((l) => ['x1', 'y1', 'x2', 'y2'].map((n) => Number(l.getAttribute(n))))"
    )
    width = 1000 * 280 / 210
    assert all(0 < x1 < width < width + 24 < x2 < 2 * width + 24 for x1, _, x2, _ in ends)
    assert all(0 < y < 1000 for _, y1, _, y2 in ends for y in (y1, y2))


def test_the_keyboard_is_enough(page: Chrome, folder: Path) -> None:
    search(page, folder / "me.png")
    names = texts(page, ".name")
    find(page, ".card").send_keys(Keys.ARROW_RIGHT)
    assert focused(page) == names[1]
    press(page, Keys.END)
    assert focused(page) == names[-1]
    press(page, Keys.ENTER)
    assert "was not compared" in find(page, "#why-legend").text
    press(page, Keys.ARROW_LEFT)
    assert names[-2] in find(page, "#why-title").text
    press(page, Keys.ESCAPE)
    until(page, "!document.getElementById('why').open")
    until(page, f"document.activeElement.querySelector('.name')?.textContent === '{names[-2]}'")


def test_a_bad_photo_is_told_and_the_next_one_works(page: Chrome, folder: Path) -> None:
    search(page, folder / "page.jpg")
    assert "the content is no picture" in find(page, "#failed").text
    assert find(page, "#failed").is_displayed()
    assert all("415" in said for said in complaints(page))
    search(page, folder / "me.png")
    assert not find(page, "#failed").is_displayed()
    assert len(texts(page, ".name")) == 9


def test_dropping_works_and_a_phone_shows_all(page: Chrome, folder: Path) -> None:
    page.execute_script(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "<b>me</b>.png", { type: "image/png" }));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        """,
        base64.b64encode((folder / "me.png").read_bytes()).decode(),
    )
    assert find(page, "#query-picture").get_attribute("alt") == "query photo <b>me</b>.png"
    until(page, "document.body.getAttribute('aria-busy') === 'false'")
    assert len(texts(page, ".name")) == 9
    for width in (360, 1280):
        set_window(page, width, 800, dark=width == 360)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
