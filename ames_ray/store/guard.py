"""Errors of disks and file libraries, as messages that a user can act on."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyarrow.lib import ArrowException

from ames_ray.errors import DISK_FULL_HINT, StoreError, is_full
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIBRARY_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, ArrowException)


@contextmanager
def writing(storage: Storage, name: str, needed: int) -> Iterator[None]:
    """Turn what a file library raises while it writes into a `StoreError`.

    Args:
        storage: Folder of the file.
        name: The file below it.
        needed: Bytes of the whole file, about.
    """
    what = storage.address(name)
    try:
        yield
    except OSError as error:
        if not is_full(error):
            reason = error.strerror or _first_line(error)
            raise StoreError(f"{what} cannot be written: {reason}") from error
        free = Storage.at(tempfile.gettempdir() if storage.filesystem else storage.root).free_bytes()
        raise StoreError(
            f"the disk is full: {what} needs {needed:,} bytes, {free:,} are free",
            DISK_FULL_HINT,
        ) from error


@contextmanager
def publishing(storage: Storage, name: str, needed: int = 0) -> Iterator[Path]:
    """`Storage.publishing` with the errors of `writing`."""
    with writing(storage, name, needed), storage.publishing(name) as path:
        yield path


def publish(storage: Storage, name: str, data: bytes) -> None:
    """`Storage.publish` with the errors of `writing`."""
    with writing(storage, name, len(data)):
        storage.publish(name, data)


@contextmanager
def reading(what: str, hint: str | None = None) -> Iterator[None]:
    """Turn what a file library raises on a missing or damaged file into a `StoreError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreError(f"{what} is missing", hint) from error
    except _LIBRARY_ERRORS as error:
        raise StoreError(f"{what} cannot be read, it is damaged: {_first_line(error)}", hint) from error


def _first_line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = text.strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
