from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from ames_ray.cli.display import Display, describe, duration
from ames_ray.cli.train import TrainDisplay
from ames_ray.cli.train_detector import DetectorDisplay
from ames_ray.distributed.board import BoardState
from ames_ray.extraction.progress import Progress
from ames_ray.training.detector_loop import DetectorStep
from ames_ray.training.progress import TrainProgress


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


def test_a_line_of_training_tells_all_that_one_waits_for() -> None:
    out = io.StringIO()
    progress = TrainProgress(
        epoch=2,
        epochs=15,
        done=1234,
        steps=20000,
        loss=0.51234,
        accuracy=0.8771,
        learning_rate=2e-4,
        triplets_per_s=41.7,
        waiting=0.034,
        seconds_left=18720,
    )
    with TrainDisplay(Console(file=out, width=200, force_terminal=True, color_system=None)) as display:
        display.step(progress)
        display.epoch({"epoch": 2, "loss": 0.5, "accuracy": 0.9, "hard_mAP": 0.3456})
    shown = out.getvalue()
    for words in ("loss 0.5123", "pairs right 87.7 %", "lr 2.0e-04", "42 triplets/s", "waiting 3 %"):
        assert words in shown
    assert re.search(r"epoch 2/15 .* 1234/20000 .* ETA 5 h 12 min", shown)
    assert "epoch 2  loss 0.5000  pairs right 90.0 %  hard_mAP 34.56" in shown
