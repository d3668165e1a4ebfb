"""The image lists that have a name: `dataset=NAME` becomes a manifest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ames_ray.datasets import gldv2, landmarks_mini
from ames_ray.datasets.folder import find_images
from ames_ray.datasets.lists import list_lines, read_list
from ames_ray.datasets.manifest import Manifest
from ames_ray.datasets.paths import Guard, absolute, resolve
from ames_ray.datasets.revisited import RevisitedFile
from ames_ray.errors import DatasetError
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ames_ray.types import ImageRecord

R1M_FOLDER = "revisitop1m"
_CROPPED = "queries cropped to their box"
_WHOLE = "crop=false: queries are not cropped to their box, so figures are no standard ones"


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """Which images.

    Attributes:
        dataset: One of `NAMES`.
        images: Folder of `dataset=folder`.
        split: Part of the data set, or none where there is one part only.
        data_root: Folder of all data sets, laid out as the authors' is; for `list`, where its paths start.
        list_file: Text list, or a manifest (`.parquet`); for a GLDv2 split also its CSV file.
        crop: Cut queries to their box, as the protocols want.
        allow_outside: Let paths leave their root.
    """

    dataset: str = "folder"
    images: str | None = None
    split: str | None = None
    data_root: str | None = None
    list_file: str | None = None
    crop: bool = True
    allow_outside: bool = False


@dataclass(frozen=True, slots=True)
class _Listing:
    records: Iterable[ImageRecord]
    root: str
    notes: tuple[str, ...] = ()


def build_manifest(options: DatasetOptions) -> Manifest:
    """The image list of a named data set.

    Raises:
        DatasetError: The name is unknown, a file that the list needs is missing or malformed, or it is empty.
        UnsafeFileError: A path leaves its root, or a pickle would run code.
    """
    build = _BUILDERS.get(options.dataset)
    if build is None:
        near = get_close_matches(options.dataset, NAMES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DatasetError(f"dataset={options.dataset} is unknown", f"{hint}allowed are {', '.join(NAMES)}")
    if options.list_file is not None and options.dataset not in _WITH_LIST:
        raise DatasetError(
            f"dataset={options.dataset} has no use for list_file={options.list_file}",
            "pass dataset=list for a list of your own, with data_root= where its paths start",
        )
    listing = build(options)
    return Manifest.from_records(
        listing.records, listing.root, notes=listing.notes, allow_outside=options.allow_outside
    )


def _folder(options: DatasetOptions) -> _Listing:
    if options.images is None:
        raise DatasetError(
            "dataset=folder needs images=FOLDER", "for a text list pass dataset=list list_file=FILE"
        )
    if options.data_root is not None:
        raise DatasetError(
            f"dataset=folder has no use for data_root={options.data_root}",
            f"images={options.images} is the whole path of the folder",
        )
    root = absolute(options.images)
    guard = Guard(root, allow_outside=options.allow_outside)
    return _Listing(find_images(root, guard, options.split), root)


def _list(options: DatasetOptions) -> _Listing:
    if options.list_file is None:
        raise DatasetError("dataset=list needs list_file=FILE", "for a folder of photos pass images=FOLDER")
    storage, name = Storage.of_file(options.list_file)
    if name.endswith(".parquet"):
        return _own_list(options, storage, name)
    return _Listing(_text_list(options.list_file, options.split), absolute(options.data_root or storage.uri))


def _own_list(options: DatasetOptions, storage: Storage, name: str) -> _Listing:
    # Its rows pass the guard anew: where links lead is another matter on each machine.
    manifest = replace(Manifest.read(storage, name), allow_outside=options.allow_outside)
    if options.split is not None:
        raise DatasetError(
            f"split={options.split} was given, but the rows of {storage.address(name)} carry their own",
            "leave split= out",
        )
    if options.data_root is not None:
        manifest = manifest.at(options.data_root)
    if options.crop:
        return _Listing(manifest, manifest.root, manifest.notes)
    whole = (replace(record, bbox=None) for record in manifest)
    notes = tuple(_WHOLE if note.endswith(_CROPPED) else note for note in manifest.notes)
    return _Listing(whole, manifest.root, notes)


def _text_list(path: str, split: str | None) -> Iterator[ImageRecord]:
    storage, name = Storage.of_file(path)
    return read_list(list_lines(_with(storage, name), name), storage.address(name), split)


def _revisited(name: str, options: DatasetOptions) -> _Listing:
    root = _data_root(options)
    split = _split(options, ("gallery", "query"))
    file = f"gnd_{name}.pkl"
    folder = Storage.at(root).child(name)
    ground_truth = RevisitedFile.from_bytes(_with(folder, file).read(file), folder.address(file))
    if split == "gallery":
        return _Listing(ground_truth.gallery_records(f"{name}/jpg"), root)
    queries = len(ground_truth.queries)
    cropped = f"{queries} of {queries} {_CROPPED}"
    records = ground_truth.query_records(f"{name}/jpg", crop=options.crop)
    return _Listing(records, root, (cropped if options.crop else _WHOLE,))


def _r1m(options: DatasetOptions) -> _Listing:
    split = _split(options, ("distractor",))
    root = _data_root(options)
    list_file = options.list_file or resolve(root, f"{R1M_FOLDER}/{R1M_FOLDER}.txt")
    records = _text_list(list_file, split)
    placed = (replace(record, uri=resolve(f"{R1M_FOLDER}/jpg", record.uri)) for record in records)
    return _Listing(placed, root)


def _with_r1m(name: str, options: DatasetOptions) -> _Listing:
    listing = _revisited(name, options)
    if options.split == "query":
        return listing
    distractors = _r1m(replace(options, split=None))
    return replace(listing, records=chain(listing.records, distractors.records))


def _gldv2(split: str, options: DatasetOptions) -> _Listing:
    root = _data_root(options)
    _split(options, (gldv2.SPLIT_NAMES[split],))
    if options.list_file is None:
        storage = Storage.at(root).child("gldv2")
        name = gldv2.list_file(storage, split)
    else:
        storage, name = Storage.of_file(options.list_file)
        if not name.endswith(".csv"):
            return _Listing(_text_list(options.list_file, gldv2.SPLIT_NAMES[split]), root)
    return _Listing(gldv2.read_split(storage, name, split, f"gldv2/{split}"), root)


def _landmarks_mini(options: DatasetOptions) -> _Listing:
    root = _data_root(options)
    split = _split(options, tuple(landmarks_mini.SPLITS))
    return _Listing(landmarks_mini.read_split(Storage.at(root), split), root)


def _data_root(options: DatasetOptions) -> str:
    if options.data_root is None:
        raise DatasetError(
            f"dataset={options.dataset} needs data_root=", "it is the folder that holds roxford5k/, gldv2/ …"
        )
    return absolute(options.data_root)


def _split(options: DatasetOptions, allowed: tuple[str, ...]) -> str:
    split = options.split or (allowed[0] if len(allowed) == 1 else None)
    if split not in allowed:
        raise DatasetError(
            f"dataset={options.dataset} has no split={split}", f"pass split={' or split='.join(allowed)}"
        )
    return split


def _with(storage: Storage, name: str) -> Storage:
    if not storage.exists(name):
        raise DatasetError(f"{storage.address(name)} does not exist", "check data_root= and list_file=")
    return storage


_BUILDERS: dict[str, Callable[[DatasetOptions], _Listing]] = {
    "folder": _folder,
    "list": _list,
    "roxford5k": partial(_revisited, "roxford5k"),
    "rparis6k": partial(_revisited, "rparis6k"),
    "r1m": _r1m,
    "roxford5k+r1m": partial(_with_r1m, "roxford5k"),
    "rparis6k+r1m": partial(_with_r1m, "rparis6k"),
    "gldv2_train": partial(_gldv2, "train"),
    "gldv2_index": partial(_gldv2, "index"),
    "gldv2_test": partial(_gldv2, "test"),
    "landmarks_mini": _landmarks_mini,
}
_WITH_LIST = frozenset(
    {"list", "r1m", "roxford5k+r1m", "rparis6k+r1m", "gldv2_train", "gldv2_index", "gldv2_test"}
)
"""Those of which `list_file=` may name a part, or all."""
NAMES = tuple(_BUILDERS)
"""The data sets that have a name."""
