"""The loop that trains a detector: one process, resumable at any step."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from ames_ray.errors import RunError
from ames_ray.training.ahead import ahead
from ames_ray.training.checkpoint import Checkpoints, Position, require_same
from ames_ray.training.detector import contrastive_loss, nearest_is_same, new_detector, pool
from ames_ray.training.detector_batches import joined, read_batch, until_a_pair
from ames_ray.training.log import TrainLog
from ames_ray.training.output import CHECKPOINTS, DETECTOR_RUN, clear_run, require_same_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from ames_ray.descriptors.detector import Detector
    from ames_ray.files import Storage
    from ames_ray.training.detector_batches import Ahead, MapSource
    from ames_ray.training.landmark_batches import LandmarkBatches
    from ames_ray.types import IntArray


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What decides a detector, besides its pictures; all defaults are ours.

    Attributes:
        steps: Batches.
        lr: Learning rate of AdamW at the start; it falls to 0 along a cosine.
        weight_decay: Of AdamW.
        temp: Temperature of the loss.
        checkpoint_every: Steps between two checkpoints.
        seed: Of the first weights.
    """

    steps: int = 2000
    lr: float = 1e-3
    weight_decay: float = 1e-4
    temp: float = 0.05
    checkpoint_every: int = 100
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DetectorStep:
    """What a step tells.

    Attributes:
        step: Counts from 1.
        loss: Of the batch; not a number where no two pictures of one landmark could be read.
        nearest: Share of pictures whose nearest other one in the batch shows their landmark.
        lr: Learning rate.
        failed: Pictures of the batch that could not be read.
        waited: Seconds that the network waited for pictures.
        seconds: Of the whole step.
    """

    step: int
    loss: float
    nearest: float
    lr: float
    failed: int
    waited: float
    seconds: float


def fit_detector(
    source: MapSource,
    batches: LandmarkBatches,
    options: DetectorOptions,
    output: Storage,
    *,
    settings: Mapping[str, Any],
    anew: bool = False,
    device: str = "cpu",
    threads: int = 1,
    report: Callable[[DetectorStep], None] | None = None,
) -> Detector:
    """Train a detector, or go on with one.

    Args:
        source: Feature maps of the frozen backbone.
        batches: Which pictures each step sees.
        options: How.
        output: Folder for checkpoints and log.
        settings: All else that decides the result, as JSON values; a kept run must have equal ones.
        anew: Delete the run in the folder first, once it is sure that there are pictures to learn from.
        device: Torch name of the device.
        threads: Threads that prepare pictures, a batch each.
        report: Told about each step.

    Returns:
        The detector, in evaluation mode.

    Raises:
        ConfigError: The folder holds a run with other settings.
        RunError: The loss is not finite, or the first hundred steps have no two pictures of one landmark.
    """
    detector = new_detector(source.dim, options.seed).to(device).train()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    decides = deciding(options, settings)
    checkpoints = Checkpoints(output.child(CHECKPOINTS))
    first = 0 if anew else _resume(checkpoints, detector, optimizer, decides, output)
    read = partial(read_batch, source, batches)
    coming = ahead(range(first, options.steps), read, depth=threads + 1, threads=threads)
    begun = until_a_pair(coming, read, range(first, options.steps), options.steps, source)
    if anew:
        clear_run(output, DETECTOR_RUN)
    log = TrainLog(output, first)
    try:
        for result in _steps(joined(begun, coming), source, options, detector, optimizer):
            log.step(result.step, asdict(result))
            if report is not None:
                report(result)
            if result.step % options.checkpoint_every == 0 or result.step == options.steps:
                # In this order: a log may be ahead of its checkpoint, not behind it.
                log.publish()
                state = {"detector": detector.state_dict(), "optimizer": optimizer.state_dict()}
                checkpoints.save(Position(0, result.step, result.step), {**state, "settings": decides})
    finally:
        log.close()
    return detector.eval()


def deciding(options: DetectorOptions, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the weights, as checkpoints and the card of a run keep it."""
    return _deciding({**asdict(options), **settings})


def _steps(
    coming: Iterator[Ahead],
    source: MapSource,
    options: DetectorOptions,
    detector: Detector,
    optimizer: torch.optim.Optimizer,
) -> Iterator[DetectorStep]:
    """Do each step whose pictures are prepared."""
    began = time.perf_counter()
    for step, batch, waited in coming:
        lr = options.lr * (1 + math.cos(math.pi * step / options.steps)) / 2
        loss, nearest = math.nan, math.nan
        if batch.pictures:
            maps = source.maps(batch.pictures)
            loss, nearest = _update(detector, optimizer, maps, batch.labels, lr, options.temp)
            if not math.isfinite(loss):
                raise RunError(
                    f"step {step + 1}: the loss is {loss}; the batch holds "
                    f"{', '.join(source.names(batch.rows))}",
                    "lower lr=, or look at these pictures; the last checkpoint is kept",
                )
        now = time.perf_counter()
        yield DetectorStep(step + 1, loss, nearest, lr, batch.failed, waited, now - began)
        began = now


def _update(
    detector: Detector,
    optimizer: torch.optim.Optimizer,
    maps: Sequence[Sequence[Tensor]],
    landmarks: IntArray,
    lr: float,
    temp: float,
) -> tuple[float, float]:
    """One step of the optimiser, unless the loss is not finite; returns the loss and `nearest_is_same`."""
    vectors = pool(detector, maps)
    labels = torch.from_numpy(landmarks).to(vectors.device)
    loss = contrastive_loss(vectors, labels, temp)
    value = float(loss.detach())
    if math.isfinite(value):
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
    return value, nearest_is_same(vectors.detach(), labels)


def _resume(
    checkpoints: Checkpoints,
    detector: Detector,
    optimizer: torch.optim.Optimizer,
    decides: Mapping[str, Any],
    output: Storage,
) -> int:
    """Steps that are done already."""
    name = checkpoints.latest()
    if name is None:
        require_same_card(output, decides)
        return 0
    position, state = checkpoints.load(name)
    require_same(_deciding(state["settings"]), decides, output.uri)
    detector.load_state_dict(state["detector"])
    optimizer.load_state_dict(state["optimizer"])
    return position.total


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the one that changes no weight; older versions have kept it with the others."""
    return {name: value for name, value in settings.items() if name != "checkpoint_every"}
