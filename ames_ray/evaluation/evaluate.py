"""Evaluation of a ranking as it is, with numpy alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.card import make_card
from ames_ray.evaluation.average_precision import average_precision, precision_at
from ames_ray.evaluation.ranking import global_ranks, ranked_queries, ranking_notes
from ames_ray.evaluation.result import EvaluationResult
from ames_ray.evaluation.scores import Shortlist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ames_ray.evaluation.average_precision import SetupRanks
    from ames_ray.evaluation.protocol import Protocol


def evaluate(protocol: Protocol, ranking: Any) -> EvaluationResult:
    """Figures of a ranking.

    Args:
        protocol: The benchmark, from `revisited` or `gldv2`.
        ranking: A `Shortlist`, or (Q, T) gallery rows, best first, filled up with -1. Positives that it does
            not hold count as never found.

    Raises:
        DatasetError: The ranking does not fit the ground truth, or ranks an image twice.
    """
    queries = ranked_queries(protocol, ranking)
    setups = [global_ranks(queries, setup, protocol.cutoff) for setup in protocol.setups]
    figures, per_query = measure(protocol, setups)
    made_with = {"shortlist": shortlist_settings(ranking)} if isinstance(ranking, Shortlist) else {}
    return EvaluationResult(
        protocol=protocol.name,
        figures=figures,
        per_query=per_query,
        settings={},
        counts=protocol.counts(),
        notes=(*protocol.notes(), *ranking_notes(protocol, queries, setups)),
        card=make_card("evaluate", {"protocol": protocol.name}, protocol.counts(), made_with),
    )


def measure(
    protocol: Protocol, setups: Sequence[SetupRanks]
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """The figures of a protocol by name, and (Q,) average precisions by setup.

    Args:
        protocol: The benchmark.
        setups: Ranks of the positives in each of its setups.
    """
    figures: dict[str, float] = {}
    per_query: dict[str, NDArray[np.float64]] = {}
    for number, (setup, ranks) in enumerate(zip(protocol.setups, setups, strict=True)):
        precisions = average_precision(ranks, protocol.cutoff)
        per_query[setup.name] = precisions
        columns = [precisions, *precision_at(ranks, protocol.precision_at)]
        for group in protocol.groups:
            if group.setup == number:
                means = [mean_over_counted(column[group.queries]) for column in columns]
                figures |= dict(zip(protocol.figure_names(group), means, strict=True))
    return figures, per_query


def mean_over_counted(values: NDArray[np.float64]) -> float:
    """Mean over the queries that have positives (are not NaN); NaN if none has."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else math.nan


def shortlist_settings(shortlist: Shortlist) -> dict[str, Any]:
    """What a shortlist was made with, for a card."""
    return {
        "query_manifest": shortlist.query_manifest,
        "gallery_manifest": shortlist.gallery_manifest,
        "length": shortlist.rows.shape[1],
        **shortlist.settings,
    }
