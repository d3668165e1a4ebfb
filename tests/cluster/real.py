"""A Ray cluster of several nodes on this machine, started by `ray start` as elsewhere, with a token."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
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


class RealCluster:
    """A head that runs no shards, and nodes that come and go.

    Attributes:
        environment: What commands on the cluster need.
        token: What every process must know.
        folder: Where Ray keeps its logs.
        has_own_disk: Whether one of the nodes has a disk that the others do not see.
    """

    has_own_disk = False

    def __init__(self, extra: Mapping[str, str]) -> None:
        self._gcs, dashboard, agent, client = free_ports(4)
        self.folder = Path(tempfile.mkdtemp(prefix="ar-"))  # short: Ray puts sockets there
        self.token = secrets.token_hex(32)
        self._base = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_"))},
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            **extra,
        }
        # For the driver of a command, and for `ray job`, which speaks to the dashboard.
        self.environment = {**self._base, "RAY_ADDRESS": f"127.0.0.1:{self._gcs}"}
        self.job_environment = {**self._base, "RAY_ADDRESS": f"http://127.0.0.1:{dashboard}"}
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._start(
            *("--head", f"--port={self._gcs}", "--num-cpus=0", "--include-dashboard=true"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"),
        )

    def add_node(self, cpus: int, prefix: tuple[str, ...] = ()) -> int:
        """One more node; returns its number."""
        agent = free_ports(1)[0]
        address = (f"--address=127.0.0.1:{self._gcs}", f"--num-cpus={cpus}")
        return self._start(*address, f"--dashboard-agent-listen-port={agent}", prefix=prefix)

    def add_node_with_own_disk(self, cpus: int, folder: Path) -> bool:
        """One more node, to which a folder is a disk of its own; says whether that can be had here."""
        apart = ("unshare", "--mount", "--map-root-user", "sh", "-c")
        mount = f'mount -t tmpfs none {folder} && exec "$@"'
        possible = shutil.which("unshare") is not None
        if possible:
            tried = subprocess.run([*apart, mount, "sh", "true"], capture_output=True, check=False)
            possible = tried.returncode == 0
        self.add_node(cpus, (*apart, mount, "sh") if possible else ())
        return possible

    def kill_node(self, number: int) -> None:
        """Everything of a node at once, as when the power goes."""
        node = self._nodes[number]
        try:
            processes = [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]
        except psutil.NoSuchProcess:
            return
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()

    def ames_ray(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command whose driver joins the cluster."""
        return subprocess.run(
            [sys.executable, "-m", "ames_ray.cli.main", *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def stop(self) -> None:
        """End all nodes, the head last, and leave nothing behind."""
        for number in reversed(range(len(self._nodes))):
            self.kill_node(number)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *words: str, prefix: tuple[str, ...] = ()) -> int:
        """Start a node and wait for it: two that start at once on one machine may pick the same ports."""
        number = len(self._nodes)
        log = Path(self.folder, f"node{number}.log")
        # In one folder a node would unpack a job's files over those that the job runs in on another node.
        common = (
            "--object-store-memory=134217728",
            "--disable-usage-stats",
            f"--temp-dir={self.folder / str(number)}",
        )
        with log.open("wb") as output:
            node = subprocess.Popen(
                [*prefix, BIN / "ray", "start", "--block", *words, *common],
                env=self._base,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._nodes.append(node)
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            if node.poll() is not None or time.monotonic() > deadline:
                # The head may be the one to blame.
                raise RuntimeError("\n".join(path.read_text() for path in sorted(self.folder.glob("*.log"))))
            time.sleep(0.1)
        return number
