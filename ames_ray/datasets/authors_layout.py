"""The authors' `data_root`: which files of a folder belong together, by their names alone.

    {roxford5k,rparis6k,gldv2-test}/{desc}_{query|gallery}_local.hdf5, gnd_*.pkl, nn_*.pkl, test_*.txt
    {revisitop1m,gldv2}/{desc}_local.hdf5, revisitop1m.txt, train_750k.txt

Beside `…_local.hdf5` lie the global descriptors `…_{cls|global}.hdf5`; a large file may be cut in chunks,
`{desc}_xaa_local.hdf5`, `{desc}_xab_local.hdf5` …
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ames_ray.datasets.paths import absolute, expanded
from ames_ray.datasets.registry import R1M_FOLDER
from ames_ray.errors import ConfigError, DatasetError, StoreError
from ames_ray.files import Storage, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

POOLED = ("cls", "global")
"""Global descriptors that a release may have."""
_FOLDERS = {
    "roxford": "roxford5k",
    "roxford5k": "roxford5k",
    "rparis": "rparis6k",
    "rparis6k": "rparis6k",
    "gldv2-test": "gldv2-test",
    "gldv2-val": "gldv2-test",
}
_DISTRACTORS = ("+1m", "+r1m")


@dataclass(frozen=True, slots=True)
class AuthorsBenchmark:
    """The files of a benchmark.

    Attributes:
        query: Local descriptors of the queries.
        gallery: Local descriptors of the gallery; the distractors' follow.
        ground_truth: `gnd_*.pkl`.
        nn_file: First ranking, or none where it is to be computed.
        protocol: Name for `Benchmark.read`, or none where the ground truth tells it.
    """

    query: str
    gallery: tuple[str, ...]
    ground_truth: str
    nn_file: str | None
    protocol: str | None


def find_benchmark(
    test_dataset: str, desc_name: str, data_root: str, nn_file: str | None = None
) -> AuthorsBenchmark:
    """The files of a benchmark in a folder that is laid out as the authors' is.

    Args:
        test_dataset: roxford, rparis (5k, 6k allowed), either with +1m; gldv2-test, gldv2-val.
        desc_name: How the descriptors' files begin: dinov2, cvnet.
        data_root: Folder of the data sets.
        nn_file: First ranking: a name in the data set's folder such as `nn_superglobal.pkl`, else a path or
            an address. None: `nn_{desc_name}.pkl` where it is there and no distractors are asked for; it
            ranks the plain gallery.

    Raises:
        ConfigError: There is no such data set.
        DatasetError: Files are missing; all of them are named.
    """
    name, folder, distractors = _parse(test_dataset)
    root = Path(absolute(data_root))
    here = root / folder
    query = here / f"{desc_name}_query_local.hdf5"
    gallery = [here / f"{desc_name}_gallery_local.hdf5"]
    gallery += [root / R1M_FOLDER / f"{desc_name}_local.hdf5"] if distractors else []
    truth = _ground_truth(here)
    if nn_file is None and not distractors and (here / f"nn_{desc_name}.pkl").is_file():
        nn_file = f"nn_{desc_name}.pkl"
    ranking = None if nn_file is None else _ranking(here, nn_file)
    missing = [path for path in (query, *gallery) if not _is_there(path)]
    missing += [path for path in (truth, ranking) if isinstance(path, Path) and not path.is_file()]
    if missing:
        raise DatasetError(
            f"test_dataset={test_dataset} desc_name={desc_name} needs "
            f"{', '.join(str(path) for path in missing)}: not there",
            "fetch them from the authors' data/ folder, or check data_root= and desc_name=",
        )
    return AuthorsBenchmark(
        query=str(query),
        gallery=tuple(map(str, gallery)),
        ground_truth=str(truth),
        nn_file=None if ranking is None else str(ranking),
        protocol=name if name.startswith("gldv2") else None,
    )


def pooled_names(local: str, key: str) -> tuple[str, str]:
    """Names of a global descriptor's files beside `dinov2_gallery_local.hdf5`: HDF5 and raw float32."""
    stem = PurePosixPath(local).stem.removesuffix("_local")
    backbone, mark, split = stem.partition("_")
    infix = "" if key == "global" else f"_{key}"
    return f"{stem}_{key}.hdf5", f"{backbone}{infix}{mark}{split}_global.pt"


