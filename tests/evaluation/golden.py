"""Golden numbers of the protocols, computed once with the public code of the AMES authors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ames_ray.evaluation.scores import PairScores, Shortlist

FOLDER = Path(__file__).resolve().parents[1] / "golden"


@cache
def figures(name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FOLDER / f"{name}_protocol.json").read_bytes())
    return values


@cache
def arrays(name: str) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(FOLDER / f"{name}_protocol.npz", allow_pickle=False) as file:
        return dict(file)


def revisited_scores() -> tuple[Shortlist, PairScores]:
    """The whole ranking, and a score of every pair."""
    data = arrays("revisited")
    rows = data["nn_index"].astype(np.int64)
    logits = np.take_along_axis(data["raw_similarity_by_image"], rows, 1)
    return Shortlist(rows, data["nn_similarity"]), PairScores(rows, logits, "f00d", 600, 100)


def per_query(values: list[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, np.float64)
