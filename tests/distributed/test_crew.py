"""A crew on Ray: one of it hangs, or there is no room for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import ray

from ames_ray.distributed import crew_watch
from ames_ray.distributed.crew import cluster
from ames_ray.errors import RunError
from ames_ray.retrieval.crew import Hire, as_finished

pytestmark = pytest.mark.usefixtures("local_ray")
STOPPING = 5


def squares(folder: Path, times: int) -> Callable[[int], int]:
    """Squares numbers; a process that is given `STOPPING` stops for ever, so many times."""

    def square(number: int) -> int:
        if number == STOPPING and len(list(folder.iterdir())) < times:
            (folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return number * number

    return square


def work(hire: Hire, folder: Path, times: int = 0) -> dict[int, int]:
    with hire(partial(squares, folder, times)) as crew:
        return dict(as_finished(crew, range(8)))


@pytest.mark.faults
def test_a_worker_that_hangs_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = work(cluster(None, 2, 1, stall_timeout=5), tmp_path, times=1)
    assert found == {number: number * number for number in range(8)}
    assert "a worker finished nothing for 5 s; another one takes its place" in caplog.text
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_a_task_that_always_hangs_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_watch, "START_SECONDS", 15)
    with pytest.raises(RunError, match="a worker could not go on"):
        work(cluster(None, 1, 1, stall_timeout=5), tmp_path, times=100)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_crew_says_that_it_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crew_watch, "PATIENCE_SECONDS", 1)
    holder = ray.remote(num_cpus=5)(Holder).remote()
    ray.get(holder.there.remote())
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(work, cluster(None, 2, 1), tmp_path)
        deadline = time.monotonic() + 60
        while "waiting for room: 2 workers need 1 CPUs each" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ray.kill(holder)
        assert len(waiting.result(timeout=60)) == 8


class Holder:
    """Another job that holds CPUs."""

    def there(self) -> bool:
        return True
