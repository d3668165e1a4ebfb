from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ames_ray.descriptors.extractor import ExtractorOptions, static_spec
from ames_ray.errors import ConfigError, StoreError, WeightsError
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.files import Storage
from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import PUBLISHED, AmesOptions
from ames_ray.model.padding import LOWEST_LOGIT
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval import pieces as pieces_module
from ames_ray.retrieval import scoring
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.kept import kept_scores, kept_shortlist, read_shortlist, write_shortlist
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from ames_ray.store.reader import Store
from tests.retrieval.small import (
    CountingReranker,
    dense_logit,
    descriptors_of,
    small_model,
    small_reranker,
)
from tests.store.builders import all_features, make_manifest, make_meta, make_store

Stores = tuple[Store, Gallery]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    folder = tmp_path_factory.mktemp("stores")
    gallery = (
        make_store(folder / "a", 12),
        make_store(folder / "b", manifest=make_manifest(9, first=100), topk=5),
    )
    return make_store(folder / "q", manifest=make_manifest(7, first=200)), Gallery(gallery)


def shortlist_of(stores: Stores, size: int | None = None) -> Shortlist:
    return find_neighbors(*stores, "global", size)


@pytest.mark.parametrize(("query_desc_num", "db_desc_num", "batch_size"), [(600, 600, 300), (3, 2, 4)])
def test_logits_are_those_of_the_dense_form_pair_by_pair(
    stores: Stores, query_desc_num: int, db_desc_num: int, batch_size: int
) -> None:
    query, gallery = stores
    shortlist = shortlist_of(stores)
    options = ScoreOptions(query_desc_num, db_desc_num, batch_size)
    found = score_pairs(PairScorer(shortlist, query, gallery, small_reranker(), options))

    model = small_model()
    queries = all_features(query)
    images = [features for store in gallery.stores for features in all_features(store)]
    compared = 0
    for number, line in enumerate(found.rows):
        for row, logit in zip(line, found.logits[number], strict=True):
            if row < 0:
                assert np.isnan(logit)
                continue
            left = descriptors_of(queries[number], min(query_desc_num, 6))
            right = descriptors_of(images[row], min(db_desc_num, 5))
            if not len(left) or not len(right):
                assert logit == np.float32(LOWEST_LOGIT)
            else:
                assert logit == pytest.approx(dense_logit(model, left, right), abs=2e-5)
                compared += 1
    assert compared > 40
    assert (found.query_desc_num, found.db_desc_num) == (min(query_desc_num, 6), min(db_desc_num, 5))
    assert found.query_manifest == query.meta.manifest_digest
    assert found.gallery_manifest == gallery.manifest_digest
    assert found.model_hash == small_reranker().spec.weights_digest
    found.check_belongs_to(shortlist)


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


def test_a_worker_with_other_weights_is_refused(stores: Stores) -> None:
    with pytest.raises(WeightsError, match="a worker has other weights or stores"):
        score_pairs(
            PairScorer(shortlist_of(stores, 4), *stores, small_reranker(), ScoreOptions()),
            hire=threads(1),
            load=partial(small_reranker, 1),
        )


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


def test_what_does_not_belong_together_is_refused(stores: Stores) -> None:
    query, gallery = stores
    shortlist, options = shortlist_of(stores, 4), ScoreOptions()

    def refused(message: str, shortlist: Shortlist, gallery: Gallery, model: AmesReranker) -> None:
        with pytest.raises(StoreError, match=message):
            score_pairs(PairScorer(shortlist, query, gallery, model, options))

    first = Gallery(gallery.stores[:1])
    model = small_reranker()
    plain = Shortlist(shortlist.rows, shortlist.similarities)
    refused("the gallery list", shortlist, Gallery(gallery.stores[::-1]), model)
    refused(r"names gallery row \d+, .*/a has 12 rows", plain, first, model)
    refused(
        "has 6 queries, .*/q has 7 rows", Shortlist(plain.rows[:6], plain.similarities[:6]), gallery, model
    )
    refused("the query list feed", replace(shortlist, query_manifest="feed" * 16), gallery, model)
    wide = AmesReranker(Ames(AmesOptions(24, dim=8, blocks=2, feedforward=16)))
    refused("descriptors 16 wide, the model takes 24", shortlist, gallery, wide)
    foreign = AmesReranker(Ames(AmesOptions(16, dim=8, blocks=2, feedforward=16, backbone="dinov2")))
    refused("descriptors of test, the model takes those of dinov2", shortlist, gallery, foreign)


def test_a_published_network_takes_the_stores_of_its_backbone_alone(tmp_path: Path) -> None:
    model = tmp_path / "dinov2_ames.safetensors"
    save_ames(Ames(PUBLISHED[model.stem]), model)
    network = load_reranker("ames", str(model))

    def store(name: str, backbone: str) -> Store:
        settings = {
            **make_meta(make_manifest(1)).settings,
            **static_spec(ExtractorOptions(backbone)).settings,
        }
        return make_store(tmp_path / name, 2, dim=768, settings=settings)

    ours = store("ours", "dinov2")
    pairs = find_neighbors(ours, Gallery((ours,)), "cls", None)
    assert np.isfinite(
        score_pairs(PairScorer(pairs, ours, Gallery((ours,)), network, ScoreOptions())).logits
    ).any()
    other = store("other", "dinov2_vits14_reg")
    with pytest.raises(StoreError, match="holds descriptors of dinov2_vits14_reg, the model takes those of"):
        score_pairs(PairScorer(pairs, ours, Gallery((other,)), network, ScoreOptions()))


def test_the_first_queries_of_a_list_that_says_what_it_is_may_be_scored_alone(stores: Stores) -> None:
    query, gallery = stores
    shortlist = shortlist_of(stores, 4)
    first = replace(shortlist, rows=shortlist.rows[:3], similarities=shortlist.similarities[:3])
    found = score_pairs(PairScorer(first, query, gallery, small_reranker(), ScoreOptions()))
    whole = score_pairs(PairScorer(shortlist, query, gallery, small_reranker(), ScoreOptions()))
    np.testing.assert_array_equal(found.logits, whole.logits[:3])


def test_stores_projected_by_another_model_are_refused(tmp_path: Path) -> None:
    manifest = make_manifest(5)
    settings = {**make_meta(manifest).settings, "projection": "f00d" * 16}
    store = make_store(tmp_path / "a", 5, settings=settings)
    shortlist = find_neighbors(store, Gallery((store,)), "cls", 2)
    with pytest.raises(StoreError, match="was projected by a model"):
        score_pairs(PairScorer(shortlist, store, Gallery((store,)), small_reranker(), ScoreOptions()))


def test_budgets_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="db_desc_num=0"):
        ScoreOptions(db_desc_num=0)


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
