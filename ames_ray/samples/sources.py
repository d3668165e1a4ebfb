"""Where sample photos come from: a Debian package, or wheels that are installed anyway."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ames_ray.errors import DatasetError, ImageError
from ames_ray.images.read import decode
from ames_ray.samples.credits import gcompris_credits, wheel_credits
from ames_ray.samples.debian import UnpackedPackage, unpack_package
from ames_ray.samples.rcc import read_rcc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKAGE = "gcompris-qt-data"
_KNOWN_VERSION = "3.1-2"
_ACTIVITIES = "gcompris/src/activities/"
_CATALOGUE = Path(__file__).parents[1] / "data" / "samples_gcompris.csv"
_MAX_PIXELS = 1 << 24

WHEEL_PHOTOS: Mapping[str, Sequence[str]] = {
    "skimage": tuple(
        f"data/{name}"
        for name in (
            "astronaut.png",
            "brick.png",
            "camera.png",
            "chelsea.png",
            "coffee.png",
            "coins.png",
            "grass.png",
            "gravel.png",
            "hubble_deep_field.jpg",
            "moon.png",
            "motorcycle_left.png",
            "motorcycle_right.png",
            "rocket.jpg",
        )
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
"""Photos of at least 200 pixels a side inside the wheels, by import name."""
_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


@dataclass(frozen=True, slots=True)
class Collection:
    """Photos and their credits, in memory.

    Attributes:
        source: Where they come from, with its version.
        photos: Files as shipped, by their path in the folder to be.
        credits: Texts that go beside them, by name.
    """

    source: str
    photos: Mapping[str, bytes]
    credits: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class CataloguePhoto:
    """A photo of the package as this version of ames-ray knows it.

    Attributes:
        name: Path in the sample folder.
        member: Path inside the resource file, below the activities.
        width: Pixels.
        height: Pixels.
        pixels_sha256: SHA-256 of the decoded pixels, (height, width, 3) uint8 RGB.
    """

    name: str
    member: str
    width: int
    height: int
    pixels_sha256: str


def read_catalogue() -> list[CataloguePhoto]:
    """The 292 RGB photos and paintings of at least 200 pixels a side, sorted by name."""
    with _CATALOGUE.open(newline="", encoding="utf-8") as file:
        return [
            CataloguePhoto(r["name"], r["member"], int(r["width"]), int(r["height"]), r["pixels_sha256"])
            for r in csv.DictReader(file)
        ]


def from_gcompris() -> Collection:
    """The pictures of Debian's `gcompris-qt-data`, each checked against the catalogue.

    Raises:
        DatasetError: The package cannot be had, or it is another version with other pictures.
    """
    with tempfile.TemporaryDirectory(prefix="ames-ray-") as folder:
        package = unpack_package(_PACKAGE, Path(folder))
        members = _read_activities(package)
    catalogue = read_catalogue()
    wrong = [p.name for p in catalogue if not is_picture_of(p.pixels_sha256, members.get(p.member))]
    if wrong:
        raise DatasetError(
            f"{len(wrong)} of {len(catalogue)} pictures in {_PACKAGE} {package.version} differ from those of "
            f"{_KNOWN_VERSION}, first {wrong[0]}",
            f"take {_PACKAGE} {_KNOWN_VERSION} from Debian 12, or pass source=wheels",
        )
    photos = {photo.name: members[photo.member] for photo in catalogue}
    notes = {name: data for name, data in sorted(members.items()) if name.endswith("/README")}
    return Collection(
        f"{_PACKAGE} {package.version}",
        photos,
        gcompris_credits(package, [p.member for p in catalogue], notes),
    )


def from_wheels() -> Collection:
    """The photos inside the installed scikit-image and scikit-learn; nothing is downloaded.

    Raises:
        DatasetError: One of them is not installed, or does not carry a photo that it should.
    """
    photos: dict[str, bytes] = {}
    for module, paths in WHEEL_PHOTOS.items():
        root = _installed(module)
        for path in paths:
            file = root / path
            if not file.is_file():
                raise DatasetError(f"the installed {_label(module)} has no {path}", "reinstall it")
            photos[f"{_DISTRIBUTIONS[module]}/{file.name}"] = file.read_bytes()
    readme = (_installed("sklearn") / "datasets/images/README.txt").read_bytes()
    labels = [_label(module) for module in WHEEL_PHOTOS]
    return Collection(" and ".join(labels), photos, wheel_credits(labels, readme))


def pixels_sha256(data: bytes) -> str:
    """SHA-256 of the pixels of an encoded picture, (height, width, 3) uint8 RGB.

    Raises:
        ImageError: It cannot be decoded.
    """
    pixels = decode(data, max_pixels=_MAX_PIXELS, truncated="fail").pixels
    return hashlib.sha256(pixels[..., ::-1].tobytes()).hexdigest()


def is_picture_of(digest: str, data: bytes | None) -> bool:
    """Whether an encoded picture is there and its `pixels_sha256` is `digest`."""
    try:
        return data is not None and pixels_sha256(data) == digest
    except ImageError:
        return False


def _read_activities(package: UnpackedPackage) -> dict[str, bytes]:
    """Every file of the activities that the catalogue names, by its path below the activities."""
    folder = package.root / "usr/share/gcompris-qt/rcc"
    members: dict[str, bytes] = {}
    for activity in sorted({photo.member.partition("/")[0] for photo in read_catalogue()}):
        archive = folder / f"{activity}.rcc"
        if archive.is_file():
            for path, data in read_rcc(archive.read_bytes(), archive.name):
                members[path.removeprefix(_ACTIVITIES)] = data
    return members


def _installed(module: str) -> Path:
    # find_spec does not import the package, so none of its own downloads can start.
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DatasetError(f"{_DISTRIBUTIONS[module]} is not installed", "pip install 'ames-ray[samples]'")
    return Path(spec.submodule_search_locations[0])


def _label(module: str) -> str:
    return f"{_DISTRIBUTIONS[module]} {version(_DISTRIBUTIONS[module])}"
