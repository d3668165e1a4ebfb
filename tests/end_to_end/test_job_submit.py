"""`ray job submit` to a real head on this machine, with token authentication, as on a cluster."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ames_ray.store.reader import Store
from tests.photos import make_photos

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def _free_ports(count: int) -> list[int]:
    """Ports outside of the range that Ray's workers use."""
    sockets = []
    for port in range(21000 + secrets.randbelow(3000), 32000):
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
            continue
        sockets.append(candidate)
        if len(sockets) == count:
            break
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Environment in which `ray job` talks to a head of our own."""
    gcs, dashboard, agent, client = _free_ports(4)
    folder = tempfile.mkdtemp(prefix="ar-")  # short: Ray puts sockets there
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    head = subprocess.Popen(
        [
            *(BIN / "ray", "start", "--head", "--block", "--num-cpus=3", "--include-dashboard=true"),
            *(f"--port={gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
            *(f"--temp-dir={folder}", "--object-store-memory=134217728", "--disable-usage-stats"),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield {**environment, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    os.killpg(head.pid, signal.SIGTERM)
    try:
        head.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
    shutil.rmtree(folder, ignore_errors=True)


def submit(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Submit `jobs/extract.py`, waiting for the head to be up."""
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(
            [
                BIN / "ray",
                "job",
                "submit",
                "--working-dir",
                folder,
                "--",
                "python",
                "jobs/extract.py",
                *words,
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        starting = ("No available agent" in done.stderr + done.stdout) or ("connect" in done.stderr.lower())
        if done.returncode == 0 or not starting or time.monotonic() > deadline:
            return done
        time.sleep(1)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `--working-dir .` uploads, without this machine's virtual environment."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("ames_ray", "jobs", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_job_runs_on_a_cluster_and_resumes(
    cluster: dict[str, str], checkout: Path, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", 9, size=120)
    words = [f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "shard_rows=4", "workers=2"]
    first = submit(cluster, checkout, *words)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "9, 0 of them failed" in first.stdout
    assert len(Store.open(str(tmp_path / "store")).manifest) == 9

    again = submit(cluster, checkout, *words)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to do" in again.stdout

    wrong = submit(cluster, checkout, *words, "topk=5")
    assert wrong.returncode == 1
    assert "topk" in wrong.stdout + wrong.stderr
