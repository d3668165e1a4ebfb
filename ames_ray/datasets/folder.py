"""Every picture below a folder, in natural order: `img2` before `img10`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ames_ray.datasets.paths import is_picture
from ames_ray.errors import DatasetError
from ames_ray.files import Storage, is_remote
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.datasets.paths import Guard

_NUMBER = re.compile("([0-9]+)")
_Key: TypeAlias = tuple[list[str | int], str]


def find_images(root: str, guard: Guard, split: str | None = None) -> Iterator[ImageRecord]:
    """Records of all files with a picture's suffix, upper or lower case; hidden ones are left out.

    Folders are searched where they lie: a link to a folder inside of the root adds nothing, one that leaves
    it is followed if the guard lets it pass.

    Args:
        root: Local folder or `scheme://` address.
        guard: Guard of the same root.
        split: Split to give each record.

    Raises:
        DatasetError: There is no such folder, or it may not be searched.
        UnsafeFileError: A symbolic link leaves the root.
    """
    if is_remote(root):
        paths: Iterator[str] = _remote(root)
    elif Path(root).is_dir():
        paths = _below(root, "", guard, {os.path.realpath(root)})
    else:
        raise DatasetError(f"{root} is not a folder", "pass images=FOLDER, or dataset=list with list_file=")
    for row, path in enumerate(paths):
        yield ImageRecord(row, path, path, split)


def natural(name: str) -> _Key:
    """Sorting key: numbers by value, letters without case, the plain text to settle ties."""
    parts = _NUMBER.split(name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _below(folder: str, prefix: str, guard: Guard, seen: set[str]) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural(entry.name))
    except OSError as error:
        raise DatasetError(f"{folder} cannot be searched: {error.strerror}") from None
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if entry.name.startswith("."):
            continue
        if not _is_folder(entry):
            if is_picture(entry.name):
                yield path
        elif not entry.is_symlink() or _worth_following(entry.path, path, guard, seen):
            empty = True
            for found in _below(entry.path, f"{path}/", guard, seen):
                empty = False
                yield found
            if empty and is_picture(entry.name):
                # A folder that is named as a picture and holds none is no picture, and must not go unnoticed.
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into a forbidden folder: told when it is read
        return False


def _worth_following(where: str, path: str, guard: Guard, seen: set[str]) -> bool:
    guard.relative(path)
    real = os.path.realpath(where)
    if real in seen or guard.contains(Path(real)):
        return False
    seen.add(real)
    return True


def _remote(root: str) -> Iterator[str]:
    from pyarrow.fs import FileSelector

    storage = Storage.at(root)
    if storage.filesystem is None:
        raise DatasetError(f"{root} is not a remote folder")
    try:
        infos = storage.filesystem.get_file_info(FileSelector(storage.root, recursive=True))
    except OSError as error:
        raise DatasetError(f"{root} cannot be searched: {error}") from None
    paths = [info.path.removeprefix(f"{storage.root}/") for info in infos if info.is_file]
    visible = [p for p in paths if is_picture(p) and not any(part.startswith(".") for part in p.split("/"))]
    yield from sorted(visible, key=lambda path: [natural(part) for part in path.split("/")])
