"""What a search of budgets is told of their costs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ames_ray.cli.tune_scores import Sources, score_budgets
from ames_ray.config.compose import compose
from ames_ray.config.tune import TuneConfig
from ames_ray.files import Storage
from ames_ray.model.checkpoints import save_ames
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.tuning.objective import Budget
from tests.retrieval.small import small_model
from tests.store.builders import make_manifest, make_store


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TuneConfig:
    """A search with three queries."""
    folder = tmp_path_factory.mktemp("costs")
    make_store(folder / "query", manifest=make_manifest(3, first=200))
    make_store(folder / "gallery", 12)
    save_ames(small_model(), folder / "model.pt")
    truth = folder / "gnd.json"
    truth.write_text(json.dumps({"gnd": [{"easy": [1], "hard": [2], "junk": []}] * 3}))
    stores = [f"query={folder / 'query'}", f"gallery={folder / 'gallery'}", f"ground_truth={truth}"]
    return compose(
        TuneConfig, [*stores, f"model={folder / 'model.pt'}", f"output={folder / 'out'}", "sweep=budget"]
    )


def rate(job: TuneConfig, output: Path) -> float:
    """Pairs a second, of a search that starts in the folder."""
    query, gallery = Gallery.open([job.query]), Gallery.open(job.gallery)
    sources = Sources(job, Storage.at(output), Benchmark.read(job.ground_truth), query, gallery)
    (model,) = job.model or []
    budget = Budget(model, 4, 4)
    return score_budgets(sources, [budget], 3, costs=True)[budget].pairs_per_second


def test_a_rate_is_measured_once(job: TuneConfig, tmp_path: Path) -> None:
    assert rate(job, tmp_path) == rate(job, tmp_path) > 0


@pytest.mark.parametrize("left", ["", '{"12ab": 3', "[1, 2]", "null", "\xff", "zero", "text", "list", "nan"])
def test_rates_in_a_damaged_file_are_measured_again(job: TuneConfig, tmp_path: Path, left: str) -> None:
    rate(job, tmp_path)
    path = tmp_path / "rates.json"
    (digest,) = json.loads(path.read_bytes())
    odd = {"zero": 0.0, "text": "fast", "list": [3.0], "nan": math.nan}
    path.write_bytes(json.dumps({digest: odd[left]}).encode() if left in odd else left.encode("latin1"))
    again = rate(job, tmp_path)
    assert 0 < again < math.inf
    assert json.loads(path.read_bytes()) == {digest: again}
