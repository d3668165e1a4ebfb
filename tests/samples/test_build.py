from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ames_ray.errors import DatasetError
from ames_ray.samples.build import SampleReport, build_samples
from ames_ray.samples.folder import INDEX
from ames_ray.samples.sources import pixels_sha256, read_catalogue

CATALOGUE = Path(__file__).parents[2] / "ames_ray" / "data" / "samples_gcompris.csv"


UNNAMED = {
    "babyshapes/Bosschaert_04.webp",
    "babyshapes/Paul_Gauguin_006.webp",
    "babyshapes/Pieter_Bruegel.webp",
    "babyshapes/Van_Gogh_0011.webp",
    "babyshapes/lady_unicorn.webp",
    "categorization/tools/screwDriver.webp",
    "explore_monuments/germany/aulaPalatina.webp",
}
"""Pictures that no note of the package names; its own licence covers them."""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def is_photo(name: str) -> bool:
    return Path(name).suffix in {".png", ".jpg", ".webp"}


def put_tool(folder: Path, name: str, script: str) -> None:
    """Make a program that is found before the machine's own."""
    folder.mkdir(exist_ok=True)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def make_package(folder: Path) -> Path:
    """A real Debian package of the right name with the wrong pictures in it."""
    root = folder / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: gcompris-qt-data\nVersion: 9.9-1\nArchitecture: all\n"
        "Maintainer: a <a@b.c>\nDescription: d\n"
    )
    resources = root / "usr/share/gcompris-qt/rcc"
    resources.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "qt5_v3_zlib.rcc", resources / "details.rcc")
    statement = root / "usr/share/doc/gcompris-qt-data/copyright"
    statement.parent.mkdir(parents=True)
    statement.write_text("all rights wronged")
    archive = folder / "gcompris-qt-data_9.9-1_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(archive)]
    subprocess.run(command, check=True, capture_output=True)
    return archive


def test_wheels_are_copied_byte_for_byte(tmp_path: Path) -> None:
    report = build_samples(tmp_path / "photos", "wheels")
    recorded = {
        f"{name}/{Path(file).name}": file.hash.value
        for name in ("scikit-image", "scikit-learn")
        for file in distribution(name).files or []
        if file.hash is not None and file.parent.name in {"data", "images"}
    }
    photos = {n: d for n, d in files_of(tmp_path / "photos").items() if is_photo(n)}
    for name, data in photos.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        assert digest == recorded[name]
    assert len(photos) == report.photos == 15
    assert report.activities == {"scikit-image": 13, "scikit-learn": 2}
    assert report.made
    assert report.fallback is None


def test_wheel_photos_are_large_and_credited(tmp_path: Path) -> None:
    build_samples(tmp_path / "photos", "wheels")
    found = files_of(tmp_path / "photos")
    text = found["CREDITS.md"].decode()
    for name in filter(is_photo, found):
        with Image.open(tmp_path / "photos" / name) as picture:
            assert min(picture.size) >= 200
        assert Path(name).stem in text


def test_same_source_same_bytes(tmp_path: Path) -> None:
    build_samples(tmp_path / "a", "wheels")
    build_samples(tmp_path / "deep" / "b", "wheels")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "deep" / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "deep"]


@pytest.mark.parametrize("source", ["wheels", "auto"])
def test_a_complete_folder_is_left_alone(tmp_path: Path, source: str) -> None:
    folder = tmp_path / "photos"
    first = build_samples(folder, "wheels")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    again = build_samples(folder, source)  # type: ignore[arg-type]  # a parametrised Literal
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert not again.made
    assert (again.photos, again.source, again.activities) == (first.photos, first.source, first.activities)


def test_an_existing_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert build_samples(tmp_path / "photos", "wheels").made


@pytest.mark.parametrize("harm", ["missing", "cut", "changed"])
def test_a_harmed_folder_is_refused_by_name(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "photos"
    build_samples(folder, "wheels")
    victim = folder / "scikit-image" / "coffee.png"
    data = victim.read_bytes()
    victim.unlink()
    if harm != "missing":
        victim.write_bytes(data[:1000] if harm == "cut" else data[:-1] + b"?")
    with pytest.raises(DatasetError, match=re.escape(str(victim))):
        build_samples(folder, "auto")


def test_a_damaged_index_is_refused_by_name(tmp_path: Path) -> None:
    build_samples(tmp_path / "photos", "wheels")
    (tmp_path / "photos" / INDEX).write_bytes(b'{"source": "scik')
    with pytest.raises(DatasetError, match=r"samples\.json is damaged"):
        build_samples(tmp_path / "photos", "auto")


def test_runs_at_the_same_time_agree(tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def build(_: int) -> SampleReport:
        start.wait()
        return build_samples(tmp_path / "photos", "wheels")

    with ThreadPoolExecutor(6) as threads:
        reports = list(threads.map(build, range(6)))
    assert sum(report.made for report in reports) == 1
    assert {report.photos for report in reports} == {15}
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_a_file_in_the_way_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "photos").write_bytes(b"mine")
    with pytest.raises(DatasetError, match="name another folder"):
        build_samples(tmp_path / "photos", "wheels")
    assert (tmp_path / "photos").read_bytes() == b"mine"


def test_somebody_elses_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DatasetError, match="is not empty"):
        build_samples(tmp_path, "wheels")
    assert files_of(tmp_path) == {"mine.jpg": b"mine"}


