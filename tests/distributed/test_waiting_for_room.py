"""An extraction for which other jobs leave no room."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import ray
from ray.actor import ActorHandle

from ames_ray.distributed import extract as extraction
from ames_ray.distributed.board import BoardState
from ames_ray.errors import RunError
from tests.distributed.extracting import Quiet, extract
from tests.photos import make_photos

pytestmark = pytest.mark.usefixtures("local_ray")


class Holder:
    """Another job that holds CPUs."""

    def there(self) -> bool:
        return True


def hold(cpus: int) -> ActorHandle:
    holder = ray.remote(num_cpus=cpus)(Holder).remote()
    ray.get(holder.there.remote())
    return holder


@pytest.mark.slow
def test_workers_that_find_no_room_after_the_first_image_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of the CPUs are held from the beginning, the other half from the moment that the shards begin."""
    holders = [hold(3)]
    deadline = time.monotonic() + 60

    class Crowding(Quiet):
        def begin(self, rows: int, done: int) -> None:
            super().begin(rows, done)
            monkeypatch.setattr(extraction, "PATIENCE_SECONDS", 1)
            holders.append(hold(3))
            caplog.clear()

        def update(self, state: BoardState) -> None:
            super().update(state)
            assert time.monotonic() < deadline
            if "waiting for room: 2 workers need 3 CPUs each" in caplog.text:
                while holders:
                    ray.kill(holders.pop())

    make_photos(tmp_path / "photos", 6, size=64)
    try:
        report = extract(
            tmp_path / "photos", tmp_path / "store", "workers=2", "cpus_per_worker=3", watcher=Crowding()
        )
    finally:
        for holder in holders:
            ray.kill(holder)
    assert report.rows == 6
    assert caplog.text.count("waiting for room") == 1


def test_a_first_image_without_room_is_given_up_with_both_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "START_SECONDS", 1)
    make_photos(tmp_path / "photos", 1, size=64)
    holder = hold(6)
    try:
        with pytest.raises(RunError, match=r"not finished within 3 s: .* other jobs leave it no room"):
            extract(tmp_path / "photos", tmp_path / "store", "stall_timeout=2")
    finally:
        ray.kill(holder)