def find_pooled(local: str) -> dict[str, str]:
    """Files of the global descriptors beside a file of local ones, as far as there are any, by name."""
    folder, file = Storage.of_file(local)
    found = {}
    for key in POOLED:
        for name in pooled_names(file, key):
            if key not in found and _has_pooled(folder, name):
                found[key] = folder.address(name)
    return found


def find_parts(uri: str) -> list[str]:
    """The file itself, or where it was cut, its chunks in order: `dinov2_xaa_local.hdf5`, `dinov2_xab_…`.

    Raises:
        StoreError: There is neither, or a chunk is missing before one that is there.
    """
    path = Storage.at(uri).local
    if path is None or path.is_file():
        return [uri]
    backbone, mark, rest = path.name.partition("_")
    endings = sorted(_endings(path), key=lambda ending: (len(ending), ending))
    if not endings:
        raise StoreError(f"{uri} is missing, and so are chunks of it ({backbone}_xaa{mark}{rest})")
    names = [f"{backbone}_x{ending}{mark}{rest}" for ending in endings]
    for before, ending, name in zip(["", *endings], endings, names, strict=False):
        expected = _next(before, ending)
        if ending != expected:
            raise StoreError(
                f"{uri} was cut in chunks: {name} is there, {backbone}_x{expected}{mark}{rest} is not",
                "fetch the missing ones; without them the rows of the others would be counted wrongly",
            )
    return [str(path.with_name(name)) for name in names]


def _endings(path: Path) -> Iterator[str]:
    """Of a file's chunks: the letters that `split` put behind the x."""
    backbone, mark, rest = path.name.partition("_")
    pattern = re.compile(f"{re.escape(backbone)}_x([a-z]{{2,}}){re.escape(mark + rest)}")
    if path.parent.is_dir():
        yield from (found[1] for other in path.parent.iterdir() if (found := pattern.fullmatch(other.name)))


def _next(before: str, ending: str) -> str:
    """What follows on an ending, or on none, where `ending` is the next one that is there."""
    head = before.rstrip("z")
    if not head:
        return "a" * (len(before) + 1 if before else len(ending))
    longer = "z" * (len(before) // 2)
    if len(ending) > len(before) and before == f"{longer[1:]}y{longer}":
        # Where `split` may choose the length, it goes on behind yz with zaaa, behind zyzz with zzaaaa.
        return longer + "a" * (len(longer) + 2)
    return head[:-1] + chr(ord(head[-1]) + 1) + "a" * (len(before) - len(head))


def _has_pooled(folder: Storage, name: str) -> bool:
    if folder.local is not None:
        return _is_there(folder.local / name)
    # Raw float32 without a header is mapped, which takes a local disk.
    return name.endswith(".hdf5") and folder.exists(name)


def _is_there(path: Path) -> bool:
    return path.is_file() or any(True for _ in _endings(path))


def _parse(test_dataset: str) -> tuple[str, str, bool]:
    """Name without distractors, folder, and whether there are distractors."""
    name = test_dataset
    for ending in _DISTRACTORS:
        name = name.removesuffix(ending)
    distractors = name != test_dataset
    folder = _FOLDERS.get(name)
    if folder is None or (distractors and name.startswith("gldv2")):
        raise ConfigError(
            f"test_dataset={test_dataset} is unknown",
            f"allowed are {', '.join(_FOLDERS)}, and roxford+1m, rparis+1m",
        )
    return name, folder, distractors


def _ranking(folder: Path, nn_file: str) -> Path | str:
    """The file in the data set's folder, or where there is none, what the words mean to a user elsewhere."""
    if is_remote(nn_file):
        return nn_file
    given = expanded(nn_file)
    inside = folder / given
    return inside if inside.is_file() or not given.is_file() else given.absolute()


def _ground_truth(folder: Path) -> Path:
    """`gnd_{folder}.pkl`, or the only one of another name."""
    usual = folder / f"gnd_{folder.name}.pkl"
    others = sorted(folder.glob("gnd_*.pkl"))
    return others[0] if len(others) == 1 else usual
