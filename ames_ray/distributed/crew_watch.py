"""A look after the workers of a crew: says what they wait for, and replaces those that no longer move."""

from __future__ import annotations

import logging
import math
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import ray

from ames_ray.distributed.runtime import PATIENCE_SECONDS, START_SECONDS, say_if_crowded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from ames_ray.distributed.runtime import WorkerPool

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0


class CrewWatch:
    """A thread beside the driver's own, which only waits for results.

    A worker that finishes no task for too long is ended, as a process that hangs on a dead network share can
    only be; Ray starts another one and gives it the tasks again.

    Args:
        actors: The workers, with a method `enter` that returns as soon as they are there.
        pool: What Ray reserves for each.
        stall_timeout: Seconds that a task may take, the time to start a worker aside.
    """

    def __init__(self, actors: Sequence[Any], pool: WorkerPool, stall_timeout: float) -> None:
        self._actors, self._pool, self._limit = actors, pool, stall_timeout
        self._entering = {actor.enter.remote(): number for number, actor in enumerate(actors)}
        self._queued = [0] * len(actors)
        self._due: list[float | None] = [None] * len(actors)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def follow(self, worker: int, future: Future[Any]) -> None:
        """A worker was given a task."""
        with self._lock:
            self._queued[worker] += 1
            if self._queued[worker] == 1 and self._due[worker] is not None:
                self._due[worker] = time.monotonic() + self._limit
        future.add_done_callback(partial(self._finished, worker))

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _finished(self, worker: int, _future: Future[Any]) -> None:
        with self._lock:
            self._queued[worker] -= 1
            self._due[worker] = time.monotonic() + self._limit

    def _run(self) -> None:
        patience = time.monotonic() + PATIENCE_SECONDS
        while not self._ended.wait(_TICK_SECONDS):
            try:
                self._see_who_entered()
                if self._entering and time.monotonic() > patience:
                    patience = math.inf
                    say_if_crowded(self._pool)
                self._replace_the_stalled()
            except ray.exceptions.RayError:
                # The driver sees it too, and says it.
                return

    def _see_who_entered(self) -> None:
        if not self._entering:
            return
        there, _ = ray.wait(list(self._entering), num_returns=len(self._entering), timeout=0)
        for reference in there:
            with self._lock:
                # Its first task also reads the weights.
                self._due[self._entering.pop(reference)] = time.monotonic() + self._limit + START_SECONDS

    def _replace_the_stalled(self) -> None:
        now = time.monotonic()
        for worker, actor in enumerate(self._actors):
            with self._lock:
                due = self._due[worker]
                if not self._queued[worker] or due is None or now < due:
                    continue
                self._due[worker] = now + self._limit + START_SECONDS
            logger.warning("a worker finished nothing for %g s; another one takes its place", self._limit)
            ray.kill(actor, no_restart=False)
