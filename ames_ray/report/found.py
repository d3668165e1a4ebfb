"""What lies at an address that there can be a page about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["evaluation", "tuning", "training"]
_MARKS: dict[str, Kind] = {"result.json": "tuning", "log.csv": "training"}
_RESULT = "evaluation-"
PAGE = "report.html"


@dataclass(frozen=True, slots=True)
class Found:
    """Something to report.

    Attributes:
        kind: The verb that left it, as a noun.
        uri: The result file of an evaluation, else a folder.
    """

    kind: Kind
    uri: str


def find(uri: str) -> list[Found]:
    """One thing to report, or several training runs that one folder holds.

    Args:
        uri: A result file; the folder of an evaluation, of a search or of a training run, or the file that
            marks it; or a local folder around folders of searches or training runs.

    Raises:
        DatasetError: There is nothing to report.
        ConfigError: There are several things, and not all of them are training runs.
    """
    parent, name = Storage.of_file(uri)
    if name in _MARKS and parent.exists(name):
        return [Found(_MARKS[name], parent.uri)]
    if name.endswith(".json") or parent.exists(name):
        return [Found("evaluation", uri)]
    folder = Storage.at(uri)
    found = _in(folder)
    if folder.local is not None and folder.local.is_dir() and not any(f.uri == folder.uri for f in found):
        children = sorted(path.name for path in folder.local.iterdir() if path.is_dir())
        found += [f for child in children for f in _in(folder.child(child)) if f.kind != "evaluation"]
    if not found:
        raise DatasetError(
            f"{uri} holds nothing to report",
            "pass a result of `ames-ray evaluate`, or the output= of `evaluate`, `tune` or `train`",
        )
    if len(found) > 1 and any(f.kind != "training" for f in found):
        listed = "".join(f"\n  {f.kind}: {f.uri}" for f in found)
        raise ConfigError(f"{uri} holds several things to report:{listed}", "pass one of them")
    return found


def find_all(uris: Sequence[str]) -> list[Found]:
    """What several addresses hold; several are one page where all are training runs.

    Raises:
        AmesError: See `find`; or something else stands beside another.
    """
    found = [one for uri in uris for one in find(uri)]
    odd = [one for one in found if one.kind != "training"]
    if len(found) > 1 and odd:
        raise ConfigError(
            f"{odd[0].uri} is of {odd[0].kind}: only training runs are drawn over each other",
            "`ames-ray compare` tells two evaluations apart",
        )
    return found


def only_evaluation(uri: str) -> str:
    """The result file of an evaluation, of which a folder holds one.

    Raises:
        AmesError: See `find`; or something else is there.
    """
    found = find(uri)[0]
    if found.kind != "evaluation":
        raise ConfigError(
            f"{found.uri} is of {found.kind}, not of an evaluation", "pass a result of `evaluate`"
        )
    return found.uri


def page_address(found: Sequence[Found]) -> str:
    """Where the page goes: beside a result file, into a folder, or beside the first one of several."""
    first = found[0]
    if first.kind == "evaluation":
        return first.uri.removesuffix(".json") + ".html"
    folder = Storage.at(first.uri) if len(found) == 1 else Storage.of_file(first.uri.rstrip("/"))[0]
    return folder.address(PAGE)


def _in(folder: Storage) -> list[Found]:
    """What a folder itself holds."""
    names = folder.names()
    kinds = [kind for mark, kind in _MARKS.items() if mark in names]
    if kinds:
        return [Found(kind, folder.uri) for kind in kinds]
    results = [n for n in names if n.startswith(_RESULT) and n.endswith(".json")]
    return [Found("evaluation", folder.address(name)) for name in results]
