"""Ray as it starts, and what fits into it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import ray

from ames_ray.distributed.runtime import fitting, size_pool
from tests.end_to_end.test_commands import environment
from tests.photos import make_photos

STRUCK = """
import os, signal, sys
from ames_ray.cli.main import _interrupt, main

place = signal.signal

def strike(number, handler):
    before = place(number, handler)
    if number == signal.SIGTERM and handler not in (signal.SIG_DFL, _interrupt):
        signal.signal = place
        os.kill(os.getpid(), signal.SIGTERM)
    return before

signal.signal = strike
sys.exit(main(sys.argv[1:]))
"""
"""A command that is sent SIGTERM as soon as Ray has put its own handler in place."""


HEAD: dict[str, float] = {"CPU": 0.0, "memory": 1e9}


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "expected"),
    [
        ([HEAD, *[{"CPU": 16.0}] * 4], 6, 0, 8),
        ([HEAD, *[{"CPU": 2.0}] * 2], 1.3, 0, 2),
        ([HEAD, *[{"CPU": 16.0}] * 4], 17, 0, 0),
        ([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 8.0}, {"CPU": 64.0}], 1, 1, 3),
        ([{"CPU": 8.0, "GPU": 3.0}, {"CPU": 8.0, "GPU": 1.0}], 1, 2, 1),
        ([{"CPU": 8.0, "GPU": 2.0}], 1, 0.6, 2),
        ([{"CPU": 8.0, "GPU": 2.0}], 1, 0.25, 8),
        ([{"CPU": 8.0, "GPU": 1.5}], 1, 0.5, 3),
        ([], 1, 0, 0),
    ],
)
def test_a_worker_fits_only_where_one_node_has_all_it_needs(
    nodes: list[dict[str, float]], cpus: float, gpus: float, expected: int
) -> None:
    assert fitting(nodes, cpus, gpus) == expected


@pytest.mark.usefixtures("local_ray")
def test_as_many_workers_share_gpus_as_ray_itself_starts() -> None:
    pool = size_pool(None, 1, 0.6, wants_gpu=True)
    worker = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus)(Worker)
    workers = [worker.remote() for _ in range(pool.workers)]
    assert ray.get([worker.there.remote() for worker in workers], timeout=120) == [True] * 2
    for each in workers:
        ray.kill(each)


class Worker:
    """Takes up its place."""

    def there(self) -> bool:
        return True


def test_a_stop_while_ray_starts_is_said_like_any_other(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    words = ["extract", f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", "backbone=blank"]
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, *words],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted: what is finished is kept, the same command goes on from there\n"


@pytest.mark.slow
def test_a_program_that_has_imported_ray_already_may_use_it(tmp_path: Path) -> None:
    code = "import ray\nfrom ames_ray.distributed.runtime import connected\n"
    code += "with connected(None, 1): print('there')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={name: value for name, value in environment().items() if not name.startswith("RAY_")}
        | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "there\n", done.stderr
    assert (tmp_path / ".ray" / "auth_token").exists(), "without a token anyone could use it"


STRUCK_AT_START = """
import psutil, threading
from ames_ray.distributed.runtime import connected

def started(name):
    return [child for child in psutil.Process().children() if child.name() == name]

def strike():
    while not started("raylet"):
        pass
    started("raylet")[0].kill()

threading.Thread(target=strike, daemon=True).start()
with connected(None, 1):
    import ray
    print(ray.get(ray.remote(lambda: "there").remote()), len(started("gcs_server")))
"""
"""A program whose first node manager is killed before it has told that it is there."""


@pytest.mark.faults
def test_a_start_that_fails_is_tried_again_and_leaves_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRUCK_AT_START],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "there 1\n", done.stderr
