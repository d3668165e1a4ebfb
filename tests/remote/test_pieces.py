"""Pieces of unfinished scores in a bucket: found by the next run, gone when the scores are whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ames_ray.files import Storage
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_scores
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import forget_pieces, score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from tests.remote.server import BUCKET, S3Server, contents
from tests.retrieval.small import CountingReranker, small_model
from tests.store.builders import make_store


def test_pieces_go_when_the_scores_are_there(s3: S3Server, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 9)
    shortlist = find_neighbors(store, Gallery((store,)), "global", 4)
    network = CountingReranker(small_model())
    scorer = PairScorer(shortlist, store, Gallery((store,)), network, ScoreOptions())
    folder = Storage.at(f"s3://{BUCKET}/results")
    other = "pieces/0123456789abcdef/000000-0000000.npy"
    folder.publish(other, b"of an interrupted run with other settings")

    logits = score_pairs(scorer, pieces=folder.child("pieces")).logits
    assert len(contents(s3, "results/pieces/")) == 2
    counted = network.pairs
    found = kept_scores(folder, scorer.digest, lambda pieces: score_pairs(scorer, pieces=pieces))
    np.testing.assert_array_equal(found.logits, logits)
    assert network.pairs == counted
    scores = f"results/scores-{scorer.digest[:16]}.parquet"
    assert list(contents(s3, "results/")) == [f"results/{other}", scores]
    forget_pieces(folder.child("pieces"))
    assert list(contents(s3, "results/")) == [scores]
