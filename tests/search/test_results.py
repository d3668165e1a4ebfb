from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ames_ray.search.results import Hit, SearchResult, Verdict
from ames_ray.types import ImageFeatures, ImageRecord

VERDICTS: tuple[Verdict, ...] = ("positive", "junk", "negative")


def first_positive(verdicts: list[Verdict]) -> int | None:
    counted = [verdict for verdict in verdicts if verdict != "junk"]
    return counted.index("positive") + 1 if "positive" in counted else None


@given(
    st.lists(st.sampled_from(VERDICTS), max_size=12), st.integers(1, 12), st.randoms(use_true_random=False)
)
def test_the_first_right_place_is_counted_without_junk(
    verdicts: list[Verdict], num_results: int, random: Random
) -> None:
    count = len(verdicts)
    order = list(range(count))
    random.shuffle(order)
    hits = [
        Hit(ImageRecord(row, str(row), str(row), "gallery"), rank, row + 1, 0.0, verdict=verdicts[row])
        for rank, row in enumerate(order, 1)
        if min(rank, row + 1) <= num_results
    ]
    query = ImageFeatures(ImageRecord(0, "me", "me", "query"))
    result = SearchResult(query, tuple(hits), num_results)
    assert result.first_right(before=True) == first_positive(verdicts[:num_results])
    assert result.first_right() == first_positive([verdicts[row] for row in order[:num_results]])
