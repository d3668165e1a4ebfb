"""The command that `ames-ray tune` prints at its end: it says all that decides the figure."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.retrieval import EvaluateConfig
from ames_ray.model.checkpoints import save_ames
from tests.retrieval.small import small_model
from tests.store.builders import make_manifest, make_store

QUERIES, INDEX = 24, 130


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a benchmark as GLDv2's, which an approximate index may rank, and a network."""
    folder = tmp_path_factory.mktemp("use_it")
    make_store(folder / "query", manifest=make_manifest(QUERIES, first=1000), shard_rows=128)
    make_store(folder / "index", INDEX, shard_rows=128)
    positives = np.random.default_rng(0).integers(0, INDEX, (QUERIES, 5)).tolist()
    (folder / "gnd.json").write_text(json.dumps({"gnd": positives}))
    save_ames(small_model(), folder / "model.pt")
    return folder


def stores(here: Path) -> list[str]:
    return [f"query={here / 'query'}", f"gallery={here / 'index'}", f"ground_truth={here / 'gnd.json'}"]


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The words that `tune` prints, without the verb and the folder for results."""
    capsys.readouterr()
    assert main(["tune", "sweep=exact", *words]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("use it: ")]
    command = shlex.split(line.removeprefix("use it: "))
    assert command[:2] == ["ames-ray", "evaluate"]
    return command[2:-1]


def figure(words: list[str], output: Path) -> float:
    assert main(["evaluate", *words, f"output={output}"]) == 0
    (path,) = output.glob("evaluation-*.json")
    return float(json.loads(path.read_bytes())["best"]["figures"]["public_mAP@100"])


def tuned(output: Path) -> float:
    return float(json.loads((output / "exact" / "result.json").read_bytes())["best"]["value"])


def test_an_index_and_the_precision_are_told(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["index=ivf", "nprobe=1", "precision=bfloat16", "num_rerank=15"]
    words = [*stores(here), f"model={here / 'model.pt'}", *chosen, f"output={tmp_path / 'out'}"]
    command = printed(words, capsys)
    config = compose(EvaluateConfig, [*command, "output=results"])
    assert (config.index, config.nprobe, config.precision) == ("ivf", 1, "bfloat16")
    assert tuned(tmp_path / "out") == figure(command, tmp_path / "evaluated")


def test_what_scores_were_made_with_is_told(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nn, scores, network = tmp_path / "nn.parquet", tmp_path / "scores.parquet", here / "model.pt"
    query, gallery, truth = stores(here)
    assert main(["neighbors", query, gallery, f"output={nn}"]) == 0
    budget = ["query_desc_num=4", "db_desc_num=2", "num_rerank=15", "precision=bfloat16"]
    words = [query, gallery, truth, f"nn_file={nn}"]
    assert main(["score", *words, f"model={network}", *budget, f"output={scores}"]) == 0
    command = printed([*words, f"scores={scores}", "num_rerank=15", f"output={tmp_path / 'out'}"], capsys)
    assert {"query_desc_num=4", "db_desc_num=2", "precision=bfloat16", "model=…"} <= set(command)
    command = [f"model={network}" if word == "model=…" else word for word in command]
    assert tuned(tmp_path / "out") == figure(command, tmp_path / "evaluated")
