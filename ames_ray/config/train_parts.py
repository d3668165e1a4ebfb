"""From a training job to the parts of its loop; every worker makes its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.config.contents import array_digest, store_digest
from ames_ray.config.held_out import make_validation
from ames_ray.config.inputs import keep_inputs
from ames_ray.config.train import DECIDE_NOTHING
from ames_ray.errors import ConfigError
from ames_ray.files import Storage
from ames_ray.model.checkpoints import load_ames
from ames_ray.model.digest import weights_digest
from ames_ray.model.itq import load_rotation
from ames_ray.model.options import AmesOptions
from ames_ray.retrieval.belongs import check_belongs
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import read_shortlist
from ames_ray.store.meta import AUTHORS
from ames_ray.training.initialise import new_model
from ames_ray.training.loader import TripletLoader, pack_for_training
from ames_ray.training.loop import TrainParts
from ames_ray.training.options import TrainOptions
from ames_ray.training.output import NETWORK_RUN, require_no_store, run_files
from ames_ray.training.plan import DescriptorCounts
from ames_ray.training.raw import require_raw
from ames_ray.training.sample import gather, plan_sample, take
from ames_ray.training.sampler import label_numbers
from ames_ray.training.sources import SOURCES, SourceInput, make_source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import Tensor

    from ames_ray.config.train import TrainConfig
    from ames_ray.model.ames import Ames
    from ames_ray.training.plan import TripletSource
    from ames_ray.types import AnyArray

_SAMPLED = 50_000


def prepare(config: TrainConfig) -> TrainParts:
    """Do once what all workers build on: pack, rank the held-out queries.

    Returns:
        The parts of the loop, for a run in this process; what the job lacks is found here, by one process.

    Raises:
        AmesError: Something that the job names is missing or does not fit, or would be lost.
    """
    output = Storage.at(config.output)
    require_no_store(output)
    keep_inputs(config, output, run_files(output, NETWORK_RUN))
    gallery = _images(config)
    if config.pack:
        # The authors' HDF5 is one file, in which no copy can lie.
        pack_for_training(store for store in gallery.stores if store.meta.format != AUTHORS)
    return make_parts(config)


def make_parts(config: TrainConfig, rankings: Storage | None = None) -> TrainParts:
    """The parts of the loop.

    Args:
        config: The job.
        rankings: Where `prepare` kept the first ranking; none for the folder of the run.

    Raises:
        AmesError: Something that the job names is missing or does not fit.
    """
    gallery = _images(config)
    high = min(config.max_desc, gallery.topk)
    if config.min_desc >= high:
        raise ConfigError(
            f"min_desc={config.min_desc}, but {gallery.uri} keeps {gallery.topk} descriptors of an image",
            "lower min_desc=, or extract with a larger topk=",
        )
    records = [(record.image_id, record.label) for record in gallery.records()]
    neighbors = read_shortlist(config.nn_file)
    check_belongs(neighbors, gallery.stores[0], gallery)
    given = SourceInput(
        gallery=gallery,
        labels=label_numbers([label for _, label in records]),
        neighbors=neighbors,
        descriptor_counts=DescriptorCounts(config.seed, config.min_desc, high),
        batch_size=config.batch_size,
        num_neighbors=config.num_neighbors,
        negatives=config.negatives,
        seed=config.seed,
    )
    source = make_source(config.source, given)
    options = _network(config, gallery)
    rotation = load_rotation(config.itq, options.descriptor_dim, options.payload_dim) if config.itq else None
    teacher = load_ames(config.teacher, "teacher") if config.teacher else None
    contents = {
        "first triplets": None if config.source in SOURCES else _drawn(source),
        "store": store_digest(gallery),
        "nn_file": array_digest(neighbors.rows, neighbors.similarities),
        "itq": None if rotation is None else array_digest(rotation.numpy()),
        "teacher": None if teacher is None else weights_digest(teacher),
    }
    validation, held_out = make_validation(config, rankings)
    return TrainParts(
        model=_model(config, gallery, high, options, rotation, teacher),
        source=source,
        loader=TripletLoader(gallery, high),
        options=_options(config, high),
        output=Storage.at(config.output),
        names=lambda rows: [records[row][0] for row in rows.tolist()],
        settings=_settings(config, contents | held_out, gallery),
        config=config.model_dump(),
        teacher=teacher,
        validation=validation,
    )


def _images(config: TrainConfig) -> Gallery:
    gallery = Gallery.open([config.store])
    require_raw(gallery)
    return gallery


def _settings(config: TrainConfig, contents: Mapping[str, str | None], gallery: Gallery) -> dict[str, Any]:
    """All that decides the weights: the content of files, wherever they lie, without what was removed."""
    decided = config.model_dump(exclude=DECIDE_NOTHING)
    return {**decided, **contents, "removed photos": gallery.removed.tolist()}


def _drawn(source: TripletSource) -> str:
    """Digest of the first step of a source whose code is somebody's own: that may change under its name."""
    first = source.plan(0, 0)
    return array_digest(first.triplets, np.array([first.query_seen, first.gallery_seen]))


def _options(config: TrainConfig, high: int) -> TrainOptions:
    return TrainOptions(
        epochs=config.epochs,
        lr=config.lr,
        weight_decay=config.weight_decay,
        beta=config.beta,
        teacher_desc_num=high,
        padding_counts=config.padding_counts,
        precision=config.precision,
        clip_norm=config.clip_norm,
        accumulate=config.accumulate,
        compile=config.compile,
        checkpoint_every=config.checkpoint_every,
    )


def _network(config: TrainConfig, gallery: Gallery) -> AmesOptions:
    meta = gallery.stores[0].meta
    return AmesOptions(
        meta.dim,
        binary=config.binary,
        dim=config.dim,
        heads=config.heads,
        blocks=config.blocks,
        feedforward=config.feedforward,
        bits=config.bits,
        backbone=meta.settings.get("backbone"),
    )


def _model(
    config: TrainConfig,
    gallery: Gallery,
    high: int,
    options: AmesOptions,
    rotation: Tensor | None,
    teacher: Ames | None,
) -> Ames:
    wants_sample = (config.initialisation, config.binary) in (("identity", False), ("teacher", True))
    sample = _sample(gallery, high, config.seed) if wants_sample else None
    start = config.initialisation
    model = new_model(options, config.seed, start, rotation=rotation, sample=sample, teacher=teacher)
    if config.freeze_rotation:
        model.get_parameter("remap_local.0.W").requires_grad_(False)
    return model


def _sample(gallery: Gallery, high: int, seed: int) -> AnyArray:
    plan = plan_sample(gallery.ok, _SAMPLED, per_image=50, max_desc=high, seed=seed)
    return gather(plan, lambda rows: take(gallery, plan, rows))
