"""Whether a folder may take a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.errors import StoreError
from ames_ray.files import OWNER, Storage
from ames_ray.ownership import is_attempt
from ames_ray.store.meta import META, StoreMeta

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from ames_ray.datasets.manifest import Manifest


def admit(storage: Storage, new: StoreMeta, manifest: Manifest) -> StoreMeta | None:
    """What the store in a folder holds, to go on with; none where the folder is empty.

    A longer list is welcome; other settings are not.

    Args:
        storage: The folder.
        new: What is to be written.
        manifest: Its image list.

    Raises:
        StoreError: The folder holds something else, is damaged, or was made with other settings or another
            list: the differences, a line each.
    """
    if not storage.exists(META):
        require_empty(storage)
        return None
    old = StoreMeta.from_json(storage.read(META), storage.address(META))
    differences = old.differences(new)
    if new.rows > old.rows and manifest.digest_of_first(old.rows) != old.manifest_digest:
        differences.append(f"image list: the first {old.rows} lines are not those of the store")
    if differences:
        lines = "".join(f"\n  {line}" for line in differences)
        raise StoreError(
            f"{storage.uri} was made with other settings:{lines}",
            "give the settings of the store to go on with it, or another output=",
        )
    return old


def require_empty(storage: Storage) -> None:
    """Refuse a folder in which files lie that no run of ours can have left when it was killed early.

    Raises:
        StoreError: What lies there.
    """
    if storage.filesystem is None and Path(storage.root).is_file():
        raise StoreError(f"{storage.uri} is a file", "choose another output=")
    root, remote = storage.root, storage.filesystem
    found = _local_entries(Path(root)) if remote is None else _remote_entries(remote, root)
    if odd := sorted(name for name in found if not name.startswith(OWNER) and not is_attempt(name)):
        raise StoreError(
            f"{storage.uri} is not empty and is no store, it has no {META}; it holds {', '.join(odd[:5])}",
            "choose another output=",
        )


def _local_entries(root: Path) -> list[str]:
    """Names of the files and of the folders with files."""
    paths = root.iterdir() if root.is_dir() else ()
    return [path.name for path in paths if not path.is_dir() or any(p.is_file() for p in path.rglob("*"))]


def _remote_entries(filesystem: FileSystem, root: str) -> list[str]:
    from pyarrow.fs import FileSelector

    selector = FileSelector(root, allow_not_found=True, recursive=True)
    files = [info.path for info in filesystem.get_file_info(selector) if info.is_file]
    return sorted({path.removeprefix(f"{root}/").split("/", 1)[0] for path in files})
