"""Projection by Ray workers, and who gets a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.backbones.registry import uses_network
from ames_ray.cli.main import main
from ames_ray.errors import ConfigError
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from tests.distributed.extracting import extract
from tests.model.networks import random_model
from tests.photos import make_photos, shard_hashes
from tests.store.builders import make_store


@pytest.mark.usefixtures("local_ray")
def test_workers_write_the_bytes_of_one_process(tmp_path: Path) -> None:
    make_store(tmp_path / "raw", 23)
    save_ames(random_model(AmesOptions(16, dim=8, blocks=1, feedforward=8)), tmp_path / "model.pt")
    words = ["store", "project", str(tmp_path / "raw"), f"model={tmp_path / 'model.pt'}"]
    assert main([*words, f"out={tmp_path / 'here'}"]) == 0
    assert main([*words, f"out={tmp_path / 'two'}", "workers=2"]) == 0
    assert shard_hashes(tmp_path / "here") == shard_hashes(tmp_path / "two")


@pytest.mark.usefixtures("local_ray")
def test_own_backbones_without_a_network_get_no_gpu(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 3)
    own = "backbone=tests.distributed.backbones:poisonable"
    report = extract(tmp_path / "photos", tmp_path / "store", own, "device=auto")
    assert len(report.workers) == 1
    assert report.workers[0].endswith(": cpu")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sift", False),
        ("blank", False),
        ("dinov2", True),
        ("cvnet", True),
        ("hf:some/model", True),
        ("tests.distributed.backbones:slow", False),
        ("ames_ray.backbones.cvnet:resnet101", True),
    ],
)
def test_the_registry_knows_who_needs_a_gpu(name: str, wanted: bool) -> None:
    assert uses_network(name) is wanted


def test_a_misspelt_backbone_is_no_network() -> None:
    with pytest.raises(ConfigError, match="there is no backbone 'dinov3'"):
        uses_network("dinov3")
