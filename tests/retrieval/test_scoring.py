from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ames_ray.descriptors.extractor import ExtractorOptions, static_spec
from ames_ray.errors import ConfigError, StoreError, WeightsError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import PUBLISHED, AmesOptions
from ames_ray.model.padding import LOWEST_LOGIT
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval.crew import threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from ames_ray.store.reader import Store
from tests.retrieval.small import dense_logit, descriptors_of, small_model, small_reranker
from tests.retrieval.stores import Stores, make_stores, shortlist_of
from tests.store.builders import all_features, make_manifest, make_meta, make_store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("stores"))


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


def test_a_worker_with_other_weights_is_refused(stores: Stores) -> None:
    with pytest.raises(WeightsError, match="a worker has other weights or stores"):
        score_pairs(
            PairScorer(shortlist_of(stores, 4), *stores, small_reranker(), ScoreOptions()),
            hire=threads(1),
            load=partial(small_reranker, 1),
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
