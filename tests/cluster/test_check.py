"""`ames-ray cluster check` on real nodes."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import ray

from tests.cluster.real import RealCluster
from tests.remote.server import BUCKET


def test_a_sound_cluster_is_one_table(cluster: RealCluster) -> None:
    done = cluster.ames_ray("cluster", "check", "expect=3", f"shared=s3://{BUCKET}/stores")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 nodes" in done.stdout
    lines = [line for line in done.stdout.splitlines() if ray.__version__ in line]
    assert len(lines) == 3
    assert all(platform.python_version() in line and line.rstrip().endswith("ok") for line in lines)
    assert "head" in lines[0]
    assert cluster.token not in done.stdout + done.stderr


def test_what_is_wrong_is_named_for_each_node(cluster: RealCluster, own_disk: Path) -> None:
    if not cluster.has_own_disk:
        pytest.skip("a disk for one node alone needs user namespaces")
    done = cluster.ames_ray("cluster", "check", "expect=4", f"shared={own_disk}")
    assert done.returncode == 2
    assert "4 nodes are expected, 3 are there" in done.stderr
    assert done.stderr.count("does not see what") == 3
    assert "Traceback" not in done.stderr
    assert list(own_disk.iterdir()) == []


def test_a_storage_that_cannot_be_used_is_told(cluster: RealCluster) -> None:
    done = cluster.ames_ray("cluster", "check", "shared=/proc/nowhere")
    assert done.returncode == 2
    assert done.stderr.count("cannot be written") == 3
