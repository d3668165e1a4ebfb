"""Whether a folder may take a store."""

from __future__ import annotations

from pathlib import Path

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import AmesError, StoreError
from ames_ray.files import OWNER, TEMPORARY, Storage
from ames_ray.store.meta import MANIFEST, META, StoreMeta


def require_same(old: StoreMeta, new: StoreMeta, manifest: Manifest, uri: str) -> None:
    """Refuse to go on with a store under other settings, or with another list; a longer list is welcome.

    Raises:
        StoreError: The differences, a line each.
    """
    differences = old.differences(new)
    if new.rows > old.rows and manifest.digest_of_first(old.rows) != old.manifest_digest:
        differences.append(f"image list: the first {old.rows} lines are not those of the store")
    if differences:
        lines = "".join(f"\n  {line}" for line in differences)
        raise StoreError(
            f"{uri} was made with other settings:{lines}",
            "give the settings of the store to go on with it, or another output=",
        )


def require_empty(storage: Storage) -> None:
    """Refuse a folder in which something lies that no run of ours can have left when it was killed early.

    Raises:
        StoreError: What lies there.
    """
    if storage.filesystem is None:
        root = Path(storage.root)
        if root.exists() and not root.is_dir():
            raise StoreError(f"{storage.uri} is a file", "choose another output=")
        found = [path.name for path in root.iterdir()] if root.is_dir() else []
    else:
        from pyarrow.fs import FileSelector

        selector = FileSelector(storage.root, allow_not_found=True)
        found = [info.base_name for info in storage.filesystem.get_file_info(selector)]
    if odd := sorted(name for name in found if name != OWNER and TEMPORARY not in name):
        raise StoreError(
            f"{storage.uri} is not empty and is no store, it has no {META}; it holds {', '.join(odd[:5])}",
            "choose another output=",
        )


def holds_list(storage: Storage, manifest: Manifest) -> bool:
    """Whether the store holds this very list; one that a killed run left behind is no obstacle."""
    if not storage.exists(MANIFEST):
        return False
    try:
        held = Manifest.read(storage, MANIFEST)
    except AmesError:
        return False
    return (held.digest, held.root) == (manifest.digest, manifest.root)
