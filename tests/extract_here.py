"""Extraction in this process, without Ray: what a worker does, shard after shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, extractor_options, read_options, store_meta
from ames_ray.datasets.registry import build_manifest
from ames_ray.descriptors.extractor import build_extractor
from ames_ray.extraction.shard import ShardExtractor
from ames_ray.files import Storage
from ames_ray.store.writer import StoreWriter

if TYPE_CHECKING:
    from ames_ray.datasets.manifest import Manifest
    from ames_ray.descriptors.extractor import Extractor


def extract_here(words: list[str]) -> None:
    """`ames-ray extract` with these words."""
    config = compose(ExtractConfig, words)
    fill_store(
        config, build_manifest(dataset_options(config)), build_extractor(extractor_options(config), "cpu")
    )


def fill_store(config: ExtractConfig, manifest: Manifest, extractor: Extractor) -> None:
    """Fill `config.output` with an extractor that is there already."""
    meta = store_meta(config, manifest, extractor.spec)
    storage = Storage.at(config.output)
    writer = StoreWriter.open(storage, meta, manifest)
    work = ShardExtractor(
        storage, meta, extractor, read_options(config), batch_size=2, decode_threads=1, report=lambda *_: None
    )
    for task in writer.pending():
        work(task, manifest.records(task.start, task.stop))
    writer.finish({})
