"""Workers that take tasks: threads of this process; `ames_ray.distributed.crew` has those of a cluster.

A worker multiplies with a fixed number of threads, because another number of them adds up in another order:
results are the same bits for any number of workers, here or on a cluster.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

Task = TypeVar("Task")
Result = TypeVar("Result")
Task_contra = TypeVar("Task_contra", contravariant=True)

_AHEAD = 2
"""Tasks that a worker has at most, so that it does not wait for the next one."""


class Crew(Protocol[Task_contra, Result]):
    """Some workers."""

    @property
    def size(self) -> int:
        """How many."""

    def submit(self, worker: int, task: Task_contra) -> Future[Result]:
        """Queue a task for one of them."""


class Hire(Protocol):
    """Brings a crew together, for the time of a `with` block."""

    def __call__(
        self, make: Callable[[], Callable[[Task], Result]]
    ) -> AbstractContextManager[Crew[Task, Result]]:
        """Workers that each call `make` once, and what it returned for every task."""


def in_order(crew: Crew[Task, Result], tasks: Iterable[tuple[int, Task]]) -> Iterator[tuple[Task, Result]]:
    """Results in the order of the tasks, each of which names its worker; few tasks are taken ahead."""
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    for worker, task in tasks:
        waiting.append((task, crew.submit(worker, task)))
        if len(waiting) >= _AHEAD * crew.size:
            done, future = waiting.popleft()
            yield done, future.result()
    for done, future in waiting:
        yield done, future.result()


def as_finished(crew: Crew[Task, Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
    """Results as they come; whoever is done gets the next task."""
    left = iter(tasks)
    running: dict[Future[Result], tuple[int, Task]] = {}

    def hand_out(worker: int) -> None:
        for task in islice(left, 1):
            running[crew.submit(worker, task)] = (worker, task)

    for worker in chain(*[range(crew.size)] * _AHEAD):
        hand_out(worker)
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            worker, task = running.pop(future)
            hand_out(worker)
            yield task, future.result()


class Threads(Generic[Task, Result]):
    """A crew of threads of this process, each with its own worker.

    Args:
        works: What each of them does with a task.
        torch_threads: Threads that torch takes inside of one.
    """

    def __init__(self, works: list[Callable[[Task], Result]], torch_threads: int) -> None:
        import torch

        self._works = works
        self._running: list[tuple[ThreadPoolExecutor, Future[Result]]] = []
        self._pools = [
            ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(torch_threads,)) for _ in works
        ]

    @property
    def size(self) -> int:
        """How many."""
        return len(self._pools)

    def submit(self, worker: int, task: Task) -> Future[Result]:
        """Queue a task for one of them."""
        pool = self._pools[worker]
        future = pool.submit(self._works[worker], task)
        self._running = [pair for pair in self._running if not pair[1].done()]
        self._running.append((pool, future))
        return future

    def close(self) -> None:
        """End the threads; one that is at work is interrupted before its next step."""
        for pool, future in self._running:
            if not future.cancel() and future.running():
                _interrupt(pool)
        for pool in self._pools:
            pool.shutdown()


def threads(count: int | None = None, torch_threads: int = 1) -> Hire:
    """Workers in this process.

    Args:
        count: How many; none for as many as the CPUs have room for.
        torch_threads: CPUs for each.
    """
    count = count or max(1, len(os.sched_getaffinity(0)) // torch_threads)

    @contextmanager
    def hire(make: Callable[[], Callable[[Task], Result]]) -> Iterator[Crew[Task, Result]]:
        import torch

        # Torch keeps the last number that any thread has set for all threads to come.
        before = torch.get_num_threads()
        crew = Threads([make() for _ in range(count)], torch_threads)
        try:
            yield crew
        finally:
            crew.close()
            torch.set_num_threads(before)

    return hire


def _interrupt(pool: ThreadPoolExecutor) -> None:
    """Raise in the one thread of a pool: a batch may take half a minute, which Ctrl-C should not."""
    for thread in pool._threads:  # noqa: SLF001 - a pool tells of its threads in no other way
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        )
