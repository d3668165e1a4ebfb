"""A disk that fills up on the way: a small tmpfs, which takes the right to mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_commands import SLOW, ames_ray
from tests.photos import make_photos, shard_hashes

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", where], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", where], check=True)


def test_a_disk_that_fills_up_on_the_way_stops_the_run_and_loses_nothing(
    small_disk: Path, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", 24)
    words = ["extract", "images=photos", f"output={small_disk / 'store'}", "workers=1", *SLOW, "topk=100"]
    words.remove("topk=4")
    # Someone else's file takes the room that the plan has seen.
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_600_000))
    refused = ames_ray(tmp_path, *words)
    assert refused.returncode == 2
    assert "free" in refused.stderr
    filler.unlink()

    import threading
    import time

    def fill() -> None:
        while not list((small_disk / "store" / "progress").glob("*.json")):
            time.sleep(0.05)
        with filler.open("wb") as handle:
            try:
                while True:
                    handle.write(bytes(4096))
                    handle.flush()
            except OSError:
                pass

    thread = threading.Thread(target=fill)
    thread.start()
    stopped = ames_ray(tmp_path, *words)
    thread.join()
    assert stopped.returncode == 2, stopped.stderr
    assert "free" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    finished = len(list((small_disk / "store" / "progress").glob("*.json")))
    assert 1 <= finished < 6

    filler.unlink()
    resumed = ames_ray(tmp_path, *words)
    assert resumed.returncode == 0, resumed.stderr
    words[2] = f"output={tmp_path / 'roomy'}"
    assert ames_ray(tmp_path, *words).returncode == 0
    assert shard_hashes(small_disk / "store") == shard_hashes(tmp_path / "roomy")
