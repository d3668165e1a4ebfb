"""Rankings and scores that a folder keeps, and those of a run that did not end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ames_ray.errors import DatasetError
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.files import Storage
from ames_ray.retrieval import pieces as pieces_module
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_scores, kept_shortlist, read_shortlist, write_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from tests.retrieval.small import CountingReranker, small_model, small_reranker
from tests.retrieval.stores import Stores, make_stores, shortlist_of
from tests.store.builders import make_manifest, make_store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


def test_a_folder_keeps_what_was_made_once(stores: Stores, tmp_path: Path) -> None:
    query, gallery = stores
    folder = Storage.at(tmp_path)
    found = [0]

    def neighbors(pooled: str) -> Shortlist:
        def find() -> Shortlist:
            found[0] += 1
            return find_neighbors(query, gallery, pooled, 4)

        return kept_shortlist(folder, query, gallery, {"pooled": pooled, "shortlist_size": 4}, find)

    shortlist = neighbors("global")
    model = CountingReranker(small_model())

    def scores() -> PairScores:
        given = (shortlist, query, gallery, model, ScoreOptions())
        return kept_scores(
            folder, PairScorer(*given).digest, lambda pieces: score_pairs(PairScorer(*given), pieces=pieces)
        )

    first = scores()
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(name.split("-")[0] for name in made) == ["neighbors", "scores"]
    pairs = model.pairs

    np.testing.assert_array_equal(scores().logits, first.logits)
    np.testing.assert_array_equal(neighbors("global").rows, shortlist.rows)
    assert model.pairs == pairs
    assert found == [1]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == made
    neighbors("cls")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["nn.parquet", "nn_test.pkl"])
def test_shortlists_survive_their_files(stores: Stores, tmp_path: Path, name: str) -> None:
    shortlist = shortlist_of(stores, 6)
    write_shortlist(shortlist, str(tmp_path / name))
    found = read_shortlist(str(tmp_path / name))
    np.testing.assert_array_equal(found.rows, shortlist.rows)
    np.testing.assert_array_equal(found.similarities, shortlist.similarities)


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
