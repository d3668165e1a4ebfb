"""Workers of a Ray cluster as a crew: plain actors, two tasks queued for each.

Actors and not a Ray Data pool: there is no data set here, tasks are a few numbers, and results go straight to
the driver as they come, which shows and merges them. Ray restarts an actor that was killed, and gives it its
tasks again; a task that kills its worker every time, or hangs in it, ends the run.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ray

from ames_ray.distributed.crew_watch import CrewWatch
from ames_ray.distributed.runtime import connected, local_cpus, size_pool
from ames_ray.distributed.stream import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from ames_ray.distributed.runtime import WorkerPool
    from ames_ray.retrieval.crew import Crew, Hire

Task = TypeVar("Task")
Result = TypeVar("Result")

_TRIES = 3
"""How often a task may kill its worker."""


class CrewWorker(Generic[Task, Result]):
    """What runs in a worker's process: `make` once, what it returned for every task."""

    def __init__(self, make: Callable[[], Callable[[Task], Result]], cpus: float) -> None:
        self._make = make
        self._cpus = cpus
        self._work: Callable[[Task], Result] | None = None

    def enter(self) -> None:
        """Answer, which tells that Ray has found room for this worker."""

    def run(self, task: Task) -> Result:
        """Do one task. The first one also makes the worker: an error of a constructor would come wrapped."""
        if self._work is None:
            import torch

            torch.set_num_threads(max(1, int(self._cpus)))
            self._work = self._make()
        return self._work(task)


class Actors(Generic[Task, Result]):
    """A crew of actors.

    Args:
        make: See `ames_ray.retrieval.crew.Hire`; it is sent to every worker.
        pool: How many, and what Ray reserves for each.
        stall_timeout: Seconds after which a worker that finishes nothing is replaced.
    """

    def __init__(
        self, make: Callable[[], Callable[[Task], Result]], pool: WorkerPool, stall_timeout: float
    ) -> None:
        worker: Any = ray.remote(
            num_cpus=pool.cpus, num_gpus=pool.gpus, max_restarts=-1, max_task_retries=_TRIES - 1
        )(CrewWorker)
        # Held as long as they live: one that is started again needs it, and Ray would have dropped it.
        self._make = ray.put(make)
        self._actors = [worker.remote(self._make, pool.cpus) for _ in range(pool.workers)]
        self._watch = CrewWatch(self._actors, pool, stall_timeout)

    @property
    def size(self) -> int:
        """How many."""
        return len(self._actors)

    def submit(self, worker: int, task: Task) -> Future[Result]:
        """Queue a task for one of them."""
        future: Future[Result] = self._actors[worker].run.remote(task).future()
        self._watch.follow(worker, future)
        return future

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        self._watch.close()
        for actor in self._actors:
            ray.kill(actor)


def cluster(
    address: str | None,
    workers: int | None,
    cpus_per_worker: float,
    gpus_per_worker: float | None = 0,
    *,
    wants_gpu: bool = False,
    stall_timeout: float = 1800,
) -> Hire:
    """Workers on Ray: the running one, that of an address, or a new local one.

    Args:
        address: Address of a cluster, or none.
        workers: How many; none for as many as fit.
        cpus_per_worker: CPUs for each.
        gpus_per_worker: GPUs for each; none for 1 where there are any and they are of use.
        wants_gpu: Whether the work can use a GPU.
        stall_timeout: Seconds after which a worker that finishes nothing is replaced.

    Raises:
        ResourceError: When hired: the cluster cannot be reached, or has no room.
        AmesError: What a worker raised.
        RunError: Anything else that stopped one.
    """
    need = int((workers or local_cpus()) * cpus_per_worker + 0.999)

    @contextmanager
    def hire(make: Callable[[], Callable[[Task], Result]]) -> Iterator[Crew[Task, Result]]:
        with connected(address, need):
            pool = size_pool(workers, cpus_per_worker, gpus_per_worker, wants_gpu=wants_gpu)
            crew = Actors(make, pool, stall_timeout)
            try:
                yield crew
            except ray.exceptions.RayError as error:
                raise readable(error) from None
            finally:
                crew.close()

    return hire
