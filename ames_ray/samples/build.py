"""Putting sample photos into a folder, once and whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ames_ray.errors import DatasetError
from ames_ray.samples.folder import fill_folder
from ames_ray.samples.sources import Collection, from_gcompris, from_wheels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Source: TypeAlias = Literal["auto", "gcompris", "wheels"]


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What is in the folder.

    Attributes:
        folder: Where the photos are.
        source: Package that they come from, with its version.
        photos: Number of photos.
        activities: Number of photos in each of its folders.
        made: False where the folder was complete already.
        fallback: Why another source than the first choice was taken; none where it was not.
    """

    folder: str
    source: str
    photos: int
    activities: Mapping[str, int] = field(default_factory=dict)
    made: bool = True
    fallback: str | None = None


def build_samples(folder: Path, source: Source) -> SampleReport:
    """Make sure that `folder` holds sample photos, with their credits beside them.

    The photos are the files as shipped. A complete folder is left as it is; an incomplete one is never mended
    silently. Files appear all at once, by one rename.

    Args:
        folder: Folder to make.
        source: ``"gcompris"``: 292 pictures of Debian's package `gcompris-qt-data`; ``"wheels"``: 15 photos
            in the installed scikit-image and scikit-learn; ``"auto"``: the first that can be had.

    Raises:
        DatasetError: The source cannot be had or has changed, or the folder holds something else.
    """
    fallback: list[str] = []

    def fill(whole: Path) -> dict[str, Any]:
        return _write(_collect(source, fallback), whole)

    def accept(index: Mapping[str, Any]) -> None:
        if "photos" not in index:
            raise DatasetError(f"{folder} holds {index.get('set')}, not sample photos", "name another folder")
        if source != "auto" and index["source"].startswith("gcompris") != (source == "gcompris"):
            raise DatasetError(
                f"{folder} holds photos of {index['source']}, but source is {source!r}", "name another folder"
            )

    index, made = fill_folder(folder, fill, accept)
    activities = Counter(name.partition("/")[0] for name in index["photos"])
    return SampleReport(
        folder=str(folder),
        source=index["source"],
        photos=len(index["photos"]),
        activities=dict(sorted(activities.items())),
        made=made,
        fallback=fallback[0] if made and fallback else None,
    )


def _collect(source: Source, fallback: list[str]) -> Collection:
    """The photos; why it is another source than the first choice is added to `fallback`."""
    if source == "wheels":
        return from_wheels()
    try:
        return from_gcompris()
    except DatasetError as error:
        if source == "gcompris":
            raise
        fallback.append(error.message)
        return from_wheels()


def _write(collection: Collection, folder: Path) -> dict[str, Any]:
    files = {**collection.photos, **collection.credits}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {
        "source": collection.source,
        "photos": sorted(collection.photos),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
