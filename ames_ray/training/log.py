"""The log of a run: `log.csv` with a line a step, `epochs.csv` with a line an epoch, and TensorBoard's files.

The CSV files are published together with each checkpoint, so that a resumed run takes up the very log that
belongs to its weights: an interrupted run and an undisturbed one leave equal curves.
"""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ames_ray.files import Storage

STEPS = "log.csv"
EPOCHS = "epochs.csv"
BOARD = "tensorboard"


class TrainLog:
    """Everything that a run tells about itself.

    Args:
        storage: Folder of the run. TensorBoard's files are written where it is on a local disk.
        steps_done: Steps of an earlier run that count; what it logged beyond them is dropped.
    """

    def __init__(self, storage: Storage, steps_done: int) -> None:
        self._storage = storage
        self._tables = {name: _rows(storage, name, steps_done) for name in (STEPS, EPOCHS)}
        self._board = None if storage.local is None else _Board(storage.local / BOARD, steps_done)

    def step(self, total: int, values: Mapping[str, float]) -> None:
        """Log one step; `total` counts from 1 over all epochs."""
        self._add(STEPS, "train", total, values)

    def epoch(self, total: int, values: Mapping[str, float]) -> None:
        """Log what an epoch reached; `total` is the number of its last step."""
        self._add(EPOCHS, "validation", total, values)

    def publish(self) -> None:
        """Write the CSV files."""
        for name, rows in self._tables.items():
            self._storage.publish(name, _csv(rows))
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Write what is waiting, and end."""
        if self._board is not None:
            self._board.close()

    def _add(self, table: str, group: str, total: int, values: Mapping[str, float]) -> None:
        self._tables[table].append({"total": str(total), **{k: f"{v:.9g}" for k, v in values.items()}})
        if self._board is not None:
            for name, value in values.items():
                self._board.scalar(f"{group}/{name}", value, total)


class _Board:
    """A file for TensorBoard, written by whoever logs.

    tensorboardX's own `SummaryWriter` leaves that to a thread, which a full disk ends; the run then waits for
    it for ever.
    """

    def __init__(self, folder: Path, steps_done: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # Names hold whole seconds, in which a run may end and go on.
        self._writer = EventsWriter(str(folder / "events"), f".{steps_done:08d}")
        # TensorBoard hides what earlier files tell from this step on.
        self._write(steps_done + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, tag: str, value: float, step: int) -> None:
        from tensorboardX.summary import scalar

        self._write(step, summary=scalar(tag, value))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))


def read_epochs(storage: Storage) -> list[dict[str, float]]:
    """What a run has logged of its epochs, the first one first."""
    if not storage.exists(EPOCHS):
        return []
    rows = csv.DictReader(io.StringIO(storage.read(EPOCHS).decode()))
    return [{name: float(value) for name, value in row.items() if name != "total"} for row in rows]


def _rows(storage: Storage, name: str, steps_done: int) -> list[dict[str, str]]:
    if not steps_done or not storage.exists(name):
        return []
    rows = csv.DictReader(io.StringIO(storage.read(name).decode()))
    return [row for row in rows if int(row["total"]) <= steps_done]


def _csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()
