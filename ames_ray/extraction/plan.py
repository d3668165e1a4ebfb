"""How large a store will be, and whether it fits, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ames_ray.errors import ResourceError

if TYPE_CHECKING:
    from ames_ray.files import Storage
    from ames_ray.store.meta import StoreMeta

_MARGIN = 1.02
"""Parquet's own bytes stay below 2 % of the payload (benchmarks/extraction.py)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A store in numbers.

    Attributes:
        rows: Lines of the image list.
        shards: Files that will be made.
        row_bytes: Payload of one row.
        missing_bytes: Upper bound for what is not on disk yet.
        free_bytes: Free space of the disk, none for an object store.
    """

    rows: int
    shards: int
    row_bytes: int
    missing_bytes: int
    free_bytes: int | None

    @property
    def fits(self) -> bool:
        """Whether the free space suffices."""
        return self.free_bytes is None or self.missing_bytes <= self.free_bytes


def make_plan(meta: StoreMeta, storage: Storage, missing_rows: int) -> Plan:
    """Count the store that `meta` describes, of which `missing_rows` are still to be made."""
    missing = int(missing_rows * meta.row_bytes * _MARGIN)
    return Plan(meta.rows, meta.shards, meta.row_bytes, missing, storage.free_bytes())


def require_room(plan: Plan, meta: StoreMeta, where: str) -> None:
    """Refuse what cannot fit.

    Raises:
        ResourceError: Needed and free bytes, and what would be smaller.
    """
    if plan.fits or plan.free_bytes is None:
        return
    smaller = [f"{name}: {size(total)}" for name, total in cheaper(meta).items()]
    raise ResourceError(
        f"the store needs {size(plan.missing_bytes)} more, {where} has {size(plan.free_bytes)} free",
        "free some space, write elsewhere, or store less. " + "; ".join(smaller),
    )


def cheaper(meta: StoreMeta) -> dict[str, int]:
    """Bytes of the whole store under other choices, by the words that ask for them."""
    choices = {
        "codec=float32": replace(meta, codec="float32"),
        "codec=float16": replace(meta, codec="float16"),
        "codec=float16 topk=100": replace(meta, codec="float16", topk=min(meta.topk, 100)),
    }
    return {words: other.rows * other.row_bytes for words, other in choices.items()}


def size(count: float) -> str:
    """Bytes for people, in powers of 1000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
