"""The benchmark `landmarks_mini`: real photos, made-up views, lists and ground truth in one folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ames_ray.errors import DatasetError
from ames_ray.files import to_json
from ames_ray.samples.folder import fill_folder
from ames_ray.samples.mini_card import card
from ames_ray.samples.mini_photos import fetch_photos, read_table
from ames_ray.samples.mini_pictures import MADE_UP, PictureMaker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ames_ray.samples.mini_photos import MiniPhoto, MiniSources
    from ames_ray.samples.mini_pictures import Picture

NAME = "landmarks_mini"
SPLITS = ("val", "test")


def build_landmarks_mini(
    folder: Path,
    *,
    seeds: int = 3,
    train_views: int = 33,
    report: Callable[[int], None] = lambda _: None,
) -> tuple[Mapping[str, Any], bool]:
    """Make sure that `folder` holds the benchmark.

    A complete folder is left as it is. Equal arguments give equal bytes on one machine; another version of
    OpenCV may round a pixel differently.

    Args:
        folder: Folder to make.
        seeds: How often each scene is a query of the tiers medium and hard.
        train_views: Pictures made of each training photo, the photo itself among them.
        report: Told how many pictures are written.

    Returns:
        The index of the folder, and whether it was made now.

    Raises:
        DatasetError: A package cannot be had or has other pictures, or the folder holds something else.
    """
    wanted = {"set": NAME, "seeds": seeds, "train_views": train_views}

    def fill(whole: Path) -> dict[str, Any]:
        return {**wanted, **write_benchmark(whole, fetch_photos(), read_table(), seeds, train_views, report)}

    def accept(index: Mapping[str, Any]) -> None:
        found = {name: index.get(name) for name in wanted}
        if found != wanted:
            raise DatasetError(
                f"{folder} holds {_told(found)}, wanted is {_told(wanted)}", "name another folder"
            )

    return fill_folder(folder, fill, accept)


def _told(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def write_benchmark(
    folder: Path,
    sources: MiniSources,
    table: Sequence[MiniPhoto],
    seeds: int,
    train_views: int,
    report: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the whole benchmark into an empty folder.

    Args:
        folder: Where to.
        sources: The photos.
        table: What each of them is for.
        seeds: How often each scene is a made-up query of each tier.
        train_views: Pictures of each training photo.
        report: Told how many pictures are written.

    Returns:
        The index: source, pictures by list, and the SHA-256 of every file.
    """
    lists: dict[str, list[Picture]] = defaultdict(list)
    digests: dict[str, str] = {}
    for number, picture in enumerate(_pictures(PictureMaker(table, sources.photos), seeds, train_views), 1):
        digests[picture.name] = _write(folder / picture.name, picture.data)
        lists[picture.list].append(replace(picture, data=b""))
        report(number)
    whole = hashlib.sha256(
        "".join(f"{digests[name]} {name}\n" for name in sorted(digests)).encode()
    ).hexdigest()
    texts = {
        **sources.credits,
        **{f"{name}.txt": _list(pictures) for name, pictures in lists.items()},
        "README.md": card(sources.source, table, lists, seeds, train_views, whole),
    }
    for split in SPLITS:
        texts |= ground_truths(split, lists[f"{split}_gallery"], lists[f"{split}_query"], seeds)
    for name, data in texts.items():
        digests[name] = _write(folder / name, data)
    return {
        "source": sources.source,
        "pictures": {name: len(pictures) for name, pictures in lists.items()},
        "pictures_sha256": whole,
        "sha256": digests,
    }


def _pictures(maker: PictureMaker, seeds: int, train_views: int) -> Iterator[Picture]:
    yield from maker.train(train_views)
    for split in SPLITS:
        yield from maker.gallery(split)
        yield from maker.queries(split, seeds)


def _write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def ground_truths(
    split: str, gallery: Sequence[Picture], queries: Sequence[Picture], seeds: int
) -> dict[str, bytes]:
    """Ground truth files by name, each for all queries of the split.

    A file of one tier, or of one tier and seed, gives the other queries no positives, so their mean leaves
    them out: one store of queries and one file of scores serve all.
    """
    entries = [_entry(query, gallery) for query in queries]
    nothing: dict[str, list[int]] = {"easy": [], "hard": [], "junk": []}
    names = {"imlist": [p.name for p in gallery], "qimlist": [q.name for q in queries]}

    def gnd(tier: str | None = None, seed: int | None = None) -> bytes:
        kept = [tier in {None, q.tier} and seed in {None, q.seed} for q in queries]
        chosen = [entry if keep else nothing for keep, entry in zip(kept, entries, strict=True)]
        return to_json({**names, "gnd": chosen})

    files = {f"gnd_{split}.json": gnd()}
    for tier in dict.fromkeys(query.tier for query in queries):
        files[f"gnd_{split}_{tier}.json"] = gnd(tier)
    for seed in range(seeds):
        for tier in MADE_UP:
            files[f"gnd_{split}_{tier}_seed{seed}.json"] = gnd(tier, seed)
    return files


def _entry(query: Picture, gallery: Sequence[Picture]) -> dict[str, list[int]]:
    """Positives and junk of one query.

    A made-up query asks for its own photo and the views of it; another photograph of the landmark is neither
    right nor wrong. A real one asks for the other photographs, and its own is junk.
    """
    own = [row for row, picture in enumerate(gallery) if picture.photo == query.photo]
    others = [
        row
        for row, picture in enumerate(gallery)
        if picture.label == query.label and picture.photo != query.photo
    ]
    positives, junk = (own, others) if query.seed is not None else (others, own)
    return {"easy": positives, "hard": [], "junk": junk}


def _list(pictures: Iterable[Picture]) -> bytes:
    return "".join(f"{p.name},{p.label},{p.width},{p.height}\n" for p in pictures).encode()
