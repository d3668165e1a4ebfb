"""One small actor that collects what the workers did, so that the driver can show and watch it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ames_ray.extraction.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.actor import ActorHandle

    from ames_ray.errors import AmesError


@dataclass(frozen=True, slots=True)
class BoardState:
    """What the driver sees.

    Attributes:
        progress: Sum over all workers.
        workers: Description of each worker that has started, by its name.
        in_hand: Rows that each open shard is working on.
        quiet: Seconds since rows were last finished, or a worker became ready.
        error: What stopped a worker, or none.
    """

    progress: Progress
    workers: dict[str, str]
    in_hand: dict[int, tuple[int, ...]]
    quiet: float
    error: AmesError | None = None


@dataclass(slots=True)
class Board:
    """Made an actor by the driver; the workers post to it without waiting."""

    progress: Progress = field(default_factory=Progress)
    workers: dict[str, str] = field(default_factory=dict)
    in_hand: dict[int, tuple[int, ...]] = field(default_factory=dict)
    last: float = field(default_factory=time.monotonic)
    error: AmesError | None = None
    actors: list[ActorHandle] = field(default_factory=list)

    def join(self, actor: ActorHandle) -> None:
        """A worker starts, which is the last that is heard of one that hangs while it reads its weights."""
        self.actors.append(actor)

    def enter(self, worker: str, description: str) -> None:
        """A worker is ready; the time it took to start is no silence."""
        self.workers[worker] = description
        self.last = time.monotonic()

    def post(self, shard: int, rows: Sequence[int], step: Progress) -> None:
        """A worker took up `rows` of a shard (none: the shard is done) and finished a step."""
        self.progress += step
        if step != Progress() or not rows:
            self.last = time.monotonic()
        if rows:
            self.in_hand[shard] = tuple(rows)
        else:
            self.in_hand.pop(shard, None)

    def fail(self, error: AmesError) -> None:
        """A worker could not go on; raised through Ray, the error would come out wrapped and logged."""
        self.error = self.error or error

    def members(self) -> list[ActorHandle]:
        """The actors that joined; one that was started again may be in twice."""
        return self.actors

    def state(self) -> BoardState:
        """A copy for the driver."""
        quiet = time.monotonic() - self.last
        return BoardState(self.progress, dict(self.workers), dict(self.in_hand), quiet, self.error)
