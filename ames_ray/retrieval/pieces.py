"""Scoring a whole shortlist by a crew of workers, which keep what they have finished in a folder.

A task is about two thousand pairs: tens of milliseconds of a GPU, several times what it costs to hand it out
and to keep it; a quarter of a minute of a CPU, which is what a kill costs.
"""

from __future__ import annotations

import io
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import WeightsError
from ames_ray.evaluation.scores import refuse_repeats
from ames_ray.retrieval.crew import as_finished, threads
from ames_ray.retrieval.scoring import PIECE_PAIRS, PairScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ames_ray.evaluation.scores import PairScores
    from ames_ray.files import Storage
    from ames_ray.model.reranker import Reranker
    from ames_ray.retrieval.crew import Hire
    from ames_ray.retrieval.scoring import Piece
    from ames_ray.types import FloatArray, IntArray

    Task = list[Piece]


def score_pairs(
    scorer: PairScorer,
    *,
    pieces: Storage | None = None,
    report: Callable[[int, int], None] = lambda *_: None,
    hire: Hire | None = None,
    load: Callable[[], Reranker] | None = None,
) -> PairScores:
    """Score every pair of a shortlist.

    Args:
        scorer: The pairs and what scores them.
        pieces: Folder for the logits of finished tasks, which are not computed again; none keeps nothing.
        report: Told how many pairs are done, of how many.
        hire: Workers; none for threads of this process.
        load: How a worker comes by its re-ranker; none for the scorer's own.

    Returns:
        Logits of all pairs; NaN at the padding of the shortlist.

    Raises:
        StoreError: Descriptors are not finite.
        DatasetError: A list holds an image twice.
        WeightsError: A worker loaded other weights.
    """
    rows = scorer.shortlist.rows
    _refuse_repeats(rows)
    logits = np.full(rows.shape, np.nan, np.float32)
    total, done = int((rows >= 0).sum()), 0

    def take(task: Task, values: FloatArray) -> None:
        nonlocal done
        for piece in task:
            logits[piece.query, scorer.columns(piece)] = values[: len(piece)]
            values = values[len(piece) :]
            done += len(piece)

    missing = []
    for task in tasks(scorer):
        if (kept := _read(pieces, _name(scorer, task), _pairs(task))) is None:
            missing.append(task)
        else:
            take(task, kept)
    report(done, total)
    if missing:
        own = scorer.reranker
        make = partial(PieceWorker, scorer.without_reranker(), load or (lambda: own), pieces, scorer.digest)
        with (hire or threads())(make) as crew:
            for task, values in as_finished(crew, missing):
                take(task, values)
                report(done, total)
    return scorer.scores(logits)


class PieceWorker:
    """What a worker does with a task.

    Args:
        scorer: Makes its scorer from a re-ranker.
        load: Makes that re-ranker.
        kept: Folder for what is finished, or none.
        digest: What the scorer of whoever gives out the tasks is made of.

    Raises:
        WeightsError: This one is made of something else.
    """

    def __init__(
        self,
        scorer: Callable[[Reranker], PairScorer],
        load: Callable[[], Reranker],
        kept: Storage | None,
        digest: str,
    ) -> None:
        self._scorer = scorer(load())
        self._kept = kept
        if self._scorer.digest != digest:
            raise WeightsError(
                "a worker has other weights or stores than the process that started it",
                "the same files must lie under the same paths on every node",
            )

    def __call__(self, task: Task) -> FloatArray:
        """(N,) logits of all pieces, which an earlier try may have left in the folder."""
        name = _name(self._scorer, task)
        found = _read(self._kept, name, _pairs(task))
        if found is None:
            found = np.concatenate([self._scorer(piece) for piece in task])
            if self._kept is not None:
                self._kept.publish(name, _npy(found))
        return found


def tasks(scorer: PairScorer) -> Iterator[Task]:
    """All pieces, those of short lists together; the same tasks every time, because their files are kept."""
    task: Task = []
    for piece in scorer.pieces():
        task.append(piece)
        if _pairs(task) >= PIECE_PAIRS:
            yield task
            task = []
    if task:
        yield task


def forget_pieces(pieces: Storage, digest: str | None = None) -> None:
    """Delete the pieces of finished scores, and folders that are empty then.

    Args:
        pieces: Folder that was given to `score_pairs`.
        digest: `PairScorer.digest` of the scores; pieces of others stay, whose run may have been interrupted.
            None for all pieces.
    """
    own = "*" if digest is None else _folder(digest)
    local = pieces.local
    if local is None:
        bucket = pieces if digest is None else pieces.child(own)
        for name in _in_bucket(bucket):
            bucket.delete(name)
        return
    for piece in local.glob(f"{own}/*.npy*"):
        piece.unlink(missing_ok=True)
    for folder in (*local.glob(own), local):
        with suppress(OSError):
            folder.rmdir()


def _in_bucket(pieces: Storage) -> Iterator[str]:
    from pyarrow.fs import FileSelector

    if pieces.filesystem is not None:
        everything = FileSelector(pieces.root, allow_not_found=True, recursive=True)
        for info in pieces.filesystem.get_file_info(everything):
            if info.is_file and info.extension == "npy":
                yield info.path.removeprefix(f"{pieces.root}/")


def _refuse_repeats(rows: IntArray) -> None:
    for number, line in enumerate(rows):
        refuse_repeats(line[line >= 0], f"the shortlist of query {number} holds")


def _pairs(task: Task) -> int:
    return sum(map(len, task))


def _name(scorer: PairScorer, task: Task) -> str:
    """File of a task, below a folder that stands for all that decides its content."""
    return f"{_folder(scorer.digest)}/{task[0].query:06d}-{task[0].start:07d}.npy"


def _folder(digest: str) -> str:
    return digest[:16]


def _npy(logits: FloatArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, logits, allow_pickle=False)
    return buffer.getvalue()


def _read(folder: Storage | None, name: str, count: int) -> FloatArray | None:
    """Logits that are kept, or none; a damaged file, and one of another length, of another cut, are none."""
    if folder is None or not folder.exists(name):
        return None
    try:
        logits: FloatArray = np.load(io.BytesIO(folder.read(name)), allow_pickle=False)
    except (ValueError, EOFError):
        return None
    return logits if logits.shape == (count,) else None
