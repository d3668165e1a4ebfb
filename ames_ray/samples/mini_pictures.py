"""The pictures of `landmarks_mini`: which views are made of which photo, under which names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.images.read import decode
from ames_ray.samples.views import HARD, MODERATE, make_view, paste, reduced, to_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ames_ray.samples.mini_photos import MiniPhoto
    from ames_ray.samples.views import ViewRange
    from ames_ray.types import Pixels

SCENE_VIEWS = 2
"""Moderate views beside each photo of a scene in the gallery."""
DISTRACTOR_VIEWS = 7
"""Likewise beside each distractor."""
MADE_UP = ("medium", "hard")
"""Tiers of made-up queries."""
_PHOTO_SIDE = 1024
_ORIGINAL_QUALITY = 92
_MAX_PIXELS = 1 << 24
_MODERATE_SHARE = 4


@dataclass(frozen=True, slots=True)
class Picture:
    """One file of the data set.

    Attributes:
        list: Which list it belongs to: "train", "val_query" …
        name: Path in the folder.
        data: The JPEG.
        width: Pixels.
        height: Pixels.
        label: What it shows.
        photo: Name of the photo that it was made of.
        tier: Of a query "medium", "hard", "crossphoto" or "pairs"; "" else.
        seed: Of a made-up query; none else.
    """

    list: str
    name: str
    data: bytes
    width: int
    height: int
    label: str
    photo: str
    tier: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PictureMaker:
    """Makes the pictures of one list after the other.

    Attributes:
        table: All photos.
        photos: Their files.
    """

    table: Sequence[MiniPhoto]
    photos: Mapping[str, bytes]

    def train(self, views: int) -> Iterator[Picture]:
        """Each photo `views` times: as it is, a quarter of the rest moderate, the others hard.

        Every other hard view is pasted on another training photo, which its name tells: a picture that
        shows that photo too is no negative.
        """
        chosen = self._of("train")
        moderate = (views - 1) // _MODERATE_SHARE
        for photo in chosen:
            pixels = self._pixels(photo)
            others = [other for other in chosen if other.landmark != photo.landmark]
            for number in range(views):
                random = _random("train", photo.name, str(number))
                behind = ""
                if number == 0:
                    kind, view, quality = "original", reduced(pixels), _ORIGINAL_QUALITY
                elif number <= moderate:
                    kind, (view, quality) = "moderate", _view(pixels, MODERATE, random)
                else:
                    kind, (view, quality) = "hard", _view(pixels, HARD, random)
                    if number % 2:
                        other = others[int(random.integers(len(others)))]
                        view = paste(view, self._pixels(other), random)
                        kind, behind = "pasted", f"-on-{slug(other.name)}"
                name = f"train/{slug(photo.name)}/{kind}{number:02d}{behind}.jpg"
                yield _picture("train", name, view, quality, photo)

    def gallery(self, split: str) -> Iterator[Picture]:
        """Photos of the split with moderate views of each, then its distractors with theirs."""
        views = {"scene": SCENE_VIEWS, "further": SCENE_VIEWS, "pair": 0, "distractor": DISTRACTOR_VIEWS}
        for role, count in views.items():
            for photo in self._of(f"{split}_{role}"):
                pixels = self._pixels(photo)
                for number in range(count + 1):
                    random = _random(split, "gallery", photo.name, str(number))
                    view, quality = reduced(pixels), _ORIGINAL_QUALITY
                    if number:
                        view, quality = _view(pixels, MODERATE, random)
                    name = f"{split}/gallery/{slug(photo.name)}-{number}.jpg"
                    yield _picture(f"{split}_gallery", name, view, quality, photo)

    def queries(self, split: str, seeds: int) -> Iterator[Picture]:
        """The tiers medium and hard for each seed, then crossphoto and pairs."""
        scenes, backgrounds = self._of(f"{split}_scene"), self._of(f"{split}_background")
        for seed in range(seeds):
            order = _random(split, "backgrounds", str(seed)).permutation(len(backgrounds))
            for number, photo in enumerate(scenes):
                behind = backgrounds[int(order[number % len(backgrounds)])]
                yield self._made_up(split, "medium", seed, photo, None)
                yield self._made_up(split, "hard", seed, photo, behind)
        several = {photo.landmark for photo in self._of(f"{split}_further")}
        for tier, photos in (
            (
                "crossphoto",
                [p for p in self._of(f"{split}_scene", f"{split}_further") if p.landmark in several],
            ),
            ("pairs", self._of(f"{split}_pair")),
        ):
            for photo in photos:
                view = reduced(self._pixels(photo))
                name = f"{split}/query/{slug(photo.name)}-{tier}.jpg"
                yield _picture(f"{split}_query", name, view, _ORIGINAL_QUALITY, photo, tier)

    def _made_up(
        self, split: str, tier: str, seed: int, photo: MiniPhoto, behind: MiniPhoto | None
    ) -> Picture:
        random = _random(split, tier, photo.name, str(seed))
        view, quality = _view(self._pixels(photo), HARD, random)
        if behind is not None:
            view = paste(view, self._pixels(behind), random)
        name = f"{split}/query/{slug(photo.name)}-{tier}-{seed}.jpg"
        return _picture(f"{split}_query", name, view, quality, photo, tier, seed)

    def _of(self, *roles: str) -> list[MiniPhoto]:
        return [photo for photo in self.table if photo.role in roles]

    def _pixels(self, photo: MiniPhoto) -> Pixels:
        data = self.photos[photo.name]
        return reduced(decode(data, max_pixels=_MAX_PIXELS, truncated="fail").pixels, _PHOTO_SIDE)


def slug(name: str) -> str:
    """A photo's name as part of a file name: `details/TajMahal.webp` becomes `details-TajMahal`."""
    return str(PurePosixPath(name).with_suffix("")).replace("/", "-")


def _view(pixels: Pixels, limits: ViewRange, random: np.random.Generator) -> tuple[Pixels, int]:
    low, high = limits.quality
    return make_view(pixels, limits, random), int(random.integers(low, high + 1))


def _picture(
    which: str,
    name: str,
    view: Pixels,
    quality: int,
    photo: MiniPhoto,
    tier: str = "",
    seed: int | None = None,
) -> Picture:
    height, width = view.shape[:2]
    data = to_jpeg(view, quality)
    return Picture(which, name, data, width, height, photo.landmark, photo.name, tier, seed)


def _random(*words: str) -> np.random.Generator:
    """Draws that depend on nothing but what is drawn: another photo or view more changes no other one."""
    digest = hashlib.sha256("/".join(words).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
