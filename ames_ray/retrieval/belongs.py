"""Whether a shortlist is of the stores that are to be scored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store


def check_belongs(shortlist: Shortlist, query: Store, gallery: Gallery) -> Shortlist:
    """Refuse a shortlist of other lists than those of the stores; it may be of their first queries alone.

    Returns:
        The shortlist, which states both manifests now; a pickle states none, and its first queries alone
        could not be told from another list.

    Raises:
        StoreError: Its number of queries, a row, or a manifest digest that it states does not fit; or it
            names a photo that was removed since.
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
    _refuse_removed(shortlist, query, gallery)
    return replace(
        shortlist, query_manifest=query.meta.manifest_digest, gallery_manifest=gallery.manifest_digest
    )


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
