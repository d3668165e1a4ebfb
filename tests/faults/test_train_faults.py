"""Training that is killed, a worker or the command itself: the curve is that of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.training.landmarks import make_training_folder
from tests.training.runs import numbers, validated, words

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]
STEPS = 200
PATIENCE = 900.0


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_training_folder(tmp_path_factory.mktemp("training"))


PROGRAM = "import sys; from ames_ray.cli.main import main; sys.exit(main(sys.argv[1:]))"
IMPATIENT = f"import ames_ray.distributed.train as train; train.START_SECONDS = 20.0; {PROGRAM}"
"""The command, with less time for a worker to begin."""


def start(here: Path, output: Path, *more: str, program: str = PROGRAM) -> subprocess.Popen[str]:
    settings = words(here, output, "epochs=40", "workers=2", *validated(here), *more)
    return subprocess.Popen(
        [sys.executable, "-c", program, "train", *settings],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(running: subprocess.Popen[str]) -> None:
    _, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, errors


def wait_for_checkpoint(running: subprocess.Popen[str], output: Path) -> None:
    """Return once there is something to go on from."""
    end = time.monotonic() + PATIENCE
    while not list((output / "checkpoints").glob("step-*.pt")):
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


def train_workers(running: subprocess.Popen[str]) -> Iterator[psutil.Process]:
    for process in psutil.Process(running.pid).children(recursive=True):
        if "TrainWorker" in " ".join(process.cmdline()):
            yield process


@pytest.fixture(scope="module")
def undisturbed(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(here, output))
    assert len(numbers(output)) == STEPS
    return output


def same_curve(one: Path, other: Path) -> None:
    np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-6, atol=1e-9)


def test_a_killed_worker_costs_the_steps_since_the_last_checkpoint(
    here: Path, undisturbed: Path, tmp_path: Path
) -> None:
    running = start(here, tmp_path / "run", "overwrite=true")
    wait_for_checkpoint(running, tmp_path / "run")
    victims = list(train_workers(running))
    assert len(victims) == 2
    victims[0].send_signal(signal.SIGKILL)
    finish(running)
    same_curve(tmp_path / "run", undisturbed)
    # What was begun is not deleted a second time: the name of a log ends with the steps before it.
    later = [path for path in (tmp_path / "run" / "tensorboard").iterdir() if path.suffix != ".00000000"]
    assert later


def test_a_killed_command_goes_on_when_it_is_run_again(here: Path, undisturbed: Path, tmp_path: Path) -> None:
    running = start(here, tmp_path / "run")
    wait_for_checkpoint(running, tmp_path / "run")
    running.kill()
    running.communicate(timeout=PATIENCE)
    assert not (tmp_path / "run" / "card.json").exists()
    finish(start(here, tmp_path / "run"))
    same_curve(tmp_path / "run", undisturbed)


def test_a_stalled_worker_is_started_again(here: Path, undisturbed: Path, tmp_path: Path) -> None:
    running = start(here, tmp_path / "run", "stall_timeout=20")
    wait_for_checkpoint(running, tmp_path / "run")
    next(train_workers(running)).suspend()
    _, errors = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, errors
    assert "no step was finished for 20 s; the workers are started again" in errors
    same_curve(tmp_path / "run", undisturbed)


def test_workers_that_never_begin_end_the_command(here: Path, tmp_path: Path) -> None:
    """Two of them stand where gloo waits for ever: each is there, and none finds the other."""
    running = start(here, tmp_path / "run", program=IMPATIENT)
    halted: set[psutil.Process] = set()
    end = time.monotonic() + PATIENCE
    while running.poll() is None and time.monotonic() < end:
        with contextlib.suppress(psutil.NoSuchProcess):
            for worker in set(train_workers(running)) - halted:
                worker.suspend()
                halted.add(worker)
        time.sleep(0.05)
    running.terminate()
    _, errors = running.communicate(timeout=PATIENCE)
    for worker in halted:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    assert running.returncode == 2
    assert "error: no worker began within 20 s" in errors
    assert "set GLOO_SOCKET_IFNAME on every node" in errors
