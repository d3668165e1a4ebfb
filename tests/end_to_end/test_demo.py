"""The README's first command, with the photos that need no network."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from ames_ray.samples.demo_queries import QUERIES, demo_truth, write_queries
from ames_ray.samples.mini_photos import read_table
from ames_ray.samples.sources import WHEEL_PHOTOS, read_catalogue
from tests.end_to_end.test_commands import ames_ray

FOUND = (
    ("6_motorcycle.png", "scikit-image/motorcycle_right.png"),
    ("7_coffee.jpg", "scikit-image/coffee.png"),
    ("8_china.jpg", "scikit-learn/china.jpg"),
)
"""Each query of the photos in the wheels, and what it is to find."""


def island(page: Path) -> dict[str, Any]:
    """The data that the page shows."""
    found = re.search(r'<script[^>]*id="page"[^>]*>(.*?)</script>', page.read_text(), re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_photos_to_pages_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ames_ray(tmp_path, "demo", "output=my démo (1)/", "source=wheels")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    folder = Path("my démo (1)")
    assert (folder / "contact_sheet.png").is_file()
    printed = "".join(line.strip() for line in done.stdout.splitlines())
    pages = folder / "page" / "index.html", folder / "page_sift_ames" / "index.html"
    for page, reason in zip(pages, ("mutual nearest", "last cross-attention of AMES"), strict=True):
        assert str(page) in printed, printed
        assert reason in page.read_text()
        queries = island(page)["queries"]
        assert [query["name"] for query in queries] == [query for query, _ in FOUND]
        counted = [[hit for hit in query["hits"] if hit[6] != "junk"] for query in queries]
        assert [hits[0][0] for hits in counted] == [photo for _, photo in FOUND]
        assert [[hit[6] for hit in hits].count("positive") for hits in counted] == [1, 1, 1]
        # A query that is a whole photo does not count as its own result.
        junk = [[hit[0] for hit in query["hits"] if hit[6] == "junk"] for query in queries]
        assert junk == [["scikit-image/motorcycle_left.png"], [], []]
    for name in ("report.html", "tuning/exact/report.html"):
        assert str(folder / name) in printed
        assert "<html" in (folder / name).read_text()
    measured = [json.loads(path.read_text()) for path in (folder / "results").glob("evaluation-*.json")]
    assert {found["best"]["figures"]["medium_mAP"] for found in measured} == {1.0}
    assert "queries better" in done.stdout

    first = pages[1].read_bytes()
    shown = [shlex.split(line)[2:] for line in done.stdout.splitlines() if line.startswith("$ ames-ray ")]
    assert [words[0] for words in shown] == [
        *("samples", "extract", "extract", "search", "search"),
        *("evaluate", "evaluate", "compare", "report", "tune"),
    ]
    assert main(shown[4]) == 0
    assert pages[1].read_bytes() == first
    commands = [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.startswith("  ames-ray ")]
    assert [words[0] for words in commands] == ["search", "store", "serve"]
    assert main(commands[0]) == 0
    assert (folder / "one_photo" / "index.html").is_file()
    assert main(commands[1]) == 0
    assert "15" in capsys.readouterr().out
    compose(VERBS["serve"].load_config(), commands[2][1:])


def test_make_demo_installs_what_its_last_command_needs(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    shown = subprocess.run(
        ["make", "-n", "demo", f"VENV={tmp_path}"], cwd=root, capture_output=True, text=True, check=True
    )
    extras = re.findall(r"pip .* install .* -e '\.\[(.+)\]'", shown.stdout)[0].split(",")
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = " ".join(package for extra in extras for package in known[extra])
    assert "ray[serve]" in installed
    assert "scikit-image" in installed


def test_every_fixed_query_has_something_to_find() -> None:
    landmarks = {photo.name: photo.landmark for photo in read_table()}
    shipped = {photo.name for photo in read_catalogue()}
    wheels = {Path(name).name for names in WHEEL_PHOTOS.values() for name in names}
    of_package = [query.photo for query in QUERIES.values() if query.photo in shipped]
    assert len(of_package) == 5
    assert {Path(query.photo).name for query in QUERIES.values() if query.photo not in shipped} <= wheels
    shown = Counter(landmarks[name] for name in shipped)
    assert all(shown[landmarks[name]] > 1 for name in of_package)


def test_the_truth_names_what_each_query_is_to_find() -> None:
    gallery = [photo.name for photo in read_table()]
    gallery += [
        "scikit-image/motorcycle_left.png",
        "scikit-image/motorcycle_right.png",
        "scikit-image/coffee.png",
    ]
    names = ["7_coffee.jpg", "6_motorcycle.png", "1_TourEiffel.webp", "a photo of one's own.jpg"]
    truth = demo_truth(names, gallery)
    assert (truth["imlist"], truth["qimlist"]) == (gallery, names)
    coffee, motorcycle, tower, own = (
        {kind: {gallery[row] for row in rows} for kind, rows in entry.items()} for entry in truth["gnd"]
    )
    assert own == {"easy": set(), "hard": set(), "junk": set()}
    assert coffee == {"easy": {"scikit-image/coffee.png"}, "hard": set(), "junk": set()}
    assert motorcycle["hard"] == {"scikit-image/motorcycle_right.png"}
    assert motorcycle["junk"] == {"scikit-image/motorcycle_left.png"}
    assert tower["junk"] == {"details/TourEiffel.webp"}
    assert tower["hard"]
    assert all("iffel" in name for name in tower["hard"]), tower["hard"]


def test_a_part_is_cut_and_a_whole_photo_copied(tmp_path: Path) -> None:
    photos, queries = tmp_path / "photos", tmp_path / "queries"
    (photos / "scikit-image").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8).repeat(60, 0).repeat(80, 1)
    for name in ("coffee", "motorcycle_left"):
        cv2.imwrite(str(photos / "scikit-image" / f"{name}.png"), pixels)
    write_queries(photos, queries)
    whole, part = queries / "6_motorcycle.png", queries / "7_coffee.jpg"
    assert sorted(queries.iterdir()) == [whole, part]
    assert whole.read_bytes() == (photos / "scikit-image" / "motorcycle_left.png").read_bytes()
    cut = np.asarray(cv2.imread(str(part)), int)
    assert np.abs(cut - pixels[60:340, 150:450]).mean() < 4
