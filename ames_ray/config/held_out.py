"""The held-out split of a training job: its validation, and what that was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.config.contents import array_digest, gallery_digest
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.files import Storage
from ames_ray.retrieval.belongs import check_belongs
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_shortlist, read_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.scoring import ScoreOptions
from ames_ray.training.validate import Validation

if TYPE_CHECKING:
    from ames_ray.config.train import TrainConfig
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.store.reader import Store


def make_validation(
    config: TrainConfig, rankings: Storage | None = None
) -> tuple[Validation | None, dict[str, str | None]]:
    """The validation of a job, or none; and for each setting that names a file of it, its digest.

    Args:
        config: The job.
        rankings: Where the first ranking is kept, once it is computed; none for the folder of the run.

    Raises:
        AmesError: A file is missing or does not fit the others.
    """
    if config.val_query is None or config.val_gallery is None or config.val_ground_truth is None:
        return None, {}
    benchmark = Benchmark.read(config.val_ground_truth, config.val_protocol)
    query, gallery = Gallery.open([config.val_query]), Gallery.open(config.val_gallery)
    if config.val_nn_file is None:
        folder = rankings or Storage.at(config.output)
        shortlist = _first_ranking(config, folder, query.stores[0], gallery, benchmark)
    else:
        shortlist = check_belongs(read_shortlist(config.val_nn_file), query.stores[0], gallery)
    validation = Validation(
        benchmark,
        query,
        gallery,
        shortlist,
        Ensemble(config.val_lamb, config.val_temp, config.val_num_rerank),
        ScoreOptions(config.val_desc_num, config.val_desc_num),
        config.figure,
    )
    contents = {
        "val_query": gallery_digest(query),
        "val_gallery": gallery_digest(gallery),
        "val_ground_truth": benchmark.digest,
        # A computed one follows from the others.
        "val_nn_file": config.val_nn_file and array_digest(shortlist.rows, shortlist.similarities),
    }
    return validation, contents


def _first_ranking(
    config: TrainConfig, folder: Storage, query: Store, gallery: Gallery, benchmark: Benchmark
) -> Shortlist:
    """Computed once, before there are workers, and kept."""
    size = benchmark.list_length(config.val_num_rerank)
    settings = {"pooled": config.val_pooled, "shortlist_size": size}
    return kept_shortlist(
        folder,
        query,
        gallery,
        settings,
        lambda: find_neighbors(query, gallery, config.val_pooled, size),
    )
