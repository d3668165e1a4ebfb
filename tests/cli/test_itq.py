"""`ames-ray itq` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.model.ames import Ames
from ames_ray.model.itq import load_rotation
from ames_ray.model.options import AmesOptions
from tests.end_to_end.test_commands import ames_ray
from tests.store.builders import DIM, make_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", 40)
    return tmp_path / "store"


@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_both_forms_are_read_back_and_start_a_network(
    ending: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"itq{ending}"
    assert main(["itq", f"store={store}", "bits=8", f"output={output}"]) == 0
    rotation = load_rotation(output, DIM, 8)
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(8), atol=1e-5, rtol=0)
    assert "descriptors of 34 images" in capsys.readouterr().out
    card = json.loads((tmp_path / f"itq{ending}.card.json").read_text())
    assert card["config"]["bits"] == 8
    assert (np.diff(card["result"]["errors"]) <= 0).all()
    network = Ames(AmesOptions(DIM, binary=True, dim=8, blocks=1, feedforward=8))
    assert network.remap_local[0].W.shape == rotation.shape


def test_a_cluster_that_is_named_is_asked_for_a_small_sample_as_well(store: Path, tmp_path: Path) -> None:
    # A process of its own: Ray may be running in this one.
    done = ames_ray(tmp_path, "itq", f"store={store}", "bits=8", "output=itq.npz", "address=nowhere")
    assert done.returncode == 2
    assert "Ray at nowhere cannot be used" in done.stderr


def test_equal_commands_write_equal_bytes(store: Path, tmp_path: Path) -> None:
    words = ["itq", f"store={store}", "bits=8", "sample=40", "per_image=2"]
    for name in ("a", "b"):
        assert main([*words, f"output={tmp_path}/{name}.npz"]) == 0
    assert main([*words, "seed=1", f"output={tmp_path}/c.npz"]) == 0
    a, b, c = ((tmp_path / f"{name}.npz").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bits=24", "output=itq.npz"], "are 16 wide"),
        (["bits=12", "output=itq.npz"], "multiple of 8"),
        (["bits=8", "output=itq.txt"], "must end in .npz or .pt"),
        (["bits=8", "output=s3://bucket/itq.npz"], "written to a local disk"),
        (["bits=8", "output=itq.npz", "sample=2"], "have no 8 principal directions"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], message: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["itq", f"store={store}", *words]) == 2
    assert message in capsys.readouterr().err
