"""Shortlists and pair scores as safetensors files: nothing in them can run, equal content is equal bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.types import AnyArray

_ARRAYS = {Shortlist: ("rows", "similarities"), PairScores: ("rows", "logits")}
_FIELDS = {
    Shortlist: ("query_manifest", "gallery_manifest", "settings"),
    PairScores: (
        "model_hash",
        "query_desc_num",
        "db_desc_num",
        "query_manifest",
        "gallery_manifest",
        "settings",
    ),
}


def save_scores(item: Shortlist | PairScores, uri: str) -> None:
    """Write a shortlist or pair scores; the file appears whole or not at all.

    Args:
        item: What to write. Its settings must be plain JSON values.
        uri: Local path or `scheme://` address; by custom it ends in `.safetensors`.
    """
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(getattr(item, name)) for name in _ARRAYS[type(item)]}
    fields = {name: getattr(item, name) for name in _FIELDS[type(item)]}
    # One key: safetensors does not keep the order of several.
    header = json.dumps({"kind": type(item).__name__, **fields, "settings": dict(item.settings)}, sort_keys=True)
    storage, name = _split(uri)
    storage.publish(name, save(arrays, {"ames_ray": header}))


def load_shortlist(uri: str) -> Shortlist:
    """Read what `save_scores` wrote from a shortlist.

    Raises:
        StoreError: There is no such file.
        DatasetError: It holds something else.
    """
    arrays, fields = _load(uri, Shortlist)
    return Shortlist(**arrays, **fields)


def load_pair_scores(uri: str) -> PairScores:
    """Read what `save_scores` wrote from pair scores.

    Raises:
        StoreError: There is no such file.
        DatasetError: It holds something else.
    """
    arrays, fields = _load(uri, PairScores)
    return PairScores(**arrays, **fields)


def _load(uri: str, kind: type[Shortlist | PairScores]) -> tuple[Mapping[str, AnyArray], Mapping[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    storage, name = _split(uri)
    data = storage.read(name)
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["ames_ray"])
        found = header.pop("kind")
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"{uri} is not a file of scores: {error}", "save_scores writes such files") from None
    if found != kind.__name__ or set(arrays) != set(_ARRAYS[kind]) or set(header) != set(_FIELDS[kind]):
        raise DatasetError(f"{uri} holds {found} ({', '.join(sorted(arrays))}), not a {kind.__name__}")
    return arrays, header


def _split(uri: str) -> tuple[Storage, str]:
    folder, _, name = uri.rpartition("/")
    return Storage.at(folder or ("/" if uri.startswith("/") else ".")), name
