"""Search results made by hand, for pages that no real search would give on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.report.page import PageText, search_page
from ames_ray.search.results import Agreement, Hit, SearchResult
from ames_ray.types import ImageFeatures, ImageRecord

if TYPE_CHECKING:
    from ames_ray.search.results import Verdict

TEXT = PageText("Search results", "AMES", "", "last cross-attention of AMES", {"images searched": "9"})
HOSTILE = [
    '<img src=x onerror="document.title=1">.jpg',
    "</script><script>document.title='owned'</script>.jpg",
    "<!--<script>.jpg",
    "\"'`${document.title=1}&amp;.jpg",
    "bytes\udcff\udce9.jpg",
    "line\nbreak\u2028\u2029\u202egpj.jpg",
    "{{title}}{{facts}}.jpg",
    "日本語 ÄÖÜ 🗼.jpg",
]


def make_pictures(folder: Path, count: int) -> list[str]:
    """`count` pictures of one colour each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"{number}.png"
        colour = np.array([number * 37 % 256, number * 91 % 256, number * 53 % 256], np.uint8)
        cv2.imwrite(str(path), np.full((30, 40, 3), colour))
        paths.append(str(path))
    return paths


def make_result(
    name: str, uri: str, names: list[str], uris: list[str], verdicts: list[Verdict | None] | None = None
) -> SearchResult:
    """A query whose hits come in the given order, and came in the opposite one before."""
    count = len(names)
    points = np.array([[5, 5], [20, 10], [35, 25]], np.float32)
    hits = tuple(
        Hit(
            ImageRecord(row, hit_name, uris[row % len(uris)]),
            rank=row + 1,
            before=count - row,
            similarity=(count - row) / (2 * count),
            score=1 - row / count,
            agreement=Agreement(points, points[::-1], np.array([1, 0.5, 0.2], np.float32), 3, (40, 30)),
            verdict=verdicts[row % len(verdicts)] if verdicts else None,
        )
        for row, hit_name in enumerate(names)
    )
    return SearchResult(ImageFeatures(ImageRecord(0, name, uri), width=40, height=30), hits, count)


def write_page(folder: Path, results: list[SearchResult], text: PageText = TEXT) -> str:
    """The address of the page."""
    path = folder / "index.html"
    path.write_bytes(search_page(results, text))
    return path.as_uri()
