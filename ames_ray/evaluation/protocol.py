"""What a benchmark asks for, free of any ranking: positives, ignored images, the measure, the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """One reading of the ground truth.

    An image that is listed both as positive and as ignored counts as positive.

    Attributes:
        name: Key of its per-query results.
        positives: Q arrays of gallery rows.
        ignored: Q arrays of gallery rows that are removed from a ranking before ranks are counted, and
            before it is cut at `num_rerank`.
    """

    name: str
    positives: tuple[IntArray, ...]
    ignored: tuple[IntArray, ...]

    def denominator(self, ranked: IntArray, cutoff: int) -> NDArray[np.float64]:
        """What each query's sum of precisions is divided by: min(positives, images ranked, cutoff if any).

        Args:
            ranked: (Q,) images in each ranking, without the ignored ones.
            cutoff: Ranks that count, or 0.

        Returns:
            (Q,), at least 1; NaN where a query has no positives.
        """
        positives = np.array([len(rows) for rows in self.positives], np.int64)
        counted = np.minimum(positives, np.minimum(ranked, cutoff) if cutoff else ranked)
        return np.where(positives > 0, np.maximum(counted, 1).astype(np.float64), np.nan)


@dataclass(frozen=True, slots=True)
class Group:
    """Queries over which a mean is taken.

    Attributes:
        name: First part of the names of its figures.
        setup: Position of its `Setup` in the protocol.
        queries: Which queries belong to it.
    """

    name: str
    setup: int
    queries: slice


@dataclass(frozen=True, slots=True, eq=False)
class Protocol:
    """A benchmark.

    Attributes:
        name: "revisited" or "gldv2".
        setups: Readings of the ground truth.
        groups: Means to report.
        cutoff: Ranks that count for the average precision, precision at each hit; 0: all ranks, and the
            area under the precision-recall curve by the trapezoid rule.
        precision_at: The k of each mP@k figure.
        remarks: Sentences about what the protocol makes of the ground truth, and about its images.

    Raises:
        DatasetError: No query of any group has positives.
    """

    name: str
    setups: tuple[Setup, ...]
    groups: tuple[Group, ...]
    cutoff: int = 0
    precision_at: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = self.counts()
        if not any(counts[f"{group.name}_queries"] for group in self.groups):
            raise DatasetError(
                f"none of the {self.queries} queries has positives "
                f"({', '.join(group.name for group in self.groups)})",
                "a mean needs one at least; check that the ground truth belongs to these queries",
            )

    @property
    def queries(self) -> int:
        """Number of queries."""
        return len(self.setups[0].positives)

    def figure_names(self, group: Group) -> tuple[str, ...]:
        """Names of a group's figures: mean average precision first, then mP@k."""
        mean = f"{group.name}_mAP@{self.cutoff}" if self.cutoff else f"{group.name}_mAP"
        return (mean, *(f"{group.name}_mP@{k}" for k in self.precision_at))

    def group_of_mean(self, figure: str) -> Group:
        """The group whose mean average precision has this name.

        Raises:
            ConfigError: There is none.
        """
        means = {self.figure_names(group)[0]: group for group in self.groups}
        if figure not in means:
            raise ConfigError(f"figure={figure}: allowed are {', '.join(means)}")
        return means[figure]

    def counts(self) -> dict[str, int]:
        """Queries in all, and how many of each group's queries have positives or not."""
        result = {"queries": self.queries}
        for group in self.groups:
            sizes = [len(rows) for rows in self.setups[group.setup].positives[group.queries]]
            result[f"{group.name}_queries"] = sum(size > 0 for size in sizes)
            result[f"{group.name}_queries_without_positives"] = sum(size == 0 for size in sizes)
        return result

    def notes(self) -> list[str]:
        """Sentences about what the ground truth leaves open."""
        counts = self.counts()
        notes = [*self.remarks]
        notes += [
            f"no query of {group.name} has positives: its figures are undefined"
            for group in self.groups
            if counts[f"{group.name}_queries"] == 0
        ]
        for setup in self.setups:
            pairs = zip(setup.positives, setup.ignored, strict=True)
            both = sum(int(np.isin(positives, ignored).sum()) for positives, ignored in pairs)
            if both:
                notes.append(
                    f"{setup.name}: {both} images are both positive and ignored; they count as positive"
                )
        return notes

    def check_queries(self, found: int, what: str) -> None:
        """Refuse rankings or scores of another number of queries.

        Raises:
            DatasetError: The numbers differ.
        """
        if found != self.queries:
            raise DatasetError(
                f"{what} has {found} queries, the ground truth {self.queries}",
                "both must come from the same query list, in the same order",
            )
