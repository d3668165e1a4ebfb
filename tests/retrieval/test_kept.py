"""Scores that a folder keeps, and those of a run that did not end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import PairScores
from ames_ray.files import Storage
from ames_ray.retrieval import pieces as pieces_module
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_scores, kept_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from tests.retrieval.small import CountingReranker, small_model, small_reranker
from tests.store.builders import make_manifest, make_store


def test_an_interrupted_run_goes_on_behind_a_finished_one_of_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_PAIRS", 5)
    query, gallery = (
        make_store(tmp_path / "q", 7),
        make_store(tmp_path / "g", manifest=make_manifest(9, first=50)),
    )
    pairs = find_neighbors(query, Gallery((gallery,)), "global", 5)
    out, options = Storage.at(tmp_path / "out"), ScoreOptions(batch_size=2)

    def scores(model: CountingReranker, options: ScoreOptions) -> PairScores:
        scorer = PairScorer(pairs, query, Gallery((gallery,)), model, options)
        return kept_scores(
            out, scorer.digest, lambda folder: score_pairs(scorer, pieces=folder, hire=threads(1))
        )

    killed = CountingReranker(small_model())
    killed.last = 12
    with pytest.raises(KeyboardInterrupt):
        scores(killed, options)
    finished = len(list((tmp_path / "out").rglob("*.npy")))
    assert finished

    scores(CountingReranker(small_model()), replace(options, db_desc_num=1))
    assert len(list((tmp_path / "out").rglob("*.npy"))) == finished
    again, whole = CountingReranker(small_model()), CountingReranker(small_model())
    found = scores(again, options)
    out = Storage.at(tmp_path / "undisturbed")
    np.testing.assert_array_equal(found.logits, scores(whole, options).logits)
    done = int((pairs.rows[:finished] >= 0).sum())
    assert again.pairs == whole.pairs - done
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "out").iterdir()) == [
        "scores",
        "scores",
    ]


@pytest.mark.parametrize("kind", ["neighbors", "scores"])
def test_a_damaged_file_is_made_again_when_it_is_gone(tmp_path: Path, kind: str) -> None:
    store, out = make_store(tmp_path / "store", 5), Storage.at(tmp_path / "out")
    gallery = Gallery((store,))

    def scores() -> PairScores:
        pairs = kept_shortlist(out, store, gallery, {}, lambda: find_neighbors(store, gallery, "global", 3))
        scorer = PairScorer(pairs, store, gallery, small_reranker(), ScoreOptions())
        return kept_scores(out, scorer.digest, lambda folder: score_pairs(scorer, pieces=folder))

    first = scores()
    (path,) = (tmp_path / "out").glob(f"{kind}-*")
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(DatasetError, match=path.name) as error:
        scores()
    assert error.value.hint == "delete the file, and the same command makes it again"
    path.unlink()
    np.testing.assert_array_equal(scores().logits, first.logits)
    assert path.read_bytes() == content
