from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.retrieval.gallery import Gallery
from tests.evaluation import oracle
from tests.model.networks import random_model
from tests.retrieval.authors_folder import GND, make_data_root, make_stores
from tests.retrieval.small import dense_logit

LAMB, TEMP, NUM_RERANK = [0.1, 0.9], [0.2, 1.5], [2, 6, 400]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/` as the authors', `stores/` and a network in `model.safetensors`."""
    folder = tmp_path_factory.mktemp("cli")
    make_data_root(folder / "data")
    make_stores(folder / "data", folder / "stores")
    save_ames(random_model(AmesOptions(128, dim=16, blocks=2, feedforward=32)), folder / "model.safetensors")
    return folder


def words(here: Path, output: Path, *more: str) -> list[str]:
    stores = here / "stores"
    return [
        "evaluate",
        f"query={stores / 'query'}",
        f"gallery=[{stores / 'gallery'},{stores / 'r1m'}]",
        f"ground_truth={here / 'data' / 'roxford5k' / 'gnd_roxford5k.pkl'}",
        f"output={output}",
        *more,
    ]


def sweep_words(here: Path, output: Path) -> list[str]:
    lists = (f"lamb={LAMB}", f"temp={TEMP}", f"num_rerank={NUM_RERANK}")
    return words(
        here, output, f"model={here / 'model.safetensors'}", *(text.replace(" ", "") for text in lists)
    )


def result_of(output: Path) -> dict[str, Any]:
    (path,) = output.glob("evaluation-*.json")
    values: dict[str, Any] = json.loads(path.read_bytes())
    return values


def rankings(here: Path) -> tuple[list[list[int]], list[dict[int, float]]]:
    """Global rankings and similarities by a plain product in float64."""
    stores = [str(here / "stores" / name) for name in ("query", "gallery", "r1m")]
    query, *gallery = (Gallery.open([uri]).stores[0].pooled("global").astype(np.float64) for uri in stores)
    products = query @ np.concatenate(gallery).T
    return np.argsort(-products, axis=1).tolist(), [dict(enumerate(line)) for line in products.tolist()]


def naive(here: Path, scores: Path, lamb: float, temp: float, k: int) -> dict[str, float]:
    """The figures as a textbook computes them from the scores in a file."""
    ranked, similar = rankings(here)
    pairs = load_pair_scores(str(scores))
    figures: dict[str, float] = {}
    for setup in oracle.SETUPS:
        values: list[list[float]] = []
        for number, gnd in enumerate(GND):
            positives, ignored = oracle.pools(gnd, setup)
            logits = {
                int(row): float(x) for row, x in zip(pairs.rows[number], pairs.logits[number], strict=True)
            }
            ranking = oracle.without(ranked[number], ignored)
            ranking = oracle.reranked(ranking, similar[number], logits, lamb, temp, k)
            at = [oracle.precision_at(ranking, positives, n) for n in (1, 5, 10)]
            values.append([oracle.trapezoid_ap(ranking, positives), *at])
        names = (f"{setup}_mAP", *(f"{setup}_mP@{n}" for n in (1, 5, 10)))
        figures |= {
            name: oracle.mean(column) for name, column in zip(names, zip(*values, strict=True), strict=True)
        }
    return figures


def test_the_table_of_a_sweep_is_that_of_the_textbook(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(sweep_words(here, tmp_path)) == 0
    result = result_of(tmp_path)
    (scores,) = tmp_path.glob("scores-*.parquet")

    assert result["global"]["figures"] == pytest.approx(naive(here, scores, 1.0, 0.0, 0), abs=1e-12)
    settings = [(row["lamb"], row["temp"], row["num_rerank"]) for row in result["rows"]]
    assert sorted(settings) == sorted((lamb, temp, k) for lamb in LAMB for temp in TEMP for k in NUM_RERANK)
    for row in result["rows"]:
        expected = naive(here, scores, row["lamb"], row["temp"], row["num_rerank"])
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-12)
        assert row["num_rerank_used"] == min(row["num_rerank"], 19)
    best = max(row["medium_mAP"] for row in result["rows"])
    assert result["figure"] == "medium_mAP"
    assert result["best"]["figures"]["medium_mAP"] == best
    assert len({row["medium_mAP"] for row in result["rows"]}) > 2
    assert result["card"]["config"]["lamb"] == LAMB
    assert result["card"]["settings"]["scores"]["precision"] == "float32"
    stores = result["card"]["settings"]["stores"]
    assert [store["read"]["truncated"] for store in stores["gallery"]] == ["fail", "keep"]
    assert stores["query"][0]["backbone"] == "blank"
    assert len(result["best"]["per_query"]["hard"]) == 3

    out = capsys.readouterr().out
    assert out.count("re-ranked") == len(settings) - 1
    assert sum(line.strip().startswith("best ") for line in out.splitlines()) == 1
    assert "best: highest medium_mAP" in out
    assert "revisited, mAP in %" in out
    assert f"{100 * best:.2f}" in out
    assert f"{100 * result['global']['figures']['hard_mAP']:.2f}" in out
    assert "400 (19 used)" in out
    assert "note: num_rerank=400: the shortest list to re-rank holds" in out


def test_the_scores_are_those_of_the_dense_form(here: Path, tmp_path: Path) -> None:
    model = f"model={here / 'model.safetensors'}"
    assert main(words(here, tmp_path, model, "num_rerank=5", "db_desc_num=3")) == 0
    (path,) = tmp_path.glob("scores-*.parquet")
    scores = load_pair_scores(str(path))
    assert (scores.query_desc_num, scores.db_desc_num) == (4, 3)
    query = Gallery.open([str(here / "stores" / "query")])
    gallery = Gallery.open([str(here / "stores" / name) for name in ("gallery", "r1m")])
    network = random_model(AmesOptions(128, dim=16, blocks=2, feedforward=32))
    for number, line in enumerate(scores.rows):
        left = query.read([number], 4).descriptors[0].astype(np.float32)
        for row, logit in zip(line[line >= 0], scores.logits[number], strict=False):
            right = gallery.read([row], 3).descriptors[0].astype(np.float32)
            assert logit == pytest.approx(dense_logit(network, left, right), abs=2e-5)


def test_a_second_run_computes_nothing_and_writes_the_same(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(sweep_words(here, tmp_path)) == 0
    with safe_open(here / "model.safetensors", "pt") as file:
        needed = len(file.keys())
    assert f"model.safetensors: matched {needed} of {needed} weights\n" in capsys.readouterr().err
    made = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert main(sweep_words(here, tmp_path)) == 0
    assert "matched" not in capsys.readouterr().err
    kept = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert {name: data for name, (data, _) in kept.items()} == {
        name: data for name, (data, _) in made.items()
    }
    assert all(kept[name] == made[name] for name in made if not name.startswith("evaluation"))
    model = f"model={here / 'model.safetensors'}"
    assert main(words(here, tmp_path, model, "num_rerank=[2,6,400]", "lamb=0.3")) == 0
    assert len(list(tmp_path.glob("evaluation-*"))) == 2
    assert len(list(tmp_path.glob("scores-*"))) == 1


def test_without_a_model_it_is_the_global_ranking(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(here, tmp_path)) == 0
    assert set(result_of(tmp_path)) == {"card", "global"}
    captured = capsys.readouterr()
    assert "re-ranked" not in captured.out
    assert "3 of 3 queries cropped to their box" in captured.err


@pytest.mark.parametrize("name", ["nn.parquet", "nn_blank.pkl"])
def test_neighbors_score_evaluate_step_by_step_give_the_same(
    here: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    assert main(sweep_words(here, whole)) == 0
    pair = [
        word for word in sweep_words(here, whole) if word.startswith(("query=", "gallery=", "ground_truth="))
    ]
    nn_file = tmp_path / name
    assert main(["neighbors", *pair[:2], "shortlist_size=null", f"output={nn_file}"]) == 0
    assert "19 to 19 a query" in capsys.readouterr().out
    model = f"model={here / 'model.safetensors'}"
    scoring = ["score", *pair, f"nn_file={nn_file}", model, "num_rerank=400"]
    assert main([*scoring, f"output={tmp_path / 'scores.parquet'}"]) == 0
    step = load_pair_scores(str(tmp_path / "scores.parquet"))
    (path,) = whole.glob("scores-*")
    one = load_pair_scores(str(path))
    np.testing.assert_array_equal(step.rows, one.rows)
    np.testing.assert_array_equal(step.logits, one.logits)
    assert not (tmp_path / "scores.parquet.pieces").exists()

    assert main([*sweep_words(here, tmp_path / "own"), f"nn_file={nn_file}"]) == 0
    assert result_of(tmp_path / "own")["rows"] == result_of(whole)["rows"]


def test_score_does_not_replace_the_list_that_it_scores(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [word for word in words(here, tmp_path) if word.startswith(("query=", "gallery="))]
    nn_file = tmp_path / "nn.parquet"
    assert main(["neighbors", *pair, f"output={nn_file}"]) == 0
    before = nn_file.read_bytes()
    model = f"model={here / 'model.safetensors'}"
    assert main(["score", *pair, f"nn_file={nn_file}", model, f"output={nn_file}"]) == 2
    assert f"nn_file={nn_file} would be lost" in capsys.readouterr().err
    assert nn_file.read_bytes() == before


def test_score_takes_the_candidates_of_a_protocol(here: Path, tmp_path: Path) -> None:
    pair = [
        word for word in words(here, tmp_path) if word.startswith(("query=", "gallery=", "ground_truth="))
    ]
    nn_file = tmp_path / "nn.parquet"
    assert main(["neighbors", *pair[:2], f"output={nn_file}"]) == 0
    more = [f"nn_file={nn_file}", f"model={here / 'model.safetensors'}", "num_rerank=3"]
    assert main(["score", *pair, *more, f"output={tmp_path / 'scores.parquet'}"]) == 0
    scores, ranked = load_pair_scores(str(tmp_path / "scores.parquet")), rankings(here)[0]
    for number, gnd in enumerate(GND):
        needed = {
            row
            for setup in oracle.SETUPS
            for row in oracle.without(ranked[number], oracle.pools(gnd, setup)[1])[:3]
        }
        assert set(scores.rows[number][scores.rows[number] >= 0].tolist()) == needed


def test_neighbors_of_a_list_in_itself(here: Path, tmp_path: Path) -> None:
    store = here / "stores" / "gallery"
    output = tmp_path / "nn.parquet"
    arguments = [f"query={store}", f"gallery={store}", "exclude_self=true", "shortlist_size=4"]
    assert main(["neighbors", *arguments, f"output={output}"]) == 0
    rows = load_shortlist(str(output)).rows
    assert rows.shape == (14, 4)
    assert not (rows == np.arange(14)[:, None]).any()


def test_what_does_not_fit_is_refused_by_name(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str, arguments: list[str]) -> None:
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.out == ""

    stores = here / "stores"
    model = f"model={here / 'model.safetensors'}"
    refused(
        "gallery is photo100.jpg",
        [*words(here, tmp_path), f"gallery=[{stores / 'r1m'},{stores / 'gallery'}]"],
    )
    refused("is photo14, row 0 of", [*words(here, tmp_path), f"gallery={stores / 'query'}"])
    refused("figure=tiny_mAP: allowed are easy_mAP", [*words(here, tmp_path), "figure=tiny_mAP"])
    refused("lamb=1.5", [*words(here, tmp_path), "lamb=[0.5,1.5]"])
    save_ames(random_model(AmesOptions(64, dim=16, blocks=1, feedforward=8)), tmp_path / "narrow.pt")
    refused("128 wide, the model takes 64", words(here, tmp_path, f"model={tmp_path / 'narrow.pt'}"))
    np_short = np.stack([np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32) + np.arange(3)])
    (tmp_path / "nn.pkl").write_bytes(pickle.dumps(np_short))
    refused("the shortlist has 2 queries", words(here, tmp_path, model, f"nn_file={tmp_path / 'nn.pkl'}"))
    (tmp_path / "twice.pkl").write_bytes(pickle.dumps(np.stack([np.ones((3, 2)), np.full((3, 2), 4.0)])))
    refused("image 4 more than once", words(here, tmp_path, f"nn_file={tmp_path / 'twice.pkl'}"))
    refused(
        "must end in .parquet or .pkl",
        ["neighbors", f"query={stores}", f"gallery={stores}", f"output={tmp_path / 'nn.csv'}"],
    )
    assert not list(tmp_path.glob("evaluation-*"))


def test_short_lists_say_so(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ranked, similar = rankings(here)
    rows = np.array([line[:4] for line in ranked])
    values = [[similar[number][row] for row in line] for number, line in enumerate(rows.tolist())]
    (tmp_path / "nn.pkl").write_bytes(pickle.dumps(np.stack([np.array(values), rows.astype(np.float64)])))
    arguments = words(here, tmp_path, f"model={here / 'model.safetensors'}", f"nn_file={tmp_path / 'nn.pkl'}")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    found = result_of(tmp_path)
    assert all(row["num_rerank_used"] == 4 for row in found["rows"])
    assert "100 (4 used)" in out
    expected = []
    for number, gnd in enumerate(GND):
        positives, ignored = oracle.pools(gnd, "medium")
        ranking = oracle.without(ranked[number][:4], ignored)
        denominator_of_all = oracle.trapezoid_ap(ranking, positives)
        expected.append(denominator_of_all)
    assert found["global"]["figures"]["medium_mAP"] == pytest.approx(oracle.mean(expected), abs=1e-12)


def test_the_verbs_are_scripts_too() -> None:
    for name in ("neighbors", "score", "evaluate"):
        script = (Path(__file__).parents[2] / "jobs" / f"{name}.py").read_text()
        assert f'main(["{name}", *sys.argv[1:]])' in script
        assert name in VERBS
