"""`ames-ray cluster check` on real nodes, and what it says of nodes that cannot be had here."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from ames_ray.distributed.cluster import NodeProbe, Software, _report, _silent
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


def node(gpus: int = 0) -> dict[str, Any]:
    """As Ray's list of nodes has it."""
    resources = {"CPU": 4.0, "object_store_memory": 2e9} | ({"GPU": float(gpus)} if gpus else {})
    return {"NodeManagerAddress": "10.0.0.7", "Resources": resources}


def driver() -> Software:
    return NodeProbe().software(0)


def test_a_node_like_the_driver_has_no_problems() -> None:
    there = replace(driver(), host="other", devices=2, cuda="12.8")
    report = _report(node(gpus=2), there, driver(), -4.9, "")
    assert report.problems == ()
    assert (report.address, report.head, report.cpus, report.gpus) == ("10.0.0.7", False, 4, 2)
    assert (report.object_store, report.software, report.shared) == (2_000_000_000, there, True)


@pytest.mark.parametrize("name", ["Ray", "Python", "ames-ray"])
def test_another_version_is_named_with_that_of_the_driver(name: str) -> None:
    here = driver()
    there = replace(here, versions={**here.versions, name: "1.2.3"})
    report = _report(node(), there, here, 0.0, None)
    assert report.problems == (f"{name} 1.2.3, the driver has {here.versions[name]}",)
    assert report.shared is None


def test_a_gpu_that_ray_hands_out_and_the_driver_does_not_show_is_named() -> None:
    report = _report(node(gpus=2), replace(driver(), devices=1, cuda="12.8"), driver(), 0.0, None)
    assert report.problems == ("Ray hands out 2 GPUs, nvidia-smi shows 1",)


def test_a_torch_that_cannot_use_the_gpu_is_named() -> None:
    report = _report(node(gpus=1), replace(driver(), devices=1, cuda=""), driver(), 0.0, None)
    assert report.problems == ("its torch is a build without CUDA",)


@pytest.mark.parametrize(("skew", "told"), [(6.0, "+6.0"), (-6.0, "-6.0")])
def test_a_clock_that_is_off_is_named(skew: float, told: str) -> None:
    report = _report(node(), driver(), driver(), skew, None)
    assert report.problems == (f"its clock is {told} s off",)


def test_all_that_is_wrong_with_a_node_is_named_at_once() -> None:
    here = driver()
    there = replace(here, versions=dict.fromkeys(here.versions, "0"))
    report = _report(node(gpus=1), there, here, 60.0, "does not see what 1 of 2 nodes wrote")
    assert len(report.problems) == 3 + 2 + 1 + 1
    assert report.problems[-1] == "shared storage: does not see what 1 of 2 nodes wrote"
    assert report.shared is False


def test_a_silent_node_is_told_by_what_the_cluster_knows() -> None:
    report = _silent(node(gpus=1), "gives no answer within 120 s")
    assert report.problems == ("gives no answer within 120 s",)
    assert (report.software, report.gpus) == (None, 1)
