"""The network's scores of a shortlist, cut into pieces that can be computed anywhere and in any order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import ConfigError
from ames_ray.evaluation.scores import PairScores
from ames_ray.files import to_json
from ames_ray.retrieval.belongs import check_belongs
from ames_ray.retrieval.fit import check_fits
from ames_ray.store.shards import content_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.model.reranker import Reranker
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray, IntArray

PIECE_PAIRS = 2_000
"""Pairs of a piece, about; a shorter list is one piece."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What decides scores besides images and weights (the authors' option names).

    Attributes:
        query_desc_num: Local descriptors used of a query image, at most; a store with fewer gives all.
        db_desc_num: Local descriptors used of a gallery image, likewise.
        batch_size: Gallery images read and scored at once; it bounds the memory.
        precision: Arithmetic that the re-ranker was loaded with.

    Raises:
        ConfigError: A number is not positive.
    """

    query_desc_num: int = 600
    db_desc_num: int = 600
    batch_size: int = 300
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("query_desc_num", "db_desc_num", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: allowed are whole numbers from 1")


@dataclass(frozen=True, slots=True)
class Piece:
    """Pairs of one query that are scored together.

    Attributes:
        query: Number of the query.
        start: Which of its images is the first one, padding not counted.
        stop: Which one comes after the last.
    """

    query: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class PairScorer:
    """Scores of one piece after another.

    Args:
        shortlist: The pairs; see `ames_ray.evaluation.candidates` for those that a protocol needs.
        query: Store of the queries.
        gallery: The stores that the shortlist's rows refer to.
        reranker: The network.
        options: Budgets of descriptors and memory.

    Attributes:
        shortlist: The pairs.
        reranker: The network.

    Raises:
        StoreError: They do not belong together.
    """

    def __init__(
        self, shortlist: Shortlist, query: Store, gallery: Gallery, reranker: Reranker, options: ScoreOptions
    ) -> None:
        self.shortlist = check_belongs(shortlist, query, gallery)
        for store in (query, *gallery.stores):
            check_fits(store, reranker.spec)
        self._query = query
        self._gallery = gallery
        self.reranker = reranker
        self._options = options
        self._batch_size = options.batch_size
        self._query_count = min(options.query_desc_num, query.meta.topk)
        self._gallery_count = min(options.db_desc_num, gallery.topk)
        self._settings: dict[str, Any] = {
            "reranker": reranker.spec.name,
            "precision": options.precision,
            "batch_size": options.batch_size,
            "query_content": content_digest(query.summaries),
            "gallery_content": gallery.content_digest,
        }

    def without_reranker(self) -> Callable[[Reranker], PairScorer]:
        """Makes the same scorer around the re-ranker of another process, to which it can be sent."""
        return partial(PairScorer, self.shortlist, self._query, self._gallery, options=self._options)

    def pieces(self) -> Iterator[Piece]:
        """All pairs; a piece is a whole number of batches, so that cutting changes no batch."""
        step = -(-PIECE_PAIRS // self._batch_size) * self._batch_size
        for query, count in enumerate((self.shortlist.rows >= 0).sum(axis=1).tolist()):
            for start in range(0, count, step):
                yield Piece(query, start, min(start + step, count))

    def columns(self, piece: Piece) -> IntArray:
        """(N,) the columns of the shortlist that a piece is about."""
        real = np.flatnonzero(self.shortlist.rows[piece.query] >= 0)
        return real[piece.start : piece.stop]

    def __call__(self, piece: Piece) -> FloatArray:
        """(N,) logits of a piece."""
        rows = self.shortlist.rows[piece.query][self.columns(piece)]
        query = self._query.read([piece.query], self._query_count)
        parts = [rows[start : start + self._batch_size] for start in range(0, len(rows), self._batch_size)]
        found = [self.reranker(query, self._gallery.read(part, self._gallery_count)) for part in parts]
        return np.concatenate(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides the logits."""
        rows = np.ascontiguousarray(self.shortlist.rows)
        decides = {
            **self._settings,
            "weights": self.reranker.spec.weights_digest,
            "query_desc_num": self._query_count,
            "db_desc_num": self._gallery_count,
            "pairs": hashlib.sha256(rows.tobytes()).hexdigest(),
            "shape": list(rows.shape),
        }
        return hashlib.sha256(to_json(decides)).hexdigest()

    def scores(self, logits: FloatArray) -> PairScores:
        """All logits with what decided them."""
        return PairScores(
            self.shortlist.rows,
            logits,
            self.reranker.spec.weights_digest,
            self._query_count,
            self._gallery_count,
            self._query.meta.manifest_digest,
            self._gallery.manifest_digest,
            self._settings,
        )
