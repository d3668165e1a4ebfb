"""What a running extraction reports, and what it says about the limits of the machine."""

from __future__ import annotations

from dataclasses import dataclass

_BUSY_ENOUGH = 0.7


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts and seconds, of one step or summed over many.

    Attributes:
        rows: Rows computed, failed ones included; rows that are kept are not.
        failed: Rows that failed.
        waiting: Seconds that the network waited for decoded images.
        computing: Seconds in the network.
        writing: Seconds in the shard writer.
    """

    rows: int = 0
    failed: int = 0
    waiting: float = 0.0
    computing: float = 0.0
    writing: float = 0.0

    def __add__(self, other: Progress) -> Progress:
        return Progress(
            self.rows + other.rows,
            self.failed + other.failed,
            self.waiting + other.waiting,
            self.computing + other.computing,
            self.writing + other.writing,
        )

    @property
    def busy(self) -> float:
        """Share of the workers' time in which the network computed."""
        total = self.waiting + self.computing + self.writing
        return self.computing / total if total else 0.0

    def limit(self) -> str:
        """What limits the rate, as a sentence."""
        percent = f"{100 * self.busy:.0f} %"
        if self.busy >= _BUSY_ENOUGH:
            return f"the network is the limit: busy {percent}"
        if self.waiting >= self.writing:
            return f"decoding is the limit: network busy {percent} (try decode_threads, smaller images)"
        return f"writing is the limit: network busy {percent} (try a faster disk, codec=float16)"
