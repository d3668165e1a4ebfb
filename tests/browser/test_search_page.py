"""The page of a search in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from ames_ray.search.results import SearchResult
from ames_ray.types import ImageFeatures, ImageRecord
from tests.browser.chromium import set_window
from tests.browser.made_pages import HOSTILE, make_pictures, make_result, write_page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

COLUMNS = "return getComputedStyle(document.getElementById('results')).gridTemplateColumns"


def find(browser: Chrome, selector: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, selector)


def texts(browser: Chrome, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    found: list[str] = browser.execute_script(script, selector)
    return found


def until(browser: Chrome, script: str) -> Any:
    return WebDriverWait(browser, 30).until(lambda b: b.execute_script(f"return {script}"))


def press(browser: Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def focused(browser: Chrome) -> str:
    script = "return document.activeElement.querySelector('.name')?.textContent ?? document.activeElement.id"
    return str(browser.execute_script(script))


@pytest.fixture
def small(browser: Chrome, tmp_path: Path) -> Chrome:
    """Three queries: one with seven judged results, one with two, one that failed."""
    uris = make_pictures(tmp_path, 7)
    names = [f"folder/{letter}.png" for letter in "gfedcba"]
    first = make_result("first.png", uris[0], names, uris, ["positive", "negative", "junk"])
    second = make_result("second.png", uris[1], names[:2], uris)
    failed = SearchResult(ImageFeatures(ImageRecord(0, "broken.png", "/no/broken.png"), reason="truncated"))
    browser.get(write_page(tmp_path, [first, second, failed]))
    return browser


def test_results_are_shown_with_pictures_scores_movement_and_verdicts(small: Chrome) -> None:
    assert texts(small, ".name") == [f"{letter}.png" for letter in "gfedcba"]
    assert texts(small, ".rank") == list("1234567")
    assert texts(small, ".score")[0] == "1.000"
    assert texts(small, ".moved")[:4] == ["↑ 6", "↑ 4", "↑ 2", "="]
    until(
        small, "[...document.querySelectorAll('.card img')].every((i) => i.complete && i.naturalWidth === 40)"
    )
    frames = small.execute_script(
        "return [...document.querySelectorAll('.card .picture')].slice(0, 3)"
        ".map((e) => getComputedStyle(e).boxShadow.match(/rgb[^)]*\\)/)[0])"
    )
    assert frames == ["rgb(31, 138, 76)", "rgb(194, 59, 46)", "rgb(152, 147, 138)"]
    assert find(small, "#verdicts").is_displayed()


@pytest.mark.parametrize(
    ("order", "names"), [("Before", "abcdefg"), ("Name", "abcdefg"), ("Movement", "gfedcba")]
)
def test_they_can_be_sorted(small: Chrome, order: str, names: str) -> None:
    find(small, f"#order input[value='{order}']").click()
    assert texts(small, ".name") == [f"{letter}.png" for letter in names]
    find(small, "#order input[value='Re-ranked']").click()
    assert texts(small, ".rank") == list("1234567")


def test_the_keyboard_is_enough(small: Chrome) -> None:
    find(small, ".card").send_keys(Keys.ARROW_RIGHT)
    assert focused(small) == "f.png"
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert small.execute_script(f"return {ring}") == "solid"
    columns = len(str(small.execute_script(COLUMNS)).split())
    assert 2 <= columns <= 5
    press(small, Keys.ARROW_DOWN)
    assert focused(small) == f"{'gfedcba'[1 + columns]}.png"
    press(small, Keys.HOME)
    assert focused(small) == "g.png"
    press(small, Keys.END, Keys.ARROW_LEFT)
    assert focused(small) == "b.png"
    press(small, Keys.ENTER)
    assert find(small, "#why").get_attribute("open") is not None
    press(small, Keys.ARROW_RIGHT)
    assert find(small, "#why-title").text == "folder/a.png"
    press(small, Keys.ESCAPE)
    # The browser hands the focus back in a task of its own.
    until(small, "!document.getElementById('why').open")
    until(small, "document.activeElement.title === 'folder/a.png'")


def test_a_click_shows_both_pictures_and_what_agrees(small: Chrome) -> None:
    find(small, ".card").click()
    assert find(small, "#why-title").text == "folder/g.png"
    assert "before re-ranking 7" in find(small, "#why-facts").text
    assert "last cross-attention of AMES: 3" in find(small, "#why-legend").text
    assert len(small.find_elements(By.CSS_SELECTOR, "#pair image")) == 2
    assert len(small.find_elements(By.CSS_SELECTOR, "#pair .match")) == 3
    small.execute_script(
        "const s = document.getElementById('shown'); s.value = 1; s.dispatchEvent(new Event('input'))"
    )
    assert len(small.find_elements(By.CSS_SELECTOR, "#pair .match")) == 1
    # The surest match is the first: from (5, 5) of 40 × 30 to (35, 25) of the other.
    line = find(small, "#pair .match line:last-of-type")
    x1, y1, x2, y2 = (float(str(line.get_attribute(name))) for name in ("x1", "y1", "x2", "y2"))
    width = 1000 * 40 / 30
    assert (x1, y1) == pytest.approx((width * 5.5 / 40, 1000 * 5.5 / 30), abs=2)
    assert (x2 - width - 24, y2) == pytest.approx((width * 35.5 / 40, 1000 * 25.5 / 30), abs=2)
    find(small, "#next").click()
    assert find(small, "#why-title").text == "folder/f.png"
    find(small, "#close").click()
    assert find(small, "#why").get_attribute("open") is None


def test_pointing_at_a_result_marks_both_pictures(small: Chrome) -> None:
    until(small, "document.querySelector('.card img').complete")
    ActionChains(small).move_to_element(find(small, ".card")).perform()
    until(small, "document.querySelectorAll('#query-marks circle').length === 3")
    assert len(small.find_elements(By.CSS_SELECTOR, ".card:first-child .marks circle")) == 3
    ActionChains(small).move_to_element(find(small, "h1")).perform()
    until(small, "document.querySelectorAll('.marks circle').length === 0")


def test_queries_are_chosen_and_a_failed_one_says_why(small: Chrome) -> None:
    buttons = small.find_elements(By.CSS_SELECTOR, "#queries button")
    buttons[1].click()
    assert find(small, "#query-name").text == "second.png"
    assert texts(small, ".name") == ["g.png", "f.png"]
    press(small, Keys.ARROW_RIGHT)
    assert "the file ends too early" in find(small, "#failed").text
    assert texts(small, ".name") == []
    press(small, Keys.ARROW_LEFT)
    assert not find(small, "#failed").is_displayed()


def test_light_and_dark_and_phone(small: Chrome) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = small.execute_script(f"return {background}")
    set_window(small, 1280, 900, dark=True)
    dark = small.execute_script(f"return {background}")
    assert (light, dark) == ("rgb(251, 250, 248)", "rgb(20, 20, 18)")
    for width in (360, 390, 768):
        set_window(small, width, 800)
        assert small.execute_script("return document.documentElement.scrollWidth") <= width
        strip = find(small, "#queries").rect
        # On a phone it reaches both edges, so that one of many queries is cut off there.
        assert (strip["x"], strip["width"]) == (
            (0, width) if width <= 760 else pytest.approx((19, 730), abs=4)
        )


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(small: Chrome, dark: bool) -> None:
    """WCAG AA: at least 4.5 : 1."""
    set_window(small, 1280, 900, dark=dark)
    contrast = """
        const light = (name) => {
          const e = document.createElement('i');
          e.style.color = `var(--${name})`;
          document.body.append(e);
          const [r, g, b] = getComputedStyle(e).color.match(/[\\d.]+/g).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
          e.remove();
          return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
        };
        const pairs = ['ink ground', 'quiet ground', 'quiet raised', 'quiet well', 'accent ground',
          'ink chosen']
          .map((pair) => pair.split(' ').map(light));
        return pairs.map(([x, y]) => Math.max(x, y) / Math.min(x, y));
    """
    assert min(small.execute_script(contrast)) >= 4.5


def test_hostile_names_are_only_text(browser: Chrome, tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, len(HOSTILE))
    results = [make_result(name, uris[0], HOSTILE, uris) for name in HOSTILE]
    browser.get(write_page(tmp_path, results))
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in HOSTILE]
    assert browser.title == "Search results"
    titles = [e.get_attribute("title") for e in browser.find_elements(By.CSS_SELECTOR, ".card")]
    assert titles == shown
    for number, name in enumerate(shown):
        browser.find_elements(By.CSS_SELECTOR, "#queries button")[number].click()
        assert texts(browser, "#query-name") == [name]
    find(browser, ".card").click()
    assert texts(browser, "#why-title") == [shown[0]]
    assert browser.title == "Search results"
    scripts = browser.execute_script("return document.querySelectorAll('script:not([type])').length")
    assert scripts == 1


@pytest.mark.slow
def test_ten_thousand_results_come_as_they_are_looked_at(browser: Chrome, tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, 300)
    names = [f"{number:05d}.png" for number in range(10_000)]
    browser.get(write_page(tmp_path, [make_result("query.png", uris[0], names, uris)]))
    assert "10,000 results" in find(browser, "#count").text
    assert len(browser.find_elements(By.CSS_SELECTOR, ".card")) < 600
    browser.execute_script("scrollTo(0, document.body.scrollHeight)")
    until(browser, "document.querySelectorAll('.card').length >= 240")
    browser.execute_script("scrollTo(0, 0)")
    find(browser, ".card").send_keys(Keys.END)
    assert focused(browser) == "09999.png"
    until(browser, "document.activeElement.querySelector('img').naturalWidth === 40")
    waiting = browser.execute_script("return document.querySelectorAll('.card img:not([src])').length")
    assert waiting > 5_000
    find(browser, "#order input[value='Before']").click()
    assert texts(browser, ".name")[0] == "09999.png"


def test_a_photo_that_is_gone_leaves_a_place(browser: Chrome, tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, 2)
    Path(uris[1]).unlink()
    browser.get(write_page(tmp_path, [make_result("query.png", uris[0], ["a.png", "b.png"], uris)]))
    until(browser, "document.querySelector('.gone')?.textContent === 'the photo is not there any more'")
    browser.find_elements(By.CSS_SELECTOR, ".card")[1].click()
    assert texts(browser, "#pair text") == ["not there any more"]


def test_nothing_is_loaded_from_anywhere(small: Chrome) -> None:
    assert (
        small.execute_script(
            "return performance.getEntriesByType('resource').map((e) => e.name)"
            ".filter((n) => !n.startsWith('data:'))"
        )
        == []
    )
    refused = small.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done(false), () => done(true))"
    )
    assert refused
    small.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        "document.body.append(s)"
    )
    assert small.title == "Search results"
    log = small.get_log("browser")  # type: ignore[no-untyped-call]
    assert len(log) >= 2
    assert all("Content Security Policy" in entry["message"] for entry in log)
