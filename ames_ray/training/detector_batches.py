"""The pictures of the steps that train a detector, as far as they can be read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ames_ray.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from ames_ray.training.landmark_batches import LandmarkBatches
    from ames_ray.types import IntArray

_TRIED = 100
"""Steps that are looked at for two pictures of one landmark that can be read."""


class MapSource(Protocol):
    """Where feature maps come from."""

    @property
    def dim(self) -> int:
        """Width C of a map."""

    def names(self, rows: IntArray) -> list[str]:
        """What messages call pictures."""

    def prepare(self, rows: IntArray) -> Sequence[Any | None]:
        """What can be done ahead, in another thread; none for a picture that cannot be used."""

    def trouble(self) -> str | None:
        """A picture that could not be used, and why; none as long as all could."""

    def maps(self, pictures: Sequence[Any]) -> Sequence[Sequence[Tensor]]:
        """For each prepared picture its feature maps (C, h, w) float32, one a scale."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectorBatch:
    """What could be read of the pictures of a step.

    Attributes:
        rows: (B,) int64 rows of those that could.
        labels: (B,) int64 their landmarks.
        pictures: Them, prepared; none is held where no two show one landmark: nothing is learned from such.
        failed: How many could not.
    """

    rows: IntArray
    labels: IntArray
    pictures: Sequence[Any]
    failed: int


Ahead: TypeAlias = tuple[int, DetectorBatch, float]
"""A step, its batch, and the seconds that were waited for it."""


def read_batch(source: MapSource, batches: LandmarkBatches, step: int) -> DetectorBatch:
    """What can be read of the pictures of a step."""
    rows = batches.rows(step)
    prepared = source.prepare(rows)
    usable = [index for index, picture in enumerate(prepared) if picture is not None]
    labels = batches.labels(rows[usable])
    has_pair = len(np.unique(labels)) < len(labels)
    pictures = [prepared[index] for index in usable] if has_pair else []
    return DetectorBatch(rows[usable], labels, pictures, len(rows) - len(usable))


def until_a_pair(
    coming: Iterator[Ahead],
    read: Callable[[int], DetectorBatch],
    left: range,
    steps: int,
    source: MapSource,
) -> deque[Ahead]:
    """The first batches, up to one with two pictures of a landmark, before anything is deleted or trained.

    Args:
        coming: Batches of the steps that are left.
        read: Reads one.
        left: These steps.
        steps: Of the whole run.
        source: Of the pictures.

    Raises:
        RunError: There is no such batch.
    """
    looked_at = min(_TRIED, steps)
    begun: deque[Ahead] = deque()
    for item in islice(coming, looked_at):
        begun.append(item)
        if item[1].pictures:
            return begun
    # The last steps of a run may well be without.
    beyond = range(left.stop, left.start + looked_at) if left else ()
    if not left or any(read(step).pictures for step in beyond):
        return begun
    found = f"in {looked_at:,} steps no two pictures of one landmark could be read"
    trouble = source.trouble()
    raise RunError(
        f"{found}; {trouble}" if trouble else found,
        "is data_root= right? `ames-ray check` looks at every picture of a list",
    )


def joined(begun: deque[Ahead], coming: Iterator[Ahead]) -> Iterator[Ahead]:
    """All batches, those that were looked at first; none is held longer than it is needed."""
    while begun:
        yield begun.popleft()
    yield from coming
