"""Query photos: found on the disk, and described exactly as the images of a store were."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ames_ray.backbones.registry import HUGGING_FACE, require_named
from ames_ray.datasets.paths import is_picture
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.descriptors.extractor import NO_DETECTOR, ExtractorOptions, build_extractor
from ames_ray.descriptors.reading import ReadOptions
from ames_ray.errors import ConfigError, StoreError
from ames_ray.extraction.projecting import ProjectingExtractor
from ames_ray.files import is_remote
from ames_ray.model.projection import PROJECTED_FROM, PROJECTION
from ames_ray.store.job import read_job
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.descriptors.extractor import Extractor
    from ames_ray.model.reranker import Reranker
    from ames_ray.store.reader import Store
    from ames_ray.types import Box

_OF_THE_QUERY = {"read", "crop", "location_convention"}
"""Settings that a query does not share with the gallery, or that change no descriptor."""
_OF_THE_PROJECTION = frozenset({PROJECTION, PROJECTED_FROM, "dim"})
"""Settings that a projected store does not share with the raw one that it was made from."""


def find_queries(query: str, bbox: Box | None = None) -> list[ImageRecord]:
    """The query photos: one file, or every picture below a folder in natural order.

    Args:
        query: Local path or `scheme://` address.
        bbox: Region of the one photo to search with [pixels], or none for all of it.

    Raises:
        ConfigError: A box is given with a folder.
        DatasetError: The folder holds no picture.
    """
    remote = is_remote(query)
    # Behind a `?` stand the options of an address.
    name = (query.partition("?")[0] if remote else query).rstrip("/").rpartition("/")[2]
    is_folder = not is_picture(name) if remote else Path(query).is_dir()
    if not is_folder:
        return [ImageRecord(0, name, query, "query", bbox)]
    if bbox is not None:
        raise ConfigError(f"bbox= belongs to one photo, and {query} is a folder", "pass query=PHOTO")
    manifest = build_manifest(DatasetOptions(images=query))
    return [replace(record, split="query") for record in manifest]


def build_query_extractor(
    store: Store,
    device: str,
    weights: str | None = None,
    detector: str | None = None,
    reranker: Reranker | None = None,
    backbone: str | None = None,
) -> Extractor:
    """The extractor that made a store, with the settings that the store recorded.

    For a projected store it projects as well. Without the model it does not, and then its local descriptors
    cannot be compared with the store's; the global ones can.

    Args:
        store: The gallery.
        device: Torch name of the device.
        weights: Weights of the backbone; none for those that the store was made with, where they lay.
        detector: Its detector, likewise.
        reranker: The model that projected the store, where one did.
        backbone: The backbone; none for the one that the store names, unless that is `module:function`.

    Raises:
        UnsafeFileError: The store names code, and `backbone` does not.
        StoreError: The store does not say how it was made, or its file that does is damaged; or these weights
            are not those that made it.
        WeightsError: Weights are missing.
    """
    settings, made = store.meta.settings, read_job(store.storage)
    if "backbone" not in settings or "imsize" not in settings:
        raise StoreError(
            f"{store.storage.uri} does not say how it was made: no photo can be described alike",
            "imported stores are searched with `ames-ray neighbors` and a store of queries",
        )
    found = weights or made.get("weights")
    options = ExtractorOptions(
        backbone=backbone or _backbone(store, made, found),
        weights=found,
        detector=detector or made.get("detector") or _no_detector(settings),
        topk=store.meta.topk,
        imsize=settings["imsize"],
        min_side=settings.get("min_side", 1),
        precision=settings.get("precision", "float32"),
    )
    extractor: Extractor = build_extractor(options, device)
    codec = settings.get(PROJECTED_FROM)
    if codec is None:
        _require_alike(store, extractor)
    elif reranker is None:
        _require_alike(store, extractor, _OF_THE_PROJECTION)
    else:
        extractor = ProjectingExtractor(extractor, reranker, codec)
        _require_alike(store, extractor)
    return extractor


def read_options(store: Store) -> ReadOptions:
    """How a store's pictures became pixels."""
    return ReadOptions(**store.meta.settings.get("read", {}))


def _backbone(store: Store, made: Mapping[str, Any], weights: str | None) -> str:
    name: str = made.get("backbone", store.meta.settings["backbone"])
    if not name.startswith(HUGGING_FACE):
        return require_named(name, store.storage.uri)
    if weights is not None:
        return HUGGING_FACE.removesuffix(":")
    if "backbone" not in made:
        # What stands behind the prefix here is the model's type.
        raise StoreError(
            f"{store.storage.uri} does not say which {name} made it",
            "pass weights=<Hugging Face id or folder>",
        )
    return name


def _no_detector(settings: Mapping[str, Any]) -> str | None:
    return NO_DETECTOR if settings.get("detector") == NO_DETECTOR else None


def _require_alike(store: Store, extractor: Extractor, ignored: frozenset[str] = frozenset()) -> None:
    here = json.loads(json.dumps({**extractor.spec.settings, "dim": extractor.spec.dim}))
    there = {**store.meta.settings, "dim": store.meta.dim}
    lines = [
        f"{key} is {there.get(key, 'not set')} in the store and {here.get(key, 'not set')} here"
        for key in sorted((here.keys() | there.keys()) - _OF_THE_QUERY - ignored)
        if here.get(key) != there.get(key)
    ]
    if lines:
        raise StoreError(
            f"a query cannot be described as {store.storage.uri} was: {'; '.join(lines)}",
            "pass the weights= and detector= that the store was made with, or extract it again",
        )
