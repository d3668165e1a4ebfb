"""The image list of an HDF5 file in the authors' folder, from whatever list lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.registry import R1M_FOLDER, DatasetOptions, build_manifest
from ames_ray.files import Storage, is_remote
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

_REVISITED = ("roxford5k", "rparis6k")
_TRAIN = "train_750k.txt"


def authors_manifest(uri: str, rows: int) -> Manifest:
    """The list that rows of a file belong to; where no list is known, images are numbered.

    Args:
        uri: File of local descriptors, `{desc}_{query|gallery}_local.hdf5` or `{desc}_local.hdf5`; it need
            not be there itself, its chunks may be.
        rows: Images in the file.

    Raises:
        DatasetError: The list is malformed.
        UnsafeFileError: The ground truth that holds it would run code.
    """
    options = None if is_remote(uri) else _listed(Path(uri))
    if options is not None:
        return build_manifest(options)
    folder, name = Storage.of_file(uri)
    stem = name.removesuffix(".hdf5").removesuffix("_local")
    note = f"no list of {stem} is known: its images are numbered"
    return Manifest.from_records(_numbered(stem, rows), folder.uri, notes=[note], allow_outside=True)


def _listed(path: Path) -> DatasetOptions | None:
    """Which list belongs to a file."""
    folder = path.parent
    words = path.stem.split("_")
    split = next((word for word in ("query", "gallery") if word in words), None)
    root = str(folder.parent)
    if folder.name in _REVISITED and split and (folder / f"gnd_{folder.name}.pkl").is_file():
        return DatasetOptions(folder.name, split=split, data_root=root, allow_outside=True)
    if folder.name == R1M_FOLDER and (folder / f"{R1M_FOLDER}.txt").is_file():
        return DatasetOptions("r1m", data_root=root, allow_outside=True)
    text = folder / (f"test_{split}.txt" if split else _TRAIN)
    if text.is_file():
        return DatasetOptions("list", split=split, list_file=str(text), allow_outside=True)
    return None


def _numbered(stem: str, rows: int) -> Iterator[ImageRecord]:
    for row in range(rows):
        yield ImageRecord(row, f"{stem}/{row}", f"{stem}/{row}")
