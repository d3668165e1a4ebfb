"""What a job reads must not be among the files that it deletes or replaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError
from ames_ray.files import Storage, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ames_ray.config.jobs import JobConfig

_OUTPUT = "output"


def keep_inputs(config: JobConfig, output: Storage, names: Iterable[str]) -> None:
    """Refuse a job that would delete or replace a file that one of its settings names.

    Args:
        config: The job.
        output: The folder that it writes to.
        names: Files below that folder which it deletes or replaces.

    Raises:
        ConfigError: A setting names one of them, also through links.
    """
    lost = set(names)
    for setting, uri in _paths(config):
        if not lost.isdisjoint(_names_below(output, uri)):
            raise ConfigError(
                f"{setting}={uri} would be lost: the job replaces what lies there",
                f"pass another output=, or a copy of the file as {setting}=",
            )


def _paths(config: JobConfig) -> Iterator[tuple[str, str]]:
    """Settings that name files or folders, each with one of them; such names are absolute in a job object."""
    for setting, value in config:
        several = value.values() if isinstance(value, dict) else value
        for item in several if isinstance(value, dict | list) else (value,):
            if setting != _OUTPUT and isinstance(item, str) and (is_remote(item) or Path(item).is_absolute()):
                yield setting, item


def _names_below(output: Storage, uri: str) -> set[str]:
    """What the folder calls a file: a link by its own name and by that of what it leads to; else nothing."""
    if is_remote(uri) != (output.local is None):
        return set()
    if output.local is not None:
        root, path = output.local.resolve(), Path(uri)
        places = (path.parent.resolve() / path.name, path.resolve())
        return {place.relative_to(root).as_posix() for place in places if place.is_relative_to(root)}
    folder, name = Storage.of_file(uri)
    path_there, prefix = folder.path(name), output.path("")
    same = folder.filesystem == output.filesystem and path_there.startswith(prefix)
    return {path_there.removeprefix(prefix)} if same else set()
