"""What every chart is made of: a frame, texts, scales with round ticks.

No style attributes, so that a strict page may hold them: colours come from classes of the page's style sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.report.shell import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def svg(width: float, height: float, title: str, parts: Sequence[str], more: str = "") -> str:
    """A picture.

    Args:
        width: In its own units, which are CSS pixels where there is room.
        height: Likewise.
        title: What it shows, for screen readers.
        parts: Its elements.
        more: Further attributes.
    """
    return (
        f'<svg role="img" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'aria-label="{escape(title)}"{more}>{"".join(parts)}</svg>'
    )


def label(x: float, y: float, text: str, anchor: str) -> str:
    """A text of an axis; `anchor` is start, middle or end."""
    return f'<text class="axis" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def rule(x1: float, x2: float, y1: float, y2: float) -> str:
    """A line of the grid behind a chart."""
    return f'<line class="scale" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


@dataclass(frozen=True)
class Scale:
    """From numbers to places along an axis.

    Attributes:
        low: Number at its start.
        high: Number at its end, above `low`.
        start: Place of `low`.
        end: Place of `high`.
        log: Whether equal ratios are equal lengths.
        base: Of a logarithmic scale: powers of it are round.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    base: float = 10

    @classmethod
    def around(
        cls,
        values: NDArray[np.float64],
        start: float,
        end: float,
        *,
        log: bool = False,
        base: float = 10,
        margin: float = 0.05,
    ) -> Scale:
        """The scale that holds all finite values, with a margin on both sides.

        Args:
            values: Any number of them; of a logarithmic scale those above 0 count.
            start: Place of the lowest number.
            end: Place of the highest one.
            log: Whether equal ratios are equal lengths.
            base: See `Scale`.
            margin: A share of the length.
        """
        known = values[np.isfinite(values) & ((values > 0) | (not log))]
        if not len(known):
            return cls(0.1 if log else 0.0, 1.0, start, end, log, base)
        low, high = float(known.min()), float(known.max())
        if low == high:
            room = (abs(low) or 1) / 10
            low, high = (low / 2, high * 2) if log else (low - room, high + room)
        if log:
            factor = (high / low) ** margin
            return cls(low / factor, high * factor, start, end, log, base)
        room = margin * (high - low)
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        """The place of a number."""
        share = (self._of(value) - self._of(self.low)) / (self._of(self.high) - self._of(self.low))
        return self.start + share * (self.end - self.start)

    @cached_property
    def ticks(self) -> list[float]:
        """Round numbers inside, some five of them."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        wide = self.log and self.high / self.low > 3 * self.base
        locator = LogLocator(self.base, numticks=6) if wide else MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
        return [t for t in locator.tick_values(self.low, self.high) if self.low <= t <= self.high]

    def _of(self, value: float) -> float:
        return float(np.log(value)) if self.log else value
