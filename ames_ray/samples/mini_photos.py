"""The photos of `landmarks_mini`: which there are, what each is for, and where it comes from."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ames_ray.errors import DatasetError
from ames_ray.samples.credits import CREDITS, opencv_credits
from ames_ray.samples.debian import unpack_package
from ames_ray.samples.sources import from_gcompris, is_picture_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


Role = Literal[
    "train",
    "val_scene",
    "val_further",
    "val_distractor",
    "val_background",
    "test_scene",
    "test_further",
    "test_pair",
    "test_distractor",
    "test_background",
    "unused",
]
ROLES: tuple[str, ...] = get_args(Role)
_TABLE = Path(__file__).parents[1] / "data" / "landmarks_mini.csv"
_OPENCV, _OPENCV_VERSION = "opencv-doc", "4.6.0+dfsg-12"
_ALTERED = (
    b"The pictures in this folder are altered copies, see README.md. What follows is about the originals.\n\n"
)
_HINT = "landmarks_mini is made of gcompris-qt-data and opencv-doc: make it on Debian 12, with a network"
_OPENCV_FOLDER = "usr/share/doc/opencv-doc/examples/data"


@dataclass(frozen=True, slots=True)
class MiniPhoto:
    """One line of the table, which was fixed before anything was tuned.

    Attributes:
        name: Path in the folder of `ames-ray samples`, or `opencv-doc/` and a file name.
        role: `*_scene`: in the gallery, and its made-up views are queries; `*_further`: another photograph of
            a scene's landmark, in the gallery; `test_pair`: one of two photographs of a place, each the query
            for the other; `*_distractor`: in the gallery only; `*_background`: behind pasted views only;
            `unused`: the same photograph as another one.
        landmark: What it shows; equal for photos that show the same, which never are negatives of each other.
        pixels_sha256: SHA-256 of the decoded pixels where `samples_gcompris.csv` does not hold it.
    """

    name: str
    role: str
    landmark: str
    pixels_sha256: str


@dataclass(frozen=True, slots=True)
class MiniSources:
    """The photos and their credits, in memory.

    Attributes:
        source: The packages, with their versions.
        photos: Files as shipped, by the name in the table.
        credits: Texts that go beside them, by name.
    """

    source: str
    photos: Mapping[str, bytes]
    credits: Mapping[str, bytes]


def read_table() -> list[MiniPhoto]:
    """All photos, sorted by name.

    Raises:
        DatasetError: A role is unknown.
    """
    with _TABLE.open(newline="", encoding="utf-8") as file:
        photos = [MiniPhoto(**row) for row in csv.DictReader(file)]
    for photo in photos:
        if photo.role not in ROLES:
            raise DatasetError(f"{_TABLE.name}: {photo.name} has the role {photo.role!r}", ", ".join(ROLES))
    return photos


def fetch_photos() -> MiniSources:
    """All photos of the table out of Debian's packages, each checked against its hash.

    Raises:
        DatasetError: A package cannot be had, or has other pictures.
    """
    try:
        return _fetch()
    except DatasetError as error:
        # There is no other source, as there is for photos alone.
        raise DatasetError(error.message, _HINT) from None


def _fetch() -> MiniSources:
    gcompris = from_gcompris()
    with tempfile.TemporaryDirectory(prefix="ames-ray-") as folder:
        package = unpack_package(_OPENCV, Path(folder))
        wanted = [photo for photo in read_table() if photo.name.startswith(f"{_OPENCV}/")]
        pictures = _read_all(package.root / _OPENCV_FOLDER, wanted)
    wrong = [p.name for p in wanted if not is_picture_of(p.pixels_sha256, pictures.get(p.name))]
    if wrong:
        raise DatasetError(
            f"{len(wrong)} of {len(wanted)} pictures in {_OPENCV} {package.version} differ from those of "
            f"{_OPENCV_VERSION}, first {wrong[0]}"
        )
    return MiniSources(
        f"{gcompris.source} and {package.name} {package.version}",
        {**gcompris.photos, **pictures},
        {
            **gcompris.credits,
            CREDITS: _ALTERED + gcompris.credits[CREDITS],
            **opencv_credits(package),
        },
    )


def _read_all(folder: Path, photos: Sequence[MiniPhoto]) -> dict[str, bytes]:
    files = {photo.name: folder / photo.name.partition("/")[2] for photo in photos}
    return {name: path.read_bytes() for name, path in files.items() if path.is_file()}
