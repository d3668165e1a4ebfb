"""The log of a run, read back as TensorBoard shows it."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from ames_ray.files import Storage
from ames_ray.training.log import TrainLog


def events(folder: Path) -> Iterator[Event]:
    """Events of all files in TensorBoard's order; a record is a length, a checksum, an event, a checksum."""
    for path in sorted(folder.glob("events.*")):
        data, place = path.read_bytes(), 0
        while place + 12 <= len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            if place + 16 + length > len(data):
                break  # The last record of a file may have been cut short.
            yield Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length


def shown(run: Path) -> dict[str, dict[int, float]]:
    """Scalars by name and step; a session that starts at a step hides that step of before, and later ones."""
    found: dict[str, dict[int, float]] = {}
    for event in events(run / "tensorboard"):
        if event.session_log.status == SessionLog.START:
            found = {n: {s: v for s, v in steps.items() if s < event.step} for n, steps in found.items()}
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def session(run: Path, first: int, last: int, done: int = 0, loss: float = 0.0) -> None:
    """Log steps of a run that goes on after `done` of them; the last one ends an epoch."""
    log = TrainLog(Storage.at(run), done)
    for total in range(first, last + 1):
        log.step(total, {"loss": loss + total})
    log.epoch(last, {"mAP": loss + last / 8})
    log.publish()
    log.close()


def test_a_run_that_goes_on_shows_each_step_once(tmp_path: Path) -> None:
    session(tmp_path, 1, 4)
    # Steps 3 and 4 were told, but the last checkpoint is that of step 2.
    session(tmp_path, 3, 6, done=2, loss=100)
    assert shown(tmp_path) == {
        "train/loss": {1: 1, 2: 2, 3: 103, 4: 104, 5: 105, 6: 106},
        "validation/mAP": {6: 100.75},
    }


@pytest.mark.parametrize("calls", [1, 2])
def test_a_finished_run_that_is_called_again_keeps_its_last_step(tmp_path: Path, calls: int) -> None:
    session(tmp_path, 1, 4)
    for _ in range(calls):
        TrainLog(Storage.at(tmp_path), 4).close()
    assert shown(tmp_path) == {"train/loss": {1: 1, 2: 2, 3: 3, 4: 4}, "validation/mAP": {4: 0.5}}


FULL = """
import resource
from ames_ray.files import Storage
from ames_ray.training.log import TrainLog

log = TrainLog(Storage.at("run"), 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for total in range(1, 10_000):
    log.step(total, {"loss": 1.0})
"""


def test_a_full_disk_ends_a_run_and_does_not_hold_it_up(tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    done = subprocess.run(
        [sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert max(shown(tmp_path / "run")["train/loss"]) > 100
