"""The outcome of an evaluation, with all that is needed to read it later."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.files import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Figures of one ranking or one setting.

    Attributes:
        protocol: "revisited" or "gldv2".
        figures: Unrounded means as fractions (1.0 is perfect) by name, such as "medium_mAP";
            NaN where no query counts.
        per_query: By setup, (Q,) float64 average precisions; NaN for a query without positives.
        settings: What was asked for and used: `lamb`, `temp`, `num_rerank`, `num_rerank_used`.
        counts: Queries, and how many of them count in each group.
        notes: Sentences about what deviates from the plain protocol.
    """

    protocol: str
    figures: Mapping[str, float]
    per_query: Mapping[str, NDArray[np.float64]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def percent(self, digits: int = 2) -> dict[str, float]:
        """The figures as papers print them."""
        return {name: round(100 * value, digits) for name, value in self.figures.items()}

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
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """What `to_json` wrote."""
        values = json.loads(data)
        figures = {name: np.nan if value is None else value for name, value in values["figures"].items()}
        per_query = {name: np.array(aps, np.float64) for name, aps in values["per_query"].items()}
        return cls(
            values["protocol"],
            figures,
            per_query,
            values["settings"],
            values["counts"],
            tuple(values["notes"]),
        )


def none_for_nan(value: float) -> float | None:
    """A number as JSON can hold it."""
    return None if np.isnan(value) else float(value)
