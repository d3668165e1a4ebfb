from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from ames_ray.retrieval.crew import as_finished, in_order, threads


def squares() -> Callable[[int], int]:
    return lambda number: number * number


@pytest.mark.parametrize("count", [1, 3])
def test_every_task_is_done_once(count: int) -> None:
    with threads(count)(squares) as crew:
        assert crew.size == count
        found = list(in_order(crew, ((number % count, number) for number in range(20))))
        assert found == [(number, number * number) for number in range(20)]
        assert sorted(as_finished(crew, range(20))) == found
        assert list(as_finished(crew, [])) == list(in_order(crew, [])) == []


def test_few_tasks_are_taken_ahead() -> None:
    taken = []

    def tasks() -> Iterator[tuple[int, int]]:
        for number in range(50):
            taken.append(number)
            yield number % 2, number

    with threads(2)(squares) as crew:
        for number, _ in in_order(crew, tasks()):
            assert taken[-1] <= number + 4


def test_an_error_of_a_worker_ends_the_work_of_all() -> None:
    def make() -> Callable[[int], int]:
        return lambda number: 1 // number

    with pytest.raises(ZeroDivisionError), threads(2)(make) as crew:
        list(as_finished(crew, [3, 2, 1, 0, 1]))


def test_a_busy_worker_is_interrupted() -> None:
    """The worker would go on for ever; leaving the block has to stop it, or the test never ends."""
    started, ended = threading.Event(), threading.Event()

    def make() -> Callable[[int], int]:
        def forever(_: int) -> int:
            try:
                started.set()
                while True:
                    time.sleep(0.001)
            finally:
                ended.set()

        return forever

    with threads(1)(make) as crew:
        for number in range(2):
            crew.submit(0, number)
        started.wait()
    assert ended.is_set()


def test_torch_gets_its_threads_back() -> None:
    before = torch.get_num_threads()

    def make() -> Callable[[int], int]:
        return lambda _: torch.get_num_threads()

    with threads(2, torch_threads=1)(make) as crew:
        assert [found for _, found in as_finished(crew, [0, 1])] == [1, 1]
    assert torch.get_num_threads() == before
