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
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of three queries, one of a gallery, a ground truth and a network."""
    folder = tmp_path_factory.mktemp("costs")
    make_store(folder / "query", manifest=make_manifest(3, first=200))
    make_store(folder / "gallery", 12)
    save_ames(small_model(), folder / "model.pt")
    (folder / "gnd.json").write_text(json.dumps({"gnd": [{"easy": [1], "hard": [2], "junk": []}] * 3}))
    return folder


def rate(here: Path, output: Path) -> float:
    """Pairs a second, of a search that starts in the folder."""
    stores = [f"query={here / 'query'}", f"gallery={here / 'gallery'}", f"model={here / 'model.pt'}"]
    truth = here / "gnd.json"
    config = compose(TuneConfig, [*stores, f"ground_truth={truth}", f"output={output}", "sweep=budget"])
    sources = Sources(
        config,
        Storage.at(output),
        Benchmark.read(str(truth)),
        Gallery.open([config.query]),
        Gallery.open(config.gallery),
    )
    budget = Budget(str(here / "model.pt"), 4, 4)
    return score_budgets(sources, [budget], 3, costs=True)[budget].pairs_per_second


def test_a_rate_is_measured_once(here: Path, tmp_path: Path) -> None:
    assert rate(here, tmp_path) == rate(here, tmp_path) > 0


@pytest.mark.parametrize("left", ["", '{"12ab": 3', "[1, 2]", "null", "\xff", "zero", "text", "list", "nan"])
def test_rates_in_a_damaged_file_are_measured_again(here: Path, tmp_path: Path, left: str) -> None:
    rate(here, tmp_path)
    path = tmp_path / "rates.json"
    (digest,) = json.loads(path.read_bytes())
    odd = {"zero": 0.0, "text": "fast", "list": [3.0], "nan": math.nan}
    path.write_bytes(json.dumps({digest: odd[left]}).encode() if left in odd else left.encode("latin1"))
    again = rate(here, tmp_path)
    assert 0 < again < math.inf
    assert json.loads(path.read_bytes()) == {digest: again}
