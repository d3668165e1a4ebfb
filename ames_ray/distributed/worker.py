"""One worker process of an extraction: it settles on a device, builds its extractor, and works shards off."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import ray

from ames_ray.backbones.registry import uses_network
from ames_ray.config.options import make_extractor, read_options
from ames_ray.datasets.manifest import Manifest
from ames_ray.descriptors.extractor import Prepared
from ames_ray.descriptors.reading import prepare
from ames_ray.errors import AmesError, DatasetError
from ames_ray.extraction.device import choose_device
from ames_ray.extraction.shard import ShardExtractor
from ames_ray.store.meta import MANIFEST
from ames_ray.store.writer import ShardTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.actor import ActorHandle

    from ames_ray.config.extract import ExtractConfig
    from ames_ray.descriptors.extractor import ExtractorSpec
    from ames_ray.files import Storage
    from ames_ray.store.meta import StoreMeta
    from ames_ray.types import ImageRecord


class ExtractWorker:
    """A `ShardExtractor` in a process of its own; Ray Data calls it with one task at a time."""

    def __init__(self, config: ExtractConfig, storage: Storage, meta: StoreMeta, board: ActorHandle) -> None:
        # Known before it may hang, it can be ended.
        board.join.remote(ray.get_runtime_context().current_actor)
        device, description = _settle(config)
        name = f"{os.uname().nodename}-{os.getpid()}"
        self._board = board
        self._manifest = Manifest.read(storage, MANIFEST)
        self._extract = ShardExtractor(
            storage,
            meta,
            make_extractor(config, device),
            read_options(config),
            batch_size=config.batch_size,
            decode_threads=config.decode_threads,
            report=board.post.remote,
        )
        board.enter.remote(name, f"{name}: {description}")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Compute the shard of the one task in the batch; an error goes to the board, and ends the run."""
        task = ShardTask(**json.loads(batch["task"][0]))
        try:
            self._extract(task, self._manifest.records(task.start, task.stop))
        except AmesError as error:
            ray.get(self._board.fail.remote(error))
        return {"shard": [task.shard]}


def probe(config: ExtractConfig, records: Sequence[ImageRecord]) -> ExtractorSpec | AmesError:
    """Take the first usable image, if any, through everything, as a worker will; returns what it yields.

    What the network raises on all that can be read is raised, as no image is to blame. Where none can be,
    `overwrite` is refused: no store is deleted for images that are not there. An AmesError is returned, not
    raised: Ray would wrap it into a page of its own.
    """
    try:
        device, _ = _settle(config)
        extractor = make_extractor(config, device)
    except AmesError as error:
        return error
    failure: Exception | None = None
    for record in records:
        ready = prepare(record, extractor, read_options(config))
        if isinstance(ready, Prepared):
            try:
                extractor.extract([ready])
            except Exception as error:  # noqa: BLE001 - a network may raise anything
                failure = error
            else:
                return extractor.spec
    if failure is not None:
        raise failure
    if records and config.overwrite:
        return DatasetError(
            f"none of the first {len(records)} images can be read, such as {records[0].uri}",
            "is data_root= right? `ames-ray check` tells what is wrong with each; overwrite=true has deleted "
            "nothing, and without it they become failed rows",
        )
    return extractor.spec


def _settle(config: ExtractConfig) -> tuple[str, str]:
    """Choose the device and the threads of this process; returns the device and a description."""
    import cv2

    # Pictures are decoded by our own threads; more inside OpenCV would only compete with them.
    cv2.setNumThreads(1)
    assigned = ray.get_gpu_ids()
    reserved = f", GPU {', '.join(map(str, assigned))} reserved" if assigned else ""
    if not uses_network(config.backbone, config.weights):
        return "cpu", f"cpu{reserved}"
    device = choose_device(config.device, assigned)
    import torch

    # It holds for the calling thread: Ray Data builds the worker and calls it in one and the same.
    torch.set_num_threads(max(1, int(config.cpus_per_worker)))
    return device, f"{device}{reserved}"
