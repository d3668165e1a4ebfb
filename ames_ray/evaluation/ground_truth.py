"""Ground truth in whatever form it comes, as sorted int64 rows of the gallery list."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.types import AnyArray, IntArray


def image_rows(value: Any, where: str) -> IntArray:
    """One query's list of images as sorted, unique rows.

    Args:
        value: List, tuple, set, array of any integer type, object array (also of arrays), or none.
        where: Name of the field, for messages.

    Returns:
        (P,) int64, ascending, without repeats.

    Raises:
        DatasetError: Something in it is not a whole number from 0 on.
    """
    if value is None:
        return np.empty(0, np.int64)
    array = np.asarray(list(value) if isinstance(value, set | frozenset) else value)
    flat = _flat(array) if array.dtype == object else array.ravel()
    if flat.size == 0:
        return np.empty(0, np.int64)
    whole = flat.dtype.kind in "iu" or (flat.dtype.kind == "f" and bool((flat == np.floor(flat)).all()))
    if not whole or flat.min() < 0:
        raise DatasetError(
            f"{where} holds {flat[:3].tolist()} …; allowed are whole numbers from 0 on",
            "ground truth names images by their position in the gallery list",
        )
    return np.unique(flat.astype(np.int64))


def image_rows_per_query(values: Sequence[Any], where: str) -> tuple[IntArray, ...]:
    """`image_rows` of every query."""
    return tuple(image_rows(value, f"{where} of query {query}") for query, value in enumerate(values))


def _flat(array: AnyArray) -> AnyArray:
    parts = [np.ravel(np.asarray(item)) for item in array.ravel() if item is not None]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RevisitedGroundTruth:
    """Easy, hard and junk images of every query of Revisited Oxford or Paris, or of one's own set.

    Each argument is one list of images a query, in any form that `image_rows` takes.

    Attributes:
        easy: Q arrays of gallery rows that show the query's object plainly.
        hard: Q arrays of gallery rows that show it under difficult conditions.
        junk: Q arrays of gallery rows that count neither for nor against.

    Raises:
        DatasetError: The three lists differ in length, or an entry is not a row number.
    """

    easy: tuple[IntArray, ...]
    hard: tuple[IntArray, ...]
    junk: tuple[IntArray, ...]

    def __post_init__(self) -> None:
        for item in fields(self):
            rows = image_rows_per_query(getattr(self, item.name), item.name)
            object.__setattr__(self, item.name, rows)
        if not len(self.easy) == len(self.hard) == len(self.junk):
            raise DatasetError(
                f"ground truth has {len(self.easy)} easy, {len(self.hard)} hard and {len(self.junk)} junk lists",
                "give one list a query in each; an empty list is fine",
            )

    @classmethod
    def from_gnd(cls, gnd: Sequence[Mapping[str, Any]]) -> Self:
        """From the `gnd` entry of the authors' pickle: one mapping a query.

        Raises:
            DatasetError: A query lacks `easy`, `hard` or `junk`.
        """
        for query, entry in enumerate(gnd):
            missing = {"easy", "hard", "junk"} - set(entry)
            if missing:
                raise DatasetError(
                    f"gnd[{query}] has no {', '.join(sorted(missing))}; it has {', '.join(sorted(entry))}",
                    "the revisited ground truth has easy, hard and junk; the original one (ok) is another",
                )
        return cls(*(tuple(entry[name] for entry in gnd) for name in ("easy", "hard", "junk")))

    def __len__(self) -> int:
        return len(self.easy)
