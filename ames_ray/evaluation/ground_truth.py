"""Ground truth in whatever form it comes, as sorted int64 rows of the gallery list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.types import AnyArray, IntArray

LISTS = ("easy", "hard", "junk", "ok")
"""Names of the lists that a query can have: Revisited has the first three, GLDv2 the last one."""


def image_rows(value: Any, where: str) -> IntArray:
    """One query's list of images as sorted rows without repeats.

    Args:
        value: List, tuple, set, array of any integer type, object array (also of arrays), or none.
        where: Name of the field, for messages.

    Returns:
        (P,) int64, ascending.

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
    if not whole or flat.min() < 0 or flat.max() >= 2**53:
        raise DatasetError(
            f"{where} holds {flat[:3].tolist()} …; allowed are whole numbers from 0 on",
            "ground truth names images by their position in the gallery list",
        )
    return np.unique(flat.astype(np.int64))


def _flat(array: AnyArray) -> AnyArray:
    parts = [np.ravel(np.asarray(item)) for item in array.ravel() if item is not None]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Which gallery images show what a query shows.

    Attributes:
        lists: By name of the list (of `LISTS`), one array of gallery rows a query: (P,) int64, ascending.
            Given in any form that `image_rows` takes.

    Raises:
        DatasetError: The lists differ in length, have unknown names, or hold something else than rows.
    """

    lists: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        unknown = [name for name in self.lists if name not in LISTS]
        if unknown or not self.lists:
            raise DatasetError(
                f"ground truth has the lists {', '.join(self.lists) or '(none)'}; "
                f"known are {', '.join(LISTS)}"
            )
        sizes = {name: len(queries) for name, queries in self.lists.items()}
        if len(set(sizes.values())) > 1:
            raise DatasetError(
                f"ground truth has {', '.join(f'{size} {name}' for name, size in sizes.items())} lists",
                "give one list a query in each; an empty list is fine",
            )
        rows = {
            name: tuple(image_rows(value, f"{name} of query {query}") for query, value in enumerate(queries))
            for name, queries in self.lists.items()
        }
        object.__setattr__(self, "lists", rows)

    def __len__(self) -> int:
        """Number of queries."""
        return len(next(iter(self.lists.values())))

    def of(self, name: str) -> tuple[IntArray, ...]:
        """One of the lists.

        Raises:
            DatasetError: There is no such list.
        """
        if name not in self.lists:
            raise DatasetError(
                f"ground truth has no list '{name}'; it has {', '.join(self.lists)}",
                "Revisited Oxford and Paris need easy, hard and junk; GLDv2 needs ok",
            )
        return tuple(self.lists[name])

    @classmethod
    def from_gnd(cls, data: Any) -> Self:
        """From plain containers, as the benchmarks' pickles hold them.

        Args:
            data: A mapping with `gnd` (and perhaps `imlist`, the gallery's names), or what `gnd` holds: for
                each query a mapping of lists, or its list of positives. Or a mapping of `LISTS` names to
                one list a query. Where `imlist` is given, lists may hold names in place of rows.

        Raises:
            DatasetError: It is none of these; queries have different lists; a row or name is not in `imlist`,
                or a name is there more than once.
        """
        names = data.get("imlist") if isinstance(data, Mapping) else None
        if isinstance(data, Mapping) and "gnd" not in data:
            truth = cls(_with_rows({name: data[name] for name in LISTS if name in data}, names))
        else:
            truth = cls(_columns(data["gnd"] if isinstance(data, Mapping) else data, names))
        if names is not None:
            truth._refuse_rows_from(len(names))
        return truth

    def _refuse_rows_from(self, images: int) -> None:
        for name, queries in self.lists.items():
            for query, rows in enumerate(queries):
                if len(rows) and rows[-1] >= images:
                    raise DatasetError(
                        f"{name} of query {query} names image {rows[-1]}, but imlist has {images} images",
                        "rows count from 0",
                    )


def _columns(entries: Sequence[Any], names: Sequence[str] | None) -> dict[str, list[Any]]:
    """Lists by name from one entry a query."""
    columns: dict[str, list[Any]] = {}
    numbers = _numbers(names)
    for query, value in enumerate(entries):
        entry = value if isinstance(value, Mapping) else {"ok": value}
        for name in LISTS:
            if name in entry:
                columns.setdefault(name, []).append(_numbered(entry[name], numbers, f"gnd[{query}].{name}"))
        missing = [name for name, lists in columns.items() if len(lists) <= query]
        if missing or not columns:
            raise DatasetError(
                f"gnd[{query}] has no {', '.join(missing or LISTS)}; it has {', '.join(map(str, entry))}",
                "every query needs the same lists; an empty list is fine",
            )
    return columns


def _with_rows(lists: Mapping[str, Any], names: Sequence[str] | None) -> Mapping[str, Any]:
    """Lists by name that hold rows, where they held names of images."""
    if names is None:
        return lists
    numbers = _numbers(names)
    return {
        name: [_numbered(value, numbers, f"{name}[{query}]") for query, value in enumerate(queries)]
        for name, queries in lists.items()
    }


def _numbers(names: Sequence[str] | None) -> dict[str, list[int]]:
    """The rows that have each name."""
    numbers: dict[str, list[int]] = {}
    for row, name in enumerate(() if names is None else names):
        numbers.setdefault(name, []).append(row)
    return numbers


def _numbered(value: Any, numbers: Mapping[str, list[int]], where: str) -> Any:
    if value is None or not any(isinstance(item, str) for item in value):
        return value
    unknown = [item for item in value if item not in numbers]
    if unknown:
        raise DatasetError(
            f"{where} names {unknown[0]!r}, which is not in imlist",
            "name images as imlist does, or by their row in it",
        )
    if several := [item for item in value if len(numbers[item]) > 1]:
        rows = ", ".join(map(str, numbers[several[0]]))
        raise DatasetError(
            f"{where} names {several[0]!r}, which imlist has in the rows {rows}",
            "name it by its row in imlist",
        )
    return [numbers[item][0] for item in value]
