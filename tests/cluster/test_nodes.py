"""One extraction over several nodes: to an object store, and while a node is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.real import RealCluster
from tests.photos import make_photos, shard_hashes
from tests.remote.server import BUCKET, S3Server, contents

SLOW = ["backbone=tests.distributed.backbones:slow", "topk=4", "batch_size=1", "shard_rows=3"]


@pytest.mark.slow
def test_nodes_fill_a_store_in_a_bucket_with_the_bytes_of_a_folder(
    cluster: RealCluster, s3: S3Server, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", 17)
    words = [f"images={tmp_path / 'photos'}", "backbone=sift", "topk=20", "shard_rows=4"]
    done = cluster.ames_ray("extract", *words, f"output=s3://{BUCKET}/many", "workers=4")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("worker ") == 4
    local = cluster.ames_ray("extract", *words, f"output={tmp_path / 'store'}", "workers=1")
    assert local.returncode == 0, local.stderr
    remote = contents(s3, "many/")
    for folder, names in (("shards", "*.parquet"), ("", "m*"), ("", "failed.csv")):
        for path in (tmp_path / "store" / folder).glob(names):
            assert remote[f"many/{path.relative_to(tmp_path / 'store')}"] == path.read_bytes(), path

    s3.client().delete_object(Bucket=BUCKET, Key="many/progress/00002.json")
    s3.client().delete_object(Bucket=BUCKET, Key="many/card.json")
    again = cluster.ames_ray("extract", *words, f"output=s3://{BUCKET}/many", "workers=4")
    assert again.returncode == 0, again.stderr
    assert "17 images, 13 of them are done already" in again.stderr
    assert cluster.ames_ray("store", "verify", f"s3://{BUCKET}/many").returncode == 0
    after = contents(s3, "many/")
    assert {k: v for k, v in after.items() if "card" not in k} == {
        k: v for k, v in remote.items() if "card" not in k
    }


@pytest.mark.slow
def test_workers_wait_for_nodes_that_are_still_to_come(cluster: RealCluster) -> None:
    code = """
import sys
from ames_ray.distributed.runtime import connected, size_pool
with connected(None, 1):
    print(size_pool(7, 1, 0, wants_gpu=False, wait=float(sys.argv[1])).workers)
"""
    command = [sys.executable, "-c", code]
    short = subprocess.run(
        [*command, "1"], env=cluster.environment, capture_output=True, text=True, check=False
    )
    assert short.returncode == 1
    assert "7 workers need 7 × 1 = 7 CPUs" in short.stderr
    with subprocess.Popen(
        [*command, "120"],
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stderr is not None
        assert "waiting up to 120 s for nodes with room for 7 workers" in waiting.stderr.readline()
        late = cluster.add_node(3)
        said, error = waiting.communicate(timeout=150)
    cluster.kill_node(late)
    assert said.split() == ["7"], error


@pytest.mark.faults
def test_a_lost_node_costs_nothing(cluster: RealCluster, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 60)
    words = [f"images={tmp_path / 'photos'}", *SLOW]
    lost = cluster.add_node(3)
    assert cluster.ames_ray("cluster", "check", "expect=4", "wait=60").returncode == 0
    store = tmp_path / "store"
    with subprocess.Popen(
        [sys.executable, "-m", "ames_ray.cli.main", "extract", *words, f"output={store}", "workers=7"],
        env=cluster.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        while len(list((store / "progress").glob("*.json"))) < 2:
            assert driver.poll() is None
            time.sleep(0.1)
        cluster.kill_node(lost)
        _, said = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    alone = cluster.ames_ray("extract", *words, f"output={tmp_path / 'alone'}", "workers=2")
    assert alone.returncode == 0, alone.stderr
    assert shard_hashes(store) == shard_hashes(tmp_path / "alone")
    assert list(store.rglob("*.tmp-*")) == []
