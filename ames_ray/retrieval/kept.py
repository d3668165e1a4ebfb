"""Shortlists and scores in a folder: made once, found again by all that decides them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from ames_ray.errors import DatasetError
from ames_ray.evaluation.score_files import holds, load_pair_scores, load_shortlist, save_scores
from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage, to_json
from ames_ray.retrieval.nn_pickle import is_ours, read_neighbors, write_neighbors
from ames_ray.retrieval.pieces import forget_pieces
from ames_ray.store.shards import content_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ames_ray.evaluation.scores import PairScores
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store

Kept = TypeVar("Kept", "Shortlist", "PairScores")

_PIECES = "pieces"


def kept_shortlist(
    folder: Storage,
    query: Store,
    gallery: Gallery,
    settings: Mapping[str, Any],
    make: Callable[[], Shortlist],
) -> Shortlist:
    """What `make` finds, or what an earlier call with the same stores and settings left in the folder."""
    decides: dict[str, Any] = {
        "query": [query.meta.manifest_digest, content_digest(query.summaries)],
        "gallery": [gallery.manifest_digest, gallery.content_digest],
        **settings,
    }
    removed = [store.removed.tolist() for store in (query, *gallery.stores)]
    if any(removed):
        decides["removed"] = removed
    name = f"neighbors-{hashlib.sha256(to_json(decides)).hexdigest()[:16]}.parquet"
    if not folder.exists(name):
        found = make()
        save_scores(found, folder.address(name))
        return found
    return _again(load_shortlist, folder.address(name))


def kept_scores(folder: Storage, digest: str, make: Callable[[Storage], PairScores]) -> PairScores:
    """What `make` computes, or what an earlier call with the same input left in the folder, also half of it.

    Args:
        folder: Where scores are kept.
        digest: `PairScorer.digest`.
        make: Computes the scores, given a folder for its finished pieces.
    """
    name = f"scores-{digest[:16]}.parquet"
    if folder.exists(name):
        return _again(load_pair_scores, folder.address(name))
    pieces = folder.child(_PIECES)
    scores = make(pieces)
    save_scores(scores, folder.address(name))
    forget_pieces(pieces, digest)
    return scores


def _again(load: Callable[[str], Kept], uri: str) -> Kept:
    """What an earlier call left; a damaged file is named, and not replaced in silence after hours of work."""
    try:
        return load(uri)
    except DatasetError as error:
        raise DatasetError(error.message, "delete the file, and the same command makes it again") from None


def read_shortlist(uri: str) -> Shortlist:
    """A shortlist in a file of `ames-ray neighbors`, or in the authors' `nn_*.pkl`.

    Raises:
        StoreError: There is no such file.
        DatasetError: It holds something else.
        UnsafeFileError: A pickle would run code.
    """
    if not uri.endswith(".pkl"):
        return load_shortlist(uri)
    folder, name = Storage.of_file(uri)
    return read_neighbors(folder.read(name), uri)


def write_shortlist(shortlist: Shortlist, uri: str) -> None:
    """Write a file that `read_shortlist` reads; one that ends in `.pkl` is laid out as the authors' is."""
    if not uri.endswith(".pkl"):
        save_scores(shortlist, uri)
        return
    folder, name = Storage.of_file(uri)
    folder.publish(name, write_neighbors(shortlist))


def is_written_shortlist(folder: Storage, name: str) -> bool:
    """Whether `write_shortlist` made a file; the authors' pickles hold the same, and are told from ours."""
    if not name.endswith(".pkl"):
        return holds(folder, name, Shortlist)
    with folder.open(name) as handle:
        return is_ours(handle)
