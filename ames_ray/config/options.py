"""From a job object to the options of the parts that do the work."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from ames_ray.backbones.registry import uses_network
from ames_ray.datasets.registry import DatasetOptions
from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor, static_spec
from ames_ray.descriptors.reading import ReadOptions
from ames_ray.errors import ConfigError
from ames_ray.store.meta import StoreMeta

if TYPE_CHECKING:
    from ames_ray.config.extract import ExtractConfig, ImagesConfig
    from ames_ray.config.store import ImportConfig
    from ames_ray.datasets.manifest import Manifest
    from ames_ray.descriptors.extractor import Extractor, ExtractorSpec


def dataset_options(config: ImagesConfig) -> DatasetOptions:
    """Which images."""
    return DatasetOptions(
        dataset=config.dataset,
        images=config.images,
        split=config.split,
        data_root=config.data_root,
        list_file=config.list_file,
        crop=config.crop,
        allow_outside=config.allow_outside,
    )


def list_of(config: ImportConfig) -> DatasetOptions:
    """The list that imported rows belong to."""
    return DatasetOptions(dataset="list", list_file=config.list_file, data_root=config.data_root)


def read_options(config: ImagesConfig) -> ReadOptions:
    """How files become pixels."""
    return ReadOptions(truncated=config.truncated, max_pixels=config.max_pixels)


def extractor_options(config: ExtractConfig) -> ExtractorOptions:
    """How pixels become descriptors.

    Raises:
        ConfigError: There is no such backbone, or it has no network and another precision is asked for.
    """
    # Of a store that was made so before, which is searched by what it recorded, nothing is asked here.
    if config.precision != "float32" and not uses_network(config.backbone, config.weights):
        raise ConfigError(
            f"precision={config.precision} is that of a network, and backbone={config.backbone} has none",
            "leave precision= out",
        )
    return ExtractorOptions(
        backbone=config.backbone,
        weights=config.weights,
        detector=config.detector,
        topk=config.topk,
        imsize=config.imsize,
        min_side=config.min_side,
        precision=config.precision,
    )


def make_extractor(config: ExtractConfig, device: str) -> Extractor:
    """The extractor of a job, its weights read; with `projection` it gives payloads.

    Raises:
        ConfigError: There is no such backbone, or settings contradict each other.
        WeightsError: Weights are missing or do not fit.
        StoreError: The projection takes descriptors of another backbone.
    """
    extractor = build_extractor(extractor_options(config), device)
    if config.projection is None:
        return extractor
    from ames_ray.extraction.projecting import ProjectingExtractor
    from ames_ray.model.reranker import load_reranker

    return ProjectingExtractor(extractor, load_reranker(config.reranker, config.projection), config.codec)


def planned_spec(config: ExtractConfig) -> ExtractorSpec:
    """What an extraction will give, without reading weights of the backbone.

    Raises:
        ConfigError: There is no such backbone, or settings contradict each other.
        WeightsError: The weights of the projection are missing or do not fit.
        StoreError: The projection takes descriptors of another backbone.
    """
    spec = static_spec(extractor_options(config))
    if config.projection is None:
        return spec
    from ames_ray.extraction.projecting import projected_spec
    from ames_ray.model.reranker import load_reranker

    return projected_spec(spec, load_reranker(config.reranker, config.projection).spec, config.codec)


def store_meta(config: ExtractConfig, manifest: Manifest, spec: ExtractorSpec) -> StoreMeta:
    """What the store holds; two runs with equal ones may write to the same store."""
    return StoreMeta(
        rows=len(manifest),
        shard_rows=config.shard_rows,
        format=config.format,
        codec=spec.codec or config.codec,
        topk=config.topk,
        dim=spec.dim,
        pooled=dict(spec.pooled),
        manifest_digest=manifest.digest,
        settings={**spec.settings, "read": asdict(read_options(config)), "crop": config.crop},
    )
