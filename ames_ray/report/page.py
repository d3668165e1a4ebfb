"""Search results as a page for people: every query, its results before and after re-ranking, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.images.reasons import EXPLANATIONS
from ames_ray.report.parts import dialog_head
from ames_ray.report.pictures import SHELF, embed
from ames_ray.report.shell import asset, escape, fill, page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.search.results import Agreement, Hit, SearchResult
    from ames_ray.types import FloatArray, ImageRecord

_PERMILLE = 1000


@dataclass(frozen=True, slots=True)
class PageText:
    """What the page says about the search.

    Attributes:
        title: Heading.
        ranked_by: What re-ranked.
        unit: What a score counts, or nothing.
        reason: What the marked places are.
        facts: Names and values for the page's foot.
    """

    title: str
    ranked_by: str
    unit: str
    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)


def search_page(results: Sequence[SearchResult], text: PageText) -> bytes:
    """The page as HTML; same results, same bytes.

    Args:
        results: One a query.
        text: What to say about them.
    """
    numbers = _Numbers()
    queries = [_query(result, numbers) for result in results]
    data = {
        "title": text.title,
        "rankedBy": text.ranked_by,
        "unit": text.unit,
        "reason": text.reason,
        "shelf": SHELF,
        "queries": queries,
    }
    islands: dict[str, Any] = {"page": data}
    islands |= {
        f"why-{number}": [_why(hit, result) for hit in result.hits] for number, result in enumerate(results)
    }
    islands |= {f"pictures-{number}": shelf for number, shelf in enumerate(embed(list(numbers.known)))}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in text.facts.items())
    values = {"title": escape(text.title), "facts": rows, "dialog_head": dialog_head("why")}
    body = fill(asset("search.html"), values)
    styles = asset("base.css") + asset("search.css")
    return page(text.title, body, islands, styles=styles, script=asset("base.js") + asset("search.js"))


class _Numbers:
    """Gives each picture one number, however often it is shown."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, record: ImageRecord) -> int:
        return self.known.setdefault(record.uri, len(self.known))


def _query(result: SearchResult, numbers: _Numbers) -> dict[str, Any]:
    query = result.query
    found: dict[str, Any] = {"name": query.record.image_id, "picture": numbers.of(query.record)}
    if query.reason is not None:
        return {**found, "failed": EXPLANATIONS.get(query.reason, query.reason), "hits": []}
    found |= {"size": [query.width, query.height], "length": result.num_results}
    if query.record.bbox is not None:
        corners = np.array(query.record.bbox, np.float32).reshape(2, 2)
        found["box"] = _permille(corners - 0.5, (query.width, query.height)).ravel().tolist()
    found["hits"] = [_hit(hit, numbers) for hit in result.hits]
    return found


def _hit(hit: Hit, numbers: _Numbers) -> list[Any]:
    """name, picture, rank, before, similarity, score, verdict: as a list, because a page may have 10,000."""
    score = None if hit.score is None or not np.isfinite(hit.score) else float(f"{hit.score:.5g}")
    picture = numbers.of(hit.record)
    similarity = float(f"{hit.similarity:.4f}")
    return [hit.record.image_id, picture, hit.rank, hit.before, similarity, score, hit.verdict]


def _why(hit: Hit, result: SearchResult) -> list[Any] | None:
    """count, width, height, then x and y in both pictures and the strength of each match, in thousandths."""
    found = hit.agreement
    if found is None:
        return None
    return [found.count, *found.image_size, _matches(found, (result.query.width, result.query.height))]


def _matches(found: Agreement, query_size: tuple[int, int]) -> list[list[int]]:
    if not found.count or 0 in query_size or 0 in found.image_size:
        return []
    both = np.concatenate(
        [
            _permille(found.query_xy, query_size),
            _permille(found.image_xy, found.image_size),
            np.rint(_PERMILLE * found.strength[:, None]),
        ],
        axis=1,
    )
    numbers: list[list[int]] = both.astype(int).tolist()
    return numbers


def _permille(xy: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Pixel centres as thousandths of a picture."""
    scaled: FloatArray = np.rint(_PERMILLE * (xy + 0.5) / np.array(size, np.float32))
    return scaled
