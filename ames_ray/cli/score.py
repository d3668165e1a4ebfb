"""The verb that scores pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ames_ray.cli.crews import Scoring
from ames_ray.cli.outputs import require_own
from ames_ray.cli.tables import facts
from ames_ray.config.inputs import keep_inputs
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.score_files import holds, save_scores
from ames_ray.evaluation.scores import PairScores
from ames_ray.files import Storage
from ames_ray.ownership import sweep_attempts
from ames_ray.retrieval.belongs import check_belongs
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import read_shortlist
from ames_ray.retrieval.pieces import forget_pieces

if TYPE_CHECKING:
    from ames_ray.config.retrieval import ScoreConfig
    from ames_ray.evaluation.scores import Shortlist


def score(config: ScoreConfig) -> None:
    """Score the head of every list of a shortlist and write the logits to one file."""
    folder, name = Storage.of_file(config.output)
    keep_inputs(config, folder, [name])
    require_own(config.output, lambda there, file: holds(there, file, PairScores))
    query, gallery = Gallery.open([config.query]), Gallery.open(config.gallery)
    shortlist = check_belongs(read_shortlist(config.nn_file), query.stores[0], gallery)
    pairs = _pairs(config, shortlist, query, gallery)
    pieces = folder.child(f"{name}.pieces")
    with pieces.own("ames-ray score"):
        sweep_attempts(folder, name)
        found = Scoring(config, config.model, pairs, query, gallery)(pieces)
        save_scores(found, config.output)
    forget_pieces(pieces)
    facts(
        "score",
        {
            "pairs": f"{int((found.rows >= 0).sum()):,} of {len(found):,} queries",
            "descriptors": f"{found.query_desc_num:,} a query, {found.db_desc_num:,} a gallery image",
            "written": config.output,
        },
    )


def _pairs(config: ScoreConfig, shortlist: Shortlist, query: Gallery, gallery: Gallery) -> Shortlist:
    """The head of each list, or what the protocol of a ground truth needs."""
    if config.ground_truth is not None:
        benchmark = Benchmark.read(config.ground_truth, config.protocol)
        benchmark.check(query, gallery)
        return candidates(benchmark.protocol, benchmark.queries_of(shortlist), config.num_rerank)
    head = slice(None, config.num_rerank)
    return replace(
        shortlist,
        rows=shortlist.rows[:, head],
        similarities=shortlist.similarities[:, head],
        settings={**shortlist.settings, "num_rerank": config.num_rerank},
    )
