"""Folders: every picture, in natural order, nothing from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ames_ray.datasets.folder import find_images
from ames_ray.datasets.paths import Guard
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.errors import DatasetError, UnsafeFileError
from tests.images.bad_folder import make_bad_folder


def _find(root: Path, *, allow_outside: bool = False) -> list[str]:
    guard = Guard(str(root), allow_outside=allow_outside)
    return [record.uri for record in find_images(str(root), guard)]


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_natural_order(tmp_path: Path) -> None:
    ordered = [
        "1/a.jpg",
        "2/b.jpg",
        "10/img1.jpg",
        "10/IMG2.jpg",
        "10/img02.JPG",
        "10/img10.webp",
        "10/img10a.jpg",
        "a/x.png",
        "B.tiff",
        "c.jpeg",
    ]
    _touch(tmp_path, *reversed(ordered))
    assert _find(tmp_path) == ordered


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "notes.txt", "jpg", ".hidden.jpg", ".thumbnails/a.jpg", "._a.jpg", "a.jpg.part")
    assert _find(tmp_path) == ["a.jpg"]


def test_the_bad_folder_is_listed_whole(tmp_path: Path) -> None:
    expected = make_bad_folder(tmp_path)
    assert sorted(_find(tmp_path)) == sorted(expected)


def test_a_folder_named_as_a_picture_may_hold_pictures(tmp_path: Path) -> None:
    _touch(tmp_path, "set.jpg/a.jpg", "b.jpg")
    assert _find(tmp_path) == ["b.jpg", "set.jpg/a.jpg"]


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _touch(root, "a.jpg", "sub/b.jpg")
    _touch(tmp_path, "outside/c.jpg")
    (root / "again").symlink_to("sub")
    (root / "loop").symlink_to(".")
    (root / "same.jpg").symlink_to("a.jpg")
    (root / "dangling.jpg").symlink_to("gone.jpg")
    inside = ["a.jpg", "dangling.jpg", "same.jpg", "sub/b.jpg"]
    assert _find(root) == inside
    (root / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "back").symlink_to(root)
    (tmp_path / "outside" / "self").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafeFileError, match="out is or follows a symbolic link that leaves"):
        _find(root)
    assert _find(root, allow_outside=True) == [*inside[:2], "out/c.jpg", *inside[2:]]


def test_a_linked_file_from_outside_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    _touch(tmp_path, "secret.jpg", "root/a.jpg")
    (root / "b.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(UnsafeFileError, match=r"b\.jpg is or follows a symbolic link that leaves"):
        build_manifest(DatasetOptions(images=str(root)))
    assert len(build_manifest(DatasetOptions(images=str(root), allow_outside=True))) == 2


def test_manifest_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "x/1.jpg", "x/2.jpg")
    monkeypatch.chdir(tmp_path / "x")
    manifest = build_manifest(DatasetOptions(images="../x", split="gallery"))
    assert [record.uri for record in manifest] == [f"{tmp_path}/x/1.jpg", f"{tmp_path}/x/2.jpg"]
    assert [record.image_id for record in manifest] == ["1.jpg", "2.jpg"]
    assert {record.split for record in manifest} == {"gallery"}


def test_names_that_are_not_utf_8_keep_their_row(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):  # noqa: PTH123 - a name of bytes
        pass
    assert [record.image_id for record in build_manifest(DatasetOptions(images=str(tmp_path)))] == [
        "a.jpg",
        "caf\\udce9.jpg",
    ]


def test_remote_folders() -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for name in ("2.jpg", "10.JPG", "a/1.png", "a/notes.txt", ".cache/3.jpg"):
        memory.pipe(f"/album/{name}", b"x")
    try:
        manifest = build_manifest(DatasetOptions(images="fsspec+memory://album"))
        assert [record.image_id for record in manifest] == ["2.jpg", "10.JPG", "a/1.png"]
        assert manifest.record(2).uri == "fsspec+memory://album/a/1.png"
    finally:
        memory.rm("/album", recursive=True)


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    for name in ("gone", "file", "circle"):
        with pytest.raises(DatasetError, match=f"{name} is not a folder"):
            _find(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images are listed"):
        build_manifest(DatasetOptions(images=str(tmp_path / "empty")))
