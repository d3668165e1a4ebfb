"""Nobody without the token gets in, and nobody is told it."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.cluster.real import RealCluster

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = {
    "gcs_server": "cluster state (GCS)",
    "raylet/raylet": "node manager",
    "dashboard.py": "metrics",
    "DashboardAgent": "dashboard agent",
    "RuntimeEnvAgent": "runtime-environment agent",
    "monitor.py": "metrics",
    "ray.util.client.server": "Ray client",
    "ray::": "workers",
    "default_worker.py": "workers",
}
"""Part of the command line of a process of Ray, and what `docs/security.md` calls it."""


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
    read = {}
    for path in cluster.folder.rglob("*"):
        with suppress(FileNotFoundError):  # Ray replaces some of its files
            if path.is_file():
                read[path] = path.read_bytes()
    assert read
    assert [path for path, content in read.items() if cluster.token.encode() in content] == []


def test_the_docs_name_everything_that_listens_beyond_localhost(cluster: RealCluster) -> None:
    wide = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get("RAY_AUTH_TOKEN") != cluster.token:
                continue
            command = " ".join(process.cmdline())
            addresses = {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:
            continue
        if addresses - {"127.0.0.1", "::1"}:
            wide.add(next((part for part in DOCUMENTED if part in command), command))
    assert {"gcs_server", "raylet/raylet"} <= wide
    assert wide <= DOCUMENTED.keys()
    ports = (ROOT / "docs" / "security.md").read_text().partition("## Ports")[2]
    assert [part for part in wide if DOCUMENTED[part] not in ports] == []
