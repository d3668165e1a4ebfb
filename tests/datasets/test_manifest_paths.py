"""Where the images of a manifest may lie: inside its root, unless whoever reads it says otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import UnsafeFileError
from ames_ray.files import Storage
from ames_ray.types import ImageRecord

NAME = "manifest.parquet"


@pytest.mark.parametrize(
    "path", ["../b.jpg", "/elsewhere/b.jpg", "a/../../b.jpg", "s3://bucket/b.jpg", "..", ""]
)
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafeFileError, match="allow_outside=true"):
        Manifest.from_records([ImageRecord(0, "b", path)], tmp_path / "root")


def test_paths_outside_with_permission(tmp_path: Path) -> None:
    paths = ["../b.jpg", "/elsewhere/./b.jpg", "s3://bucket/b.jpg", "a/../c.jpg"]
    records = [ImageRecord(0, path, path) for path in paths]
    manifest = Manifest.from_records(records, tmp_path / "root", allow_outside=True)
    found = [record.uri for record in manifest]
    assert found == [f"{tmp_path}/b.jpg", "/elsewhere/b.jpg", "s3://bucket/b.jpg", f"{tmp_path}/root/c.jpg"]


def test_links_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root, outside):
        folder.mkdir()
        (folder / "a.jpg").touch()
    (root / "link.jpg").symlink_to(outside / "a.jpg")
    (root / "folder").symlink_to(outside)
    (root / "inner.jpg").symlink_to("a.jpg")
    for path in ("link.jpg", "folder/a.jpg"):
        record = ImageRecord(0, path, path)
        with pytest.raises(UnsafeFileError, match=f"{path} is or follows a symbolic link that leaves"):
            Manifest.from_records([record], root)
        assert len(Manifest.from_records([record], root, allow_outside=True)) == 1
    (tmp_path / "alias").symlink_to(root)
    assert Manifest.from_records([ImageRecord(0, "i", "inner.jpg")], tmp_path / "alias").record(0).uri == (
        f"{tmp_path}/alias/inner.jpg"
    )


def test_a_file_from_elsewhere_cannot_leave_its_root(tmp_path: Path) -> None:
    """Whoever wrote the file: `allow_outside` is the reader's to give."""
    storage = Storage.at(tmp_path)
    Manifest.from_records([ImageRecord(0, "p", "/etc/passwd")], "/r", allow_outside=True).write(storage, NAME)
    trusted = Manifest.read(storage, NAME)
    assert trusted.record(0).uri == "/etc/passwd"
    with pytest.raises(UnsafeFileError, match="row 0: /etc/passwd leaves /r"):
        replace(trusted, allow_outside=False).record(0)


def test_roots_with_dots_and_names_that_are_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    record = ImageRecord(0, "caf\udce9.jpg", f"{tmp_path}/caf\udce9.jpg")
    manifest = Manifest.from_records([record], f"{tmp_path}/a/..")
    assert manifest.root == str(tmp_path)
    assert manifest.record(0).uri == f"{tmp_path}/caf\\udce9.jpg"
