"""A look at every file of a list before anything is computed."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

from ames_ray.datasets.gldv2 import split_hint
from ames_ray.datasets.paths import relative, resolve
from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.images.read import decode, file_size, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ames_ray.datasets.manifest import Manifest

_CHUNK = 4096
_HINT_SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that extraction would fail or flag.

    Attributes:
        row: Position in the list.
        path: Path relative to the root.
        reason: Code of `ames_ray.images.reasons`.
        detail: More about it, or nothing.
    """

    row: int
    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A row whose picture was listed before.

    Attributes:
        row: Position in the list.
        path: Path relative to the root.
        first_row: Position of the first row with that picture.
        first_path: Path of that row; another one where only the content is equal.
    """

    row: int
    path: str
    first_row: int
    first_path: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        rows: Rows of the list.
        found: Rows whose file is there and, as far as was looked, usable.
        total_bytes: Size of the files, each path counted once.
        problems: Rows that are not, in order.
        duplicates: Rows that repeat the path of an earlier row; they are kept and extracted.
        same_content: Rows whose file equals one under another path; only a deep check sees them.
        hints: What may be wrong as a whole, as sentences.
        deep: Whether every byte was read and every picture decoded.
    """

    rows: int
    found: int
    total_bytes: int
    problems: tuple[Problem, ...]
    duplicates: tuple[Repeat, ...]
    same_content: tuple[Repeat, ...]
    hints: tuple[str, ...]
    deep: bool

    @property
    def counts(self) -> dict[str, int]:
        """Rows with a problem by reason."""
        return dict(sorted(Counter(problem.reason for problem in self.problems).items()))


@dataclass(frozen=True, slots=True)
class _Look:
    size: int = 0
    content: bytes = b""
    reason: str | None = None
    detail: str = ""


def check_manifest(
    manifest: Manifest,
    deep: bool = False,
    threads: int = 8,
    *,
    max_pixels: int = 100_000_000,
    truncated: Literal["fail", "keep"] = "fail",
) -> CheckReport:
    """Look for missing, repeated and unusable images.

    A plain check asks for each file's presence, kind and size. A deep one also reads and decodes it, finds
    what extraction would find, and compares contents.

    Args:
        manifest: The image list.
        deep: Read every byte.
        threads: Files looked at at once.
        max_pixels: As for extraction.
        truncated: As for extraction; cut files are problems under "fail" only.
    """
    look = partial(_look_inside, max_pixels=max_pixels, truncated=truncated) if deep else _look_at
    tally = _Tally()
    with ThreadPoolExecutor(threads) as pool:
        rows = iter(manifest)
        while chunk := list(islice(rows, _CHUNK)):
            for record, seen in zip(chunk, pool.map(look, (record.uri for record in chunk)), strict=True):
                tally.add(record.row, relative(manifest.root, record.uri), seen)
    return CheckReport(
        rows=len(manifest),
        found=len(manifest) - len(tally.problems),
        total_bytes=tally.bytes,
        problems=tuple(tally.problems),
        duplicates=tuple(tally.duplicates),
        same_content=tuple(tally.same_content),
        hints=tuple(_hints(manifest, tally.problems)),
        deep=deep,
    )


class _Tally:
    """Sums up the rows as they come."""

    def __init__(self) -> None:
        self.bytes = 0
        self.problems: list[Problem] = []
        self.duplicates: list[Repeat] = []
        self.same_content: list[Repeat] = []
        self._row_of_path: dict[str, int] = {}
        self._row_of_content: dict[bytes, tuple[int, str]] = {}

    def add(self, row: int, path: str, seen: _Look) -> None:
        """One row and what was seen of its file."""
        if seen.reason:
            self.problems.append(Problem(row, path, seen.reason, seen.detail))
        first = self._row_of_path.setdefault(path, row)
        if first != row:
            self.duplicates.append(Repeat(row, path, first, path))
            return
        self.bytes += seen.size
        if seen.content:
            twin = self._row_of_content.setdefault(seen.content, (row, path))
            if twin[0] != row:
                self.same_content.append(Repeat(row, path, *twin))


def _look_at(uri: str) -> _Look:
    try:
        size = file_size(uri)
    except ImageError as error:
        return _Look(reason=error.reason, detail=error.detail)
    return _Look(size, reason=None if size else reasons.EMPTY)


def _look_inside(uri: str, max_pixels: int, truncated: Literal["fail", "keep"]) -> _Look:
    size, content = 0, b""
    try:
        data = read_bytes(uri)
        size, content = len(data), hashlib.sha256(data).digest() if data else b""
        decode(data, max_pixels=max_pixels, truncated=truncated)
    except ImageError as error:
        return _Look(size, content, error.reason, error.detail)
    return _Look(size, content)


def _hints(manifest: Manifest, problems: Sequence[Problem]) -> Iterator[str]:
    missing = [problem for problem in problems if problem.reason == reasons.MISSING]
    if not missing:
        return
    found = len(manifest) - len(missing)
    told = f"{found} of {len(manifest)} found in {manifest.root}"
    split = split_hint([resolve(manifest.root, problem.path) for problem in missing[:_HINT_SAMPLE]])
    if split is not None:
        yield f"{told}; the missing ones look like split {split}"
    elif not found:
        yield f"{told}: does data_root= name the right folder? The first path is {missing[0].path}"
