from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.datasets.safe_pickle import loads_pickle
from ames_ray.evaluation.average_precision import SetupRanks
from ames_ray.report.compare import compare
from ames_ray.report.evaluation import RECALLS, Evaluation, curves, precision_over_recall
from ames_ray.report.evaluation_sources import benchmark_of, rankings
from ames_ray.report.query_pictures import worst_queries
from tests.report.runs import SWEEP, make_input, run
from tests.report.test_page import Blocks
from tests.store.builders import make_manifest, make_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    make_input(folder)
    return folder


@pytest.fixture(scope="module")
def swept(folder: Path) -> Path:
    return run(folder, folder / "results", f"model={folder / 'model.safetensors'}", *SWEEP)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return run(folder, folder / "plain")


def ranks_of(lists: list[list[int]], positives: list[int]) -> SetupRanks:
    query = np.repeat(np.arange(len(lists)), [len(x) for x in lists])
    found = np.concatenate([np.arange(len(x)) for x in lists]).astype(np.int64)
    total = np.array([p or np.nan for p in positives], np.float64)
    ranked = np.full(len(lists), 100)
    return SetupRanks(np.concatenate(lists).astype(np.int64), query, found, ranked, total)


def by_hand(lists: list[list[int]], positives: list[int], level: float) -> float:
    """The textbook: the highest precision at any cut whose recall is at least the level; 0 if none is."""
    values = []
    for ranks, total in zip(lists, positives, strict=True):
        if not total:
            continue
        cuts = range(1, 101)
        hits = [sum(rank < cut for rank in ranks) for cut in cuts]
        good = [h / c for h, c in zip(hits, cuts, strict=True) if h and h / total >= level - 1e-9]
        values.append(max(good, default=0.0))
    return float(np.mean(values))


def test_precision_over_recall_is_that_of_the_textbook() -> None:
    lists, positives = [[0, 3, 4, 20], [7], [], [1, 2]], [5, 1, 0, 2]
    found = precision_over_recall(ranks_of(lists, positives))
    for step in range(RECALLS):
        assert found[step] == pytest.approx(by_hand(lists, positives, step / (RECALLS - 1)))


def test_the_curves_come_from_what_lies_beside_the_result(swept: Path) -> None:
    evaluation = Evaluation.read(str(swept))
    found = curves(rankings(evaluation, benchmark_of(evaluation)))
    assert set(found.before) == set(found.best) == {"easy", "medium", "hard"}
    assert all(0 < line[0] <= 1 and (np.diff(line) <= 1e-12).all() for line in found.best.values())


def test_the_page_tells_of_every_figure_setting_and_query(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(swept), f"output={tmp_path / 'r.html'}"]) == 0
    assert f"written: {tmp_path / 'r.html'}" in capsys.readouterr().out
    text = (tmp_path / "r.html").read_text()
    document = json.loads(swept.read_bytes())
    for setup in ("easy", "medium", "hard"):
        assert f"<b>{100 * document['best']['figures'][f'{setup}_mAP']:.2f}</b>" in text
    assert text.count("<tr") == 1 + len(document["rows"])
    assert text.count('class="heat"') == len(document["rows"])
    assert len(re.findall("<polyline", text)) == 6
    islands = Blocks(text).islands()
    assert islands["page"]["names"] == ["photo14", "photo15", "photo16"]
    assert islands["page"]["setups"]["hard"]["after"] == document["best"]["per_query"]["hard"]
    assert document["card"]["settings"]["scores"]["model_hash"] in text


def test_a_large_sweep_is_a_picture_that_tells_its_numbers(folder: Path, tmp_path: Path) -> None:
    lambs, temps = [n / 20 for n in range(21)], [0.1 * 2**n for n in range(9)]
    words = [f"lamb={lambs}".replace(" ", ""), f"temp={temps}".replace(" ", ""), "num_rerank=[2,6]"]
    made = run(folder, folder / "results", f"model={folder / 'model.safetensors'}", *words)
    assert main(["report", str(made), f"output={tmp_path / 'r.html'}", "pictures=false"]) == 0
    text = (tmp_path / "r.html").read_text()
    assert 'class="heat"' not in text
    assert text.count('class="cells"') == 2
    assert text.count('class="optimum"') == 1
    document = json.loads(made.read_bytes())
    assert len(document["rows"]) == 21 * 9 * 2
    told: dict[tuple[float, float, float], int] = {}
    for length, field in zip([2, 6], Blocks(text).islands()["readouts"], strict=True):
        for row, temp in enumerate(field["y"]):
            told |= {(lamb, temp, length): field["cells"][row][n] for n, lamb in enumerate(field["x"])}
    for row in document["rows"]:
        value = told[row["lamb"], row["temp"], row["num_rerank"]]
        assert value == pytest.approx(10_000 * row[document["figure"]], abs=0.501)


