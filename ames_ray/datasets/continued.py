"""A folder of photos that changed: known photos keep their rows, new ones follow, missing ones are named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from ames_ray.types import ImageRecord


@dataclass(frozen=True, slots=True, eq=False)
class Continued:
    """A list that goes on from an older one, if there is one.

    Attributes:
        manifest: All rows of the older list, then the photos that it lacks.
        removed: Rows whose photos are not there any more, ascending; none where no older list is known.
    """

    manifest: Manifest
    removed: tuple[int, ...] | None = None


def continued(old: Manifest, found: Manifest) -> Continued:
    """The older list, its rows unchanged, grown by what was found now.

    A photo is known by its path below the root, wherever the root lies today. Content is not compared: a
    photo that was replaced under its old name keeps its old descriptors.

    Args:
        old: The list of a store.
        found: The photos of the folder as they are now, in any order.

    Raises:
        DatasetError: Not one photo of the older list is there: this is another folder.
    """
    moved = old.at(found.root)
    there = {record.uri for record in found}
    known = {record.uri for record in moved}
    if not known & there:
        raise DatasetError(
            f"{found.root} holds none of the {len(old):,} photos that the store was made from",
            "pass the folder of the store, or another output=",
        )
    new = [record for record in found if record.uri not in known]
    removed = tuple(record.row for record in moved if record.uri not in there)
    if not new:
        return Continued(moved, removed)
    rows: list[ImageRecord] = [*moved, *new]
    grown = Manifest.from_records(rows, found.root, notes=found.notes, allow_outside=found.allow_outside)
    return Continued(grown, removed)
