"""The report of training, from real runs of ten steps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.report.training_run import thinned
from tests.report.test_page import Blocks
from tests.training.landmarks import make_training_folder
from tests.training.runs import job, run_here, validated


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, `slow` and `fast`; the second one is validated."""
    here = tmp_path_factory.mktemp("training")
    make_training_folder(here)
    run_here(job(here, here / "runs" / "slow", "lr=0.0001"))
    run_here(job(here, here / "runs" / "fast", "lr=0.01", *validated(here)))
    return here / "runs"


def stops(page: Path) -> list[list[list[float | str]]]:
    return [found["stops"] for found in Blocks(page.read_text()).islands()["readouts"]]


def test_one_run_tells_of_every_step_and_epoch(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(runs / "fast")]) == 0
    page = runs / "fast" / "report.html"
    assert capsys.readouterr().out.strip() == f"written: {page}"
    text = page.read_text()
    card = json.loads((runs / "fast" / "card.json").read_bytes())
    best = card["result"]["best_epoch"]
    epochs = list(csv.DictReader((runs / "fast" / "epochs.csv").open()))
    steps = list(csv.DictReader((runs / "fast" / "log.csv").open()))
    assert f"<b>{100 * float(epochs[best - 1]['hard_mAP']):.2f}</b>" in text
    charts = {str(found[0][1]).partition(" ")[0]: found for found in stops(page)}
    assert set(charts) == {"epoch", "step"}
    loss = next(found for found in stops(page) if f"fast {float(steps[0]['loss']):.4f}" in str(found[0][1]))
    assert [words for _, words in loss] == [
        f"step {number}: fast {float(row['loss']):.4f}" for number, row in enumerate(steps, 1)
    ]
    before = 100 * card["result"]["before"]["hard_mAP"]
    assert f"global ranking {before:.2f}" in json.dumps(stops(page))
    for words in ("Pairs on the right side", "Learning rate", "Length of the gradient", "waiting", "0.01"):
        assert words in text
    assert "Squared error of the tokens" not in text
    assert text.count('class="ring"') == len({name for name in epochs[0] if "_mAP" in name})


def test_several_runs_are_drawn_over_each_other(runs: Path, tmp_path: Path) -> None:
    page = tmp_path / "both.html"
    assert main(["report", str(runs / "fast"), str(runs / "slow"), f"output={page}"]) == 0
    text = page.read_text()
    words = json.dumps(stops(page))
    assert "fast 0." in words
    assert ", slow 0." in words
    differing = text[text.index("Settings that differ") : text.index("Settings that all have")]
    assert "<td>lr</td><td>0.01</td><td>0.0001</td>" in differing
    assert "<td>epochs</td>" not in differing
    assert "Card of fast" in text
    assert "Card of slow" in text
    assert main(["report", str(runs)]) == 0
    assert (runs / "report.html").read_bytes() == page.read_bytes()


def test_a_run_that_goes_on_has_a_page(runs: Path, tmp_path: Path) -> None:
    going = tmp_path / "going"
    going.mkdir()
    for name in ("log.csv", "epochs.csv"):
        (going / name).write_bytes((runs / "fast" / name).read_bytes())
    assert main(["report", str(going)]) == 0
    text = (going / "report.html").read_text()
    assert "going is not finished" in text
    assert text.count("<polyline") >= 6


@pytest.mark.parametrize(
    ("content", "message"), [("total,loss\n", "has no step yet"), ("total,loss\n1,x\n", "is no log of")]
)
def test_other_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "log.csv").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("first", "count", "width"), [(1, 1000, 7.0), (1, 5, 1.0), (50, 10, 40.0)])
def test_parts_of_a_long_log_are_means_with_their_extremes(first: int, count: int, width: float) -> None:
    x = np.arange(first, first + count, dtype=np.float64)
    y = np.random.default_rng(0).random(count)
    ends, means, lows, highs = thinned(x, y, width)
    for end, mean, low, high in zip(ends, means, lows, highs, strict=True):
        own = y[(x > end - width) & (x <= end)]
        assert (mean, low, high) == pytest.approx((own.mean(), own.min(), own.max()))
    assert len(ends) == len({int(np.ceil(at / width)) for at in x})