def test_a_global_ranking_has_a_page_too(plain: Path, tmp_path: Path) -> None:
    assert main(["report", str(plain), f"output={tmp_path / 'r.html'}", "pictures=false"]) == 0
    text = (tmp_path / "r.html").read_text()
    assert "global ranking alone" in text
    assert text.count("<polyline") == 3
    assert "<tr" not in text
    assert "pictures-0" not in text.replace("`pictures-${shelf}`", "")


def test_the_worst_queries_get_the_pictures_of_what_they_found(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(swept), f"output={tmp_path / 'r.html'}", "worst=1", "num_results=4"]
    assert main(["report", *words]) == 0
    assert "cannot be read" not in capsys.readouterr().out
    data = Blocks((tmp_path / "r.html").read_text()).islands()
    evaluation = Evaluation.read(str(swept))
    for setup, results in data["page"]["results"].items():
        after = evaluation.precisions(evaluation.best, setup)
        assert [int(query) for query in results] == worst_queries(evaluation, setup, 1)
        assert {int(query) for query in results} == {int(np.nanargmin(after))}
        for lists in results.values():
            assert [len(one) for one in lists] == [4, 4]
            names = [data["page"]["images"][picture] for picture, *_ in lists[0]]
            assert len(set(names)) == 4
    assert set(data["page"]["pictures"]) == {q for r in data["page"]["results"].values() for q in r}
    assert all(picture for picture in data["pictures-0"])


