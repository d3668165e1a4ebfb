from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.real import RealCluster
from tests.remote.server import S3Server, running_s3


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture(scope="session")
def own_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that one of the nodes sees as a disk of its own."""
    return tmp_path_factory.mktemp("own-disk")


@pytest.fixture(scope="session")
def cluster(s3: S3Server, own_disk: Path) -> Iterator[RealCluster]:
    """A head without CPUs and two nodes of two, one of which has a disk that is not shared."""
    # The name of this machine may stand for an address that nothing answers at.
    cluster = RealCluster({**s3.environment, "GLOO_SOCKET_IFNAME": "lo"})
    try:
        cluster.add_node(2)
        cluster.has_own_disk = cluster.add_node_with_own_disk(2, own_disk)
        ready = cluster.ames_ray("cluster", "check", "expect=3", "wait=120")
        assert ready.returncode == 0, ready.stdout + ready.stderr
        yield cluster
    finally:
        cluster.stop()
