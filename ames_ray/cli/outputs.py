"""A file that a verb writes takes the place of that verb's own earlier results, and of nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Callable


def require_own(uri: str, is_own: Callable[[Storage, str], bool]) -> None:
    """Refuse to replace what the verb did not write; asked before anything is computed.

    Args:
        uri: Value of `output=`.
        is_own: Whether a file, by its folder and name, is an earlier result.

    Raises:
        ConfigError: It is a folder, or a file of another kind.
    """
    storage, name = Storage.of_file(uri)
    if storage.local is not None and Path(storage.path(name)).is_dir():
        raise ConfigError(f"output={uri} is a folder", "name the file to write")
    if storage.exists(name) and not is_own(storage, name):
        raise ConfigError(
            f"output={uri} would be lost: it is no result of this command",
            "choose another output=, or move the file away",
        )
