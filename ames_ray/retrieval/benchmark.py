"""A ground truth file as a protocol, and whether stores hold the images that it speaks of."""

from __future__ import annotations

import hashlib
import json
import posixpath
import sys
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from ames_ray.datasets.paths import is_picture
from ames_ray.datasets.safe_pickle import loads_pickle
from ames_ray.errors import DatasetError
from ames_ray.evaluation.gldv2 import gldv2
from ames_ray.evaluation.ground_truth import GroundTruth
from ames_ray.evaluation.revisited import revisited
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ames_ray.evaluation.protocol import Protocol
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.types import ImageRecord

ProtocolName: TypeAlias = Literal["revisited", "gldv2-test", "gldv2-val"]


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """A protocol, and the names of its images as far as its file gives them.

    Attributes:
        uri: The ground truth file.
        protocol: What to measure.
        queries: Names of the queries, or none.
        gallery: Names of the gallery images, or none; distractors may follow them.
        last: The highest gallery row that the ground truth names; -1 where it names none.
    """

    uri: str
    protocol: Protocol
    queries: tuple[str, ...] | None
    gallery: tuple[str, ...] | None
    last: int

    @classmethod
    def read(cls, uri: str, protocol: str | None = None) -> Self:
        """Read a ground truth.

        Args:
            uri: Pickle of the benchmarks (`gnd_roxford5k.pkl`), or JSON of the same structure (`.json`).
            protocol: A `ProtocolName`; none: revisited where it has the list easy, else gldv2-test.

        Raises:
            DatasetError: The file is missing, damaged, or lacks a list that the protocol needs.
            UnsafeFileError: A pickle would run code.
        """
        content = _content(uri)
        try:
            truth = GroundTruth.from_gnd(content)
            queries, gallery = (_names(content, key) for key in ("qimlist", "imlist"))
        # What is no list where one is needed, no mapping, or not to be counted.
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise DatasetError(
                f"{uri} is no ground truth: {error}", 'it holds {"gnd": [{"easy": [3, 17], …}, …]}'
            ) from None
        if queries is not None and len(queries) != len(truth):
            raise DatasetError(
                f"{uri} names {len(queries)} queries in qimlist, but has lists for {len(truth)}",
                "gnd has one entry a query, in the order of qimlist",
            )
        name = protocol or ("revisited" if "easy" in truth.lists else "gldv2-test")
        made = revisited(truth) if name == "revisited" else gldv2(truth, name.removeprefix("gldv2-"))
        last = max(
            (int(rows[-1]) for lists in truth.lists.values() for rows in lists if len(rows)), default=-1
        )
        return cls(uri, made, queries, gallery, last)

    @property
    def digest(self) -> str:
        """SHA-256 over the rows that count and those that are ignored, the same for a pickle and for JSON."""
        total = hashlib.sha256()
        for setup in self.protocol.setups:
            for rows in (*setup.positives, *setup.ignored):
                total.update(b"%d\n" % len(rows) + rows.astype("<i8").tobytes())
        return total.hexdigest()

    @property
    def figure(self) -> str:
        """The figure that settings are chosen by: Medium; of GLDv2 the public queries."""
        groups = {group.name: group for group in self.protocol.groups}
        group = groups.get("medium", self.protocol.groups[0])
        return self.protocol.figure_names(group)[0]

    def list_length(self, num_rerank: int) -> int | None:
        """How many neighbours of a query its figures depend on; none for the whole gallery."""
        return max(self.protocol.cutoff, num_rerank) if self.protocol.cutoff else None

    @property
    def _most(self) -> int:
        """Queries that count of a longer list: the public ones of GLDv2 come first."""
        is_val = self.protocol.groups[0].name == "val"
        return self.protocol.queries if is_val else sys.maxsize

    def queries_of(self, shortlist: Shortlist) -> Shortlist:
        """The lists of its own queries; all but for gldv2-val, which takes the first ones."""
        own = slice(None, self._most)
        return replace(shortlist, rows=shortlist.rows[own], similarities=shortlist.similarities[own])

    def check(self, query: Gallery, gallery: Gallery) -> None:
        """Refuse stores of other images than the ground truth's.

        Args:
            query: Store of the queries.
            gallery: Stores of the gallery; distractors follow the benchmark's own images.

        Raises:
            DatasetError: A name or a number of images differs.
        """
        self.protocol.check_queries(min(len(query), self._most), query.uri)
        if self.queries is not None:
            _compare(self.queries[: self._most], query.records(), query.uri, self.uri)
        self.check_gallery(gallery)

    def check_gallery(self, gallery: Gallery) -> None:
        """Refuse stores of other gallery images than the ground truth's.

        Raises:
            DatasetError: A name or a number of images differs.
        """
        if self.gallery is not None:
            _compare(self.gallery, gallery.records(), gallery.uri, self.uri)
        if self.last >= len(gallery):
            raise DatasetError(
                f"{self.uri} names gallery row {self.last}, {gallery.uri} has {len(gallery)} rows",
                "the gallery must be made from the benchmark's own list",
            )


def image_stem(name: str) -> str:
    """An image's name without its folder and ending."""
    base = posixpath.basename(name)
    return posixpath.splitext(base)[0] if is_picture(base) else base


def _compare(names: tuple[str, ...], records: Iterable[ImageRecord], uri: str, truth: str) -> None:
    for row, (name, record) in enumerate(zip_longest(names, _first(records, len(names)))):
        found = "nothing" if record is None else record.image_id
        if record is None or image_stem(found) != image_stem(name):
            raise DatasetError(
                f"row {row} of {uri} is {found}, row {row} of {truth} is {name}",
                "store and ground truth must be of the same image list, in the same order",
            )


def _first(records: Iterable[ImageRecord], count: int) -> Iterable[ImageRecord]:
    for _, record in zip(range(count), records, strict=False):
        yield record


def _content(uri: str) -> Any:
    storage, name = Storage.of_file(uri)
    if not storage.exists(name):
        raise DatasetError(f"{uri} does not exist", "pass the ground truth file as ground_truth=")
    data = storage.read(name)
    if not name.endswith(".json"):
        return loads_pickle(data, uri)
    try:
        return json.loads(data)
    except ValueError as error:
        raise DatasetError(f"{uri} is not JSON: {error}") from None


def _names(content: Any, key: str) -> tuple[str, ...] | None:
    names = content.get(key) if isinstance(content, dict) else None
    return None if names is None else tuple(map(str, names))
