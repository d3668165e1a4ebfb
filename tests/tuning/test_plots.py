"""Plots: they can be read back, equal input gives equal bytes, nothing of the machine is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.files import Storage
from ames_ray.report.figure import publish_figure
from ames_ray.report.tuning import budget_front, convergence, landscape
from ames_ray.tuning.grid import Grid, GridTable
from ames_ray.tuning.refine import Optimum

FIGURE = "medium_mAP"


def rows(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {
            "trial": number,
            "state": "failed" if number == 3 else "complete",
            "model": ("full", "binary")[number % 2],
            "lamb": float(rng.random()),
            "temp": float(10 ** rng.uniform(-2, 1)),
            "num_rerank": int(rng.integers(1, 1600)),
            "bytes_an_image": float(2 ** rng.integers(5, 16)),
            "seconds_a_query": float(rng.random()),
            **({} if number == 3 else {FIGURE: float(rng.random())}),
        }
        for number in range(count)
    ]


def table(heads: tuple[int, ...]) -> GridTable:
    grid = Grid((0.0, 0.5, 1.0), (0.1, 1.0), heads)
    values = np.random.default_rng(1).random((2, 3, len(heads)))
    return GridTable(grid, {FIGURE: values})


def drawn(folder: Path, kind: str) -> list[Path]:
    storage = Storage.at(folder)
    complete = [row for row in rows(20) if row["state"] == "complete"]
    if kind == "landscape":
        optimum = Optimum(Ensemble(0.5, 0.3, 60), 0.9, 0.4, 0.6)
        figure = landscape(table((10, 50, 100, 400, 1600)), FIGURE, complete, optimum)
    elif kind == "one map":
        figure = landscape(table((10,)), FIGURE, [], None)
    elif kind == "convergence":
        figure = convergence(rows(20), FIGURE, 0.99)
    elif kind == "one trial":
        figure = convergence(rows(1), FIGURE, None)
    elif kind == "free front":
        # K = 0 re-ranks nothing and takes no time.
        complete = [row | {"num_rerank": 0, "seconds_a_query": 0.0} for row in complete]
        figure = budget_front(complete, FIGURE, [number % 3 == 0 for number in range(len(complete))])
    else:
        complete[0] |= {"num_rerank": 0, "seconds_a_query": 0.0}
        figure = budget_front(complete, FIGURE, [number % 3 == 0 for number in range(len(complete))])
    return [folder / name for name in publish_figure(figure, storage, "plot")]


@pytest.mark.parametrize("kind", ["landscape", "one map", "convergence", "one trial", "front", "free front"])
def test_equal_input_gives_equal_bytes(tmp_path: Path, kind: str) -> None:
    first, second = drawn(tmp_path / "a", kind), drawn(tmp_path / "b", kind)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert [path.name for path in first] == ["plot.svg", "plot.png"]
    assert ET.parse(first[0]).getroot().tag.endswith("svg")
    with Image.open(first[1]) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert min(pixels.shape) > 400
    assert pixels.std() > 5
    assert str(tmp_path).encode() not in first[0].read_bytes()
