"""The outcome of an evaluation, with all that is needed to read it later."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ames_ray.files import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Figures of one ranking or one setting.

    Attributes:
        protocol: "revisited" or "gldv2".
        figures: Unrounded means as fractions (1.0 is perfect) by name, such as "medium_mAP";
            NaN where no query counts.
        per_query: By setup, (Q,) float64 average precisions; NaN for a query without positives.
        settings: What was asked for and used: `lamb`, `temp`, `num_rerank`, `num_rerank_used`; empty for a
            global ranking.
        counts: Queries, and how many of them count in each group.
        notes: Sentences about what deviates from the plain protocol.
        card: What made it, see `ames_ray.card`.
    """

    protocol: str
    figures: Mapping[str, float]
    per_query: Mapping[str, NDArray[np.float64]]
    settings: Mapping[str, float]
    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, float | None]:
        """Settings and figures in one line of a table; none stands for NaN."""
        return {**self.settings, **{name: none_for_nan(value) for name, value in self.figures.items()}}

    def to_json(self) -> bytes:
        """Stable JSON; null stands for NaN."""
        return to_json(
            {
                "protocol": self.protocol,
                "figures": {name: none_for_nan(value) for name, value in self.figures.items()},
                "per_query": {name: [none_for_nan(v) for v in aps] for name, aps in self.per_query.items()},
                "settings": dict(self.settings),
                "counts": dict(self.counts),
                "notes": list(self.notes),
                "card": dict(self.card),
            }
        )


def none_for_nan(value: float) -> float | None:
    """A number as JSON can hold it."""
    return None if math.isnan(value) else float(value)
