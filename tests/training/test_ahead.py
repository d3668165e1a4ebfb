"""Reading ahead: order, bounds, errors and clean ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ames_ray.training.ahead import ahead


def test_results_come_in_order_whatever_the_threads_do() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(30)
        else:
            first_may_end.set()
        return item * item

    found = list(ahead(range(20), work, depth=4, threads=3))
    assert [(item, result) for item, result, _ in found] == [(i, i * i) for i in range(20)]
    assert all(seconds >= 0 for *_, seconds in found)


def test_work_is_begun_before_it_is_needed_and_never_too_far() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            drawn.append(item)
            yield item

    taken = ahead(items(), lambda item: item, depth=3)
    assert [next(taken)[0], next(taken)[0]] == [0, 1]
    # The second call filled up to three beyond the first item.
    assert drawn == [0, 1, 2, 3]


def test_an_error_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise KeyError(item)
        return item

    taken = ahead(range(5), work, depth=4)
    assert [next(taken)[1], next(taken)[1]] == [0, 1]
    with pytest.raises(KeyError):
        next(taken)
    assert list(taken) == []


def test_closing_waits_for_what_runs_and_drops_the_rest() -> None:
    before = threading.active_count()
    taken = ahead(range(100), lambda item: item, depth=50)
    next(taken)
    assert threading.active_count() == before + 1
    del taken
    assert threading.active_count() == before


def test_nothing_to_do() -> None:
    assert list(ahead([], str, depth=2)) == []
