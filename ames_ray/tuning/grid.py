"""Every figure of every setting of a grid of λ, γ and K, equal to `ames_ray.evaluation.sweep`, in seconds."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError
from ames_ray.evaluation.average_precision import precision_terms
from ames_ray.evaluation.ensemble import Ensemble, match_probability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from ames_ray.evaluation.protocol import Group
    from ames_ray.evaluation.reranked import RerankedEvaluation


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The values of each setting; every combination is evaluated.

    Attributes:
        lamb: Values of λ.
        temp: Values of γ.
        num_rerank: Values of K, ascending.

    Raises:
        ConfigError: A list is empty, a value is outside its range, or the K are not ascending.
    """

    lamb: tuple[float, ...]
    temp: tuple[float, ...]
    num_rerank: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("lamb", "temp", "num_rerank"):
            if not getattr(self, name):
                raise ConfigError(f"{name}=[]: a grid needs one value at least")
        for lamb in self.lamb:
            Ensemble(lamb, 0, 0)
        for temp in self.temp:
            Ensemble(0, temp, 0)
        for num_rerank in self.num_rerank:
            Ensemble(0, 0, num_rerank)
        if list(self.num_rerank) != sorted(set(self.num_rerank)):
            raise ConfigError(f"num_rerank={list(self.num_rerank)}: a grid needs them ascending, each once")

    def __len__(self) -> int:
        return len(self.lamb) * len(self.temp) * len(self.num_rerank)


@dataclass(frozen=True, slots=True, eq=False)
class GridTable:
    """The figures of a grid.

    Attributes:
        grid: The settings.
        figures: By name, (T, L, K) unrounded fractions for each γ, λ and K; NaN where no query counts.
    """

    grid: Grid
    figures: Mapping[str, NDArray[np.float64]]

    def best(self, figure: str) -> Ensemble:
        """The setting with the highest figure; of equals the first one by γ, λ, K."""
        values = self.figures[figure]
        temp, lamb, head = np.unravel_index(int(np.nanargmax(values)), values.shape)
        grid = self.grid
        return Ensemble(grid.lamb[lamb], grid.temp[temp], grid.num_rerank[head])

    def best_per_head(self, figure: str) -> tuple[Ensemble, ...]:
        """For each K the best λ and γ."""
        found = []
        for number, num_rerank in enumerate(self.grid.num_rerank):
            values = self.figures[figure][..., number]
            temp, lamb = np.unravel_index(int(np.nanargmax(values)), values.shape)
            found.append(Ensemble(self.grid.lamb[lamb], self.grid.temp[temp], num_rerank))
        return tuple(found)

    def rows(self) -> Iterator[dict[str, float]]:
        """Settings and figures, one line a setting."""
        grid = self.grid
        for place in np.ndindex(len(grid.temp), len(grid.lamb), len(grid.num_rerank)):
            temp, lamb, head = place
            yield {
                "lamb": grid.lamb[lamb],
                "temp": grid.temp[temp],
                "num_rerank": grid.num_rerank[head],
                **{name: float(values[place]) for name, values in self.figures.items()},
            }


def evaluate_grid(
    evaluation: RerankedEvaluation,
    grid: Grid,
    *,
    report: Callable[[int, int], None] = lambda *_: None,
    threads: int | None = None,
) -> GridTable:
    """Evaluate a grid at once.

    Args:
        evaluation: Benchmark, ranking and scores.
        grid: The settings.
        report: Told how many settings are done, of how many.
        threads: γ at work at once; none for one a core.

    Raises:
        ConfigError: A K is above the one that `evaluation` was made for.
    """
    workers = min(threads or len(os.sched_getaffinity(0)), len(grid.temp))
    shared = _Shared(evaluation, grid)
    parts = []
    with ThreadPoolExecutor(workers) as pool:
        for part in pool.map(shared.figures, grid.temp):
            parts.append(part)
            report(len(parts) * (len(grid) // len(grid.temp)), len(grid))
    return GridTable(grid, {name: np.stack([part[name] for part in parts]) for name in parts[0]})


class _Shared:
    """What all γ of a grid share."""

    def __init__(self, evaluation: RerankedEvaluation, grid: Grid) -> None:
        evaluation.heads(grid.num_rerank[-1])
        self._evaluation = evaluation
        self._grid = grid
        setups = evaluation.setups
        places = evaluation.table.places
        self._positive = evaluation.table.positive
        self._heads = np.searchsorted(grid.num_rerank, places, side="right").astype(np.int16)
        cutoff = evaluation.protocol.cutoff
        self._ranks = np.concatenate([setup.ranks for setup in setups])
        self._terms = np.concatenate([precision_terms(s.found, s.ranks, cutoff) for s in setups])
        queries = np.arange(len(places) + 1)
        ends = np.cumsum([0, *(len(setup.ranks) for setup in setups)])
        self._spans = np.stack(
            [end + np.searchsorted(s.query, queries) for s, end in zip(setups, ends, strict=False)], axis=1
        )
        self._lambs = np.array(grid.lamb, np.float64)
        self._at = np.array(evaluation.protocol.precision_at, np.int64)

    def figures(self, temp: float) -> dict[str, NDArray[np.float64]]:
        """(L, K) figures by name for one γ."""
        from ames_ray.tuning.grid_kernel import grid_of_query

        table, protocol = self._evaluation.table, self._evaluation.protocol
        probabilities = match_probability(table.logits, temp)
        shape = (len(table.places), len(self._lambs), len(self._grid.num_rerank), len(protocol.setups))
        sums = np.empty(shape)
        hits = np.empty((*shape, len(self._at)), np.int32)
        lasts = np.empty(shape, np.int32)
        for query in range(len(table.places)):
            own = slice(table.starts[query], table.starts[query + 1])
            grid_of_query(
                table.similarities[query],
                probabilities[query],
                self._heads[query],
                table.marked[own],
                self._positive[:, own],
                np.ascontiguousarray(self._spans[query : query + 2].T),
                self._ranks,
                self._terms,
                self._lambs,
                protocol.cutoff,
                self._at,
                sums[query],
                hits[query],
                lasts[query],
            )
        result: dict[str, NDArray[np.float64]] = {}
        for group in protocol.groups:
            result |= self._means(group, sums, hits, lasts)
        return result

    def _means(
        self, group: Group, sums: NDArray[np.float64], hits: NDArray[np.int32], lasts: NDArray[np.int32]
    ) -> dict[str, NDArray[np.float64]]:
        denominator = self._evaluation.setups[group.setup].denominator
        counted = np.zeros(len(denominator), np.bool_)
        counted[group.queries] = ~np.isnan(denominator[group.queries])
        names = self._evaluation.protocol.figure_names(group)
        if not counted.any():
            return {name: np.full(sums.shape[1:3], np.nan) for name in names}
        place = (counted, slice(None), slice(None), group.setup)
        columns = [sums[place] / denominator[counted, None, None]]
        for number, k in enumerate(self._at.tolist()):
            last = lasts[place]
            cut = np.where(last >= 0, np.minimum(last + 1, k), k)
            columns.append(hits[place][..., number] / cut)
        # The same order of additions as in a single evaluation: the same bits.
        return {
            name: np.ascontiguousarray(np.moveaxis(column, 0, -1)).mean(axis=-1)
            for name, column in zip(names, columns, strict=True)
        }
