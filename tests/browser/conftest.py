"""One browser for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    from tests.browser.chromium import MISSING, chromium

    if MISSING:
        pytest.skip(MISSING)
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(one_browser: Chrome) -> Iterator[Chrome]:
    """A window of 1280 × 900 without a page; afterwards its console must be silent."""
    from tests.browser.chromium import complaints, set_window

    one_browser.get("about:blank")
    set_window(one_browser, 1280, 900)
    complaints(one_browser)
    yield one_browser
    assert complaints(one_browser) == []
