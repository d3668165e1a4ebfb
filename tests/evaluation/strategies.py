"""Small random benchmarks with all that goes wrong in them: ties, NaN, short lists, empty queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.scores import PairScores, Shortlist

no_deadline = settings(deadline=None)
"""The first example of a process compiles the inner loop."""

EXTREME = (-np.inf, -900.0, -2.0, 0.0, 1.0, 1.0, 50.0, 60.0, np.nan)


@dataclass(frozen=True)
class Benchmark:
    """Ground truth in plain lists, rankings in plain lists, values by image."""

    gnd: list[dict[str, list[int]]]
    rankings: list[list[int]]
    similarity: list[dict[int, float]]
    logit: list[dict[int, float]]

    @property
    def truth(self) -> GroundTruth:
        return GroundTruth.from_gnd(self.gnd)

    @property
    def shortlist(self) -> Shortlist:
        return Shortlist(self._table(self.rankings, -1, np.int64), self._values(self.similarity))

    @property
    def scores(self) -> PairScores:
        rows = self._table(self.rankings, -1, np.int64)
        return PairScores(rows, self._values(self.logit), "f00d", 8, 8)

    def _values(self, by_image: list[dict[int, float]]) -> Any:
        lines = [
            [values[image] for image in ranking]
            for ranking, values in zip(self.rankings, by_image, strict=True)
        ]
        return self._table(lines, np.nan, np.float32)

    @staticmethod
    def _table(lines: list[list[Any]], fill: float, dtype: type) -> Any:
        table: np.ndarray[Any, Any] = np.full((len(lines), max(map(len, lines))), fill, dtype)
        for line, values in zip(table, lines, strict=True):
            line[: len(values)] = values
        return table


@st.composite
def benchmarks(draw: st.DrawFn, answers: tuple[float, ...] | None = EXTREME) -> Benchmark:
    """One to three queries over up to 14 images.

    Args:
        draw: Hypothesis' source of choices.
        answers: Logits to choose from, with few different similarities, so that scores tie; none: all values
            differ.
    """
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    size = draw(st.integers(1, 14))
    gnd, rankings, similarity, logit = [], [], [], []
    for _ in range(draw(st.integers(1, 3))):
        labels = rng.choice(["easy", "hard", "junk", "none"], size, p=[0.25, 0.2, 0.15, 0.4])
        gnd.append({name: np.flatnonzero(labels == name).tolist() for name in ("easy", "hard", "junk")})
        length = size if rng.random() < 0.6 else int(rng.integers(0, size + 1))
        ranking = rng.permutation(size)[:length].tolist()
        if answers is not None:
            values = np.sort(rng.choice([0.0, 0.25, 0.5, 0.75], length))[::-1]
            logits = rng.choice(answers, length)
        else:
            values = np.sort(rng.random(length).astype(np.float32))[::-1]
            logits = rng.normal(0, 3, length).astype(np.float32)
        rankings.append(ranking)
        similarity.append(dict(zip(ranking, values.tolist(), strict=True)))
        logit.append(dict(zip(ranking, logits.tolist(), strict=True)))
    if not any(entry["easy"] + entry["hard"] for entry in gnd):
        gnd[0] = {"easy": [0], "hard": [], "junk": []}
    return Benchmark(gnd, rankings, similarity, logit)
