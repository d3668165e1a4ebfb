"""`ames-ray tune` from stores to a preset, its figures those of `ames-ray evaluate`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ames_ray.cli.main import main
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from tests.model.networks import random_model
from tests.retrieval.authors_folder import make_data_root, make_stores

BUDGETS = """
minimise: [bytes_an_image, seconds_a_query]
trials: 12
space:
  query_desc_num: 4
  db_desc_num: {choice: [1, 4]}
  num_rerank: {choice: [2, 15]}
  lamb: {choice: [0.2, 0.7]}
  temp: 0.5
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, stores, a network and a binary one."""
    folder = tmp_path_factory.mktemp("tune")
    make_data_root(folder / "data")
    make_stores(folder / "data", folder / "stores")
    for name, binary in (("full", False), ("binary", True)):
        options = AmesOptions(128, binary=binary, dim=16, blocks=1, feedforward=32)
        save_ames(random_model(options), folder / f"{name}.safetensors")
    (folder / "few.yaml").write_text(BUDGETS)
    return folder


def words(here: Path, output: Path, *more: str) -> list[str]:
    stores = here / "stores"
    return [
        "tune",
        f"query={stores / 'query'}",
        f"gallery=[{stores / 'gallery'},{stores / 'r1m'}]",
        f"ground_truth={here / 'data' / 'roxford5k' / 'gnd_roxford5k.pkl'}",
        f"model={here / 'full.safetensors'}",
        f"output={output}",
        *more,
    ]


def result_of(folder: Path) -> dict[str, Any]:
    """The result, as a reader finds it that keeps to the letter of JSON, which knows no NaN."""
    values: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
    assert "NaN" not in (folder / "result.json").read_text()
    return values


def evaluated(line: str, capsys: pytest.CaptureFixture[str], output: Path) -> float:
    """The figure that the printed command gives."""
    import shlex

    command = shlex.split(line.partition("use it: ")[2])
    assert command[0] == "ames-ray"
    assert main([*command[1:-1], f"output={output}"]) == 0
    capsys.readouterr()
    (path,) = output.glob("evaluation-*.json")
    return float(json.loads(path.read_bytes())["best"]["figures"]["medium_mAP"])


def use_it(out: str) -> str:
    (line,) = [line for line in out.splitlines() if line.startswith("use it: ")]
    return line


def test_the_exact_best_is_what_evaluate_gives_for_it(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(here, tmp_path / "out", "sweep=exact", "num_rerank=15")) == 0
    out = capsys.readouterr().out
    result = result_of(tmp_path / "out" / "exact")
    assert result["exact"]["settings"] == 101 * 20 * 1
    assert result["best"]["value"] == evaluated(use_it(out), capsys, tmp_path / "evaluated")
    assert result["best"]["value"] >= result["exact"]["best_of_grid"]["value"]
    preset = yaml.safe_load((tmp_path / "out" / "exact" / "ensemble.yaml").read_text())
    assert preset["lamb"] == [result["best"]["lamb"]]
    assert preset["num_rerank"] == [10]
    for name in ("landscape.png", "landscape.svg"):
        assert (tmp_path / "out" / "exact" / name).stat().st_size > 1000
    assert f"{100 * result['best']['value']:.2f} %" in out

    # The answer to another question does not replace this one.
    kept = (tmp_path / "out" / "exact" / "result.json").read_bytes()
    assert main(words(here, tmp_path / "out", "sweep=exact", "num_rerank=15", "figure=hard_mAP")) == 2
    assert 'figure: "medium_mAP", now "hard_mAP"' in capsys.readouterr().err
    assert (tmp_path / "out" / "exact" / "result.json").read_bytes() == kept


@pytest.mark.usefixtures("local_ray")
def test_a_search_of_budgets_draws_a_front(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = f"model=[{here / 'full.safetensors'},{here / 'binary.safetensors'}]"
    (tmp_path / "gnd.json").write_text(json.dumps({"gnd": [{"easy": [3, 7], "hard": [], "junk": [1]}] * 3}))
    more = [models, f"ground_truth={tmp_path / 'gnd.json'}", "points_per_trial=12"]
    arguments = words(here, tmp_path / "out", f"sweep={here / 'few.yaml'}", *more)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "out" / "few"
    result = result_of(folder)
    assert result["counts"]["answered"] == 12
    assert result["exact"] is None
    trials = list(csv.DictReader((folder / "trials.csv").open()))
    front = list(csv.DictReader((folder / "front.csv").open()))
    assert {row["trial"] for row in front} <= {row["trial"] for row in trials}
    assert {row["hard_mAP"] for row in front} == {""}
    assert {row["hard_mAP"] for row in result["front"]} == {None}
    for row in trials:
        size = 32 if row["model"].endswith("full.safetensors") else 2
        assert float(row["bytes_an_image"]) == size * int(row["db_desc_num"])
        assert float(row["seconds_a_query"]) > 0
    assert len(list((tmp_path / "out").glob("scores-*"))) == 4
    assert result["best"]["value"] == max(float(row["medium_mAP"]) for row in trials)
    assert result["best"]["value"] == evaluated(use_it(out), capsys, tmp_path / "evaluated")

    # Again: nothing is left to do, and nothing changes.
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert main(arguments) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == kept

    # Another figure is another study.
    assert main([*arguments, "figure=easy_mAP"]) == 2
    assert 'figure: "medium_mAP", now "easy_mAP"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["sweep=nothing"], "there is no such sweep"),
        (["figure=lowest_mAP"], "figure=lowest_mAP: allowed are"),
        (["scores=scores.parquet"], "model= or scores=, and not both"),
        (["output=s3://bucket/tuning"], "a study is a file that is appended to"),
        (["num_rerank=3"], "the sweep has no value up to that"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(words(here, tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def without_model(arguments: list[str]) -> list[str]:
    return [word for word in arguments if not word.startswith("model=")]


def test_a_space_may_name_the_networks_in_place_of_the_command(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.yaml"
    networks = f"[{here / 'full.safetensors'}, {here / 'binary.safetensors'}]"
    space = f"model: {{choice: {networks}}}\n  lamb: 0.2\n  temp: 0.5\n  num_rerank: 9"
    own.write_text(f"search: exact\nspace:\n  {space}\n")
    asked = words(here, tmp_path / "out", f"sweep={own}")
    assert main(without_model(asked)) == 0
    line = use_it(capsys.readouterr().out)
    result = result_of(tmp_path / "out" / "own")
    assert f"model={result['best']['model']} " in line
    assert len(list((tmp_path / "out").glob("scores-*"))) == 2
    assert result["best"]["value"] == evaluated(line, capsys, tmp_path / "evaluated")


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        ("model: {choice: [a, b]}", ["model=c"], "leaves no choice of model= to the command"),
        ("db_desc_num: {choice: [1, 2]}", ["model=c", "db_desc_num=2"], "no choice of db_desc_num= to"),
        ("db_desc_num: 1", ["scores=s.parquet", "nn_file=nn.parquet"], "chooses db_desc_num, but scores="),
        ("model: {choice: [a, b]}", ["scores=s.parquet", "nn_file=nn.parquet"], "chooses model, but scores="),
        (
            "",
            ["scores=s.parquet", "nn_file=nn.parquet", "db_desc_num=9"],
            "made already, db_desc_num included",
        ),
        ("query_desc_num: 1", ["model=c", "trials=9"], "no choice of trials= to the command"),
    ],
)
def test_what_a_sweep_would_leave_without_effect_is_refused(
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    space: str,
    more: list[str],
    message: str,
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"search: exact\nspace:\n  {space}\n  lamb: 0.2\n  temp: 0.5\n  num_rerank: 9\n")
    assert main(without_model(words(here, tmp_path / "out", f"sweep={own}")) + more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_key_of_a_file_is_named(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(BUDGETS.replace("temp: 0.5", "temperature: 0.5"))
    assert main(words(here, tmp_path / "out", f"sweep={tmp_path / 'own.yaml'}")) == 2
    assert "own.yaml: space.temperature: there is no such key" in capsys.readouterr().err


def test_scores_of_an_earlier_command_are_enough(here: Path, tmp_path: Path) -> None:
    pair = [word for word in words(here, tmp_path) if word.startswith(("query=", "gallery="))]
    truth = next(word for word in words(here, tmp_path) if word.startswith("ground_truth="))
    model = next(word for word in words(here, tmp_path) if word.startswith("model="))
    nn_file, scores = tmp_path / "nn.parquet", tmp_path / "scores.parquet"
    assert main(["neighbors", *pair, "shortlist_size=null", f"output={nn_file}"]) == 0
    more = [f"nn_file={nn_file}", model, truth, "num_rerank=10", f"output={scores}"]
    assert main(["score", *pair, *more]) == 0
    own = [*pair, truth, "sweep=exact", "num_rerank=10"]
    assert main(["tune", *own, f"nn_file={nn_file}", f"scores={scores}", f"output={tmp_path / 'a'}"]) == 0
    assert main(["tune", *own, model, f"output={tmp_path / 'b'}"]) == 0
    a, b = (result_of(tmp_path / name / "exact") for name in "ab")
    assert a["best"]["value"] == b["best"]["value"]
    assert a["best"]["lamb"] == b["best"]["lamb"]
