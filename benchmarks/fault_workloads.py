"""What the fault suite disturbs: a command, and what must come out of it whatever happened."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 96


@dataclass(frozen=True)
class Workload:
    """One command.

    Attributes:
        name: For the table.
        prepare: Makes the input in a folder, once.
        words: The command for a folder with the input and an output.
        rows: What was made, a number each: rows of a store, pairs of a file of scores.
        expected: How many there must be, all different.
        digest: Hashes of all of an output that must be as in an undisturbed run.
        moments: Moments at which a process can be made to die.
    """

    name: str
    prepare: Callable[[Path], None]
    words: Callable[[Path, Path], list[str]]
    rows: Callable[[Path], list[int]]
    expected: int
    digest: Callable[[Path], dict[str, str]]
    moments: tuple[str, ...] = ()

    def start(self, inputs: Path, output: Path, **variables: str) -> subprocess.Popen[bytes]:
        """The command in a process group of its own."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
        return subprocess.Popen(
            [sys.executable, "-m", "ames_ray.cli.main", *self.words(inputs, output)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def make_photos(folder: Path) -> None:
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


def _store_files(output: Path) -> list[Path]:
    store = output / "store"
    named = [store / name for name in ("manifest.parquet", "meta.json", "shards.json", "failed.csv")]
    return [*sorted((store / "shards").iterdir()), *named]


def _extract_rows(output: Path) -> list[int]:
    shards = sorted((output / "store" / "shards").glob("*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard, columns=["row"])["row"].to_pylist()]


def _digest(files: Callable[[Path], list[Path]]) -> Callable[[Path], dict[str, str]]:
    def digest(output: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(output)}

    return digest


def _prepare_score(folder: Path) -> None:
    """A store of random descriptors, a shortlist, and a small network with random weights."""
    from ames_ray.model.ames import Ames
    from ames_ray.model.checkpoints import save_ames
    from ames_ray.model.options import AmesOptions

    make_photos(folder)
    common = ["backbone=sift", "topk=100", "shard_rows=16", "workers=1"]
    _run("extract", f"images={folder / 'photos'}", f"output={folder / 'store'}", *common)
    store = [f"query={folder / 'store'}", f"gallery={folder / 'store'}"]
    _run("neighbors", *store, f"shortlist_size={IMAGES}", f"output={folder / 'nn.parquet'}")
    save_ames(Ames(AmesOptions(128, dim=64, blocks=2, feedforward=128)), folder / "model.safetensors")


def _score_words(inputs: Path, output: Path) -> list[str]:
    store = [f"query={inputs / 'store'}", f"gallery={inputs / 'store'}"]
    model = [f"nn_file={inputs / 'nn.parquet'}", f"model={inputs / 'model.safetensors'}"]
    return ["score", *store, *model, "device=cpu", "workers=2", f"output={output / 'scores.parquet'}"]


def _score_rows(output: Path) -> list[int]:
    table = pq.read_table(output / "scores.parquet", columns=["query", "rank"])
    pairs: list[int] = (table["query"].to_numpy() * IMAGES + table["rank"].to_numpy()).tolist()
    return pairs


def _run(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "ames_ray.cli.main", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


WORKLOADS = {
    "extract": Workload(
        "extract",
        make_photos,
        _extract_words,
        _extract_rows,
        IMAGES,
        _digest(_store_files),
        ("decode", "write", "rename", "mark"),
    ),
    "score": Workload(
        "score",
        _prepare_score,
        _score_words,
        _score_rows,
        IMAGES * IMAGES,
        _digest(lambda output: [output / "scores.parquet"]),
    ),
}
