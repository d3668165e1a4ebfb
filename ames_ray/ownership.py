"""One run at a time writes a folder: a kernel lock on a disk, a heartbeat on an object store.

An object store has no locks. Its heartbeat keeps a second run out while the first one lives, but two runs
that start within the same second may both pass. Shards have equal names and equal bytes, so that costs work,
not rows.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import threading
from contextlib import contextmanager, suppress
from glob import escape
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ames_ray.errors import StoreError
from ames_ray.files import OWNER, TEMPORARY, Storage, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

logger = logging.getLogger(__name__)

BEAT_SECONDS = 20.0
STALE_SECONDS = 90.0
_CLOCK = f"{OWNER}{TEMPORARY}clock"
_ATTEMPT = re.compile(re.escape(TEMPORARY) + r"\d+-[0-9a-f]{8}$")
"""How the temporary names of `Storage.publishing` end."""


@contextmanager
def own_local(storage: Storage, claim: dict[str, Any]) -> Iterator[None]:
    """Hold a folder on a disk; the kernel frees it when its owner dies, so a kill needs no clean-up.

    A folder that was made for it, and in which nothing was written, is gone afterwards.

    Args:
        storage: The folder.
        claim: Who owns it and what for, as a second run is told.

    Raises:
        StoreError: Another run owns it.
    """
    path = Path(storage.path(OWNER))
    made = [folder for folder in path.parents if not folder.exists()]
    with _locked(path, storage) as handle:
        handle.truncate(0)
        handle.write(to_json(claim))
        handle.flush()
        sweep(storage)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # the first that is not empty ends it
                for folder in made:
                    folder.rmdir()


def is_attempt(name: str) -> bool:
    """Whether a file's name is one of the temporary ones of `Storage.publishing`."""
    return _ATTEMPT.search(name) is not None


def sweep(storage: Storage) -> None:
    """Delete what killed runs left in a folder, and in folders in it that no other run holds.

    Only the one who holds the folder may do so. An object store keeps nothing of a killed run.
    """
    if storage.filesystem is None:
        folder = Path(storage.root)
        inside = (path for path in folder.glob(f"*/*{TEMPORARY}*") if not (path.parent / OWNER).exists())
        _remove(chain(folder.glob(f"*{TEMPORARY}*"), inside))


def sweep_attempts(storage: Storage, name: str) -> None:
    """Delete what killed runs left of one file, which nobody but the caller writes; nothing if remote."""
    if storage.filesystem is None:
        _remove(Path(storage.root).glob(f"{escape(name)}{TEMPORARY}*"))


@contextmanager
def own_remote(storage: Storage, claim: dict[str, Any]) -> Iterator[None]:
    """Hold a folder of an object store; a dead owner's place is free after `STALE_SECONDS`.

    Args:
        storage: The folder.
        claim: Who owns it and what for, with a `run` that is unique.

    Raises:
        StoreError: Another run owns it, or owned it a moment ago.
    """
    holder = _holder(storage)
    if holder is not None and _age(storage) < STALE_SECONDS:
        raise _refuse(
            storage, holder, f"; where it was killed, its place is free after {STALE_SECONDS:.0f} s"
        )
    storage.publish(OWNER, to_json(claim))
    if not _is_ours(storage, claim):
        raise _refuse(storage, _holder(storage) or {})
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(storage, claim, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _is_ours(storage, claim):
            storage.delete(OWNER)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if is_attempt(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _beat(storage: Storage, claim: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            if not _is_ours(storage, claim):
                logger.warning("%s was taken over by another run", storage.uri)
                return
            storage.publish(OWNER, to_json(claim))
        except StoreError as error:
            # The network may be back before the place counts as free.
            logger.warning("%s", error.message)


def _holder(storage: Storage) -> dict[str, Any] | None:
    """Who says that it owns the folder; empty where that cannot be read."""
    if not storage.exists(OWNER):
        return None
    with suppress(ValueError, StoreError):
        holder = json.loads(storage.read(OWNER))
        return holder if isinstance(holder, dict) else {}
    return {}


def _is_ours(storage: Storage, claim: dict[str, Any]) -> bool:
    holder = _holder(storage)
    return holder is not None and bool(holder.get("run") == claim["run"])


def _age(storage: Storage) -> float:
    """Seconds since the last heartbeat by the clock of the store; those of two hosts may differ."""
    if storage.filesystem is None:
        raise TypeError("a folder on a disk has a lock and no heartbeat")
    storage.publish(_CLOCK, b"{}\n")
    now, beat = storage.filesystem.get_file_info([storage.path(_CLOCK), storage.path(OWNER)])
    storage.delete(_CLOCK)
    if now.mtime is None or beat.mtime is None:
        return 0.0
    return float((now.mtime - beat.mtime).total_seconds())


def _locked(path: Path, storage: Storage) -> IO[bytes]:
    while True:
        # The last owner may have removed the folder, too.
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+b")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with handle:
                handle.seek(0)
                content = handle.read()
            holder = {}
            with suppress(ValueError):
                holder = json.loads(content)
            raise _refuse(storage, holder, ", which is also when it is killed") from None
        # The last owner may have removed the file between our opening and locking it.
        if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
            return handle
        handle.close()


def _refuse(storage: Storage, holder: dict[str, Any], when: str = "") -> StoreError:
    who = f"{holder.get('does', 'another run')} (pid {holder.get('pid', '?')} on {holder.get('host', '?')})"
    return StoreError(
        f"{storage.uri} is being written by {who}",
        f"wait for it or stop it; its place is freed as soon as it ends{when}",
    )
