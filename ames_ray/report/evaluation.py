"""What `ames-ray evaluate` left in a folder, read back for people: figures, settings, curves, queries."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.datasets.folder import natural
from ames_ray.errors import DatasetError
from ames_ray.evaluation.ranking import global_ranks, ranked_queries
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.revisited import SETUPS
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ames_ray.evaluation.average_precision import SetupRanks
    from ames_ray.evaluation.protocol import Protocol
    from ames_ray.report.first_results import Rankings

_SETUPS = tuple(SETUPS)
_MAPPINGS = ("counts", "figures", "per_query", "settings")
"""What a result holds of the global ranking, and of the best setting."""
RECALLS = 101
"""Points of a curve, from recall 0 to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One result file of `ames-ray evaluate`.

    Attributes:
        folder: Where it lies; rankings and scores lie beside it.
        name: Its file name.
        document: Its content.
    """

    folder: Storage
    name: str
    document: Mapping[str, Any]

    @classmethod
    def read(cls, uri: str) -> Self:
        """Read a result.

        Raises:
            DatasetError: There is no such file, or it is no result of `ames-ray evaluate`.
        """
        folder, name = Storage.of_file(uri)
        if not folder.exists(name):
            raise DatasetError(f"{uri} does not exist", "`ames-ray evaluate` prints the name of its result")
        try:
            document = json.loads(folder.read(name))
            parts = [document["global"], document.get("best", document["global"])]
            mappings = [document["card"], *(part[kind] for part in parts for kind in _MAPPINGS)]
            whole = all(isinstance(found, dict) for found in mappings)
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DatasetError(f"{uri} is no result of `ames-ray evaluate`", "pass evaluation-….json")
        return cls(folder, name, document)

    @property
    def before(self) -> Mapping[str, Any]:
        """The global ranking's figures."""
        found: Mapping[str, Any] = self.document["global"]
        return found

    @property
    def best(self) -> Mapping[str, Any]:
        """The best setting's figures; the global ranking's where nothing was re-ranked."""
        found: Mapping[str, Any] = self.document.get("best", self.before)
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every setting of the sweep with its figures."""
        return list(self.document.get("rows", []))

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        found: Mapping[str, Any] = self.document["card"].get("config", {})
        return found

    @property
    def setups(self) -> tuple[str, ...]:
        """Names of the protocol's setups."""
        return tuple(sorted(self.before["per_query"], key=_place))

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures: mean average precisions first, each kind by setup."""
        return tuple(sorted(self.before["figures"], key=lambda name: ("_mAP" not in name, _place(name))))

    def precisions(self, which: Mapping[str, Any], setup: str) -> NDArray[np.float64]:
        """(Q,) average precisions of `before` or `best`; NaN where a query does not count."""
        return np.array([math.nan if v is None else v for v in which["per_query"][setup]], np.float64)


def _place(name: str) -> tuple[int, list[str | int], str]:
    """Sorting key of a setup or a figure, which the file holds in the order of the alphabet."""
    setup = name.partition("_")[0]
    return (_SETUPS.index(setup) if setup in _SETUPS else 0, *natural(name))


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Mean precision over recall, by setup.

    Attributes:
        before: (RECALLS,) of the global ranking.
        best: The same of the best setting; empty where nothing was re-ranked.
    """

    before: Mapping[str, NDArray[np.float64]]
    best: Mapping[str, NDArray[np.float64]]


def curves(found: Rankings) -> Curves:
    """Mean precision over recall of rankings."""
    protocol, ensemble = found.protocol, found.ensemble
    if found.scores is None or ensemble is None:
        queries = ranked_queries(protocol, found.shortlist)
        ranks = [global_ranks(queries, setup, protocol.cutoff) for setup in protocol.setups]
        return Curves(_by_setup(protocol, ranks), {})
    ready = RerankedEvaluation(protocol, found.shortlist, found.scores, ensemble.num_rerank)
    return Curves(_by_setup(protocol, ready.setups), _by_setup(protocol, ready.ranks(ensemble)))


def precision_over_recall(ranks: SetupRanks) -> NDArray[np.float64]:
    """(RECALLS,) interpolated precision, the highest at any recall from there on, mean over the queries."""
    levels = np.linspace(0, 1, RECALLS)
    counted = np.flatnonzero(~np.isnan(ranks.denominator))
    total = np.zeros(RECALLS)
    for query in counted:
        here = ranks.query == query
        if not here.any():
            continue
        found = ranks.found[here] + 1
        precision = np.maximum.accumulate((found / (ranks.ranks[here] + 1))[::-1])[::-1]
        place = np.searchsorted(found / ranks.denominator[query], levels - 1e-9)
        reached = place < len(precision)
        total[reached] += precision[place[reached]]
    return total / max(1, len(counted))


def _by_setup(protocol: Protocol, found: Any) -> dict[str, NDArray[np.float64]]:
    return {
        setup.name: precision_over_recall(ranks) for setup, ranks in zip(protocol.setups, found, strict=True)
    }
