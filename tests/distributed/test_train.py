"""Training with Ray Train, against the same run in one process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ames_ray.errors import ConfigError, ResourceError, RunError
from tests.training.landmarks import make_training_folder
from tests.training.runs import Watching, job, numbers, run_here, validated


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_training_folder(tmp_path_factory.mktemp("training"))


@pytest.mark.usefixtures("local_ray")
def test_two_workers_give_the_run_of_one(here: Path, tmp_path: Path) -> None:
    """A student with all that a step may be made of; a GPU that is not wanted is not reserved either."""
    from ames_ray.distributed import train

    run_here(job(here, tmp_path / "teacher", "epochs=1"))
    words = ("binary=true", f"teacher={tmp_path / 'teacher' / 'last.pt'}", "negatives=2", "accumulate=2")
    alone = run_here(job(here, tmp_path / "one", *words, *validated(here)))
    watching = Watching()
    config = job(here, tmp_path / "two", *words, "workers=2", "gpus_per_worker=3", *validated(here))
    report = train.run(config, watching)
    np.testing.assert_allclose(numbers(tmp_path / "two"), numbers(tmp_path / "one"), rtol=1e-4, atol=1e-6)
    assert report.best_epoch == alone.best_epoch
    assert report.figures == pytest.approx(alone.figures, abs=0.02)
    assert report.before == alone.before
    assert [figures["epoch"] for figures in watching.epochs] == [1, 2]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_as_many_workers_as_there_are_give_the_run_of_one(here: Path, tmp_path: Path) -> None:
    from ames_ray.distributed import train

    run_here(job(here, tmp_path / "one"))
    train.run(job(here, tmp_path / "two", "workers=2", "min_workers=1"), Watching())
    np.testing.assert_allclose(numbers(tmp_path / "two"), numbers(tmp_path / "one"), rtol=1e-4, atol=1e-6)


@pytest.mark.faults
@pytest.mark.usefixtures("local_ray")
def test_what_stops_a_worker_is_told_as_it_is(here: Path, tmp_path: Path) -> None:
    from ames_ray.distributed import train

    run_here(job(here, tmp_path / "run", "epochs=1"))
    before = {path: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()}
    # Deaths are borne without end, and this is none.
    words = ("source=tests.distributed.sources:not_on_workers", "overwrite=true", "max_failures=-1")
    with pytest.raises(ConfigError, match="this node lacks what the driver's has"):
        train.run(job(here, tmp_path / "run", "workers=2", *words), Watching())
    assert {path: path.read_bytes() for path in (tmp_path / "run" / "checkpoints").iterdir()} == before


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_loss_that_is_not_finite_ends_the_run_with_the_images_of_its_batch(
    here: Path, tmp_path: Path
) -> None:
    from ames_ray.distributed import train

    config = job(here, tmp_path / "run", "workers=2", "lr=1e30", "max_failures=-1")
    with pytest.raises(RunError, match="the loss is"):
        train.run(config, Watching())
    told = json.loads((tmp_path / "run" / "not_finite.json").read_bytes())
    assert len(told["triplets"]) == 10


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("gpus_per_worker=0",), "device=cuda, but no GPU was reserved for the worker"),
        pytest.param(
            (),
            "a GPU is reserved for each worker, but torch sees no CUDA device there",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(torch.cuda.is_available(), reason="the declared GPUs are there"),
            ],
        ),
    ],
)
@pytest.mark.usefixtures("local_ray")
def test_a_gpu_that_is_not_there_is_told(
    here: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    from ames_ray.distributed import train

    with pytest.raises(ResourceError, match=message):
        train.run(job(here, tmp_path / "run", "workers=2", "device=cuda", *more), Watching())
