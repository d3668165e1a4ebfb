"""The snippets of docs/from-the-authors.md that turn the authors' pickles into files without code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.kept import read_shortlist
from tests.docs.blocks import blocks

GND: list[dict[str, Any]] = [
    {"bbx": np.array([4.0, 4.0, 60.5, 62.0]), "easy": np.array([1, 5]), "hard": [9], "junk": (0, 3)},
    {"bbx": [8, 8, 50, 50], "easy": [], "hard": np.int64(6).reshape(1), "junk": [13]},
]


def test_their_pickles_become_json_and_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"imlist": [f"ox_{n}" for n in range(14)], "qimlist": ["q0", "q1"]}
    Path("gnd_roxford5k.pkl").write_bytes(pickle.dumps({**names, "gnd": GND}))
    order = np.array([[3, 1, 2], [0, 5, 4]])
    similarities = np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2]])
    both = torch.from_numpy(np.stack([similarities, order]).astype(np.float32))
    Path("nn_dinov2.pkl").write_bytes(pickle.dumps(both))
    for block in blocks("docs/from-the-authors.md"):
        if block.language == "python":
            exec(block.text, {})

    ours, theirs = (Benchmark.read(f"gnd_roxford5k.{ending}") for ending in ("json", "pkl"))
    assert (ours.queries, ours.gallery, ours.last) == (theirs.queries, theirs.gallery, theirs.last)
    for mine, setup in zip(ours.protocol.setups, theirs.protocol.setups, strict=True):
        for left, right in ((mine.positives, setup.positives), (mine.ignored, setup.ignored)):
            assert [line.tolist() for line in left] == [line.tolist() for line in right]
    ranking = read_shortlist("nn_dinov2.parquet")
    np.testing.assert_array_equal(ranking.rows, order)
    np.testing.assert_array_equal(ranking.similarities, similarities.astype(np.float32))
    assert pq.read_table("nn_dinov2.parquet").num_rows == 6
