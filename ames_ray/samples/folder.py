"""A folder that is made once and whole, with an index that tells whether it still is."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ames_ray.errors import DatasetError
from ames_ray.files import TEMPORARY, sha256_file, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

INDEX = "samples.json"
_IN_USE = ".in_use"


def fill_folder(
    folder: Path,
    fill: Callable[[Path], dict[str, Any]],
    accept: Callable[[Mapping[str, Any]], None],
) -> tuple[Mapping[str, Any], bool]:
    """Make sure that a folder holds what it should.

    A complete folder is left as it is; an incomplete one is never mended silently. Files appear all at once,
    by one rename.

    Args:
        folder: Folder to make.
        fill: Writes the files and returns the index; its `sha256` names every file with its digest.
        accept: Raises where the index is that of something else.

    Returns:
        The index, and whether the folder was made now.

    Raises:
        DatasetError: The folder holds something else.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        return _existing(folder, accept), False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _beside(folder) as temporary:
        whole = temporary / folder.name
        whole.mkdir()
        index = fill(whole)
        (whole / INDEX).write_bytes(to_json(index))
        try:
            whole.rename(folder)
        except OSError:
            # Another run may have put its own, equal folder there in the meantime.
            if not (folder / INDEX).is_file():
                raise
            return _existing(folder, accept), False
    return index, True


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A temporary folder next to a folder to be; those that killed runs have left there are deleted."""
    prefix = f".{folder.name}{TEMPORARY}"
    for left in folder.parent.glob(f"{escape(prefix)}*"):
        # The lock ends with the process that holds it; another run that is at work keeps its folder.
        with suppress(OSError), (left / _IN_USE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as temporary,
        (Path(temporary) / _IN_USE).open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(temporary)


def _existing(folder: Path, accept: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    """The index of a folder that is there already, or an error that says what is wrong with it."""
    if not (folder / INDEX).is_file():
        raise DatasetError(f"{folder} is not empty and holds no {INDEX}", "name another folder")
    again = f"delete {folder} and run this again"
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_bytes())
    except ValueError:
        raise DatasetError(f"{folder / INDEX} is damaged", again) from None
    accept(index)
    for name, digest in index["sha256"].items():
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise DatasetError(f"{folder / name} is missing or changed", again)
    return index
