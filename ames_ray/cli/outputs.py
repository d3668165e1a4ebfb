"""A file that a verb writes takes the place of that verb's own earlier results, and of nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def require_own(uri: str, is_own: Callable[[Storage, str], bool]) -> None:
    """Refuse to replace what the verb did not write, or to write where nothing can be written.

    Asked before anything is computed: the file itself is written last.

    Args:
        uri: Value of `output=`.
        is_own: Whether a file, by its folder and name, is an earlier result.

    Raises:
        ConfigError: It is a folder, or a file of another kind, or its folder cannot be written to.
    """
    storage, name = Storage.of_file(uri)
    if storage.local is not None:
        _require_writable(storage.local, name, uri)
    if storage.exists(name) and not is_own(storage, name):
        raise ConfigError(
            f"output={uri} would be lost: it is no result of this command",
            "choose another output=, or move the file away",
        )


def _require_writable(folder: Path, name: str, uri: str) -> None:
    if (folder / name).is_dir():
        raise ConfigError(f"output={uri} is a folder", "name the file to write")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise ConfigError(f"output={uri}: {there} is no folder that can be written to")
