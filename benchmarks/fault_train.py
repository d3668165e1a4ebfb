"""Training for the fault suite: two workers, a tiny network, a step of some thirty milliseconds.

A run that goes on must leave the log and the weights of one that nobody disturbed, to the last bit: the
gradients of two workers are added in one order only. Rates and TensorBoard's files hold times, and are not
compared.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ames_ray.evaluation.score_files import save_scores
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from benchmarks.fault_workload import IMAGES, Workload, digests, make_store

_BATCH, _EPOCHS = 8, 20
_STEPS = _EPOCHS * IMAGES // _BATCH
_TIMED = {"triplets_per_s", "waiting"}


def _prepare(folder: Path) -> None:
    """A labelled store, and the neighbours of its images."""
    store = make_store(folder)
    near = find_neighbors(store, Gallery((store,)), "global", None, exclude_self=True)
    save_scores(near, str(folder / "nn_train.parquet"))


def _words(inputs: Path, output: Path) -> list[str]:
    words = ["train", f"store={inputs / 'store'}", f"nn_file={inputs / 'nn_train.parquet'}", "max_desc=40"]
    words += ["source=benchmarks.dying:slow_triplets", f"batch_size={_BATCH}", f"epochs={_EPOCHS}"]
    words += ["dim=16", "blocks=2", "feedforward=32", "initialisation=identity", "checkpoint_every=5"]
    return [*words, "workers=2", "device=cpu", "stall_timeout=60", f"output={output / 'run'}"]


def _log(output: Path) -> list[dict[str, str]]:
    with (output / "run" / "log.csv").open() as lines:
        return list(csv.DictReader(lines))


def _rows(output: Path) -> list[int]:
    return [int(line["total"]) for line in _log(output)]


def _digest(output: Path) -> dict[str, str]:
    curve = [{name: text for name, text in line.items() if name not in _TIMED} for line in _log(output)]
    files = [output / "run" / name for name in ("epochs.csv", "last.safetensors")]
    return {"curve": str(curve), **digests(files)}


TRAIN = Workload(
    "train",
    _prepare,
    _words,
    _rows,
    _STEPS,
    _digest,
    begun="step-*.pt",
    worker="TrainWorker",
    moments=("step", "checkpoint"),
    can_tear=True,
)
