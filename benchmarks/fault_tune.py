"""Tuning for the fault suite: a search on scores that are there.

Each point must have one answer, and there must be as many as were asked for. A search that goes on need not
try the points of one that nobody disturbed: what it tries next depends on what it knows, and what was in hand
when it died is drawn anew. Equal in all runs are the answers to the points that the sweep itself names, and
the exact optimum; the best that is reported must be the best that was found. No worker is stalled: answers
come from what is in memory, and nothing watches for it.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.score_files import save_scores
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from benchmarks.fault_workload import IMAGES, VIEWS, Workload, make_network, make_store, pairs

_TRIALS, _LARGEST = 60, 40
_FIGURE = "medium_mAP"
_NAMED = [(0.5, 0.2, 40), (0.35, 0.1, 40), (0.85, 0.8, 20)]
_SPACE = {
    "lamb": {"float": [0, 1]},
    "temp": {"float": [0.01, 10], "log": True},
    "num_rerank": {"int": [10, _LARGEST], "log": True},
}


def _prepare(folder: Path) -> None:
    """Each image asks for the others of its landmark: ground truth, ranking, scores and a sweep."""
    store = make_store(folder)
    names = [record.image_id for record in store.manifest]
    truth = {"imlist": names, "qimlist": names, "gnd": [_others(row) for row in range(IMAGES)]}
    (folder / "gnd.json").write_text(json.dumps(truth))
    gallery = Gallery((store,))
    near = find_neighbors(store, gallery, "global", None)
    save_scores(near, str(folder / "nn_tune.parquet"))
    reranker = make_network(folder / "tiny.safetensors", 16)
    protocol = Benchmark.read(str(folder / "gnd.json"), None).protocol
    scores = score_pairs(
        PairScorer(candidates(protocol, near, _LARGEST), store, gallery, reranker, ScoreOptions())
    )
    save_scores(scores, str(folder / "scores_tune.parquet"))
    points = [dict(zip(_SPACE, point, strict=True)) for point in _NAMED]
    (folder / "sweep.yaml").write_text(json.dumps({"space": _SPACE, "points": points}))


def _others(row: int) -> dict[str, list[int]]:
    first = row - row % VIEWS
    others = [other for other in range(first, first + VIEWS) if other != row]
    return {"easy": [], "hard": others, "junk": [row]}


def _words(inputs: Path, output: Path) -> list[str]:
    given = [f"nn_file={inputs / 'nn_tune.parquet'}", f"scores={inputs / 'scores_tune.parquet'}"]
    search = [f"sweep={inputs / 'sweep.yaml'}", f"trials={_TRIALS}", "points_per_trial=5", "workers=2"]
    truth = [f"ground_truth={inputs / 'gnd.json'}", f"output={output / 'tuning'}"]
    return ["tune", *pairs(inputs), *given, *search, *truth]


def _trials(output: Path) -> list[dict[str, str]]:
    with (output / "tuning" / "sweep" / "trials.csv").open() as lines:
        # Without a figure is a point whose worker died more often than a search bears: it counts as lost.
        return [trial for trial in csv.DictReader(lines) if trial[_FIGURE]]


def _point(trial: dict[str, str]) -> tuple[float, float, int]:
    return float(trial["lamb"]), float(trial["temp"]), int(trial["num_rerank"])


def _rows(output: Path) -> list[int]:
    points = [str(_point(trial)) for trial in _trials(output)]
    return [int(hashlib.sha256(point.encode()).hexdigest()[:15], 16) for point in points]


def _digest(output: Path) -> dict[str, str]:
    trials = _trials(output)
    result = json.loads((output / "tuning" / "sweep" / "result.json").read_text())
    named = sorted(
        str(sorted((trial | {"trial": ""}).items())) for trial in trials if _point(trial) in _NAMED
    )
    best = max(float(trial[_FIGURE]) for trial in trials)
    return {"named": str(named), "exact": str(result["exact"]), "best": str(result["best"]["value"] == best)}


TUNE = Workload("tune", _prepare, _words, _rows, _TRIALS, _digest, begun="study.journal", can_tear=True)
