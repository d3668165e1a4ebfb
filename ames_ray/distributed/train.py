"""Training on Ray Train: it starts the workers and starts them again; everything else is the plain loop.

Workers go on from the run's own checkpoints, which the first of them writes, so a restart after a death and a
second run of the command take the same path, with as many workers as there are.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.torch
import torch

from ames_ray.config.address import names_cluster
from ames_ray.config.train_parts import make_parts, prepare
from ames_ray.distributed.runtime import (
    PATIENCE_SECONDS,
    START_SECONDS,
    WorkerPool,
    beside_driver,
    connected,
    has_room,
    say_if_crowded,
    size_pool,
)
from ames_ray.distributed.stream import last_line
from ames_ray.distributed.train_board import TrainBoard
from ames_ray.errors import AmesError, ResourceError, RunError
from ames_ray.extraction.device import choose_device
from ames_ray.training.group import Group
from ames_ray.training.loop import TrainLoop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.config.train import TrainConfig
    from ames_ray.distributed.train_board import TrainNews
    from ames_ray.training.loop import TrainReport
    from ames_ray.training.progress import TrainProgress, Watcher

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_NO_GPU = ("have NCCL built in", "NCCL is only supported with GPUs")
"""What torch says where workers are to meet on GPUs that it does not see, before any of them can tell."""
_MEET = "set GLOO_SOCKET_IFNAME on every node to the network device that joins them, such as eth0"
"""What helps workers that do not find each other."""


def run(config: TrainConfig, watcher: Watcher) -> TrainReport:
    """Train, or go on with it.

    Args:
        config: The job.
        watcher: Shown the progress.

    Raises:
        ResourceError: The workers do not fit, or the GPUs that they are to compute on are not there.
        RunError: Workers died more often than `max_failures`, or the loss is not finite.
        AmesError: What the job names is missing or does not fit.
    """
    _stay_local(config)
    with connected(config.address, math.ceil(config.workers * config.cpus_per_worker)):
        pool = size_pool(
            config.min_workers or config.workers,
            config.cpus_per_worker,
            0 if config.device == "cpu" else config.gpus_per_worker,
            wants_gpu=config.device != "cpu",
        )
        if not pool.gpus:
            choose_device(config.device, [])
        prepare(config)
        # On the driver's node: the loss of any other node must not end the run.
        board = ray.remote(num_cpus=0, scheduling_strategy=beside_driver())(TrainBoard).remote()
        failed = _watch(config, pool, board, watcher)
        report: TrainReport | None = ray.get(board.outcome.remote())
    if report is None:
        raise _died(failed)
    return report


def _trainer(config: TrainConfig, pool: WorkerPool, board: Any) -> ray.train.torch.TorchTrainer:
    elastic = config.min_workers is not None and config.min_workers < config.workers
    resources = {"CPU": pool.cpus} | ({"GPU": pool.gpus} if pool.gpus else {})
    return ray.train.torch.TorchTrainer(
        _work,
        train_loop_config={"config": config, "board": board},
        scaling_config=ray.train.ScalingConfig(
            num_workers=(config.min_workers, config.workers) if elastic else config.workers,
            use_gpu=bool(pool.gpus),
            resources_per_worker=resources,
        ),
        run_config=ray.train.RunConfig(
            name="ray",
            storage_path=config.output,
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )


def _work(given: Mapping[str, Any]) -> None:
    """What each worker does, from the last checkpoint on."""
    board = given["board"]
    if ray.get(board.stopped.remote()):
        return
    board.enter.remote(ray.get_runtime_context().current_actor)
    try:
        # Of all devices of the node, which each worker sees, the one that is reserved for this one.
        name = choose_device(given["config"].device, ray.get_gpu_ids())
        device = torch.device("cpu") if name == "cpu" else ray.train.torch.get_device()
        group = Group.current(device)
        # Workers that come after a death go on with what the first ones began.
        anew = given["config"].overwrite and not ray.get(board.is_begun.remote())
        loop = TrainLoop(make_parts(given["config"]), group, _Reporter(board, group.rank), anew=anew)
        ray.get(board.begin.remote())
        report = loop.run()
    except AmesError as found:
        # The driver ends the run; raised alone, the workers would be started again, for nothing.
        ray.get(board.fail.remote(found))
        raise
    if group.rank == 0:
        ray.get(board.finish.remote(report))


class _Reporter:
    """A `Watcher` inside a worker."""

    def __init__(self, board: Any, rank: int) -> None:
        self._board, self._rank = board, rank
        self._told = 0.0

    def step(self, progress: TrainProgress) -> None:
        now = time.monotonic()
        if self._rank == 0 and now - self._told >= _TICK_SECONDS:
            self._told = now
            self._board.step.remote(progress)

    def epoch(self, figures: Mapping[str, float]) -> None:
        if self._rank == 0:
            self._board.epoch.remote(dict(figures))
        # Every worker has to report, or Ray Train waits for ever.
        ray.train.report(dict(figures))


def _watch(config: TrainConfig, pool: WorkerPool, board: Any, watcher: Watcher) -> BaseException | None:
    """Run to the end in a thread, and tell the watcher meanwhile; returns what stopped it.

    Raises:
        AmesError: What a worker found, and no restart will mend.
    """
    trainer = _trainer(config, pool, board)
    ended: list[BaseException | None] = []

    def fit() -> None:
        try:
            trainer.fit()
            ended.append(None)
        except BaseException as error:  # noqa: BLE001 - carried over to the driver's thread
            ended.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        thread.join(_TICK_SECONDS)
        running = thread.is_alive()
        news: TrainNews = ray.get(board.news.remote())
        _tell(news, watcher)
        if not running:
            return ended[0]
        if news.workers:
            patience = math.inf
        if time.monotonic() > patience:
            patience = math.inf
            say_if_crowded(pool)
        _end_silence(config, pool, board, news)


def _tell(news: TrainNews, watcher: Watcher) -> None:
    for figures in news.epochs:
        watcher.epoch(figures)
    if news.progress is not None:
        watcher.step(news.progress)
    if news.error is not None:
        raise news.error


def _end_silence(config: TrainConfig, pool: WorkerPool, board: Any, news: TrainNews) -> None:
    """End the workers, of which one does not move; Ray Train starts others, as after a death.

    Raises:
        RunError: None began, and that is not for want of room.
    """
    if news.workers:
        if news.quiet > config.stall_timeout:
            logger.warning(
                "no step was finished for %g s; the workers are started again", config.stall_timeout
            )
            for actor in ray.get(board.dismiss.remote()):
                ray.kill(actor)
        return
    # They begin once all have met. One alone meets nobody, and whatever else it takes has its time.
    patience = START_SECONDS + (0 if config.workers > 1 else config.stall_timeout)
    if news.quiet > patience and has_room(pool):
        raise RunError(
            f"no worker began within {patience:g} s, and there is room for {pool.workers}",
            _MEET if config.workers > 1 else "raise stall_timeout= on a slow machine",
        )


def _stay_local(config: TrainConfig) -> None:
    """Let the workers of a local Ray talk through the loopback device.

    Otherwise gloo takes the address of the host's name, which may be one that nothing answers at.
    """
    if names_cluster(config.address):
        return
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])


def _died(error: BaseException | None) -> AmesError:
    last = "no worker told how it ended" if error is None else last_line(error)
    if any(words in str(error) for words in _NO_GPU):
        return ResourceError(
            f"a GPU is reserved for each worker, but torch sees no CUDA device there: {last}",
            "install a CUDA build of torch on every node, or pass device=cpu",
        )
    if "gloo" in str(error).lower():
        return RunError(
            f"the workers do not reach each other: {last}",
            _MEET,
        )
    return RunError(
        f"the workers could not go on: {last}",
        "the same command goes on from the last checkpoint; max_failures= sets how many deaths are borne",
    )
