"""Revisited Oxford and Paris: the ground truth pickle of Radenović et al. (CVPR 2018) and its image names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ames_ray.datasets.paths import is_picture
from ames_ray.datasets.safe_pickle import loads_pickle
from ames_ray.errors import DatasetError
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ames_ray.types import Box


@dataclass(frozen=True, slots=True, eq=False)
class RevisitedFile:
    """Content of a `gnd_*.pkl`.

    Attributes:
        gallery: Image names in the order that ground truth refers to.
        queries: Names of the query images.
        gnd: For each query a mapping with `bbx`, `easy`, `hard` and `junk`, as in the file.
    """

    gallery: tuple[str, ...]
    queries: tuple[str, ...]
    gnd: tuple[Mapping[str, Any], ...]

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Self:
        """Read the pickle safely.

        Args:
            data: The file's bytes.
            name: Its name, for messages.

        Raises:
            DatasetError: It is damaged, or lacks `imlist`, `qimlist` or `gnd`.
            UnsafeFileError: It would run code.
        """
        content = loads_pickle(data, name)
        keys = sorted(map(str, content)) if isinstance(content, dict) else [type(content).__name__]
        missing = {"imlist", "qimlist", "gnd"}.difference(keys)
        if missing:
            raise DatasetError(
                f"{name} has no {', '.join(sorted(missing))}; it has {', '.join(keys)}",
                "take gnd_roxford5k.pkl or gnd_rparis6k.pkl of the revisited benchmark",
            )
        gallery, queries = (tuple(map(str, content[key])) for key in ("imlist", "qimlist"))
        gnd = tuple(content["gnd"])
        if len(gnd) != len(queries):
            raise DatasetError(f"{name} has {len(queries)} queries in qimlist, but {len(gnd)} in gnd")
        return cls(gallery, queries, gnd)

    def gallery_records(self, folder: str) -> Iterator[ImageRecord]:
        """The gallery, its files in `folder`."""
        for row, name in enumerate(self.gallery):
            yield ImageRecord(row, name, _file(folder, name), "gallery")

    def query_records(self, folder: str, *, crop: bool) -> Iterator[ImageRecord]:
        """The queries, with their boxes where `crop` is set.

        Raises:
            DatasetError: A box is not four numbers.
        """
        for row, (name, entry) in enumerate(zip(self.queries, self.gnd, strict=True)):
            bbox = _box(entry, f"gnd[{row}]") if crop else None
            yield ImageRecord(row, name, _file(folder, name), "query", bbox)


def _file(folder: str, name: str) -> str:
    return f"{folder}/{name}" if is_picture(name) else f"{folder}/{name}.jpg"


def _box(entry: Mapping[str, Any], where: str) -> Box:
    try:
        left, top, right, bottom = (float(side) for side in entry["bbx"])
    except (KeyError, TypeError, ValueError):
        found = entry.get("bbx") if isinstance(entry, dict) else entry
        raise DatasetError(f"{where} has bbx {found}; wanted are left, top, right, bottom") from None
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise DatasetError(f"{where} has bbx {left}, {top}, {right}, {bottom}; wanted are finite numbers")
    return left, top, right, bottom
