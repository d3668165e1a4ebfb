"""What a ground truth says of the images that were found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ames_ray.errors import DatasetError
from ames_ray.retrieval.benchmark import image_stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.search.results import Hit, SearchResult, Verdict
    from ames_ray.types import IntArray


def judged(results: Sequence[SearchResult], benchmark: Benchmark) -> list[SearchResult]:
    """The results with the verdict of each hit; queries that the ground truth does not name stay as they are.

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
    number = {image_stem(name): position for position, name in enumerate(benchmark.queries)}
    setups = {setup.name: setup for setup in benchmark.protocol.setups}
    setup = setups.get("medium", benchmark.protocol.setups[0])

    def judge(result: SearchResult) -> SearchResult:
        position = number.get(image_stem(result.query.record.image_id))
        if position is None:
            return result
        lists = setup.positives[position], setup.ignored[position]
        return replace(result, hits=tuple(replace(hit, verdict=_verdict(hit, *lists)) for hit in result.hits))

    return [judge(result) for result in results]


def _verdict(hit: Hit, positives: IntArray, ignored: IntArray) -> Verdict:
    if hit.record.row in positives:
        return "positive"
    return "junk" if hit.record.row in ignored else "negative"
