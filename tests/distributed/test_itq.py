"""Reading a sample with Ray gives what one process reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.distributed.itq import gather_with_ray
from ames_ray.errors import ResourceError, StoreError
from ames_ray.model.itq import load_rotation
from ames_ray.retrieval.gallery import Gallery
from ames_ray.training import sample as sampling
from ames_ray.training.sample import gather, plan_sample, take
from tests.store.builders import DIM, make_store

pytestmark = pytest.mark.usefixtures("local_ray")


def test_any_number_of_workers_gives_the_same_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_CHUNK_ROWS", 4)
    gallery = Gallery((make_store(tmp_path / "store", 40),))
    plan = plan_sample(gallery.ok, 60, per_image=3, max_desc=5, seed=1)
    expected = gather(plan, lambda rows: take(gallery, plan, rows))
    for workers in (1, 3):
        found = gather_with_ray(gallery, plan, workers=workers, address=None)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ResourceError, match="99 workers"):
        gather_with_ray(gallery, plan, workers=99, address=None)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    gallery = Gallery((make_store(tmp_path / "store", 40),))
    plan = plan_sample(gallery.ok, 60, per_image=3, max_desc=5, seed=1)
    (tmp_path / "store" / "shards" / "00003.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="00003"):
        gather_with_ray(gallery, plan, workers=2, address=None)


def test_the_verb_writes_equal_files_with_and_without_ray(tmp_path: Path) -> None:
    make_store(tmp_path / "store", 40)
    words = ["itq", f"store={tmp_path}/store", "bits=8", "iterations=5"]
    for name, workers in (("here", "null"), ("one", "1"), ("two", "2")):
        assert main([*words, f"output={tmp_path}/{name}.npz", f"workers={workers}"]) == 0
    rotations = [load_rotation(tmp_path / f"{name}.npz", DIM, 8) for name in ("here", "one", "two")]
    np.testing.assert_array_equal(rotations[0], rotations[1])
    np.testing.assert_array_equal(rotations[0], rotations[2])
