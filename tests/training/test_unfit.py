"""Stores and teachers that a run could not use to its end: refused before it begins."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.evaluation.score_files import load_shortlist, save_scores
from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage
from ames_ray.model.ames import Ames
from ames_ray.model.checkpoints import load_ames, save_ames
from ames_ray.model.itq import save_rotation
from ames_ray.store.meta import META, StoreMeta
from tests.training.landmarks import DIM, make_training_folder
from tests.training.runs import validated, words

pytestmark = pytest.mark.usefixtures("alone")

BINARY = ("binary=true", "bits=8", "epochs=1")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training folder with a run, `run`, and stores that are projected by its network."""
    folder = make_training_folder(tmp_path_factory.mktemp("unfit"))
    rotation = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(0)))[0]
    save_rotation(rotation[:, :8], folder / "itq.npz")
    nearest = load_shortlist(str(folder / "nn.parquet"))
    save_scores(Shortlist(nearest.rows, nearest.similarities), str(folder / "nn.parquet"))
    frozen = (f"itq={folder / 'itq.npz'}", "freeze_rotation=true")
    assert main(["train", *words(folder, folder / "run", *BINARY, *frozen)]) == 0
    for name in ("train", "query", "gallery"):
        given = (f"in={folder / name}", f"out={folder / 'projected' / name}")
        assert main(["store", "project", f"model={folder / 'run' / 'last.pt'}", *given]) == 0
    return folder


def refused(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What the command says; the run that it would take the place of stays as it is."""
    run = shutil.copytree(here / "run", tmp_path / "run")
    before = {path.relative_to(run) for path in run.rglob("*")}
    capsys.readouterr()
    assert main(["train", *words(here, run, *BINARY, "overwrite=true", *more)]) == 2
    assert {path.relative_to(run) for path in run.rglob("*")} >= before
    return capsys.readouterr().err


def test_projected_descriptors_to_train_on(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = here / "projected" / "train"
    said = refused(here, tmp_path, capsys, f"store={store}", "initialisation=published")
    assert f"{store} holds projected descriptors, and raw ones are needed" in said
    assert not (store / "packed.hdf5").exists()
    assert main(["itq", f"store={store}", "bits=8", f"output={tmp_path / 'itq.npz'}"]) == 2
    assert "holds projected descriptors" in capsys.readouterr().err


def test_held_out_images_of_another_backbone(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = shutil.copytree(here, tmp_path / "files")
    for name in ("query", "gallery"):
        storage = Storage.at(files / name)
        meta = StoreMeta.from_json(storage.read(META), META)
        storage.publish(META, replace(meta, settings={"backbone": "another"}).to_json())
    said = refused(here, tmp_path, capsys, *validated(files))
    assert f"{files / 'query'} holds descriptors of another, the model takes those of test" in said


@pytest.mark.parametrize("frozen", [True, False])
def test_held_out_images_that_are_projected(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], frozen: bool
) -> None:
    """They fit as long as training leaves their projection as it is."""
    projected = here / "projected"
    stores = [f"val_query={projected / 'query'}", f"val_gallery={projected / 'gallery'}"]
    given = (f"itq={here / 'itq.npz'}", f"freeze_rotation={frozen}", *validated(here), *stores)
    if frozen:
        assert main(["train", *words(here, tmp_path / "run", *BINARY, *given)]) == 0
        return
    said = refused(here, tmp_path, capsys, *given)
    assert f"{projected / 'query'} is projected, and training changes the projection" in said


def test_a_teacher_of_another_backbone(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = load_ames(here / "run" / "last.pt")
    other = Ames(replace(trained.options, backbone="another"))
    other.load_state_dict(trained.state_dict())
    save_ames(other, tmp_path / "teacher.safetensors")
    said = refused(here, tmp_path, capsys, f"teacher={tmp_path / 'teacher.safetensors'}")
    assert "the teacher was trained on descriptors of another, these are of test" in said
