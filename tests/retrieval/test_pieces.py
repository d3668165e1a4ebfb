"""Pieces of a scoring: what a killed run leaves, and what another one takes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.retrieval import pieces as pieces_module
from ames_ray.retrieval import scoring
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from tests.retrieval.small import CountingReranker, small_model, small_reranker
from tests.retrieval.stores import Stores, make_stores, shortlist_of


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


def test_a_killed_run_goes_on_where_it_was(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_PAIRS", 5)
    query, gallery = stores
    shortlist, options = shortlist_of(stores, 5), ScoreOptions(batch_size=2)
    whole = score_pairs(PairScorer(shortlist, query, gallery, small_reranker(), options))
    pieces = Storage.at(tmp_path)
    killed = CountingReranker(small_model())
    killed.last = 12
    with pytest.raises(KeyboardInterrupt):
        score_pairs(PairScorer(shortlist, query, gallery, killed, options), pieces=pieces, hire=threads(1))
    kept = len(list(tmp_path.rglob("*.npy")))
    assert 0 < kept < len(shortlist)

    again = CountingReranker(small_model())
    told: list[tuple[int, int]] = []
    found = score_pairs(
        PairScorer(shortlist, query, gallery, again, options),
        pieces=pieces,
        report=lambda done, total: told.append((done, total)),
    )
    np.testing.assert_array_equal(found.logits, whole.logits)
    total = int((shortlist.rows >= 0).sum())
    done = int((shortlist.rows[:kept] >= 0).sum())
    assert again.pairs == total - done
    assert told[0] == (done, total)
    assert told[-1] == (total, total)

    third = CountingReranker(small_model())
    score_pairs(PairScorer(shortlist, query, gallery, third, options), pieces=pieces)
    assert third.pairs == 0


@pytest.mark.parametrize("left", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_piece_is_made_again(stores: Stores, tmp_path: Path, left: bytes) -> None:
    scorer = PairScorer(shortlist_of(stores, 3), *stores, small_reranker(), ScoreOptions())
    whole = score_pairs(scorer, pieces=Storage.at(tmp_path), hire=threads(1))
    (piece,) = tmp_path.rglob("*.npy")
    content = piece.read_bytes()
    piece.write_bytes(left)
    again = score_pairs(scorer, pieces=Storage.at(tmp_path), hire=threads(1))
    np.testing.assert_array_equal(again.logits, whole.logits)
    assert piece.read_bytes() == content


def test_long_lists_are_cut_between_batches_and_short_ones_joined(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, gallery = stores
    shortlist, options = shortlist_of(stores), ScoreOptions(batch_size=2)
    whole = score_pairs(PairScorer(shortlist, query, gallery, small_reranker(), options), hire=threads(1))
    monkeypatch.setattr(scoring, "PIECE_PAIRS", 3)
    pieces = list(PairScorer(shortlist, query, gallery, small_reranker(), options).pieces())
    assert {len(piece) for piece in pieces} == {4, int((shortlist.rows[0] >= 0).sum()) % 4}
    assert sum(map(len, pieces)) == int((shortlist.rows >= 0).sum())
    folder = Storage.at(tmp_path)
    for count in (1, 3):
        found = score_pairs(
            PairScorer(shortlist, query, gallery, small_reranker(), options),
            pieces=folder,
            hire=threads(count),
        )
        np.testing.assert_array_equal(found.logits, whole.logits)
    assert len(list(tmp_path.rglob("*.npy"))) == 1
    monkeypatch.setattr(pieces_module, "PIECE_PAIRS", 8)
    cut = score_pairs(
        PairScorer(shortlist, query, gallery, small_reranker(), options), pieces=folder, hire=threads(2)
    )
    np.testing.assert_array_equal(cut.logits, whole.logits)
    kept = [len(np.load(path)) for path in sorted(tmp_path.rglob("*.npy"))]
    assert sum(kept) == int((shortlist.rows >= 0).sum())
    assert all(8 <= count < 12 for count in kept[:-1])


def test_half_a_piece_is_computed_again(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_PAIRS", 4)
    query, gallery = stores
    given = (shortlist_of(stores, 4), query, gallery)
    folder = Storage.at(tmp_path)
    whole = score_pairs(PairScorer(*given, small_reranker(), ScoreOptions()), pieces=folder)
    first, second, *_ = sorted(tmp_path.rglob("*.npy"))
    np.save(first, np.zeros(2, np.float32))
    second.unlink()
    model = CountingReranker(small_model())
    found = score_pairs(PairScorer(*given, model, ScoreOptions()), pieces=folder)
    np.testing.assert_array_equal(found.logits, whole.logits)
    assert model.pairs == 8


def test_pieces_of_other_settings_are_not_taken(stores: Stores, tmp_path: Path) -> None:
    query, gallery = stores
    pieces = Storage.at(tmp_path)
    options = ScoreOptions(db_desc_num=3)
    score_pairs(PairScorer(shortlist_of(stores, 5), query, gallery, small_reranker(), options), pieces=pieces)
    pairs = int((shortlist_of(stores, 5).rows >= 0).sum())
    for shortlist, seed, changed in (
        (shortlist_of(stores, 5), 0, replace(options, db_desc_num=2)),
        (shortlist_of(stores, 5), 0, replace(options, query_desc_num=2)),
        (shortlist_of(stores, 5), 0, replace(options, batch_size=2)),
        (shortlist_of(stores, 5), 1, options),
        (Shortlist(shortlist_of(stores, 5).rows[:, ::-1], np.ones((7, 5), np.float32)), 0, options),
    ):
        model = CountingReranker(small_model(seed))
        found = score_pairs(PairScorer(shortlist, query, gallery, model, changed), pieces=pieces)
        assert model.pairs == pairs
        np.testing.assert_array_equal(
            found.logits,
            score_pairs(
                PairScorer(shortlist, query, gallery, AmesReranker(small_model(seed)), changed)
            ).logits,
        )
