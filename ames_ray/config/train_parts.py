"""From a training job to the parts of its loop; every worker makes its own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.config.train import DECIDE_NOTHING
from ames_ray.errors import ConfigError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.files import Storage
from ames_ray.model.checkpoints import load_ames
from ames_ray.model.digest import weights_digest
from ames_ray.model.itq import load_rotation
from ames_ray.model.options import AmesOptions
from ames_ray.retrieval.belongs import check_belongs
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_shortlist, read_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.scoring import ScoreOptions
from ames_ray.store.meta import AUTHORS
from ames_ray.training.initialise import new_model
from ames_ray.training.loader import TripletLoader, pack_for_training
from ames_ray.training.loop import TrainParts
from ames_ray.training.options import TrainOptions
from ames_ray.training.output import clear_run
from ames_ray.training.plan import DescriptorCounts
from ames_ray.training.sample import gather, plan_sample, take
from ames_ray.training.sampler import label_numbers
from ames_ray.training.sources import SourceInput, make_source
from ames_ray.training.validate import Validation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from torch import Tensor

    from ames_ray.config.train import TrainConfig
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.model.ames import Ames
    from ames_ray.store.reader import Store
    from ames_ray.types import AnyArray

_SAMPLED = 50_000


def prepare(config: TrainConfig) -> None:
    """Do once what all workers build on: pack, rank the held-out queries, clear.

    Raises:
        AmesError: Something that the job names is missing or does not fit.
    """
    gallery = Gallery.open([config.store])
    if config.pack:
        # The authors' HDF5 is one file, in which no copy can lie.
        pack_for_training(store for store in gallery.stores if store.meta.format != AUTHORS)
    if not config.overwrite:
        _validation(config)
        return
    # All that the job names is read first: a misspelt path must not cost the old run.
    make_parts(config)
    clear_run(Storage.at(config.output))


def make_parts(config: TrainConfig, rankings: Storage | None = None) -> TrainParts:
    """The parts of the loop.

    Args:
        config: The job.
        rankings: Where `prepare` kept the first ranking; none for the folder of the run.

    Raises:
        AmesError: Something that the job names is missing or does not fit.
    """
    gallery = Gallery.open([config.store])
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
    options = _network(config, gallery)
    rotation = load_rotation(config.itq, options.descriptor_dim, options.payload_dim) if config.itq else None
    teacher = load_ames(config.teacher) if config.teacher else None
    contents = {
        "store": gallery.content_digest,
        "nn_file": _digest(neighbors.rows, neighbors.similarities),
        "itq": None if rotation is None else _digest(rotation.numpy()),
        "teacher": None if teacher is None else weights_digest(teacher),
    }
    return TrainParts(
        model=_model(config, gallery, high, options, rotation, teacher),
        source=make_source(config.source, given),
        loader=TripletLoader(gallery, high),
        options=_options(config, high),
        output=Storage.at(config.output),
        names=lambda rows: [records[row][0] for row in rows.tolist()],
        settings=_settings(config, contents, gallery),
        config=config.model_dump(),
        teacher=teacher,
        validation=_validation(config, rankings),
    )


def _settings(config: TrainConfig, contents: Mapping[str, str | None], gallery: Gallery) -> dict[str, Any]:
    """All that decides the weights: the content of files, wherever they lie, without what was removed."""
    decided = config.model_dump(exclude=DECIDE_NOTHING)
    return {**decided, **contents, "removed photos": gallery.removed.tolist()}


def _digest(*arrays: AnyArray) -> str:
    """SHA-256 of arrays and their shapes, as lower-case hex."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


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


def _validation(config: TrainConfig, rankings: Storage | None = None) -> Validation | None:
    if config.val_query is None or config.val_gallery is None or config.val_ground_truth is None:
        return None
    benchmark = Benchmark.read(config.val_ground_truth, config.val_protocol)
    query, gallery = Gallery.open([config.val_query]), Gallery.open(config.val_gallery)
    if config.val_nn_file is None:
        folder = rankings or Storage.at(config.output)
        shortlist = _first_ranking(config, folder, query.stores[0], gallery, benchmark)
    else:
        shortlist = check_belongs(read_shortlist(config.val_nn_file), query.stores[0], gallery)
    return Validation(
        benchmark,
        query,
        gallery,
        shortlist,
        Ensemble(config.val_lamb, config.val_temp, config.val_num_rerank),
        ScoreOptions(config.val_desc_num, config.val_desc_num),
        config.figure,
    )


def _first_ranking(
    config: TrainConfig, folder: Storage, query: Store, gallery: Gallery, benchmark: Benchmark
) -> Shortlist:
    """Computed once, by `prepare`, and kept."""
    size = benchmark.list_length(config.val_num_rerank)
    settings = {"pooled": config.val_pooled, "shortlist_size": size}
    return kept_shortlist(
        folder,
        query,
        gallery,
        settings,
        lambda: find_neighbors(query, gallery, config.val_pooled, size),
    )
