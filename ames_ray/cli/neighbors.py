"""The verb that finds neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.cli.crews import search
from ames_ray.cli.outputs import require_own
from ames_ray.cli.tables import facts
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import is_written_shortlist, write_shortlist

if TYPE_CHECKING:
    from ames_ray.config.retrieval import NeighborsConfig


def neighbors(config: NeighborsConfig) -> None:
    """Find the nearest images of every query and write them to one file."""
    require_own(config.output, is_written_shortlist)
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    found = search(config, query, gallery, config.shortlist_size, exclude_self=config.exclude_self)
    write_shortlist(found, config.output)
    lengths = (found.rows >= 0).sum(axis=1)
    facts(
        "neighbors",
        {
            "queries": f"{len(found):,}, {_left_out(query)}",
            "gallery": f"{len(gallery):,} images, {_left_out(gallery)}",
            "neighbors": f"{int(lengths.min()):,} to {int(lengths.max()):,} a query",
            "written": config.output,
        },
    )


def _left_out(gallery: Gallery) -> str:
    count = len(gallery) - sum(store.searchable for store in gallery.stores)
    return f"{count:,} of them failed{' or were removed' if len(gallery.removed) else ''}"
