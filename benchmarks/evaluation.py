"""Time of one (λ, γ, K) setting on cached pair scores, against two plain evaluators.

One sorts every ranking with numpy and gives the same figures. The other one is compiled and gives only ranks:
for each positive it counts the candidates that score more, as short as such a loop can be written.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation

70 queries over 4,993 images, K = 1600, Medium and Hard with mP@1, 5, 10. The two must agree to 1e-12 before
anything is timed.
"""

from __future__ import annotations

import os
import time
from functools import partial
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.evaluation.best_lamb import best_lamb
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.kernel import compiled
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import SETUPS, revisited
from ames_ray.evaluation.scores import PairScores, Shortlist
from benchmarks.record import save, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ames_ray.types import BoolArray, IntArray

QUERIES, GALLERY, NUM_RERANK = 70, 4993, 1600
LAMB = tuple(round(0.05 * step, 2) for step in range(21))
TEMP = (0.1, 0.2, 0.5, 0.8)
SETUP_NAMES = ("medium", "hard")


def random_benchmark(easy: int, hard: int, junk: int) -> tuple[GroundTruth, Shortlist, PairScores]:
    """Random scores over a gallery of the size of ROxford, in which positives tend to score higher."""
    rng = np.random.default_rng(0)
    gnd, rows, similarities, logits = [], [], [], []
    for _ in range(QUERIES):
        listed = rng.choice(GALLERY, easy + hard + junk, replace=False)
        lists = np.split(listed, [easy, easy + hard])
        gnd.append(dict(zip(("easy", "hard", "junk"), lists, strict=True)))
        similarity = rng.normal(0.3, 0.1, GALLERY)
        logit = rng.normal(-3, 3, GALLERY)
        similarity[listed[: easy + hard]] += 0.25
        logit[listed[: easy + hard]] += 5
        order = np.argsort(-similarity)
        rows.append(order)
        similarities.append(similarity[order])
        logits.append(logit[order])
    table = np.array(rows)
    shortlist = Shortlist(table, np.array(similarities, np.float32))
    return GroundTruth.from_gnd(gnd), shortlist, PairScores(table, np.array(logits, np.float32), "", 0, 0)


def plain_loop(
    gnd: Sequence[dict[str, IntArray]], shortlist: Shortlist, scores: PairScores, setting: Ensemble
) -> list[float]:
    """Mean average precision of each setup as a plain evaluator takes it: reorder, sort, look up, count."""
    means = []
    for setup in SETUP_NAMES:
        wanted, unwanted = SETUPS[setup]
        precisions = []
        for query, entry in enumerate(gnd):
            rows = shortlist.rows[query]
            kept = ~np.isin(rows, np.concatenate([entry[name] for name in unwanted]))
            rows, g, logit = rows[kept], shortlist.similarities[query][kept], scores.logits[query][kept]
            K = setting.num_rerank
            probability = 1 / (1 + np.exp(-setting.temp * logit[:K].astype(np.float64)))
            score = setting.lamb * g[:K].astype(np.float64) + (1 - setting.lamb) * probability
            ranking = np.concatenate([rows[:K][np.argsort(-score, kind="stable")], rows[K:]])
            positives = np.concatenate([entry[name] for name in wanted])
            ranks = np.flatnonzero(np.isin(ranking, positives))
            found = np.arange(len(ranks))
            before = np.where(ranks > 0, found / np.maximum(ranks, 1), 1.0)
            precisions.append(((before + (found + 1) / (ranks + 1)) / 2).sum() / len(positives))
        means.append(float(np.mean(precisions)))
    return means


@compiled
def counting_loop(
    similarities: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    lamb: float,
    heads: NDArray[np.uint8],
    marked: IntArray,
    starts: IntArray,
    positive: BoolArray,
    ranks: IntArray,
) -> None:
    """Ranks (S, M) of the positives, by counting; equal scores share a rank. See `rerank_positives`."""
    queries, width = heads.shape
    scores = np.empty(width)
    for query in range(queries):
        for candidate in range(width):
            scores[candidate] = (
                lamb * similarities[query, candidate] + (1 - lamb) * probabilities[query, candidate]
            )
        for setup in range(len(positive)):
            for slot in range(starts[query], starts[query + 1]):
                column = marked[slot]
                if positive[setup, slot] and heads[query, column] >> setup & 1:
                    rank = 0
                    for candidate in range(width):
                        ahead = scores[candidate] > scores[column]
                        rank += (heads[query, candidate] >> setup & 1) & ahead
                    ranks[setup, slot] = rank


def count_ranks(evaluation: RerankedEvaluation, setting: Ensemble) -> None:
    """`counting_loop` of one setting."""
    table = evaluation.table
    counting_loop(
        table.similarities,
        evaluation.probabilities(setting.temp),
        setting.lamb,
        evaluation.heads(setting.num_rerank),
        table.marked,
        table.starts,
        table.positive,
        np.zeros(table.positive.shape, np.int64),
    )


def milliseconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def measure(easy: int, hard: int, junk: int) -> dict[str, Any]:
    """Medians for one number of positives a query."""
    truth, shortlist, scores = random_benchmark(easy, hard, junk)
    gnd = [{name: truth.of(name)[query] for name in truth.lists} for query in range(QUERIES)]
    protocol = revisited(truth, SETUP_NAMES)
    start = time.perf_counter()
    evaluation = RerankedEvaluation(protocol, shortlist, scores, NUM_RERANK)
    evaluation(Ensemble(0.5, 0.3, NUM_RERANK))
    first = (time.perf_counter() - start) * 1000

    grid = [Ensemble(lamb, temp, NUM_RERANK) for temp, lamb in product(TEMP, LAMB)]
    for setting in grid[::20]:
        figures = evaluation(setting).figures
        means = [figures[f"{setup}_mAP"] for setup in SETUP_NAMES]
        np.testing.assert_allclose(means, plain_loop(gnd, shortlist, scores, setting), rtol=0, atol=1e-12)
    count_ranks(evaluation, grid[0])
    ours, counted = [], []
    for setting in grid:
        ours.append(milliseconds(partial(evaluation, setting)))
        counted.append(milliseconds(partial(count_ranks, evaluation, setting)))
    plain = [milliseconds(partial(plain_loop, gnd, shortlist, scores, setting)) for setting in grid[::8]]
    best = milliseconds(partial(best_lamb, evaluation, 0.2, NUM_RERANK, "medium_mAP"))
    return {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "shape": {"queries": QUERIES, "gallery": GALLERY, "num_rerank": NUM_RERANK, "settings": len(grid)},
        "listed_a_query": {"easy": easy, "hard": hard, "junk": junk},
        "first_setting_with_look_ups_ms": round(first, 2),
        "setting_ms": spread(ours)["median"],
        "plain_numpy_setting_ms": spread(plain)["median"],
        "counting_loop_ms": spread(counted)["median"],
        "times_faster": round(median(plain) / median(ours), 1),
        "times_the_counting_loop": round(median(ours) / median(counted), 2),
        "best_lamb_of_all_ms": round(best, 1),
    }


def main() -> None:
    """Measure, print and write."""
    for easy, hard, junk in ((30, 25, 30), (100, 80, 50)):
        save("evaluation", f"{easy + hard} positives a query", measure(easy, hard, junk))


if __name__ == "__main__":
    main()
