"""Training on a store from which photos were removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.config.train_parts import make_parts, prepare
from ames_ray.errors import ConfigError
from ames_ray.files import Storage
from ames_ray.retrieval.gallery import Gallery
from ames_ray.store.removed import write_removed
from ames_ray.training.sample import plan_sample
from tests.training.landmarks import make_training_folder
from tests.training.runs import job, run_here, words

REMOVED = [0, 9, 21, 47]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = make_training_folder(tmp_path)
    write_removed(Storage.at(folder / "train"), REMOVED)
    return folder


def test_no_triplet_has_one(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neighbours from before the removal are refused; in those from after it they do not occur."""
    assert main(["train", *words(here, tmp_path / "run")]) == 2
    assert "whose photo was removed" in capsys.readouterr().err
    pair = [f"query={here / 'train'}", f"gallery={here / 'train'}", "exclude_self=true"]
    assert main(["neighbors", *pair, f"output={here / 'nn.parquet'}"]) == 0
    config = job(here, tmp_path / "run")
    prepare(config)
    source = make_parts(config).source
    plans = [source.plan(epoch, step) for epoch in range(20) for step in range(source.steps_per_epoch)]
    drawn = np.unique(np.concatenate([plan.triplets for plan in plans]))
    assert sorted(drawn.tolist()) == sorted(set(range(48)) - set(REMOVED))


def test_no_sample_has_one(here: Path) -> None:
    """Of descriptors, for a first projection."""
    gallery = Gallery.open([str(here / "train")])
    plan = plan_sample(gallery.ok, 10**6, per_image=5, max_desc=8, seed=0)
    assert sorted(plan.rows.tolist()) == sorted(set(range(48)) - set(REMOVED))


def test_a_run_is_refused_once_photos_were_removed(tmp_path: Path) -> None:
    folder = make_training_folder(tmp_path)
    run_here(job(folder, tmp_path / "run", "epochs=1"))
    write_removed(Storage.at(folder / "train"), REMOVED)
    pair = [f"query={folder / 'train'}", f"gallery={folder / 'train'}", "exclude_self=true"]
    assert main(["neighbors", *pair, f"output={folder / 'nn.parquet'}"]) == 0
    with pytest.raises(
        ConfigError, match=r"holds a run of other settings:(\n.*)*\n  removed photos: \[\], now "
    ):
        run_here(job(folder, tmp_path / "run", "epochs=1"))