def test_another_source_than_asked_is_refused(tmp_path: Path) -> None:
    build_samples(tmp_path / "photos", "wheels")
    with pytest.raises(DatasetError, match=r"holds photos of scikit-image .* but source is 'gcompris'"):
        build_samples(tmp_path / "photos", "gcompris")


def test_without_apt_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DatasetError, match="this machine has no apt-get"):
        build_samples(tmp_path / "photos", "gcompris")
    assert not (tmp_path / "photos").exists()
    report = build_samples(tmp_path / "photos", "auto")
    assert report.photos == 15
    assert report.fallback == "gcompris-qt-data cannot be fetched: this machine has no apt-get"


def test_without_a_network_apts_own_words_are_told(tmp_path: Path, tools: Path) -> None:
    put_tool(tools, "apt-get", "echo 'W: old' >&2; echo 'E: Temporary failure resolving' >&2; exit 100")
    with pytest.raises(DatasetError, match="Temporary failure resolving") as caught:
        build_samples(tmp_path / "photos", "gcompris")
    assert "source=wheels" in (caught.value.hint or "")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs Debian's dpkg-deb")
def test_another_version_is_refused_and_counted(tmp_path: Path, tools: Path) -> None:
    archive = make_package(tmp_path)
    put_tool(tools, "apt-get", f"cp {archive} .")
    with pytest.raises(
        DatasetError, match=r"292 of 292 pictures in gcompris-qt-data 9\.9-1 differ from .* 3\.1-2"
    ):
        build_samples(tmp_path / "photos", "gcompris")
    report = build_samples(tmp_path / "photos", "auto")
    assert report.source.startswith("scikit-image")
    assert "9.9-1" in (report.fallback or "")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs Debian's dpkg-deb")
def test_missing_package_lists_are_fetched_into_the_temporary_folder(tmp_path: Path, tools: Path) -> None:
    archive, log = make_package(tmp_path), tmp_path / "calls"
    put_tool(
        tools,
        "apt-get",
        f'echo "$@" >> {log}; case "$*" in '
        '"download gcompris-qt-data") echo "E: Unable to locate" >&2; exit 100;; '
        f"*download*) cp {archive} .;; esac",
    )
    with pytest.raises(DatasetError, match="differ"):
        build_samples(tmp_path / "photos", "gcompris")
    calls = log.read_text().splitlines()
    assert [call.split()[-1] for call in calls] == ["gcompris-qt-data", "update", "gcompris-qt-data"]
    lists = re.findall(r"Dir::State::lists=(\S+)", calls[1])
    assert lists
    assert not Path(lists[0]).exists()


def test_the_catalogue_is_sound() -> None:
    rows = list(csv.DictReader(CATALOGUE.open(encoding="utf-8")))
    assert len(rows) == len({r["name"] for r in rows}) == len({r["pixels_sha256"] for r in rows}) == 292
    assert [r["name"] for r in rows] == sorted(r["name"] for r in rows)
    assert all(min(int(r["width"]), int(r["height"])) >= 200 for r in rows)
    assert all(re.fullmatch(r"[\w-]+(/[\w-]+){1,2}\.webp", r["name"]) for r in rows)
    assert sum(r["name"].startswith("explore_monuments/") for r in rows) == 49


def test_the_hash_is_that_of_pillows_pixels() -> None:
    photo = Path(__file__).parents[1] / "golden/images/coffee_280x210.png"
    with Image.open(photo) as picture:
        assert (
            pixels_sha256(photo.read_bytes()) == hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()
        )


def test_the_packages_are_never_imported(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from ames_ray.samples.build import build_samples; "
        "build_samples(pathlib.Path(sys.argv[1]), 'wheels'); "
        "print([m for m in ('skimage', 'sklearn', 'pooch', 'torch', 'ray') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_gcompris_for_real(tmp_path: Path) -> None:
    """Downloads 44 MB from the machine's Debian mirror."""
    folder = tmp_path / "photos"
    report = build_samples(folder, "gcompris")
    assert (report.photos, report.source) == (292, "gcompris-qt-data 3.1-2")
    index = json.loads((folder / INDEX).read_bytes())
    notes = (folder / "CREDITS.md").read_text()
    assert (folder / "COPYRIGHT.txt").read_text().startswith("Format: https://www.debian.org/doc/")
    for photo in read_catalogue():
        with Image.open(folder / photo.name) as picture:
            rgb = np.asarray(picture)
            assert picture.mode == "RGB"
        assert rgb.shape == (photo.height, photo.width, 3)
        assert hashlib.sha256(rgb.tobytes()).hexdigest() == photo.pixels_sha256
        by_opencv = cv2.imread(str(folder / photo.name))
        assert by_opencv is not None
        assert np.array_equal(by_opencv[..., ::-1], rgb)
        assert Path(photo.member).name in notes or photo.name in UNNAMED
    assert set(index["photos"]) == {photo.name for photo in read_catalogue()}
    assert build_samples(folder, "gcompris").made is False
