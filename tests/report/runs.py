"""Real runs of `ames-ray evaluate` and `tune` on small stores, for tests of what explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.cli.main import main
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from tests.model.networks import random_model
from tests.retrieval.authors_folder import make_data_root, make_stores

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SWEEP = ("lamb=[0.1,0.9]", "temp=[0.2,1.5]", "num_rerank=[2,6]")


def make_input(folder: Path) -> None:
    """`data/` as the authors', `stores/` and a network in `model.safetensors`."""
    make_data_root(folder / "data")
    make_stores(folder / "data", folder / "stores")
    save_ames(random_model(AmesOptions(128, dim=16, blocks=2, feedforward=32)), folder / "model.safetensors")


def run(folder: Path, output: Path, *more: str) -> Path:
    """Evaluate; returns the result file."""
    before = set(output.glob("evaluation-*.json"))
    assert main(["evaluate", *benchmark(folder), f"output={output}", *more]) == 0
    (made,) = set(output.glob("evaluation-*.json")) - before
    return made


def tuned(folder: Path, output: Path, sweep: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Search; returns the command that it printed."""
    words = [f"sweep={sweep}", f"model={folder / 'model.safetensors'}", f"output={output}", "num_rerank=15"]
    assert main(["tune", *benchmark(folder), *words]) == 0
    return capsys.readouterr().out.partition("use it: ")[2].strip()


def benchmark(folder: Path) -> list[str]:
    """Words for its queries, gallery and ground truth."""
    stores = folder / "stores"
    return [
        f"query={stores / 'query'}",
        f"gallery=[{stores / 'gallery'},{stores / 'r1m'}]",
        f"ground_truth={folder / 'data' / 'roxford5k' / 'gnd_roxford5k.pkl'}",
    ]
