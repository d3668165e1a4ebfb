"""The lists of `landmarks_mini`, the benchmark that `ames-ray samples set=landmarks_mini` makes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ames_ray.datasets.lists import list_lines, read_list
from ames_ray.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ames_ray.files import Storage
    from ames_ray.types import ImageRecord

SPLITS = {
    "train": "train",
    "val_gallery": "gallery",
    "val_query": "query",
    "test_gallery": "gallery",
    "test_query": "query",
}
"""Parts of the data set, and the split that their records carry."""


def read_split(storage: Storage, split: str) -> Iterator[ImageRecord]:
    """Records of a part, in the order that its ground truth counts in; the label is the landmark.

    Args:
        storage: Folder of the data set.
        split: One of `SPLITS`.

    Raises:
        DatasetError: The folder is not that data set.
    """
    name = f"{split}.txt"
    if not storage.exists(name):
        raise DatasetError(
            f"{storage.address(name)} does not exist",
            "`ames-ray samples set=landmarks_mini output=FOLDER` makes the data set; pass data_root=FOLDER",
        )
    for record in read_list(list_lines(storage, name), storage.address(name)):
        yield replace(record, split=SPLITS[split])
