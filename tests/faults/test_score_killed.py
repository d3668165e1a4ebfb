"""A scoring driver that is killed on the way: the same command computes only what is missing."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from ames_ray.evaluation.score_files import load_pair_scores
from ames_ray.model.checkpoints import save_ames
from tests.end_to_end.test_commands import ames_ray, command, environment
from tests.retrieval.small import small_model
from tests.store.builders import make_manifest, make_store

pytestmark = pytest.mark.faults
QUERIES, GALLERY = 1_000, 40


def pieces(folder: Path) -> set[Path]:
    return set((folder / "scores.parquet.pieces").rglob("*.npy"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_driver_costs_what_was_in_hand(tmp_path: Path, workers: int) -> None:
    make_store(tmp_path / "q", manifest=make_manifest(QUERIES, first=1000), shard_rows=200)
    make_store(tmp_path / "g", GALLERY)
    save_ames(small_model(), tmp_path / "model.pt")
    made = ames_ray(tmp_path, "neighbors", "query=q", "gallery=g", "output=nn.parquet")
    assert made.returncode == 0, made.stderr
    words = ["score", "query=q", "gallery=g", "nn_file=nn.parquet", "model=model.pt"]
    interrupted = [*words, f"workers={workers}", "output=scores.parquet"]
    with subprocess.Popen(
        command(*interrupted),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:
        deadline = time.monotonic() + 120
        while len(pieces(tmp_path)) < 2:
            assert time.monotonic() < deadline, "the run never got that far"
            time.sleep(0.01)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert not (tmp_path / "scores.parquet").exists(), "it was to be killed on the way"

    resumed = ames_ray(tmp_path, *interrupted)
    assert resumed.returncode == 0, resumed.stderr
    found = re.search(r"pairs, ([\d,]+) of them are done already", resumed.stderr)
    assert found, resumed.stderr
    assert int(found[1].replace(",", "")) > 0
    assert not pieces(tmp_path)
    undisturbed = ames_ray(tmp_path, *words, "output=other.parquet")
    assert undisturbed.returncode == 0, undisturbed.stderr
    one, other = (load_pair_scores(str(tmp_path / f"{name}.parquet")) for name in ("scores", "other"))
    np.testing.assert_array_equal(one.logits, other.logits)
    assert (tmp_path / "scores.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()
