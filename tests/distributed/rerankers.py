"""A re-ranker for a worker's process: it writes down its pairs, and can kill the process."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.types import FeatureBatch, FloatArray
from tests.retrieval.small import small_model


class DiaryReranker(AmesReranker):
    """Appends each gallery row that it scores to `diary`; dies like a segmentation fault does.

    Args:
        diary: A file.
        kills: Times that a process dies, at the first call after `calls` ones.
        calls: Calls of each process that go well.
    """

    def __init__(self, diary: Path, kills: int = 0, calls: int = 3) -> None:
        super().__init__(small_model())
        self._diary, self._kills, self._left = diary, kills, calls

    def __call__(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        logits = super().__call__(query, gallery)
        with self._diary.open("a") as file:
            file.writelines(f"{query.rows[0]} {row}\n" for row in gallery.rows)
        for death in range(self._kills if self._left == 0 else 0):
            try:
                self._diary.with_suffix(f".death{death}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return logits


def diary_reranker(diary: Path, **options: int) -> partial[DiaryReranker]:
    """What a worker calls."""
    return partial(DiaryReranker, diary, **options)
