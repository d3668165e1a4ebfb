"""Whether a shortlist is of the stores that are to be scored."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store

logger = logging.getLogger(__name__)


def check_belongs(shortlist: Shortlist, query: Store, gallery: Gallery) -> Shortlist:
    """Refuse a shortlist of other lists than those of the stores; it may be of their first queries alone.

    Returns:
        The shortlist, which states both manifests now; a pickle states none, and its first queries alone
        could not be told from another list.

    Raises:
        StoreError: Its number of queries, a row, or a manifest digest that it states does not fit; it ranks
            some of the gallery's stores alone; or it names a photo that was removed since.
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
    if not shortlist.gallery_manifest:
        _refuse_part(shortlist, gallery)
    _refuse_removed(shortlist, query, gallery)
    return replace(
        shortlist, query_manifest=query.meta.manifest_digest, gallery_manifest=gallery.manifest_digest
    )


def _refuse_part(shortlist: Shortlist, gallery: Gallery) -> None:
    """Refuse a ranking of the plain gallery where distractors follow it: its row numbers fit both.

    A list that is too short to hold all other stores may lack one honestly, which is said and allowed.
    """
    longest, stop = int((shortlist.rows >= 0).sum(axis=1).max(initial=0)), 0
    for store in gallery.stores:
        start, stop = stop, stop + store.meta.rows
        if not longest or ((shortlist.rows >= start) & (shortlist.rows < stop)).any():
            continue
        uri = store.storage.uri
        if longest >= sum(other.searchable for other in gallery.stores if other is not store):
            raise StoreError(
                f"the shortlist names no image of {uri}, in lists of {longest:,}: it ranks another gallery",
                "leave out nn_file=, or make it by `ames-ray neighbors` from all stores of the gallery",
            )
        logger.warning("the shortlist names no image of %s; was it made from the whole gallery?", uri)


def _refuse_removed(shortlist: Shortlist, query: Store, gallery: Gallery) -> None:
    asking = query.removed[query.removed < len(shortlist)]
    asking = asking[(shortlist.rows[asking] >= 0).any(axis=1)]
    found = gallery.removed[np.isin(gallery.removed, shortlist.rows)] if len(gallery.removed) else asking[:0]
    for what, rows, uri in (("query", asking, query.storage.uri), ("gallery", found, gallery.uri)):
        if len(rows):
            raise StoreError(
                f"the shortlist names {what} row {rows[0]}, whose photo was removed from {uri} since",
                "make the shortlist again: `ames-ray neighbors` leaves removed photos out",
            )
