"""`ames-ray serve` as users start it: Ray Serve, its own process, one start for everything."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

pytest.importorskip("fastapi")
import httpx2 as httpx

from ames_ray.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 50
PROGRAM = "import sys; from ames_ray.cli.main import main; sys.exit(main(sys.argv[1:]))"
SHUT_DOWN = f"""
import ames_ray.distributed, sys, threading
from ray import serve
threading.Thread(target=lambda: sys.stdin.readline() and serve.shutdown(), daemon=True).start()
{PROGRAM}
"""
"""The command, whose Ray Serve is shut down at a line of input."""


def start(folder: Path, *words: str, program: str = PROGRAM) -> tuple[subprocess.Popen[str], int]:
    """The service and its port, once it is ready."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    service = subprocess.Popen(
        [sys.executable, "-c", program, "serve", f"store={folder / 'store'}", "port=0", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    ready = service.stdout.readline()
    found = re.match(r"ready: http://127\.0\.0\.1:(\d+)/", ready)
    assert found, f"{ready}{service.communicate()}"
    return service, int(found[1])


@pytest.mark.slow
def test_a_service_whose_ray_serve_ends_ends_too(folder: Path) -> None:
    service, _ = start(folder, program=SHUT_DOWN)
    try:
        _, err = service.communicate("now\n", timeout=120)
    finally:
        service.kill()
    assert service.returncode == 2
    assert err.startswith("error: Ray Serve has ended"), err


@pytest.mark.slow
def test_fifty_clients_at_once_and_a_clean_end(folder: Path) -> None:
    service, port = start(folder, "num_rerank=5")
    try:
        _only_here(port)
        _search(port, (folder / "me.png").read_bytes())
        family = psutil.Process(service.pid).children(recursive=True)
        service.send_signal(signal.SIGTERM)
        out, err = service.communicate(timeout=120)
        assert (service.returncode, out, err) == (0, "", "stopped\n")
        assert psutil.wait_procs(family, timeout=60)[1] == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 10)
    finally:
        service.kill()


def _only_here(port: int) -> None:
    listening = {
        connection.laddr[0]
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port
    }
    assert listening == {"127.0.0.1"}


def _search(port: int, photo: bytes) -> None:
    limits = httpx.Limits(max_connections=CLIENTS)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=280, limits=limits) as client:
        first = client.post("/search", files={"image": ("me.png", photo)})
        assert first.status_code == 200
        assert first.json()["results"][0]["image"] == "coffee_280x210.png"

        def ask(_number: int) -> httpx.Response:
            return client.post("/search", content=photo)

        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(ask, range(CLIENTS)))
        assert [answer.status_code for answer in answers] == [200] * CLIENTS
        assert all(answer.json() == first.json() for answer in answers)
        assert client.get("/thumbnail/0").headers["content-type"] == "image/webp"
        assert client.get("/openapi.json").json()["info"]["title"] == "ames-ray"
        bad = client.post("/search", content=b"<html>404</html>")
        assert (bad.status_code, bad.json()["reason"]) == (415, "not_an_image")


def test_a_taken_port_is_told_before_anything_starts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", f"store={folder / 'store'}", f"port={port}"]) == 2
    assert f"port={port} cannot be listened on" in capsys.readouterr().err


def test_listening_beyond_this_machine_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        words = [f"store={folder / 'store'}", "host=0.0.0.0", f"port={other.getsockname()[1]}"]
        assert main(["serve", *words]) == 2
    assert "there is no password" in capsys.readouterr().err
