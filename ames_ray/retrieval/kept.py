"""Shortlists and scores in a folder: made once, found again by all that decides them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist, save_scores
from ames_ray.files import Storage, to_json
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.nn_pickle import read_neighbors, write_neighbors
from ames_ray.retrieval.scoring import QueryScorer, score_pairs
from ames_ray.store.shards import content_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.model.reranker import Reranker
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.retrieval.scoring import ScoreOptions
    from ames_ray.store.reader import Store

_PIECES = "pieces"


def kept_shortlist(
    folder: Storage, query: Store, gallery: Gallery, pooled: str, shortlist_size: int | None
) -> Shortlist:
    """`find_neighbors`, or what an earlier call with the same stores left in the folder."""
    decides = {
        "query": [query.meta.manifest_digest, content_digest(query.summaries)],
        "gallery": [gallery.manifest_digest, gallery.content_digest],
        "pooled": pooled,
        "shortlist_size": shortlist_size,
    }
    name = f"neighbors-{hashlib.sha256(to_json(decides)).hexdigest()[:16]}.safetensors"
    if not folder.exists(name):
        found = find_neighbors(query, gallery, pooled, shortlist_size)
        save_scores(found, f"{folder.uri}/{name}")
        return found
    return load_shortlist(f"{folder.uri}/{name}")


def kept_scores(
    folder: Storage,
    shortlist: Shortlist,
    query: Store,
    gallery: Gallery,
    reranker: Reranker,
    options: ScoreOptions,
    report: Callable[[int, int], None],
) -> PairScores:
    """`score_pairs`, or what an earlier call with the same input left in the folder, also half of it."""
    digest = QueryScorer(shortlist, query, gallery, reranker, options).digest[:16]
    name = f"scores-{digest}.safetensors"
    if folder.exists(name):
        return load_pair_scores(f"{folder.uri}/{name}")
    pieces = folder.child(_PIECES)
    scores = score_pairs(shortlist, query, gallery, reranker, options, pieces=pieces, report=report)
    save_scores(scores, f"{folder.uri}/{name}")
    forget_pieces(pieces)
    return scores


def forget_pieces(pieces: Storage) -> None:
    """Delete the pieces of finished scores, and what older settings left of theirs."""
    local = pieces.local
    if local is None:
        return
    for piece in local.glob("*/*.npy"):
        piece.unlink(missing_ok=True)
    for folder in (*local.glob("*"), local):
        with suppress(OSError):
            folder.rmdir()


def read_shortlist(uri: str) -> Shortlist:
    """A shortlist in a file of `ames-ray neighbors`, or in the authors' `nn_*.pkl`.

    Raises:
        StoreError: There is no such file.
        DatasetError: It holds something else.
        UnsafeFileError: A pickle would run code.
    """
    if not uri.endswith(".pkl"):
        return load_shortlist(uri)
    folder, _, name = uri.rpartition("/")
    return read_neighbors(Storage.at(folder or ("/" if uri.startswith("/") else ".")).read(name), uri)


def write_shortlist(shortlist: Shortlist, uri: str) -> None:
    """Write a file that `read_shortlist` reads; one that ends in `.pkl` is laid out as the authors' is."""
    if not uri.endswith(".pkl"):
        save_scores(shortlist, uri)
        return
    folder, _, name = uri.rpartition("/")
    storage = Storage.at(folder or ("/" if uri.startswith("/") else "."))
    storage.publish(name, write_neighbors(shortlist))
