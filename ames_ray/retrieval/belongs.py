"""Whether a shortlist is of the stores that are to be scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store


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
