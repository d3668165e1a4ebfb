"""The diary against a simulation: a process that dies whenever it touches one of some rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import RunError
from ames_ray.extraction.attempts import Diary, forget_all
from ames_ray.files import Storage

WINDOW = 4


class _DeathError(Exception):
    pass


def _attempt(storage: Storage, rows: range, poison: set[int]) -> set[int]:
    """One try at a shard, as the extractor makes it; returns the rows that were given up."""
    diary = Diary(storage, 0)

    def work(taken: list[int]) -> None:
        diary.touch(taken)
        if poison & set(taken):
            raise _DeathError

    for first in range(rows.start, rows.stop, WINDOW):
        window = [row for row in range(first, min(first + WINDOW, rows.stop)) if row not in diary.dead]
        if diary.careful:
            for row in window:
                if row in diary.alone:
                    work([row])
            window = [row for row in window if row not in diary.alone]
        work(window)
        diary.touch(())
    diary.close()
    return set(diary.dead)


def _run(storage: Storage, rows: range, poison: set[int]) -> tuple[set[int], int]:
    for tries in range(1, 200):
        try:
            return _attempt(storage, rows, poison), tries
        except _DeathError:
            continue
    raise AssertionError("never ended")


@given(st.sets(st.integers(0, 19), max_size=6))
def test_exactly_the_poisonous_rows_are_given_up(
    tmp_path_factory: pytest.TempPathFactory, poison: set[int]
) -> None:
    storage = Storage.at(tmp_path_factory.mktemp("store"))
    dead, _ = _run(storage, range(20), poison)
    assert dead == poison
    assert storage.names("attempts") == []


def test_one_poison_image_costs_three_tries(tmp_path: Path) -> None:
    dead, tries = _run(Storage.at(tmp_path), range(20), {7})
    assert dead == {7}
    assert tries == 4, "three that died, one that went through"


def test_a_worker_that_is_killed_from_outside_costs_no_row(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    for rows in ([], [0, 1, 2, 3], [4, 5, 6, 7]):
        Diary(storage, 0).touch(rows)
    assert _attempt(storage, range(20), set()) == set()


def test_deaths_outside_of_pictures_end_the_run(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)

    def die_for_ever() -> None:
        for _ in range(50):
            Diary(storage, 0)

    with pytest.raises(RunError, match="not while reading an image"):
        die_for_ever()


def test_a_new_run_starts_afresh(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    Diary(storage, 0)
    Diary(storage, 0).touch([1, 2])
    forget_all(storage)
    assert not Diary(storage, 0).careful
