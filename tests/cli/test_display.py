from __future__ import annotations

import io

import pytest
from rich.console import Console

from ames_ray.cli.display import Display, describe, duration
from ames_ray.cli.train_detector import DetectorDisplay
from ames_ray.distributed.board import BoardState
from ames_ray.extraction.progress import Progress
from ames_ray.training.detector_loop import DetectorStep


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (18720, "5 h 12 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_rate_failures_and_time_left() -> None:
    progress = Progress(rows=50, failed=2, waiting=5, computing=15)
    line = describe(BoardState(progress, {"w": "cpu"}, {}, 0.0), left=100, seconds=10)
    assert line == "5.0 images/s  ETA 20 s  2 failed  network busy 75 %"


def test_a_log_gets_the_last_step_whatever_the_time() -> None:
    out = io.StringIO()
    with DetectorDisplay(2, Console(file=out, width=80)) as display:
        for number in (1, 2):
            display(DetectorStep(number, loss=0.5, nearest=1, lr=1e-3, failed=0, waited=0, seconds=0.1))
    (line,) = out.getvalue().splitlines()
    assert line.startswith("train_detector 2/2  loss 0.500")


def test_a_log_gets_plain_lines() -> None:
    out = io.StringIO()
    with Display(Console(file=out, width=80)) as display:
        display.begin(100, 40)
        for _ in range(2):
            display.update(BoardState(Progress(), {"host-1": "host-1: cpu"}, {}, 0.0))
    assert out.getvalue() == "100 images, 40 of them are done already\nworker host-1: cpu\n"
