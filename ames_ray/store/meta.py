"""What a store holds, in numbers and settings, and what is known of each shard."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self, get_args, get_type_hints

from ames_ray.errors import StoreError
from ames_ray.files import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = 1
META = "meta.json"
MANIFEST = "manifest.parquet"
CARD = "card.json"
SHARDS = "shards.json"
FAILED = "failed.csv"
JOB = "job.json"
"""Settings of the extraction that fills the store."""
SOURCES = "sources.json"
"""Files that a copy is made from."""
JOINED = "features.hdf5"
"""Virtual file that joins the shards of an HDF5 store."""
PACK = "packed.hdf5"
"""Copy of all descriptors in one piece, for random reads."""
AUTHORS = "authors"
"""Format of the authors' own files, which are read and never written."""
NO_FEATURES = "no_features"
"""Reason of a row of theirs that holds padding alone."""
FORMATS = {"parquet": "parquet", "hdf5": "hdf5", AUTHORS: "hdf5"}
"""File name suffix by format."""
CODECS = {"float32": 32, "float16": 16, "binary": 1}
"""Bits of a descriptor's dimension by codec; binary is one sign bit."""
_GROWS = {"rows", "manifest_digest"}
_LABELS = {"manifest_digest": "image list", "dim": "descriptor width", "version": "store version"}


@dataclass(frozen=True, slots=True)
class StoreMeta:
    """What a store holds and everything that decides its values; the content of `meta.json`.

    Attributes:
        rows: Lines of the image list; the store has as many rows, failed ones included.
        shard_rows: Rows of a shard; the last one may be shorter.
        format: "parquet" or "hdf5"; "authors" where rows are read from the authors' files.
        codec: "float16", "float32", or "binary" (packed sign bits, most significant first, 1 = +1).
        topk: Most local descriptors of a row.
        dim: Width D of a descriptor (for binary: bits).
        pooled: Width of each global descriptor by name.
        manifest_digest: Digest of the image list.
        settings: All that decides the numbers: backbone, weights, detector, preprocessing …; no paths.
        version: Version of the store's own layout.
    """

    rows: int
    shard_rows: int
    format: str
    codec: str
    topk: int
    dim: int
    pooled: dict[str, int] = field(default_factory=dict)
    manifest_digest: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_name("format", self.format, FORMATS)
        _check_name("codec", self.codec, CODECS)
        for name, least in (("rows", 0), ("shard_rows", 1), ("topk", 1), ("dim", 1)):
            if getattr(self, name) < least:
                raise StoreError(f"{name} is {getattr(self, name)}; at least {least} is needed")
        if self.codec == "binary" and self.dim % 8:
            raise StoreError(f"codec=binary packs 8 dimensions into a byte, and dim is {self.dim}")

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_rows)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the row after its last."""
        if not 0 <= shard < self.shards:
            raise StoreError(f"there is no shard {shard}; the store has {self.shards}")
        start = shard * self.shard_rows
        return start, min(start + self.shard_rows, self.rows)

    def shard_name(self, shard: int) -> str:
        """File of a shard, below the folder of the store."""
        return f"shards/{shard:05d}.{FORMATS[self.format]}"

    @property
    def own_format(self) -> str:
        """Format of a copy."""
        return "parquet" if self.format == AUTHORS else self.format

    @property
    def row_bytes(self) -> int:
        """Payload bytes of a row, file overhead aside."""
        # location 2, weight 1 as float32, scale 1 byte; HDF5 has the authors' five columns, and ours exactly.
        beside = 13 if self.format == "parquet" else 28
        return self.topk * (beside + self.dim * CODECS[self.codec] // 8) + 4 * sum(self.pooled.values())

    def to_json(self) -> bytes:
        """The content of `meta.json`."""
        return to_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes, name: str = META) -> Self:
        """Read `meta.json`; `name` is what messages call it.

        Raises:
            StoreError: It is damaged, or of another version.
        """
        return cls(**_load(cls, data, name))

    def differences(self, other: StoreMeta, here: str = "in the store", there: str = "now") -> list[str]:
        """Why `other` cannot be written into a store of this kind, a line each; a longer list is no reason.

        Whether a longer list begins with the old one is to be compared by `Manifest.digest_of_first`.

        Args:
            other: The other store.
            here: How a line calls this store.
            there: How a line calls the other.
        """
        grows = _GROWS if other.rows > self.rows else set()
        ours, theirs = (_flat(json.loads(meta.to_json())) for meta in (self, other))
        lines = []
        for key in sorted(ours.keys() | theirs.keys()):
            mine, new = ours.get(key, "not set"), theirs.get(key, "not set")
            if mine != new and key not in grows:
                name = _LABELS.get(key, key.removeprefix("settings."))
                lines.append(f"{name}: {_short(mine)} {here}, {_short(new)} {there}")
        return lines


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What is known of a finished shard; the content of its mark in `progress/`.

    Attributes:
        shard: Number of the shard.
        rows: Rows in it.
        ok: Rows with descriptors.
        failed: Failed rows by reason.
        flagged: Usable but suspicious rows by reason.
        bytes: Size of the file.
        sha256: Hash of the file.
    """

    shard: int
    rows: int
    ok: int
    failed: dict[str, int]
    flagged: dict[str, int]
    bytes: int
    sha256: str


def summary_from_json(data: bytes, name: str) -> ShardSummary:
    """Read the mark of a shard.

    Raises:
        StoreError: It is damaged; `name` says which.
    """
    return ShardSummary(**_load(ShardSummary, data, name))


def _check_name(key: str, value: str, allowed: Mapping[str, object]) -> None:
    if value not in allowed:
        raise StoreError(f"{key} is {value!r}; allowed: {', '.join(allowed)}")


def _load(kind: Any, data: bytes, name: str) -> dict[str, Any]:
    """Fields of a dataclass from JSON, each of its type, none missing and none unknown."""
    hint = "restore the file from a copy, or make the store anew"
    try:
        found = json.loads(data)
    except ValueError as error:
        raise StoreError(f"{name} is damaged: {error}", hint) from None
    if not isinstance(found, dict):
        raise StoreError(f"{name} is damaged: it holds no JSON object", hint)
    if found.get("version", VERSION) != VERSION:
        raise StoreError(
            f"{name} is of store version {found['version']!r}; this program reads version {VERSION}",
            "use the version of ames-ray that made it",
        )
    names = {f.name for f in fields(kind)}
    if odd := sorted(names ^ found.keys()):
        raise StoreError(f"{name} is damaged: unknown or missing fields {', '.join(odd)}", hint)
    types = get_type_hints(kind)
    for key, value in found.items():
        if not _fits(value, types[key]):
            raise StoreError(f"{name} is damaged: {key} is {value!r}", hint)
    return found


def _fits(value: Any, kind: Any) -> bool:
    if not get_args(kind):
        return type(value) is kind
    item = get_args(kind)[1]
    return isinstance(value, dict) and (item is Any or all(type(v) is item for v in value.values()))


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def add_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts by reason, summed over shards, sorted by reason."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
