"""The log of a run: `log.csv` with a line a step, `epochs.csv` with a line an epoch, and TensorBoard's files.

The CSV files are published together with each checkpoint, so that a resumed run takes up the very log that
belongs to its weights: an interrupted run and an undisturbed one leave equal curves.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        self._board: Any = None
        if storage.local is not None:
            from tensorboardX import SummaryWriter

            # TensorBoard hides what earlier files tell from this step on. Their names hold whole seconds, in
            # which a run may end and go on.
            self._board = SummaryWriter(
                str(storage.local / BOARD),
                purge_step=steps_done + 1,
                flush_secs=30,
                filename_suffix=f".{steps_done:08d}",
            )

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
                self._board.add_scalar(f"{group}/{name}", value, total)


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
