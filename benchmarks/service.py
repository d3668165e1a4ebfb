"""Latency of the search service: p50 and p95 of a search at 1, 10 and 50 clients.

    python -m benchmarks.service --photos 1000 --requests 200

Photos are made and extracted with the default backbone, then `ames-ray serve` runs in a process of its own.
Each client sends its next photo when it has the answer to the last one. Times are those of the client:
upload, waiting in line, description of the photo, ranking, re-ranking, answer.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from benchmarks.pictures import make
from benchmarks.record import save

WIDTH, HEIGHT = 640, 480
AMES_RAY = (sys.executable, "-m", "ames_ray.cli.main")


@contextmanager
def serving(store: Path, words: Sequence[str]) -> Iterator[str]:
    """The address of a running service."""
    command = [*AMES_RAY, "serve", f"store={store}", "port=0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            line = service.stdout.readline() if service.stdout else ""
            ready = re.match(r"ready: (http://\S+)/ ", line)
            if not ready:
                raise RuntimeError(f"the service did not start: {line}")
            yield ready[1]
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()


def latencies(address: str, photos: Sequence[bytes], clients: int) -> tuple[list[float], float]:
    """Seconds of each search, and of all together."""
    limits = httpx2.Limits(max_connections=clients)
    with httpx2.Client(base_url=address, timeout=600, limits=limits) as client:

        def ask(photo: bytes) -> float:
            began = time.perf_counter()
            client.post("/search", content=photo).raise_for_status()
            return time.perf_counter() - began

        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            found = list(pool.map(ask, photos))
        return found, time.perf_counter() - began


def measured(address: str, photos: Sequence[bytes], clients: int, requests: int) -> dict[str, Any]:
    """What one number of clients got."""
    asked = [photos[number % len(photos)] for number in range(requests)]
    seconds, whole = latencies(address, asked, clients)
    p50, p95 = np.percentile(seconds, (50, 95))
    return {
        "requests": requests,
        "p50_ms": round(1000 * p50, 1),
        "p95_ms": round(1000 * p95, 1),
        "searches_per_second": round(requests / whole, 2),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1000, help="images in the store")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--requests", type=int, default=200, help="searches for each number of clients")
    parser.add_argument("--serve", nargs="*", default=[], help="further words for `ames-ray serve`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make(folder / "photos", arguments.photos, WIDTH, HEIGHT)
        extract = [*AMES_RAY, "extract", f"images={folder / 'photos'}", f"output={folder / 'store'}"]
        subprocess.run(extract, check=True, stdout=subprocess.DEVNULL)
        photos = [path.read_bytes() for path in paths[:20]]
        with serving(folder / "store", arguments.serve) as address:
            latencies(address, photos[:3], 1)
            for clients in arguments.clients:
                result = measured(address, photos, clients, max(arguments.requests, clients))
                section = f"{clients} client{'s' if clients > 1 else ''}, {arguments.photos} images"
                save("service", section, {"serve": arguments.serve, **result})


if __name__ == "__main__":
    main()
