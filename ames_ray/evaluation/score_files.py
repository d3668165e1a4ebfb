"""Shortlists and pair scores as safetensors files: nothing in them can run, equal content is equal bytes."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.files import Storage

_ARRAYS = {Shortlist: ("rows", "similarities"), PairScores: ("rows", "logits")}


def save_scores(item: Shortlist | PairScores, uri: str) -> None:
    """Write a shortlist or pair scores; the file appears whole or not at all.

    Args:
        item: What to write. Its settings must be plain JSON values.
        uri: Local path or `scheme://` address; by custom it ends in `.safetensors`.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(getattr(item, name)) for name in _ARRAYS[type(item)]}
    rest = {name: getattr(item, name) for name in _other_fields(type(item))}
    # One key: safetensors does not keep the order of several.
    header = json.dumps(
        {"kind": type(item).__name__, **rest, "settings": dict(item.settings)}, sort_keys=True
    )
    storage, name = _split(uri)
    storage.publish(name, save(arrays, {"ames_ray": header}))


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


def _load(uri: str, kind: type[Shortlist | PairScores]) -> dict[str, Any]:
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
        raise DatasetError(
            f"{uri} is not a file of scores: {error}", "save_scores writes such files"
        ) from None
    if found != kind.__name__ or set(arrays) != set(_ARRAYS[kind]) or set(header) != _other_fields(kind):
        raise DatasetError(f"{uri} holds {found} ({', '.join(sorted(arrays))}), not a {kind.__name__}")
    return {**arrays, **header}


def _other_fields(kind: type[Shortlist | PairScores]) -> set[str]:
    return {field.name for field in fields(kind)} - set(_ARRAYS[kind])


def _split(uri: str) -> tuple[Storage, str]:
    folder, _, name = uri.rpartition("/")
    return Storage.at(folder or ("/" if uri.startswith("/") else ".")), name
