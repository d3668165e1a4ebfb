"""`evaluate` on a benchmark laid out as GLDv2: public queries first, some without positives, mAP@100."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.evaluation.score_files import load_pair_scores
from ames_ray.model.checkpoints import save_ames
from ames_ray.store.reader import Store
from tests.evaluation import oracle
from tests.retrieval.small import small_model
from tests.store.builders import make_manifest, make_store

PUBLIC, QUERIES, INDEX = 379, 390, 130
LAMB, TEMP, NUM_RERANK = 0.3, 0.7, 20


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `query/`, `index/`, `gnd.pkl` and `model.pt`."""
    folder = tmp_path_factory.mktemp("gldv2")
    make_store(folder / "query", manifest=make_manifest(QUERIES, first=1000), shard_rows=128)
    make_store(folder / "index", INDEX, shard_rows=128)
    (folder / "gnd.pkl").write_bytes(pickle.dumps({"gnd": positives()}))
    save_ames(small_model(), folder / "model.pt")
    return folder


def positives() -> list[list[int]]:
    """Every 10th query has none."""
    g = np.random.default_rng(0)
    return [
        [] if query % 10 == 2 else sorted(set(g.integers(0, INDEX, 5).tolist())) for query in range(QUERIES)
    ]


def evaluate(here: Path, output: Path, *more: str) -> dict[str, Any]:
    words = [f"query={here / 'query'}", f"gallery={here / 'index'}", f"ground_truth={here / 'gnd.pkl'}"]
    assert main(["evaluate", *words, f"output={output}", *more]) == 0
    (path,) = output.glob("evaluation-*.json")
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result


def expected(here: Path, logits: list[dict[int, float]] | None) -> dict[str, float]:
    """Means as a textbook computes them."""
    query, index = Store.open(str(here / "query")), Store.open(str(here / "index"))
    products = query.pooled("global").astype(np.float64) @ index.pooled("global").astype(np.float64).T
    values: list[float] = []
    for number, wanted in enumerate(positives()):
        order = np.argsort(-products[number], kind="stable").tolist()
        ranking = [row for row in order if index.ok[row]] if query.ok[number] else []
        if logits is not None:
            similar = dict(enumerate(products[number].tolist()))
            ranking = oracle.reranked(ranking, similar, logits[number], LAMB, TEMP, NUM_RERANK)
        values.append(oracle.ap_at(ranking[:100], set(wanted), 100))
    parts = {"public": values[:PUBLIC], "private": values[PUBLIC:], "combined": values}
    return {name: oracle.mean(part) for name, part in parts.items()}


def test_the_table_has_public_private_and_combined(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"model={here / 'model.pt'}", f"lamb={LAMB}", f"temp={TEMP}", f"num_rerank={NUM_RERANK}"]
    result = evaluate(here, tmp_path, *words)
    (path,) = tmp_path.glob("scores-*.parquet")
    scores = load_pair_scores(str(path))
    logits = [
        dict(zip(rows.tolist(), line.tolist(), strict=True))
        for rows, line in zip(scores.rows, scores.logits, strict=True)
    ]
    (row,) = result["rows"]
    out = capsys.readouterr().out
    assert "gldv2, mAP@100 in %" in out
    for name, plain in expected(here, None).items():
        reranked = expected(here, logits)[name]
        assert result["global"]["figures"][f"{name}_mAP@100"] == pytest.approx(plain, abs=1e-9)
        assert row[f"{name}_mAP@100"] == pytest.approx(reranked, abs=1e-9)
        assert plain != pytest.approx(reranked, abs=1e-6)
        assert name in out
        assert f"{100 * plain:.2f}" in out
        assert f"{100 * reranked:.2f}" in out


def test_val_is_the_public_part_alone(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate(here, tmp_path, "protocol=gldv2-val")
    assert set(result["global"]["figures"]) == {"val_mAP@100"}
    plain = expected(here, None)["public"]
    assert result["global"]["figures"]["val_mAP@100"] == pytest.approx(plain, abs=1e-9)
    out = capsys.readouterr().out
    assert "val" in out
    assert "private" not in out


def test_val_takes_a_ranking_of_all_queries_in_the_authors_file(here: Path, tmp_path: Path) -> None:
    stores = [f"query={here / 'query'}", f"gallery={here / 'index'}"]
    ranking, val = f"nn_file={tmp_path / 'nn.pkl'}", "protocol=gldv2-val"
    assert main(["neighbors", *stores, "shortlist_size=100", f"output={tmp_path / 'nn.pkl'}"]) == 0
    network = [f"model={here / 'model.pt'}", "db_desc_num=2", "num_rerank=3"]
    given = evaluate(here, tmp_path / "given", val, ranking, *network)
    assert given["global"]["figures"] == evaluate(here, tmp_path / "found", val)["global"]["figures"]

    truth, scores = f"ground_truth={here / 'gnd.pkl'}", tmp_path / "scores.parquet"
    assert main(["score", *stores, ranking, truth, val, *network, f"output={scores}"]) == 0
    (kept,) = (tmp_path / "given").glob("scores-*.parquet")
    logits = load_pair_scores(str(scores)).logits
    assert len(logits) == PUBLIC
    np.testing.assert_array_equal(logits, load_pair_scores(str(kept)).logits)


def test_an_approximate_ranking_that_looks_everywhere_gives_the_same(here: Path, tmp_path: Path) -> None:
    result = evaluate(here, tmp_path, "index=ivf", "nprobe=1000")
    figures = result["global"]["figures"]
    assert figures["combined_mAP@100"] == pytest.approx(expected(here, None)["combined"], abs=2e-3)
    assert result["card"]["settings"]["shortlist"]["index"] == "ivf"
