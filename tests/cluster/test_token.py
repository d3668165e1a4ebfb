"""Nobody without the token gets in, and nobody is told it."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

from tests.cluster.real import RealCluster


def test_the_dashboard_listens_at_localhost_and_wants_the_token(cluster: RealCluster) -> None:
    address = cluster.job_environment["RAY_ADDRESS"]
    port = int(address.rpartition(":")[2])
    listening = [c.laddr.ip for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port]
    assert set(listening) == {"127.0.0.1"}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{address}/api/jobs/", timeout=30)


@pytest.mark.slow
def test_a_driver_without_the_right_token_is_refused(cluster: RealCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ames_ray.cli.main", "cluster", "check"],
        env={**cluster.environment, "RAY_AUTH_TOKEN": "0" * 64},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be used" in done.stderr


def test_no_log_holds_the_token(cluster: RealCluster) -> None:
    logs = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert logs
    assert [path for path in logs if cluster.token.encode() in path.read_bytes()] == []
