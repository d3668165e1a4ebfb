from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ames_ray.report.page import search_page
from ames_ray.report.pictures import SHELF, embed
from ames_ray.report.shell import escape, page
from ames_ray.search.results import SearchResult
from tests.browser.made_pages import HOSTILE, TEXT, make_pictures, make_result


class Blocks(HTMLParser):
    """Scripts, styles and metas of a page, as Python's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)

    def islands(self) -> dict[str, Any]:
        return {
            str(a["id"]): json.loads(text)
            for tag, a, text in self.found
            if tag == "script" and a.get("type") == "application/json"
        }


def test_islands_hold_what_was_found(tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, 3)
    result = make_result("q.png", uris[0], ["a.png", "b.png", "c.png"], uris, ["positive", "junk", None])
    text = search_page([result], TEXT).decode()
    islands = Blocks(text).islands()
    (query,) = islands["page"]["queries"]
    assert query["hits"][0] == ["a.png", 0, 1, 3, 0.5, 1.0, "positive"]
    assert [hit[6] for hit in query["hits"]] == ["positive", "junk", None]
    assert islands["why-0"][0] == [
        3,
        40,
        30,
        [[138, 183, 888, 850, 1000], [512, 350, 512, 350, 500], [888, 850, 138, 183, 200]],
    ]
    assert len(islands["pictures-0"]) == 3


def test_same_results_same_bytes(tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, 2)
    result = make_result("q.png", uris[0], ["a.png", "b.png"], uris)
    assert search_page([result], TEXT) == search_page([result], TEXT)


def test_the_policy_allows_the_one_script_and_style_by_hash() -> None:
    text = page("t", "<p>b</p>", {}, styles="p{}", script="1 < 2").decode()
    blocks = Blocks(text)
    policy = next(str(a["content"]) for _, a, _ in blocks.found if a.get("http-equiv"))
    for content in ("p{}", "1 < 2"):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_adds_no_tag(name: str, tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, 1)
    plain = search_page([make_result("q", uris[0], ["a"], uris)], TEXT).decode()
    result = make_result(name, uris[0], [name], uris)
    hostile = search_page([result], replace(TEXT, title=name, facts={name: name})).decode()
    assert Blocks(hostile).tags == [*Blocks(plain).tags]
    islands = Blocks(hostile).islands()
    shown = name.encode("utf-8", "backslashreplace").decode()
    assert islands["page"]["queries"][0]["hits"][0][0] == shown
    assert escape(name) in hostile


def test_pictures_are_shelved_shrunk_and_missing_ones_are_none(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.full((300, 2000, 3), 90, np.uint8))
    shelves = embed([str(path), str(tmp_path / "none.jpg")] * 60)
    assert [len(shelf) for shelf in shelves] == [SHELF, 20]
    first, missing = shelves[0][:2]
    assert missing is None
    assert first is not None
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(first), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (77, 512, 3)


def test_results_without_a_number_are_still_json(tmp_path: Path) -> None:
    uris = make_pictures(tmp_path, 1)
    result = make_result("q", uris[0], ["a"], uris)
    odd = SearchResult(result.query, (replace(result.hits[0], score=-np.inf),), 1)
    assert "Infinity" not in re.sub(r"<script>.*</script>", "", search_page([odd], TEXT).decode(), flags=re.S)
    assert odd.lines()[0]["score"] is None