def test_photos_that_are_gone_are_counted_and_leave_their_place(
    folder: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = folder / "data" / "roxford5k" / "jpg" / "photo14.jpg"
    hidden = photo.rename(tmp_path / "hidden.jpg")
    try:
        assert main(["report", str(swept), f"output={tmp_path / 'r.html'}"]) == 0
    finally:
        hidden.rename(photo)
    out = capsys.readouterr().out
    assert re.search(rf"note: 1 of \d+ photos cannot be read any more, the first one {photo}", out)
    islands = Blocks((tmp_path / "r.html").read_text()).islands()
    assert islands["pictures-0"].count(None) == 1
    assert islands["pictures-0"][islands["page"]["pictures"]["0"]] is None


def test_a_ranking_of_ones_own_is_found_again(folder: Path, tmp_path: Path) -> None:
    """`nn_file=` stays where it is; the folder of the result has no ranking."""
    stores = folder / "stores"
    pair = [f"query={stores / 'query'}", f"gallery=[{stores / 'gallery'},{stores / 'r1m'}]"]
    assert main(["neighbors", *pair, "shortlist_size=null", f"output={tmp_path / 'nn.parquet'}"]) == 0
    result = run(folder, tmp_path / "out", f"nn_file={tmp_path / 'nn.parquet'}")
    assert not list((tmp_path / "out").glob("neighbors-*"))
    assert main(["report", str(tmp_path / "out")]) == 0
    assert result.with_suffix(".html").read_text().count("<polyline") == 3


def test_what_is_gone_is_named_and_the_rest_is_shown(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = Path(shutil.copy(swept, tmp_path / "evaluation-1.json"))
    document = json.loads(lonely.read_bytes())
    document["card"]["config"]["query"] = str(tmp_path / "gone")
    lonely.write_text(json.dumps(document))
    assert main(["report", str(lonely)]) == 0
    out = capsys.readouterr().out
    assert "no precision over recall: " in out
    assert "no names and pictures of the queries" in out
    text = (tmp_path / "evaluation-1.html").read_text()
    assert "holds no ranking of evaluation-1.json" in text


def test_a_ground_truth_that_was_changed_since_judges_no_photo(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pickled = folder / "data" / "roxford5k" / "gnd_roxford5k.pkl"
    truth = loads_pickle(pickled.read_bytes(), pickled.name)
    plain: dict[str, Any] = {name: list(map(str, truth[name])) for name in ("imlist", "qimlist")}
    kinds = ("easy", "hard", "junk")
    plain["gnd"] = [{kind: list(map(int, entry[kind])) for kind in kinds} for entry in truth["gnd"]]
    (tmp_path / "gnd.json").write_text(json.dumps(plain))
    made = run(folder, tmp_path / "out", f"ground_truth={tmp_path / 'gnd.json'}")
    plain["gnd"] = [*plain["gnd"][1:], plain["gnd"][0]]
    (tmp_path / "gnd.json").write_text(json.dumps(plain))
    assert main(["report", str(made)]) == 0
    assert f"no precision over recall: {tmp_path / 'gnd.json'} and the ranking" in capsys.readouterr().out
    text = made.with_suffix(".html").read_text()
    assert "<polyline" not in text
    results = Blocks(text).islands()["page"]["results"]
    assert set(results) == {"easy", "medium", "hard"}
    assert not any(results.values())

    again = run(folder, tmp_path / "out", f"ground_truth={tmp_path / 'gnd.json'}")
    assert main(["compare", f"first={made}", f"second={again}", f"output={tmp_path / 'c.json'}"]) == 0
    assert set(json.loads((tmp_path / "c.json").read_bytes())["choices"]) == {"settings.ground_truth"}


def test_the_rankings_of_two_indexes_in_one_folder_are_kept_apart(tmp_path: Path) -> None:
    make_store(tmp_path / "query", manifest=make_manifest(24, first=1000), shard_rows=128)
    make_store(tmp_path / "index", 130, shard_rows=128)
    positives = np.random.default_rng(0).integers(0, 130, (24, 5)).tolist()
    (tmp_path / "gnd.json").write_text(json.dumps({"gnd": positives}))
    pair = [f"query={tmp_path / 'query'}", f"gallery={tmp_path / 'index'}"]
    words = [*pair, f"ground_truth={tmp_path / 'gnd.json'}", f"output={tmp_path / 'out'}"]
    for more in (["index=exact"], ["index=ivf", "nprobe=1"]):
        assert main(["evaluate", *words, *more]) == 0
    indexes = []
    for path in (tmp_path / "out").glob("evaluation-*.json"):
        evaluation = Evaluation.read(str(path))
        found = rankings(evaluation, benchmark_of(evaluation)).shortlist
        assert found.settings["index"] == evaluation.config["index"]
        indexes.append(found.settings["index"])
    assert sorted(indexes) == ["exact", "ivf"]


def test_scores_that_do_not_hold_all_pairs_any_more_cost_the_curves_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(folder, tmp_path / "out", f"model={folder / 'model.safetensors'}", "num_rerank=2")
    document = json.loads(made.read_bytes())
    document["best"]["settings"]["num_rerank"] = document["rows"][0]["num_rerank"] = 14
    made.write_text(json.dumps(document))
    assert main(["report", str(made)]) == 0
    assert "note: no precision over recall: " in capsys.readouterr().out
    assert "<polyline" not in made.with_suffix(".html").read_text()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"card": {}, "global": {"per_query": {}}}'])
def test_other_files_are_refused(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert main(["report", str(tmp_path / "x.json")]) == 2
    assert "is no result of `ames-ray evaluate`" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "y.json")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_compare_says_what_differs_and_what_it_did(
    folder: Path, swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run(
        folder,
        folder / "results",
        f"model={folder / 'model.safetensors'}",
        "lamb=0",
        "temp=1",
        "num_rerank=14",
    )
    capsys.readouterr()
    words = [f"first={swept}", f"second={other}", f"output={tmp_path / 'c.json'}"]
    assert main(["compare", *words]) == 0
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "c.json").read_bytes())
    one, two = (json.loads(path.read_bytes()) for path in (swept, other))
    assert found["choices"]["best.lamb"] == {"first": one["best"]["settings"]["lamb"], "second": 0.0}
    assert found["choices"]["best.num_rerank"]["second"] == 14
    assert not any("weights" in name or name.startswith("libraries") for name in found["choices"])
    assert "best.lamb" in out
    for setup, changes in found["queries"].items():
        expected = {
            number: b - a
            for number, (a, b) in enumerate(
                zip(one["best"]["per_query"][setup], two["best"]["per_query"][setup], strict=True)
            )
            if a is not None and b is not None
        }
        assert {c["query"]: c["change"] for c in changes} == pytest.approx(expected)
        sizes = [abs(c["change"]) for c in changes]
        assert sizes == sorted(sizes, reverse=True)
    change = two["best"]["figures"]["medium_mAP"] - one["best"]["figures"]["medium_mAP"]
    assert found["figures"]["medium_mAP"]["change"] == pytest.approx(change)


def test_what_a_global_ranking_has_no_setting_of_is_no_choice(swept: Path, plain: Path) -> None:
    choices = compare(Evaluation.read(str(plain)), Evaluation.read(str(swept))).choices
    assert choices["best.num_rerank"][0] is None
    assert not any(value == {} for sides in choices.values() for value in sides)


def test_only_runs_of_one_benchmark_are_compared(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, told in (("queries", "with 4 queries"), ("hard_queries", "with 4 hard queries")):
        document = json.loads(swept.read_bytes())
        document["global"]["counts"][name] = 4
        (tmp_path / "evaluation-2.json").write_text(json.dumps(document))
        assert main(["compare", f"first={swept}", f"second={tmp_path / 'evaluation-2.json'}"]) == 2
        assert told in capsys.readouterr().err
