"""The README's first command, with the photos that need no network."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ames_ray.cli.demo_search import QUERIES, rerankings, search_samples
from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from ames_ray.samples.mini_photos import read_table
from ames_ray.samples.sources import WHEEL_PHOTOS, read_catalogue
from tests.end_to_end.test_commands import ames_ray

WHEELS = ["scikit-image/motorcycle_left.png", "scikit-image/coffee.png", "scikit-learn/china.jpg"]
FOUND = ["scikit-image/motorcycle_right.png", "scikit-image/coffee.png", "scikit-learn/china.jpg"]


def island(page: Path) -> dict[str, Any]:
    """The data that the page shows."""
    found = re.search(r'<script[^>]*id="page"[^>]*>(.*?)</script>', page.read_text(), re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_photos_to_a_page_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = ames_ray(tmp_path, "demo", "output=my demo/", "source=wheels")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    folder = tmp_path / "my demo"
    assert (folder / "contact_sheet.png").is_file()
    printed = "".join(line.strip() for line in done.stdout.splitlines())
    by_matches, by_network = rerankings()
    for reranking, reason in ((by_matches, "mutual nearest"), (by_network, "last cross-attention of AMES")):
        page = folder / reranking.folder / "index.html"
        assert str(page) in printed
        assert reason in page.read_text()
        queries = island(page)["queries"]
        assert [query["name"] for query in queries] == WHEELS
        assert [query["hits"][0][0] for query in queries] == FOUND
        assert [query["hits"][0][6] for query in queries] == ["positive"] * 3
        assert ["box" in query for query in queries] == [False, True, True]
        # A query that is a whole photo is nobody's result.
        assert WHEELS[0] not in {hit[0] for query in queries for hit in query["hits"]}
        assert [[hit[6] for hit in query["hits"]].count("positive") for query in queries] == [1, 1, 1]

    first = page.read_bytes()
    search_samples(folder / "photos", str(folder / "store"), page, by_network)
    assert page.read_bytes() == first

    commands = [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.startswith("  ames-ray ")]
    assert [words[0] for words in commands] == ["search", "neighbors", "store"]
    compose(VERBS["neighbors"].load_config(), commands[1][1:])
    assert main(commands[0]) == 0
    assert (folder / "one_photo" / "index.html").is_file()
    assert main(commands[2]) == 0
    assert "15" in capsys.readouterr().out


def test_every_fixed_query_has_something_to_find() -> None:
    landmarks = {photo.name: photo.landmark for photo in read_table()}
    shipped = {photo.name for photo in read_catalogue()}
    wheels = {Path(name).name for names in WHEEL_PHOTOS.values() for name in names}
    of_package = [query.photo for query in QUERIES if query.photo in shipped]
    assert len(of_package) == 5
    assert {Path(query.photo).name for query in QUERIES if query.photo not in shipped} <= wheels
    shown = Counter(landmarks[name] for name in shipped)
    assert all(shown[landmarks[name]] > 1 for name in of_package)
    # All whole queries are left out together, so none may be what another one is to find.
    assert len({landmarks[name] for name in of_package}) == len(of_package)
