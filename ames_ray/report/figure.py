"""Figures that print well: one style, drawn by matplotlib, equal content giving equal bytes."""

from __future__ import annotations

import io
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from ames_ray.files import Storage

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")

INK, QUIET, MARK, SECOND = "#1b1f24", "#7a828c", "#d1495b", "#2e6f95"
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "ames-ray",
    "svg.fonttype": "path",
    "figure.dpi": 110,
    "savefig.dpi": 160,
}


def styled(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """The style for the time of a drawing function, whatever else this process draws."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        import matplotlib as mpl

        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; sizes in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@styled
def publish_figure(figure: Figure, folder: Storage, name: str) -> list[str]:
    """Write `name.svg` and `name.png`; returns their names."""
    names = []
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        data = io.BytesIO()
        figure.savefig(data, format=kind, metadata=metadata)
        names.append(f"{name}.{kind}")
        folder.publish(names[-1], data.getvalue())
    return names
