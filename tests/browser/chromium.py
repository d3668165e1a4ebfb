"""A headless Chromium for tests and measurements of pages, driven by Selenium."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = (
    None if BROWSER and DRIVER else "no chromium with chromedriver is installed (Debian: chromium-driver)"
)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser of its own, with an empty profile in a folder, ended afterwards."""
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def set_window(browser: Chrome, width: int, height: int, *, dark: bool = False) -> None:
    """Size of the visible page [CSS pixels], and the colours that the user's system asks for."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def complaints(browser: Chrome) -> list[str]:
    """Everything that the console got since the last call: errors, warnings, refused content."""
    log = cast("list[dict[str, str]]", browser.execute(Command.GET_LOG, {"type": "browser"})["value"])
    return [f"{entry['level']}: {entry['message']}" for entry in log]
