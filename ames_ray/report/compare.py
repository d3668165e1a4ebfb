"""Two evaluations side by side: which choices differ, and what they did to every query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.evaluation.result import none_for_nan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.report.evaluation import Evaluation

PLACES = {"output", "address"}
"""Settings that say where a run was, not what it computed."""


@dataclass(frozen=True, slots=True)
class QueryChange:
    """What a query got from the one run and from the other.

    Attributes:
        query: Its number.
        first: Average precision; none where it does not count.
        second: Likewise.
    """

    query: int
    first: float
    second: float

    @property
    def change(self) -> float:
        """What it won."""
        return self.second - self.first


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Everything that tells two evaluations apart; each side is its best setting.

    Attributes:
        choices: Settings that differ, by dotted name: what the first has, what the second has.
        figures: Figures that both have, likewise.
        queries: By setup, the queries that count in both, largest change first.
    """

    choices: Mapping[str, tuple[Any, Any]]
    figures: Mapping[str, tuple[float, float]]
    queries: Mapping[str, tuple[QueryChange, ...]]

    def as_json(self) -> dict[str, Any]:
        """Plain values; null stands for NaN and for a setting that a run does not have."""
        return {
            "choices": {name: {"first": a, "second": b} for name, (a, b) in self.choices.items()},
            "figures": {
                name: {"first": none_for_nan(a), "second": none_for_nan(b), "change": none_for_nan(b - a)}
                for name, (a, b) in self.figures.items()
            },
            "queries": {
                setup: [
                    {"query": c.query, "first": c.first, "second": c.second, "change": c.change}
                    for c in changes
                ]
                for setup, changes in self.queries.items()
            },
        }


def compare(first: Evaluation, second: Evaluation) -> Difference:
    """What differs between two evaluations of one benchmark.

    Raises:
        DatasetError: They are of different protocols, or of ground truths that count other queries.
    """
    one, other = first.best, second.best
    sizes = first.before["counts"], second.before["counts"]
    if one["protocol"] != other["protocol"] or sizes[0] != sizes[1]:
        names = [name for name in {**sizes[0], **sizes[1]} if sizes[0].get(name) != sizes[1].get(name)]
        told = [", ".join(f"{size.get(name)} {name.replace('_', ' ')}" for name in names) for size in sizes]
        raise DatasetError(
            f"{first.name} is of {one['protocol']} with {told[0]}, "
            f"{second.name} of {other['protocol']} with {told[1]}",
            "compare runs of one benchmark",
        )
    figures = {
        name: (_number(one["figures"][name]), _number(other["figures"][name]))
        for name in first.figures
        if name in other["figures"]
    }
    setups = [setup for setup in first.setups if setup in second.setups]
    return Difference(_choices(first, second), figures, {s: _queries(first, second, s) for s in setups})


def _queries(first: Evaluation, second: Evaluation, setup: str) -> tuple[QueryChange, ...]:
    one, other = first.precisions(first.best, setup), second.precisions(second.best, setup)
    counted = np.flatnonzero(~np.isnan(one) & ~np.isnan(other))
    changes = [QueryChange(int(q), float(one[q]), float(other[q])) for q in counted]
    return tuple(sorted(changes, key=lambda c: (-abs(c.change), c.query)))


def _choices(first: Evaluation, second: Evaluation) -> dict[str, tuple[Any, Any]]:
    one, other = flat(_decided(first)), flat(_decided(second))
    return {
        name: (one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }


def _decided(evaluation: Evaluation) -> dict[str, Any]:
    """Settings of the run, what its input was made with, the best row and the versions."""
    card = evaluation.document["card"]
    config = {name: value for name, value in evaluation.config.items() if name not in PLACES}
    return {
        "config": config,
        "best": evaluation.best["settings"],
        "settings": card.get("settings", {}),
        "libraries": {"ames_ray": card.get("ames_ray"), **card.get("libraries", {})},
    }


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names; an empty mapping holds none."""
    if isinstance(value, dict):
        parts = [flat(item, f"{prefix}.{name}" if prefix else str(name)) for name, item in value.items()]
        return {name: item for part in parts for name, item in part.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return flat({str(number): item for number, item in enumerate(value)}, prefix)
    return {prefix: value}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
