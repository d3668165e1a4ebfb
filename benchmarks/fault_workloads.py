"""What the fault suite disturbs: extraction and scoring here, training and tuning in modules of their own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

from ames_ray.evaluation.score_files import save_scores
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from benchmarks.fault_train import TRAIN
from benchmarks.fault_tune import TUNE
from benchmarks.fault_workload import IMAGES, Workload, digests, make_network, make_store, pairs


def _make_photos(folder: Path) -> None:
    """Small pictures that differ."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for number in range(IMAGES):
        noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(photos / f"{number:04d}.png"), noise)


def _extract_words(inputs: Path, output: Path) -> list[str]:
    words = ["extract", f"images={inputs / 'photos'}", f"output={output / 'store'}", "shard_rows=8"]
    words += ["backbone=benchmarks.dying:slow_blank", "topk=4", "batch_size=1", "workers=2", "device=cpu"]
    return [*words, "stall_timeout=20"]


def _extract_digest(output: Path) -> dict[str, str]:
    store = output / "store"
    named = [store / name for name in ("manifest.parquet", "meta.json", "shards.json", "failed.csv")]
    return digests([*sorted((store / "shards").iterdir()), *named])


def _extract_rows(output: Path) -> list[int]:
    shards = sorted((output / "store" / "shards").glob("*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard, columns=["row"])["row"].to_pylist()]


def _prepare_score(folder: Path) -> None:
    """A store, a shortlist of everything, and a network."""
    store = make_store(folder)
    save_scores(find_neighbors(store, Gallery((store,)), "global", None), str(folder / "nn.parquet"))
    make_network(folder / "model.safetensors", 64)


def _score_words(inputs: Path, output: Path) -> list[str]:
    model = [f"nn_file={inputs / 'nn.parquet'}", f"model={inputs / 'model.safetensors'}"]
    limits = ["device=cpu", "workers=2", "stall_timeout=60"]
    return ["score", *pairs(inputs), *model, *limits, f"output={output / 'scores.parquet'}"]


def _score_rows(output: Path) -> list[int]:
    table = pq.read_table(output / "scores.parquet", columns=["query", "rank"])
    rows: list[int] = (table["query"].to_numpy() * IMAGES + table["rank"].to_numpy()).tolist()
    return rows


def _score_digest(output: Path) -> dict[str, str]:
    return digests([output / "scores.parquet"])


EXTRACT = Workload(
    "extract",
    _make_photos,
    _extract_words,
    _extract_rows,
    IMAGES,
    _extract_digest,
    begun="0*",
    worker="MapWorker",
    moments=("decode", "write", "rename", "mark"),
)
SCORE = Workload(
    "score",
    _prepare_score,
    _score_words,
    _score_rows,
    IMAGES**2,
    _score_digest,
    begun="0*",
    worker="CrewWorker",
)
WORKLOADS = {workload.name: workload for workload in (EXTRACT, SCORE, TUNE, TRAIN)}
