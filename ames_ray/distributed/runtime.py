"""Starting Ray here, or joining the cluster whose address is set; and whether it has room for the workers."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ames_ray.distributed.address import require_cluster
from ames_ray.distributed.stream import readable
from ames_ray.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

logger = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 256 << 20
"""Only shard ids and summaries pass through it."""
_TRIES = 2
"""Starts of a local Ray: on a busy machine its node has 30 s to register, which no setting changes."""
START_SECONDS = 120.0
"""A process that starts on a busy node and reads its weights is not stalled."""
PATIENCE_SECONDS = 10.0
"""Workers that are not there by then may be waiting for room."""


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """How many workers, and what Ray reserves for each.

    Attributes:
        workers: How many.
        cpus: CPUs for each.
        gpus: GPUs for each.
        room: How many of them can start at once; the others have to wait until other jobs end.
    """

    workers: int
    cpus: float
    gpus: float
    room: int


@contextmanager
def connected(address: str | None, logical_cpus: int) -> Iterator[None]:
    """Ray for the time of the block: the running one, the cluster, or a new local one.

    Args:
        address: Address of a cluster; none for RAY_ADDRESS, else a new local Ray.
        logical_cpus: CPUs that a new local Ray declares at least, so that the wanted workers fit.

    Raises:
        ResourceError: The cluster cannot be reached.
        RunError: It was lost on the way, or an actor that everything depends on was.
    """
    if ray.is_initialized():
        with _readable_losses():
            yield
        return
    address = address or os.environ.get("RAY_ADDRESS")
    _disable_logging(disabled=False)
    _start(address, logical_cpus)
    try:
        with _readable_losses():
            yield
    except BaseException:
        # Ray Data's threads are still at work, and complain at length when Ray ends under them.
        _disable_logging(disabled=True)
        raise
    finally:
        ray.shutdown()


def _start(address: str | None, logical_cpus: int) -> None:
    local = {
        "address": "local",
        "num_cpus": max(local_cpus(), logical_cpus),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    if address:
        require_cluster(address)
    for tries_left in reversed(range(1 if address else _TRIES)):
        others = set(psutil.Process().children())
        try:
            with _native_quiet(), _own_sigterm():
                where = {"address": address} if address else local
                ray.init(**where, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # noqa: BLE001 - a bare one where a busy machine does not start it in time
            _end_half_started(others)
            if not tries_left:
                message = f"Ray at {address or 'this machine'} cannot be used: {error}"
                raise ResourceError(message) from None
        else:
            return


def _end_half_started(others: set[psutil.Process]) -> None:
    """End what a node that did not start leaves: Ray has lost sight of it, and it would slow the next one."""
    ray.shutdown()
    for child in set(psutil.Process().children()) - others:
        with suppress(psutil.Error):
            if any(word.startswith(ray.__path__[0]) for word in child.cmdline()):
                child.kill()


@contextmanager
def _readable_losses() -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        raise readable(error) from None


def _disable_logging(*, disabled: bool) -> None:
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "ray":
            logging.getLogger(name).disabled = disabled


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the program's SIGTERM handler: Ray's would end the process with an exit code of its own.

    While Ray starts, its handler is there; what it raises becomes what the program's own would have raised.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _native_quiet() -> Iterator[None]:
    """Drop what Ray's native code writes to stderr: a line on the log level that no setting removes."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def local_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def beside_driver() -> NodeAffinitySchedulingStrategy:
    """Keeps an actor on the driver's node, so that the loss of any other node does not take it away."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def size_pool(
    workers: int | None,
    cpus_per_worker: float,
    gpus_per_worker: float | None,
    *,
    wants_gpu: bool,
    wait: float = 0.0,
) -> WorkerPool:
    """Fit the workers into the cluster, before anything is started.

    Args:
        workers: Wanted number, or none for as many as fit.
        cpus_per_worker: CPUs reserved for each.
        gpus_per_worker: GPUs reserved for each; none for 1 where the cluster has any and they are of use.
        wants_gpu: Whether the backbone can use a GPU.
        wait: Seconds that nodes may take to come up where the wanted workers do not fit yet; a cluster that
            scales is asked for them.

    Raises:
        ResourceError: They do not fit; the message shows the arithmetic.
    """
    if gpus_per_worker is None:
        gpus_per_worker = 1.0 if wants_gpu and _have()[1] else 0.0
    asked = max(workers or 1, 1)
    if wait and _room(cpus_per_worker, gpus_per_worker) < asked:
        _await_nodes(asked, cpus_per_worker, gpus_per_worker, wait)
    fits = _room(cpus_per_worker, gpus_per_worker)
    if workers is None:
        workers = fits
    if workers < 1 or workers > fits:
        cpus, gpus = _have()
        raise ResourceError(
            f"{asked} workers need {asked} × {cpus_per_worker:g} = {asked * cpus_per_worker:g} CPUs and "
            f"{asked} × {gpus_per_worker:g} = {asked * gpus_per_worker:g} GPUs; "
            f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs, room for {fits}, each on one node",
            f"pass workers={fits}" if fits else "lower cpus_per_worker= or gpus_per_worker=, or add nodes",
        )
    # What is free on each node, Ray does not tell.
    room = min(fits, fitting([ray.available_resources()], cpus_per_worker, gpus_per_worker))
    return WorkerPool(workers, cpus_per_worker, gpus_per_worker, room)


def say_if_crowded(pool: WorkerPool) -> None:
    """Say what workers wait for that are not there yet, where other jobs hold their place."""
    free = ray.available_resources()
    if pool.room >= pool.workers or fitting([free], pool.cpus, pool.gpus):
        return
    each = f"{pool.cpus:g} CPUs" + (f" and {pool.gpus:g} GPUs" if pool.gpus else "")
    logger.warning(
        "waiting for room: %d workers need %s each; other jobs hold so much of the cluster's %g CPUs and "
        "%g GPUs that only %d could start",
        *(pool.workers, each, *_have(), pool.room),
    )


def has_room(pool: WorkerPool) -> bool:
    """Whether all workers could start when the pool was made, on nodes of which as many are up as then."""
    return min(pool.room, _room(pool.cpus, pool.gpus)) >= pool.workers


def fitting(nodes: Iterable[Mapping[str, float]], cpus_per_worker: float, gpus_per_worker: float) -> int:
    """How many workers fit: none spans two nodes, and none that needs a part of a GPU spans two GPUs.

    Args:
        nodes: What each node has, by Ray's names of it.
        cpus_per_worker: CPUs for each.
        gpus_per_worker: GPUs for each, below 1 or whole.
    """
    return sum(_on_node(node, cpus_per_worker, gpus_per_worker) for node in nodes)


def _on_node(node: Mapping[str, float], cpus_per_worker: float, gpus_per_worker: float) -> int:
    by_cpus = math.floor(node.get("CPU", 0.0) / cpus_per_worker)
    if not gpus_per_worker:
        return by_cpus
    parts, whole = math.modf(node.get("GPU", 0.0))
    if gpus_per_worker >= 1:
        return min(by_cpus, math.floor(whole / gpus_per_worker))
    by_gpus = math.floor(1 / gpus_per_worker) * int(whole) + math.floor(parts / gpus_per_worker)
    return min(by_cpus, by_gpus)


def _have() -> tuple[float, float]:
    """CPUs and GPUs of the nodes that are up."""
    have = ray.cluster_resources()
    return have.get("CPU", 0.0), have.get("GPU", 0.0)


def _room(cpus_per_worker: float, gpus_per_worker: float) -> int:
    """Workers that the nodes that are up have room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return fitting(nodes, cpus_per_worker, gpus_per_worker)


def _await_nodes(workers: int, cpus_per_worker: float, gpus_per_worker: float, wait: float) -> None:
    """Ask a scaling cluster for room, and wait until it is there or the time is over."""
    from ray.autoscaler.sdk import request_resources

    logger.warning("waiting up to %g s for nodes with room for %d workers", wait, workers)
    each = {"CPU": math.ceil(cpus_per_worker), "GPU": math.ceil(gpus_per_worker)}
    request_resources(bundles=[{name: count for name, count in each.items() if count}] * workers)
    try:
        deadline = time.monotonic() + wait
        while _room(cpus_per_worker, gpus_per_worker) < workers and time.monotonic() < deadline:
            time.sleep(1)
    finally:
        # From here on the workers themselves keep their nodes; a request that stays would do so for ever.
        request_resources(bundles=[])
