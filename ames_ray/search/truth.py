"""What a ground truth says of the images that were found."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from ames_ray.errors import DatasetError
from ames_ray.retrieval.benchmark import image_stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.search.results import Hit, SearchResult, Verdict
    from ames_ray.types import ImageRecord, IntArray


def judged(results: Sequence[SearchResult], benchmark: Benchmark) -> list[SearchResult]:
    """The results with the verdict of each hit; queries that the ground truth does not name stay as they are.

    A query is known by its file name without ending. Where that fits several names, folders decide; what may
    still be more than one of them is taken for none.

    Args:
        results: What was found.
        benchmark: A ground truth that names its queries; of Revisited the Medium setup is taken.

    Raises:
        DatasetError: It does not name its queries.
    """
    if benchmark.queries is None:
        raise DatasetError(
            f"{benchmark.uri} does not name its queries, so photos cannot be found in it",
            "it needs the list qimlist beside gnd",
        )
    named = _by_stem(benchmark.queries[: benchmark.protocol.queries])
    setups = {setup.name: setup for setup in benchmark.protocol.setups}
    setup = setups.get("medium", benchmark.protocol.setups[0])

    def judge(result: SearchResult) -> SearchResult:
        position = _position(result.query.record, named)
        if position is None:
            return result
        lists = setup.positives[position], setup.ignored[position]
        return replace(result, hits=tuple(replace(hit, verdict=_verdict(hit, *lists)) for hit in result.hits))

    return [judge(result) for result in results]


def _by_stem(names: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """Position and name of each query by its file name."""
    named: dict[str, list[tuple[int, str]]] = {}
    for position, name in enumerate(names):
        named.setdefault(image_stem(name), []).append((position, name))
    return named


def _position(query: ImageRecord, named: Mapping[str, list[tuple[int, str]]]) -> int | None:
    alike = named.get(image_stem(query.image_id), [])
    shared = [_shared_folders(query.uri, name) for _, name in alike]
    most = [position for (position, _), count in zip(alike, shared, strict=True) if count == max(shared)]
    return most[0] if len(most) == 1 else None


def _shared_folders(one: str, other: str) -> int:
    """How many folders above two files have equal names, from the nearest up."""
    above = zip(reversed(one.split("/")[:-1]), reversed(other.split("/")[:-1]), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], above))


def _verdict(hit: Hit, positives: IntArray, ignored: IntArray) -> Verdict:
    if hit.record.row in positives:
        return "positive"
    return "junk" if hit.record.row in ignored else "negative"
