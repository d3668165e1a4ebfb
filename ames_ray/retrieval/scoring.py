"""The network's scores of a shortlist, a query at a time, resumable after any kill."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import ConfigError, StoreError
from ames_ray.evaluation.scores import PairScores
from ames_ray.files import to_json
from ames_ray.retrieval.fit import check_fits
from ames_ray.store.shards import content_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.files import Storage
    from ames_ray.model.reranker import Reranker
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray


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


def score_pairs(
    shortlist: Shortlist,
    query: Store,
    gallery: Gallery,
    reranker: Reranker,
    options: ScoreOptions,
    *,
    pieces: Storage | None = None,
    report: Callable[[int, int], None] = lambda *_: None,
) -> PairScores:
    """Score every pair of a shortlist.

    Args:
        shortlist: The pairs; see `ames_ray.evaluation.candidates` for those that a protocol needs.
        query: Store of the queries.
        gallery: The stores that the shortlist's rows refer to.
        reranker: The network.
        options: Budgets of descriptors and memory.
        pieces: Folder for the logits of each finished query, below a name that stands for all that decides
            them; what is there already is not computed again. None keeps nothing.
        report: Told how many pairs are done, of how many.

    Returns:
        Logits of all pairs; NaN at the padding of the shortlist.

    Raises:
        StoreError: Shortlist, stores and model do not belong together, or descriptors are not finite.
    """
    scorer = QueryScorer(shortlist, query, gallery, reranker, options)
    logits = np.full(shortlist.rows.shape, np.nan, np.float32)
    totals = (shortlist.rows >= 0).sum(axis=1)
    for number in range(len(shortlist)):
        report(int(totals[:number].sum()), int(totals.sum()))
        found = _read_piece(pieces, scorer.piece(number), shortlist.rows.shape[1]) if pieces else None
        if found is None:
            found = scorer(number)
            if pieces:
                pieces.publish(scorer.piece(number), _npy(found))
        logits[number] = found
    report(int(totals.sum()), int(totals.sum()))
    return scorer.scores(logits)


class QueryScorer:
    """Scores of one query after another; one unit of work.

    Args:
        shortlist: The pairs.
        query: Store of the queries.
        gallery: The stores that the shortlist's rows refer to.
        reranker: The network.
        options: Budgets of descriptors and memory.

    Raises:
        StoreError: They do not belong together.
    """

    def __init__(
        self, shortlist: Shortlist, query: Store, gallery: Gallery, reranker: Reranker, options: ScoreOptions
    ) -> None:
        check_belongs(shortlist, query, gallery)
        for store in (query, *gallery.stores):
            check_fits(store, reranker.spec)
        self._shortlist = shortlist
        self._query = query
        self._gallery = gallery
        self._reranker = reranker
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

    def __call__(self, number: int) -> FloatArray:
        """(K,) logits of a query with its images; NaN at padding."""
        line = self._shortlist.rows[number]
        logits = np.full(len(line), np.nan, np.float32)
        real = np.flatnonzero(line >= 0)
        if not len(real):
            return logits
        query = self._query.read([number], self._query_count)
        for start in range(0, len(real), self._batch_size):
            part = real[start : start + self._batch_size]
            logits[part] = self._reranker(query, self._gallery.read(line[part], self._gallery_count))
        return logits

    def piece(self, number: int) -> str:
        """File name of a query's logits."""
        return f"{self.digest[:16]}/{number:06d}.npy"

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides the logits."""
        rows = np.ascontiguousarray(self._shortlist.rows)
        decides = {
            **self._settings,
            "weights": self._reranker.spec.weights_digest,
            "query_desc_num": self._query_count,
            "db_desc_num": self._gallery_count,
            "pairs": hashlib.sha256(rows.tobytes()).hexdigest(),
            "shape": list(rows.shape),
        }
        return hashlib.sha256(to_json(decides)).hexdigest()

    def scores(self, logits: FloatArray) -> PairScores:
        """All logits with what decided them."""
        return PairScores(
            self._shortlist.rows,
            logits,
            self._reranker.spec.weights_digest,
            self._query_count,
            self._gallery_count,
            self._query.meta.manifest_digest,
            self._gallery.manifest_digest,
            self._settings,
        )


def check_belongs(shortlist: Shortlist, query: Store, gallery: Gallery) -> None:
    """Refuse a shortlist of other lists than those of the stores; it may be of their first queries alone.

    Raises:
        StoreError: Its number of queries, a row, or a manifest digest that it states does not fit.
    """
    first_ones = len(shortlist) < query.meta.rows and shortlist.query_manifest
    if len(shortlist) != query.meta.rows and not first_ones:
        raise StoreError(
            f"the shortlist has {len(shortlist)} queries, {query.storage.uri} has {query.meta.rows} rows",
            "both must come from the same query list",
        )
    last = int(shortlist.rows.max(initial=-1))
    if last >= len(gallery):
        raise StoreError(
            f"the shortlist names gallery row {last}, {gallery.uri} has {len(gallery)} rows",
            "pass all stores of the gallery, in the order in which the shortlist was made",
        )
    for what, ours, store, uri in (
        ("query", shortlist.query_manifest, query.meta.manifest_digest, query.storage.uri),
        ("gallery", shortlist.gallery_manifest, gallery.manifest_digest, gallery.uri),
    ):
        if ours and ours != store:
            raise StoreError(
                f"the shortlist was made from the {what} list {ours[:12]}…, {uri} holds {store[:12]}…",
                "their row numbers mean different images; make the shortlist from these stores",
            )


def _npy(logits: FloatArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, logits, allow_pickle=False)
    return buffer.getvalue()


def _read_piece(pieces: Storage, name: str, width: int) -> FloatArray | None:
    if not pieces.exists(name):
        return None
    logits: FloatArray = np.load(io.BytesIO(pieces.read(name)), allow_pickle=False)
    return logits if logits.shape == (width,) else None
