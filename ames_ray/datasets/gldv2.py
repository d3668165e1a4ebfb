"""Google Landmarks v2: its CSV files, its folders `a/b/c/abc….jpg`, and which split an image is of."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute, csv

from ames_ray.errors import DatasetError
from ames_ray.files import Storage
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILES = {
    "train": ("train_clean.csv", "train.csv"),
    "index": ("index.csv",),
    "test": ("retrieval_solution_v2.1.csv", "test.csv"),
}
"""For each split the files that list it, the preferred one first."""
SPLIT_NAMES = {"train": "train", "index": "gallery", "test": "query"}
_PLACES = ("", "metadata/", "{split}/")
_COLUMNS = ("id", "landmark_id", "images", "Usage")
_HEADER_BYTES = 4096
_IMAGE = re.compile(r"(?P<base>.*)/(?P<folder>[^/]+)/(.)/(.)/(.)/(?P<id>\3\4\5[^/]*)\.jpg$")


def list_file(storage: Storage, split: str) -> str:
    """Name of the CSV file that lists a split, relative to the folder of the data set.

    Raises:
        DatasetError: None of the known files is there.
    """
    for name in filter(storage.exists, _candidates(split)):
        return name
    raise DatasetError(
        f"{storage.uri} holds none of {', '.join(FILES[split])}, neither there nor in metadata/ or {split}/",
        "fetch it from the Google Landmarks v2 repository, or pass list_file=",
    )


def read_split(storage: Storage, name: str, split: str, folder: str) -> Iterator[ImageRecord]:
    """Records of a split, in the order of its file; the files of an image are in `folder`.

    `train_clean.csv` gives an image a line by landmark; `retrieval_solution_v2.1.csv` the public queries,
    then the private ones, without the ignored, which is the order of the ground truth.

    Args:
        storage: Folder of the CSV file.
        name: Its name.
        split: "train", "index" or "test".
        folder: Folder of the split's images, relative to the data root.

    Raises:
        DatasetError: The file has other columns, or an id that is none.
    """
    for row, (image_id, label) in enumerate(_images(_read(storage, name))):
        yield ImageRecord(row, image_id, image_path(folder, image_id), SPLIT_NAMES[split], None, label)


def image_path(folder: str, image_id: str) -> str:
    """Where the file of an image lies.

    Raises:
        DatasetError: The id has less than three characters or a slash.
    """
    if len(image_id) < 3 or not image_id.isalnum():
        raise DatasetError(
            f"{image_id!r} is no image id of Google Landmarks v2", "ids look like 6e158a47eb2ca3f6"
        )
    return f"{folder}/{image_id[0]}/{image_id[1]}/{image_id[2]}/{image_id}.jpg"


def split_hint(uris: Sequence[str]) -> str | None:
    """Which split images are of that were looked for in the folder of another one.

    Args:
        uris: Full addresses of some of the missing images.

    Returns:
        "train", "index" or "test" where most of them lie in that folder beside, or are in its CSV file; else
        none.
    """
    found = [match for match in map(_IMAGE.match, uris) if match]
    if not found or len(found) < len(uris):
        return None
    ids = {match["id"] for match in found}
    storage = Storage.at(found[0]["base"] or "/")
    others = [split for split in FILES if split != found[0]["folder"]]
    for split in others:
        if 2 * sum(storage.exists(image_path(split, image_id)) for image_id in ids) > len(ids):
            return split
    return next((split for split in others if 2 * len(ids & _listed(storage, split)) > len(ids)), None)


def _candidates(split: str) -> list[str]:
    return [place.format(split=split) + name for name in FILES[split] for place in _PLACES]


def _listed(storage: Storage, split: str) -> set[str]:
    ids: set[str] = set()
    for name in filter(storage.exists, _candidates(split)):
        with suppress(DatasetError):  # a damaged file of another split is no reason to withhold the report
            ids |= {image_id for image_id, _ in _images(_read(storage, name))}
    return ids


def _read(storage: Storage, name: str) -> pa.Table:
    """The columns that are used, as texts; the long column of addresses is not among them."""
    where = storage.address(name)
    if not storage.exists(name):
        raise DatasetError(f"{where} does not exist")
    try:
        with storage.open(name) as handle:
            first_line = handle.read(_HEADER_BYTES).split(b"\n", 1)[0].decode("utf-8-sig")
            header = first_line.strip().replace('"', "").split(",")
            handle.seek(0)
            types = {column: pa.string() for column in _COLUMNS if column in header}
            options = csv.ConvertOptions(column_types=types, include_columns=list(types))
            table = csv.read_csv(handle, convert_options=options)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DatasetError(
            f"{where} cannot be read as CSV: {error}", "the file is damaged; fetch it again"
        ) from None
    if "id" not in types and not {"landmark_id", "images"} <= set(types):
        raise DatasetError(
            f"{where} has the columns {', '.join(header)}; wanted are id, or landmark_id and images",
            "take a CSV file of Google Landmarks v2, or pass a text list with dataset=list",
        )
    return table


def _images(table: pa.Table) -> Iterator[tuple[str, str | None]]:
    """Ids with their landmark, in the order that ground truth uses."""
    if "Usage" in table.column_names:
        usages = ("Public", "Private")
        table = pa.concat_tables(table.filter(compute.equal(table["Usage"], usage)) for usage in usages)
    for batch in table.to_batches():
        labels = (
            batch["landmark_id"].to_pylist() if "landmark_id" in table.column_names else [None] * len(batch)
        )
        if "id" in table.column_names:
            yield from zip(batch["id"].to_pylist(), labels, strict=True)
        else:
            for images, label in zip(batch["images"].to_pylist(), labels, strict=True):
                yield from ((image_id, label) for image_id in images.split())
