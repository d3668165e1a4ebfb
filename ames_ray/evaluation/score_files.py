"""Shortlists and pair scores as Parquet: one row a pair, readable with pandas and DuckDB alone.

    query int64, rank int32 (from 0), row int64 of the gallery, similarity or logit float32

What else belongs to them is JSON in the file's metadata, key `ames_ray`. Nothing in such a file can run, and
equal content is equal bytes.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import DatasetError, StoreError
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.files import Storage

if TYPE_CHECKING:
    import pyarrow as pa

    from ames_ray.types import FloatArray, IntArray

_KEY = b"ames_ray"
_VALUES = {Shortlist: ("similarities", "similarity"), PairScores: ("logits", "logit")}
"""The field of the class, and its column in a file."""
_GROUP_PAIRS = 1_000_000
"""Pairs of a row group; it bounds the memory beside the arrays themselves."""


def save_scores(item: Shortlist | PairScores, uri: str) -> None:
    """Write a shortlist or pair scores; the file appears whole or not at all.

    Args:
        item: What to write. Its settings must be plain JSON values.
        uri: Local path or `scheme://` address; by custom it ends in `.parquet`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    field, column = _VALUES[type(item)]
    values = getattr(item, field)
    rest = {name: getattr(item, name) for name in _other_fields(type(item))}
    about = {"kind": type(item).__name__, "shape": item.rows.shape, **rest, "settings": dict(item.settings)}
    schema = _schema(column).with_metadata({_KEY: json.dumps(about, sort_keys=True)})
    storage, name = Storage.of_file(uri)
    step = max(1, _GROUP_PAIRS // max(1, item.rows.shape[1]))
    with (
        storage.publishing(name) as path,
        pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as file,
    ):
        for start in range(0, len(item), step):
            rows = item.rows[start : start + step]
            query, rank = np.nonzero(rows >= 0)
            arrays = (query + start, rank.astype(np.int32), rows[query, rank], values[query + start, rank])
            file.write_batch(pa.record_batch([pa.array(array) for array in arrays], schema=schema))


def load_shortlist(uri: str) -> Shortlist:
    """Read what `save_scores` wrote from a shortlist.

    Raises:
        StoreError: There is no such file.
        DatasetError: It holds something else.
    """
    return Shortlist(**_load(uri, Shortlist))


def load_pair_scores(uri: str) -> PairScores:
    """Read what `save_scores` wrote from pair scores.

    Raises:
        StoreError: There is no such file.
        DatasetError: It holds something else.
    """
    return PairScores(**_load(uri, PairScores))


def holds(storage: Storage, name: str, kind: type[Shortlist | PairScores]) -> bool:
    """Whether a file is one of `save_scores` of this class; its pairs are not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with storage.open(name) as handle, pq.ParquetFile(handle) as file:
            about = json.loads((file.schema_arrow.metadata or {})[_KEY])
            return bool(about["kind"] == kind.__name__)
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError):
        return False


def _load(uri: str, kind: type[Shortlist | PairScores]) -> dict[str, Any]:
    import pyarrow as pa

    storage, name = Storage.of_file(uri)
    if not storage.exists(name):
        raise StoreError(f"{uri} does not exist")
    field, column = _VALUES[kind]
    try:
        with storage.open(name) as handle:
            about, pairs = _read(handle, column)
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError) as error:
        raise DatasetError(
            f"{uri} is not a file of scores: {error}", "`ames-ray neighbors` and `score` write such files"
        ) from None
    found = about.pop("kind")
    if found != kind.__name__ or set(about) != _other_fields(kind) or pairs is None:
        raise DatasetError(f"{uri} holds {found}, not a {kind.__name__}")
    return {"rows": pairs[0], field: pairs[1], **about}


def _read(handle: IO[bytes], column: str) -> tuple[dict[str, Any], tuple[IntArray, FloatArray] | None]:
    """What a file says about itself, and its arrays if they are of the wanted kind."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(handle, page_checksum_verification=True) as file:
        about = json.loads((file.schema_arrow.metadata or {})[_KEY])
        shape = tuple(about.pop("shape"))
        if not file.schema_arrow.equals(_schema(column)):
            return about, None
        rows, values = np.full(shape, -1, np.int64), np.full(shape, np.nan, np.float32)
        for group in range(file.num_row_groups):
            query, rank, row, value = (part.to_numpy() for part in file.read_row_group(group).columns)
            rows[query, rank], values[query, rank] = row, value
    return about, (rows, values)


def _schema(column: str) -> pa.Schema:
    import pyarrow as pa

    kinds = {"query": pa.int64(), "rank": pa.int32(), "row": pa.int64(), column: pa.float32()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds.items()])


def _other_fields(kind: type[Shortlist | PairScores]) -> set[str]:
    return {field.name for field in fields(kind)} - {"rows", _VALUES[kind][0]}
