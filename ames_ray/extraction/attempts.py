"""Finding the picture that kills its process.

A worker that segfaults or is killed for memory takes its shard down with it, and a plain retry would loop
for ever. So a shard keeps a small diary in the store: try 1 works as usual; try 2 writes down each window
of rows before it touches it; try 3 takes the rows of the window that died one by one; a row that dies alone
is given up as `worker_died`. Windows and their batches stay the same in the first two tries, so an innocent
shard whose worker was merely killed once comes out with the same bytes; later, the rows of a window that died
are batches of one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ames_ray.errors import RunError
from ames_ray.store.guard import publish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.files import Storage

FOLDER = "attempts"
_MAX_DEATHS_OUTSIDE = 20


@dataclass(frozen=True, slots=True)
class _Entry:
    tries: int = 0
    in_flight: tuple[int, ...] = ()
    alone: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    outside: int = 0


class Diary:
    """What earlier tries at one shard left behind, and what this try is about to touch.

    Attributes:
        alone: Rows that must be taken one by one.
        dead: Rows that killed their process and are given up.
    """

    def __init__(self, storage: Storage, shard: int) -> None:
        self._storage = storage
        self._name = f"{FOLDER}/{shard:05d}.json"
        self._entry = _next_try(self._read(), shard)
        self._write(self._entry)

    @property
    def careful(self) -> bool:
        """Whether an earlier try died, so that each window is written down first."""
        return self._entry.tries > 1

    @property
    def alone(self) -> frozenset[int]:
        """Rows that must be taken one by one."""
        return frozenset(self._entry.alone)

    @property
    def dead(self) -> frozenset[int]:
        """Rows that are given up."""
        return frozenset(self._entry.dead)

    def touch(self, rows: Sequence[int]) -> None:
        """Say which rows are worked on from now; nothing is written on a first try."""
        if self.careful:
            self._write(replace(self._entry, in_flight=tuple(rows)))

    def close(self) -> None:
        """The shard is published: forget its tries."""
        self._storage.delete(self._name)

    def _read(self) -> _Entry:
        if not self._storage.exists(self._name):
            return _Entry()
        found = json.loads(self._storage.read(self._name))
        return _Entry(
            tries=found["tries"],
            in_flight=tuple(found["in_flight"]),
            alone=tuple(found["alone"]),
            dead=tuple(found["dead"]),
            outside=found["outside"],
        )

    def _write(self, entry: _Entry) -> None:
        publish(self._storage, self._name, json.dumps(asdict(entry)).encode())


def forget_all(storage: Storage) -> None:
    """A new run starts every shard afresh: the kill of a driver is no picture's fault."""
    for name in storage.names(FOLDER):
        storage.delete(f"{FOLDER}/{name}")


def _next_try(last: _Entry, shard: int) -> _Entry:
    """What the next try must know, given what the last one had in flight when it died."""
    entry = replace(last, tries=last.tries + 1, in_flight=())
    if last.tries < 2:
        return entry
    if not last.in_flight:
        if last.outside + 1 >= _MAX_DEATHS_OUTSIDE:
            raise RunError(
                f"shard {shard} killed its worker {_MAX_DEATHS_OUTSIDE} times, not while reading an image",
                "look at the worker logs: memory and the disk are the usual causes",
            )
        return replace(entry, outside=last.outside + 1)
    suspects = set(last.in_flight)
    if len(suspects) == 1 and suspects <= set(last.alone):
        return replace(entry, dead=tuple(sorted({*last.dead, *suspects})))
    return replace(entry, alone=tuple(sorted({*last.alone, *suspects})))
