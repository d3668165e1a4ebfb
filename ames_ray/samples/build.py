"""Putting sample photos into a folder, once and whole."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ames_ray.errors import DatasetError
from ames_ray.files import TEMPORARY, sha256_file, to_json
from ames_ray.samples.sources import Collection, from_gcompris, from_wheels

if TYPE_CHECKING:
    from collections.abc import Mapping

Source: TypeAlias = Literal["auto", "gcompris", "wheels"]
INDEX = "samples.json"


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
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        return _existing(folder, source)
    collection, fallback = _collect(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}{TEMPORARY}", dir=folder.parent) as temporary:
        whole = Path(temporary) / folder.name
        index = _write(collection, whole)
        try:
            whole.rename(folder)
        except OSError:
            # Another run may have put its own, equal folder there in the meantime.
            if not (folder / INDEX).is_file():
                raise
            return _existing(folder, source)
    return _report(folder, index, made=True, fallback=fallback)


def _collect(source: Source) -> tuple[Collection, str | None]:
    if source == "wheels":
        return from_wheels(), None
    try:
        return from_gcompris(), None
    except DatasetError as error:
        if source == "gcompris":
            raise
        return from_wheels(), error.message


def _write(collection: Collection, folder: Path) -> dict[str, Any]:
    files = {**collection.photos, **collection.credits}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    index = {
        "source": collection.source,
        "photos": sorted(collection.photos),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    (folder / INDEX).write_bytes(to_json(index))
    return index


def _existing(folder: Path, source: Source) -> SampleReport:
    """The report of a folder that is there already, or an error that says what is wrong with it."""
    if not (folder / INDEX).is_file():
        raise DatasetError(f"{folder} is not empty and holds no {INDEX}", "name another folder")
    again = f"delete {folder} and run this again"
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except ValueError:
        raise DatasetError(f"{folder / INDEX} is damaged", again) from None
    if source != "auto" and index["source"].startswith("gcompris") != (source == "gcompris"):
        raise DatasetError(
            f"{folder} holds photos of {index['source']}, but source is {source!r}", "name another folder"
        )
    for name, digest in index["sha256"].items():
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise DatasetError(
                f"{folder / name} is missing or changed", f"delete {folder} and run this again"
            )
    return _report(folder, index, made=False, fallback=None)


def _report(folder: Path, index: Mapping[str, Any], *, made: bool, fallback: str | None) -> SampleReport:
    activities = Counter(name.partition("/")[0] for name in index["photos"])
    return SampleReport(
        str(folder), index["source"], len(index["photos"]), dict(sorted(activities.items())), made, fallback
    )
