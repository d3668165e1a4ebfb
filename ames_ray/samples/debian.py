"""Getting a Debian package unpacked into a folder, without root and without installing it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_SECONDS = 900
_HINT = "pass source=wheels, or run it on Debian 12 with a network"


@dataclass(frozen=True, slots=True)
class UnpackedPackage:
    """A package on disk.

    Attributes:
        name: Its name.
        version: Its version as Debian writes it.
        root: Folder that stands for the root of the file system.
        copyright: The package's own statement of authors and licences.
    """

    name: str
    version: str
    root: Path
    copyright: bytes


def unpack_package(name: str, folder: Path) -> UnpackedPackage:
    """Download a package from the machine's own Debian mirror and unpack it below `folder`.

    Where the machine's package lists are missing or old, fresh ones are fetched into `folder`: nothing
    outside it is touched.

    Args:
        name: Name of the package.
        folder: An existing empty folder, which is the caller's to delete.

    Raises:
        DatasetError: There is no apt, no network or no such package.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DatasetError(f"{name} cannot be fetched: this machine has no {tool}", _HINT)
    try:
        _run(["apt-get", "download", name], folder)
    except DatasetError:
        private = _private_lists(folder)
        _run(["apt-get", *private, "update"], folder)
        _run(["apt-get", *private, "download", name], folder)
    archives = sorted(folder.glob(f"{name}_*.deb"))
    if not archives:
        raise DatasetError(f"apt-get download {name} ended well, but left no package", _HINT)
    version = _run(["dpkg-deb", "--field", str(archives[0]), "Version"], folder).strip()
    root = folder / "unpacked"
    _run(["dpkg-deb", "--extract", str(archives[0]), str(root)], folder)
    copyright_file = root / "usr/share/doc" / name / "copyright"
    return UnpackedPackage(name, version, root, copyright_file.read_bytes())


def _private_lists(folder: Path) -> list[str]:
    lists, cache = folder / "lists", folder / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives/partial").mkdir(parents=True)
    return ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]


def _run(command: list[str], folder: Path) -> str:
    """Run a command in the folder; returns what it wrote, raises with its last word where it failed."""
    what = " ".join(part for part in command[:1] + command[-2:] if str(folder) not in part)
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell, no input from outside
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(f"{what} did not end within {_TIMEOUT_SECONDS} s", _HINT) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("E:")]
        lines = lines or done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise DatasetError(f"{what}: {lines[-1].removeprefix('E:').strip()}", _HINT)
    return done.stdout
