"""What the driver is told of a run."""

from __future__ import annotations

from typing import Any

from ames_ray.distributed.board import Board
from ames_ray.extraction.progress import Progress


def test_a_worker_that_starts_ends_the_silence() -> None:
    actor: Any = object()
    board = Board()
    board.last -= 1000
    assert board.state().quiet >= 1000
    board.join(actor)
    assert board.state().quiet >= 1000
    board.enter("worker", "worker: cpu")
    assert board.state().quiet < 100
    assert board.members() == [actor]


def test_rows_that_are_kept_are_no_silence_but_taking_rows_up_is() -> None:
    board = Board()
    board.last -= 1000
    board.post(0, [0, 1], Progress())
    assert board.state().quiet >= 1000
    board.post(0, [0, 1], Progress(writing=0.5))
    assert board.state().quiet < 100
