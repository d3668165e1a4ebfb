"""What the driver is told of a run."""

from __future__ import annotations

from typing import Any

from ames_ray.distributed.board import Board


def test_a_worker_that_starts_ends_the_silence() -> None:
    actor: Any = object()
    board = Board()
    board.last -= 1000
    assert board.state().quiet >= 1000
    board.enter("worker", "worker: cpu", actor)
    assert board.state().quiet < 100
    assert board.members() == [actor]
