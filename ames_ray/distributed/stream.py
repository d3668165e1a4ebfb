"""Consuming a dataset while the driver stays free to watch, and errors that people can read."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from ames_ray.errors import AmesError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ray.data

_TICK_SECONDS = 0.5


def ticking(dataset: ray.data.Dataset) -> Iterator[None]:
    """Run the dataset to its end in a thread, and tick twice a second meanwhile.

    Raises:
        AmesError: What a worker raised.
        RunError: Anything else that stopped the dataset.
    """
    ended: queue.Queue[BaseException | None] = queue.Queue()

    def consume() -> None:
        try:
            for _ in dataset.iter_rows():
                pass
            ended.put(None)
        except BaseException as error:  # noqa: BLE001 - carried over to the driver's thread
            ended.put(error)

    threading.Thread(target=consume, daemon=True).start()
    while True:
        try:
            error = ended.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            yield
            continue
        if error is not None:
            raise readable(error) from None
        return


def readable(error: BaseException) -> BaseException:
    """The AmesError inside what Ray raised; anything else with its last line."""
    found: BaseException | None = error
    while found is not None:
        cause = getattr(found, "cause", None)
        if isinstance(cause, AmesError):
            return cause
        found = cause or found.__cause__
    return RunError(
        f"a worker could not go on: {last_line(error)}",
        "what is finished is safe; the same command goes on from there",
    )


def last_line(error: BaseException) -> str:
    """Where Ray's messages, which hold whole stack traces, say what happened; its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
