"""Size of the page of a search, time to write it, and time until a browser can use it.

    python -m benchmarks.page --results 1000 10000

Chromium without a window, started anew for each measurement, reads the page from the disk. "ready" is when
the script has run and the first results are there; "answer" is the time from a click on a result until both
of its pictures are drawn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.report.page import PageText, search_page
from ames_ray.search.results import Agreement, Hit, SearchResult
from ames_ray.types import ImageFeatures, ImageRecord
from benchmarks.pictures import make
from benchmarks.record import save, spread
from tests.browser.chromium import chromium, set_window

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT, MATCHES = 640, 480, 60
_READY = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
_ANSWER = """
    const done = arguments[0], began = performance.now();
    document.querySelector('.card').click();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
"""


def found(paths: Sequence[Path]) -> SearchResult:
    """One query with as many results as there are photos, all of them explained."""
    generator = np.random.default_rng(0)

    def agreement() -> Agreement:
        places = (generator.random((2, MATCHES, 2)) * (WIDTH, HEIGHT)).astype(np.float32)
        strength = np.linspace(1, 0, MATCHES, dtype=np.float32)
        return Agreement(places[0], places[1], strength, MATCHES, (WIDTH, HEIGHT))

    hits = tuple(
        Hit(ImageRecord(row, path.name, str(path)), row + 1, len(paths) - row, 0.5, 30.0, agreement())
        for row, path in enumerate(paths)
    )
    query = ImageFeatures(ImageRecord(0, "query.jpg", str(paths[0])), width=WIDTH, height=HEIGHT)
    return SearchResult(query, hits, len(paths))


def opened(page: Path) -> tuple[float, float]:
    """Seconds until the page is ready, and until a click is answered."""
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        set_window(browser, 1280, 900)
        browser.get(page.as_uri())
        ready = float(browser.execute_script(_READY)) / 1000
        return ready, float(browser.execute_async_script(_ANSWER)) / 1000


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    text = PageText("Search results", "AMES", "", "mutual nearest neighbours")
    for count in arguments.results:
        with tempfile.TemporaryDirectory() as folder:
            result = found(make(Path(folder) / "photos", count, WIDTH, HEIGHT))
            began = time.perf_counter()
            page = Path(folder) / "index.html"
            page.write_bytes(search_page([result], text))
            seconds = time.perf_counter() - began
            times = [opened(page) for _ in range(arguments.runs)]
            save(
                "page",
                f"{count} results",
                {
                    "bytes": page.stat().st_size,
                    "written_seconds": round(seconds, 2),
                    "ready_seconds": spread([ready for ready, _ in times]),
                    "answer_seconds": spread([answer for _, answer in times]),
                },
            )


if __name__ == "__main__":
    main()
