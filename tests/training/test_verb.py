"""`ames-ray train` as a user runs it, without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.train import TrainConfig
from ames_ray.errors import ConfigError
from tests.training.landmarks import make_training_folder
from tests.training.runs import job, validated, words


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_training_folder(tmp_path_factory.mktemp("training"))


def test_a_run_prints_what_it_reached_and_goes_on_from_there(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", *words(here, tmp_path / "run", *validated(here))]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "10, 10 of them now" in captured.out
    assert "hard_mAP" in captured.out
    assert "global ranking" in captured.out
    assert "epoch 2  loss" in captured.err
    assert main(command) == 0
    assert "10, 0 of them now" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="refused where there is no GPU")
def test_a_missing_gpu_does_not_cost_the_old_run(here: Path, tmp_path: Path) -> None:
    command = ["train", *words(here, tmp_path / "run", "epochs=1")]
    assert main(command) == 0
    assert main([*command, "device=cuda", "overwrite=true"]) == 2
    assert (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["min_desc=400"], "min_desc=400: it must be below max_desc=400"),
        (["val_query=q"], "validation also needs val_gallery= and val_ground_truth="),
        (["itq=w.npz"], "itq= starts a binary network"),
        (["bits=64"], "bits= are those of a binary network"),
        (["binary=true", "freeze_rotation=true"], "freeze_rotation=true keeps the rotation of itq="),
        (["workers=2", "min_workers=3"], "min_workers=3 is above workers=2"),
        (["num_epochs=3"], "'num_epochs' is called 'epochs' here"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    here: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        job(here, tmp_path / "run", *more)
    assert message in caught.value.message


def test_recipes_are_defaults_that_settings_beat() -> None:
    needed = ["store=s", "nn_file=n", "output=o"]
    published = compose(TrainConfig, needed)
    assert (published.initialisation, published.dim, published.lr) == ("published", 128, 2e-4)
    assert (published.epochs, published.batch_size, published.weight_decay) == (15, 100, 5e-4)
    small = compose(TrainConfig, [*needed, "recipe=small", "dim=32"])
    assert (small.initialisation, small.dim, small.blocks) == ("identity", 32, 3)


def test_an_unknown_source_is_refused(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words(here, tmp_path / "run", "source=stars")]) == 2
    assert "source=stars: there is no such source" in capsys.readouterr().err
    assert main(["train", *words(here, tmp_path / "run", "source=stars:bright")]) == 2
    assert "source=stars:bright cannot be imported" in capsys.readouterr().err
