"""The journal file of an Optuna study: opened by one process, mended after a kill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ames_ray.files import Storage

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

_LOCK = ".lock"


def open_journal(path: Path) -> tuple[optuna.storages.BaseStorage, str | None]:
    """The storage in a journal file that no other process writes.

    A kill may leave half a line at the end, to which Optuna's next line would be glued, and a lock that
    nobody holds. The half line is put aside and the lock removed.

    Args:
        path: The file; made where it is missing. The caller owns its folder, see `Storage.own`.

    Returns:
        The storage; a sentence about what was put aside, or none.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    for lock in path.parent.glob(f"{path.name}{_LOCK}*"):
        lock.unlink(missing_ok=True)
    note = mend(path) if path.exists() else None
    return JournalStorage(JournalFileBackend(str(path))), note


def mend(path: Path) -> str | None:
    """Cut a journal in front of its first line that is not whole.

    Returns:
        A sentence about what was put aside, or none where all was well.
    """
    data = path.read_bytes()
    end = _whole(data)
    if end == len(data):
        return None
    aside = f"{path.name}.torn"
    folder = Storage.at(path.parent)
    folder.publish(aside, data[end:])
    # The file stays the same one: a dashboard that has it open goes on.
    with path.open("r+b") as handle:
        handle.truncate(end)
    return f"{path.name}: the last {len(data) - end} bytes were not written whole; they are in {aside} now"


def _whole(data: bytes) -> int:
    """Bytes up to the end of the last line before which all lines are whole."""
    end = 0
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict):
            break
        end += len(line)
    return end
