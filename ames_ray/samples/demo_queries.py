"""The demo's queries: a few sample photos and parts of them, and what each is to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ames_ray.files import Storage
from ames_ray.images.read import decode
from ames_ray.samples.mini_photos import read_table
from ames_ray.samples.views import to_jpeg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_QUALITY = 95
_PAIR = ("scikit-image/motorcycle_left.png", "scikit-image/motorcycle_right.png")


@dataclass(frozen=True, slots=True)
class DemoQuery:
    """A sample photo to search with.

    Attributes:
        photo: Its path in the folder of sample photos.
        part: Left, top, right and bottom of the part to search with [pixels], which is to find the photo that
            it was cut from. Without one another photo of the same thing is to be found, and the photo itself
            does not count.
    """

    photo: str
    part: tuple[int, int, int, int] | None = None


QUERIES = {
    "1_TourEiffel.webp": DemoQuery("details/TourEiffel.webp"),
    "2_neuschwanstein.webp": DemoQuery("explore_monuments/germany/neuschwansteinCastle.webp"),
    "3_TajMahal.webp": DemoQuery("details/TajMahal.webp"),
    "4_qutubMinar.webp": DemoQuery("explore_monuments/india/qutubMinar.webp"),
    "5_mountRushmore.webp": DemoQuery("explore_monuments/usa/mountRushmore.webp"),
    "6_motorcycle.png": DemoQuery("scikit-image/motorcycle_left.png"),
    "7_coffee.jpg": DemoQuery("scikit-image/coffee.png", (150, 60, 450, 340)),
    "8_china.jpg": DemoQuery("scikit-learn/china.jpg", (200, 40, 520, 300)),
}
"""By the names of their files: examples picked by eye; Mount Rushmore is one that RootSIFT ranks badly."""


def write_queries(photos: Path, folder: Path) -> None:
    """Copy the queries whose photo is there, or cut them out of it.

    Args:
        photos: Folder of the sample photos.
        folder: Where the queries go.

    Raises:
        ImageError: A photo cannot be read.
    """
    storage = Storage.at(folder)
    for name, query in QUERIES.items():
        if (photos / query.photo).is_file():
            storage.publish(name, _picture(query, (photos / query.photo).read_bytes()))


def demo_truth(queries: Sequence[str], gallery: Sequence[str]) -> dict[str, Any]:
    """A ground truth of the Revisited form.

    Args:
        queries: Names of the query files, in the order of their store.
        gallery: Paths of the sample photos, in the order of theirs.

    Returns:
        `imlist`, `qimlist` and `gnd`: a part finds its photo as `easy`; of a whole photo other photos of the
        same thing are `hard`, and itself is `junk`. Of a query that is no demo's nothing is known.
    """
    shows = {**{photo.name: photo.landmark for photo in read_table()}, **dict.fromkeys(_PAIR, "motorcycle")}

    def entry(query: DemoQuery | None) -> dict[str, list[int]]:
        if query is None:
            return {"easy": [], "hard": [], "junk": []}
        itself = [row for row, name in enumerate(gallery) if name == query.photo]
        thing = shows.get(query.photo)
        others = [row for row, name in enumerate(gallery) if thing and shows.get(name) == thing]
        if query.part is not None:
            return {"easy": itself, "hard": [], "junk": []}
        return {"easy": [], "hard": [row for row in others if row not in itself], "junk": itself}

    return {
        "imlist": list(gallery),
        "qimlist": list(queries),
        "gnd": [entry(QUERIES.get(name)) for name in queries],
    }


def _picture(query: DemoQuery, data: bytes) -> bytes:
    if query.part is None:
        return data
    left, top, right, bottom = query.part
    pixels = decode(data, max_pixels=10**8, truncated="fail").pixels
    return to_jpeg(pixels[top:bottom, left:right], _QUALITY)
