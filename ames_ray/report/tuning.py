"""Pictures of a search: the landscape with the trials on it, the way to the best, the front of budgets."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.report.figure import INK, MARK, QUIET, SECOND, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ames_ray.tuning.grid import GridTable
    from ames_ray.tuning.refine import Optimum

_COLUMNS = 4
_TILE = 3.1
_FAINT = 0.25


@styled
def landscape(
    table: GridTable, figure: str, rows: Sequence[Mapping[str, Any]], optimum: Optimum | None
) -> Figure:
    """A heat map of a figure over λ and γ for each K; each trial is a dot on the map of the nearest K.

    Args:
        table: The grid; its γ and λ must be two at least.
        figure: What to draw.
        rows: Trials, with lamb, temp, num_rerank; may be none.
        optimum: Marked by a cross, or none.
    """
    heads = table.grid.num_rerank
    values = 100 * table.figures[figure]
    columns = min(_COLUMNS, len(heads))
    lines = math.ceil(len(heads) / columns)
    page = new_figure(columns * _TILE + 1.0, lines * _TILE + 0.6)
    axes = page.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    low, high = contrast(values)
    nearest = [nearest_head(heads, float(row["num_rerank"])) for row in rows]
    for number, axis in enumerate(axes.flat):
        if number >= len(heads):
            axis.set_axis_off()
            continue
        mesh = axis.pcolormesh(
            table.grid.lamb,
            table.grid.temp,
            values[..., number],
            vmin=low,
            vmax=high,
            cmap="viridis",
            shading="nearest",
            rasterized=True,
        )
        _dots(axis, [row for row, head in zip(rows, nearest, strict=True) if head == number])
        axis.set_title(f"K = {heads[number]:,}: at best {np.nanmax(values[..., number]):.2f}")
        _log_scale(axis, table.grid.temp)
    if optimum is not None:
        best = optimum.ensemble
        cross = axes.flat[nearest_head(heads, best.num_rerank)]
        cross.plot(best.lamb, best.temp, "X", color=MARK, markersize=11, markeredgecolor="white")
    page.supxlabel("λ, weight of the global similarity")
    page.supylabel("γ, factor of the logit")
    page.suptitle(_landscape_title(figure, rows, optimum), x=0.01, ha="left", fontsize=12)
    page.colorbar(mesh, ax=axes, label=f"{figure} [%]", extend="min", pad=0.01)
    return page


@styled
def convergence(rows: Sequence[Mapping[str, Any]], figure: str, optimum: float | None) -> Figure:
    """Every trial and the best one so far, by the number of trials; the exact optimum as a line.

    Args:
        rows: Trials in the order of their numbers.
        figure: What the search raises.
        optimum: The exact one, a fraction, or none.
    """
    page = new_figure(8.0, 4.2)
    axis = page.subplots()
    good = [(number, 100 * row[figure]) for number, row in enumerate(rows, 1) if row["state"] == "complete"]
    failed = [number for number, row in enumerate(rows, 1) if row["state"] != "complete"]
    if good:
        numbers, values = (np.array(column) for column in zip(*good, strict=True))
        axis.plot(numbers, values, "o", color=SECOND, alpha=0.45, markersize=4, label="trial")
        best = np.maximum.accumulate(values)
        axis.step([*numbers, len(rows)], [*best, best[-1]], where="post", color=INK, label="best so far")
        span = values.max() - np.quantile(values, 0.1)
        axis.set_ylim(
            np.quantile(values, 0.1) - 0.15 * span - 1e-6,
            max(values.max(), 100 * (optimum or 0)) + 0.12 * span + 1e-6,
        )
    if optimum is not None:
        axis.axhline(100 * optimum, color=MARK, linestyle="--", label=f"exact optimum, {100 * optimum:.2f}")
    for number in failed:
        axis.axvline(number, color=MARK, alpha=_FAINT, linewidth=1)
    axis.set_xlim(0.5, len(rows) + 0.5)
    axis.set_xlabel("trials" + (f" ({len(failed)} failed, marked by lines)" if failed else ""))
    axis.set_ylabel(f"{figure} [%]")
    axis.set_title(f"{len(rows):,} trials")
    axis.legend(frameon=False, loc="lower right")
    return page


@styled
def budget_front(rows: Sequence[Mapping[str, Any]], figure: str, kept: Sequence[bool]) -> Figure:
    """The figure against bytes an image; the colour is the time a query, the shape the network.

    Args:
        rows: Complete trials with model, bytes_an_image and seconds_a_query.
        figure: What the search raises.
        kept: Which of them nothing beats.
    """
    from matplotlib.colors import LogNorm
    from matplotlib.lines import Line2D

    page = new_figure(8.4, 5.0)
    axis = page.subplots()
    flags = np.array(kept, np.bool_)
    size = np.array([row["bytes_an_image"] for row in rows], np.float64)
    value = 100 * np.array([row[figure] for row in rows], np.float64)
    seconds = np.array([row["seconds_a_query"] for row in rows], np.float64)
    models = np.array([str(row["model"]) for row in rows])
    axis.plot(size[~flags], value[~flags], "o", color=QUIET, alpha=_FAINT, markersize=4)
    # K = 0 takes no time, which a logarithm does not know: it gets the colour of the quickest other one.
    taken = seconds[flags & (seconds > 0)]
    least = float(taken.min()) if len(taken) else 1.0
    norm = LogNorm(least, max(float(taken.max(initial=0)), least * 1.01))
    handles = [
        Line2D([], [], marker="o", color=QUIET, alpha=_FAINT, linestyle="none", label="beaten by another")
    ]
    for model, shape in zip(sorted(set(models)), cycle("osD^v*"), strict=False):
        own = flags & (models == model)
        points = axis.scatter(
            size[own],
            value[own],
            c=np.maximum(seconds[own], least),
            norm=norm,
            cmap="plasma_r",
            marker=shape,
            s=48,
            edgecolor=INK,
            linewidth=0.6,
        )
        label = model.rpartition("/")[2]
        handles.append(
            Line2D([], [], marker=shape, color=INK, markerfacecolor="none", linestyle="none", label=label)
        )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda bytes_, _: size_text(bytes_))
    axis.set_xlabel("local descriptors of a gallery image")
    axis.set_ylabel(f"{figure} [%]")
    low = np.quantile(value, 0.1)
    axis.set_ylim(min(low, value[flags].min()) - 0.5, value.max() + 0.5)
    axis.set_title(f"{int(flags.sum())} of {len(rows):,} settings that nothing beats")
    axis.legend(handles=handles, frameon=False, loc="upper left")
    page.colorbar(points, ax=axis, label="time a query on one CPU [s]")
    return page


def contrast(values: NDArray[np.float64]) -> tuple[float, float]:
    """Colours for the upper part: the best of each map differ by little, the worst by much."""
    high = float(np.nanmax(values))
    low = float(np.nanquantile(values, 0.15))
    return (low, high) if low < high else (high - 1, high)


def _dots(axis: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axis.plot(
        [row["lamb"] for row in rows],
        [row["temp"] for row in rows],
        "o",
        color="white",
        markersize=4.5,
        markeredgecolor=INK,
        markeredgewidth=0.6,
        linestyle="none",
    )


def nearest_head(heads: Sequence[int], num_rerank: float) -> int:
    """Which of some K is nearest to another one, by ratio."""
    return int(np.argmin([abs(math.log1p(head) - math.log1p(num_rerank)) for head in heads]))


def _log_scale(axis: Axes, temps: Sequence[float]) -> None:
    if min(temps) > 0:
        axis.set_yscale("log")


def _landscape_title(figure: str, rows: Sequence[Mapping[str, Any]], optimum: Optimum | None) -> str:
    parts = [f"{figure} over λ, γ and K"]
    if rows:
        parts.append(f"dots: {len(rows):,} trials")
    if optimum is not None:
        parts.append(f"cross: the exact optimum, {100 * optimum.value:.2f}")
    return "; ".join(parts)


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024 or unit == "MiB":
            return f"{count:g} {unit}" if count == int(count) else f"{count:.1f} {unit}"
        count /= 1024
    return ""
