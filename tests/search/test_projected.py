"""Searching a store of payloads: the scores of `ames-ray score` on the projected queries and gallery."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, make_extractor
from ames_ray.datasets.registry import build_manifest
from ames_ray.errors import StoreError
from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval.rerank import rerank
from ames_ray.search.queries import build_query_extractor
from ames_ray.store.reader import Store
from tests.extract_here import fill_store
from tests.model.networks import random_model
from tests.search.small import make_store

LAMB, TEMP = 0.3, 2.0


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("raw"))


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("binary", [False, True], ids=["float16", "bits"])
def test_a_projected_store_is_searched_with_its_model(binary: bool, raw: Path, tmp_path: Path) -> None:
    weights, store = tmp_path / "model.pt", tmp_path / "projected"
    save_ames(random_model(AmesOptions(128, binary=binary, dim=8, blocks=2, feedforward=16), 0), weights)
    assert main(["store", "project", f"model={weights}", f"in={raw}", f"out={store}"]) == 0
    photos, pairs = raw.parent / "photos", [f"query={store}", f"gallery={store}"]
    nn, scores = tmp_path / "nn.parquet", tmp_path / "scores.parquet"
    assert main(["neighbors", *pairs, "shortlist_size=8", f"output={nn}"]) == 0
    assert main(["score", *pairs, f"nn_file={nn}", f"model={weights}", f"output={scores}"]) == 0

    words = [f"store={store}", f"model={weights}", f"lamb={LAMB}", f"temp={TEMP}", "num_results=8"]
    assert main(["search", str(photos), *words, f"output={tmp_path / 'page'}"]) == 0
    found, shortlist = load_pair_scores(str(scores)), load_shortlist(str(nn))
    by_query: dict[object, dict[object, dict[str, object]]] = {}
    for line in lines(tmp_path / "page"):
        by_query.setdefault(line["query"], {})[line["row"]] = line
    assert len(by_query) == len(found) == 11
    for record in Store.open(str(raw)).manifest:
        rows, logits = found.rows[record.row], found.logits[record.row].astype(np.float64)
        wanted = LAMB * shortlist.similarities[record.row] + (1 - LAMB) / (1 + np.exp(-TEMP * logits))
        hits = by_query[record.image_id]
        # The second ranking may bring in images from behind the eighth place of the first.
        shared = [place for place, row in enumerate(rows.tolist()) if row in hits]
        assert len(shared) >= 5
        got = [hits[rows[place]]["score"] for place in shared]
        np.testing.assert_allclose(np.array(got, np.float64), wanted[shared], rtol=1e-6)
    assert b"<svg" in (tmp_path / "page" / "index.html").read_bytes()


@pytest.mark.parametrize("binary", [False, True], ids=["float16", "bits"])
def test_pictures_are_reranked_with_the_extractor_of_a_projected_store(
    binary: bool, raw: Path, tmp_path: Path
) -> None:
    weights, folder = tmp_path / "model.pt", tmp_path / "projected"
    save_ames(random_model(AmesOptions(128, binary=binary, dim=8, blocks=2, feedforward=16), 0), weights)
    assert main(["store", "project", f"model={weights}", f"in={raw}", f"out={folder}"]) == 0
    store, model = Store.open(str(folder)), load_reranker("ames", str(weights))
    extractor = build_query_extractor(store, "cpu", reranker=model)
    query, *hits = [Path(store.manifest.root) / record.image_id for record in store.manifest]
    held = store.read(range(len(hits) + 1))
    arrays = [held.descriptors[row][held.valid[row]] for row in range(len(hits) + 1)]
    found = rerank(query, hits, model, extractor=extractor)
    np.testing.assert_array_equal(found.logits, rerank(arrays[0], arrays[1:], model).logits)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert rerank(query, [tmp_path / "broken.jpg", hits[0]], model, extractor=extractor).order.tolist() == [
        1,
        0,
    ]
    save_ames(random_model(AmesOptions(128, binary=binary, dim=8, blocks=2, feedforward=16), 1), weights)
    with pytest.raises(StoreError, match="was projected by a model with the projection"):
        rerank(query, hits, load_reranker("ames", str(weights)), extractor=extractor)


def test_it_is_refused_without_the_model_that_made_it(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        model = random_model(AmesOptions(128, dim=8, blocks=2, feedforward=16), seed)
        save_ames(model, tmp_path / f"{seed}.pt")
    store = tmp_path / "projected"
    assert main(["store", "project", f"model={tmp_path / '0.pt'}", f"in={raw}", f"out={store}"]) == 0
    photo = str(raw.parent / "photos" / "photo1.jpg")
    words = ["search", photo, f"store={store}", f"output={tmp_path / 'page'}"]
    assert main(words) == 2
    assert "which only their model can compare" in capsys.readouterr().err
    assert main([*words, f"model={tmp_path / '1.pt'}"]) == 2
    assert "was projected by a model with the projection" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
    # The first ranking needs no model.
    assert main([*words, "num_rerank=0"]) == 0
    assert lines(tmp_path / "page")[0]["image"] == "photo1.jpg"


def test_extraction_straight_to_payloads_is_searched_alike(raw: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    save_ames(random_model(AmesOptions(128, binary=True, dim=8, blocks=2, feedforward=16), 0), weights)
    photos = raw.parent / "photos"
    made = tmp_path / "later"
    assert main(["store", "project", f"model={weights}", f"in={raw}", f"out={made}"]) == 0
    straight = tmp_path / "straight_store"
    job = compose(
        ExtractConfig, [f"images={photos}", f"output={straight}", "topk=120", f"projection={weights}"]
    )
    fill_store(job, build_manifest(dataset_options(job)), make_extractor(job, "cpu"))
    words = ["search", str(photos / "photo3.jpg"), f"model={weights}", "num_results=20"]
    for name, store in (("straight", straight), ("made", made)):
        assert main([*words, f"store={store}", f"output={tmp_path / name}"]) == 0
    assert [{**line, "uri": ""} for line in lines(tmp_path / "straight")] == [
        {**line, "uri": ""} for line in lines(tmp_path / "made")
    ]
