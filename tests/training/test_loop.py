"""Runs from the command line's settings to files, in this process."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ames_ray.config.train_parts import make_parts, prepare
from ames_ray.errors import AmesError, ConfigError, RunError
from ames_ray.evaluation.score_files import load_shortlist, save_scores
from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage
from ames_ray.model.checkpoints import load_ames, save_ames
from ames_ray.model.itq import save_rotation
from ames_ray.training.loop import TrainLoop, TrainParts, TrainReport
from tests.training.landmarks import DIM, make_training_folder
from tests.training.runs import ALONE, CURVE, Killed, Watching, curve, job, run_here, validated


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_training_folder(tmp_path_factory.mktemp("training"))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Threads change the order of sums, and with it the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_leaves_log_weights_and_card(here: Path, tmp_path: Path) -> None:
    watching = Watching()
    report = run_here(job(here, tmp_path / "run"), watching)
    assert (report.steps, report.computed) == (10, 10)
    rows = curve(tmp_path / "run")
    assert [int(row[0]) for row in rows] == list(range(1, 11))
    rates = [float(row[CURVE.index("learning_rate")]) for row in rows]
    assert rates == pytest.approx([2e-4 * (1 + np.cos(np.pi * n / 10)) / 2 for n in range(10)])
    found = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert found == [
        *("card.json", "checkpoints", "epochs.csv", "last.pt", "last.safetensors", "log.csv", "tensorboard")
    ]
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    both = [load_ames(tmp_path / "run" / f"last.{ending}") for ending in ("pt", "safetensors")]
    assert (
        torch.load(tmp_path / "run" / "last.pt", weights_only=True)["state"].keys()
        == dict(both[0].named_parameters()).keys()
    )
    for one, other in zip(both[0].parameters(), both[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert both[0].options.backbone == "test"
    card = json.loads((tmp_path / "run" / "card.json").read_bytes())
    assert card["result"]["loss"] == report.loss
    assert card["settings"]["initialisation"] == "identity"
    assert [progress.done for progress in watching.steps] == list(range(1, 11))
    assert [figures["epoch"] for figures in watching.epochs] == [1, 2]
    assert all(0 <= progress.waiting <= 1 for progress in watching.steps)


@pytest.fixture(scope="module")
def undisturbed(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    run_here(job(here, output, *validated(here)))
    return output


@pytest.mark.parametrize("kills", [[1], [4], [5], [7, 8, 9], [10]])
def test_a_killed_run_gives_the_curve_and_the_bytes_of_an_undisturbed_one(
    here: Path, undisturbed: Path, tmp_path: Path, kills: list[int]
) -> None:
    config = job(here, tmp_path / "run", *validated(here))
    for last in kills:
        with pytest.raises(Killed):
            run_here(config, Watching(last))
    report = run_here(config)
    assert report.computed > 0
    assert curve(tmp_path / "run") == curve(undisturbed)
    for name in ("last.safetensors", "best.safetensors", "epochs.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert run_here(config) == TrainReport(**{**_fields(report), "computed": 0})


def _fields(report: TrainReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in TrainReport.__dataclass_fields__}


def test_a_torn_checkpoint_is_passed_over(
    here: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = job(here, tmp_path / "run", *validated(here))
    with pytest.raises(Killed):
        run_here(config, Watching(9))
    latest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    latest.write_bytes(latest.read_bytes()[:-1000])
    with caplog.at_level(logging.WARNING):
        run_here(config)
    assert f"{latest.name} is torn" in caplog.text
    assert curve(tmp_path / "run") == curve(undisturbed)
    for number, checkpoint in enumerate((tmp_path / "run" / "checkpoints").iterdir()):
        checkpoint.write_bytes(b"" if number else b"of somebody else")
    with caplog.at_level(logging.WARNING):
        assert run_here(config).computed == 10
    assert "checkpoints holds no whole checkpoint; the run starts anew" in caplog.text
    assert curve(tmp_path / "run") == curve(undisturbed)


def test_other_settings_do_not_go_on_with_a_run(here: Path, undisturbed: Path, tmp_path: Path) -> None:
    first = job(here, tmp_path / "run")
    run_here(first)
    with pytest.raises(ConfigError, match=r"lr: 0.0002, now 0.1"):
        run_here(job(here, tmp_path / "run", "lr=0.1"))
    before = curve(tmp_path / "run")
    run_here(job(here, tmp_path / "run", "lr=0.1", "overwrite=true"))
    assert curve(tmp_path / "run") != before
    del undisturbed


def test_a_run_goes_on_with_equal_files_and_not_with_others(
    here: Path, undisturbed: Path, tmp_path: Path
) -> None:
    names = {"nn_file": "nn.parquet", "itq": "itq.npz", "teacher": "teacher.pt"}

    def words(folder: str) -> list[str]:
        return ["binary=true", *(f"{setting}={tmp_path / folder / n}" for setting, n in names.items())]

    (tmp_path / "first").mkdir()
    shutil.copy(here / "nn.parquet", tmp_path / "first")
    save_rotation(torch.linalg.qr(torch.randn(DIM, DIM))[0][:, :16], tmp_path / "first" / "itq.npz")
    shutil.copy(undisturbed / "last.pt", tmp_path / "first" / "teacher.pt")
    shutil.copytree(tmp_path / "first", tmp_path / "moved")
    with pytest.raises(Killed):
        run_here(job(here, tmp_path / "run", *words("first")), Watching(4))
    with pytest.raises(Killed):
        run_here(job(here, tmp_path / "run", *words("moved")), Watching(6))
    near = load_shortlist(str(here / "nn.parquet"))
    save_scores(Shortlist(near.rows[:, :-1], near.similarities[:, :-1]), str(tmp_path / "moved/nn.parquet"))
    save_rotation(torch.linalg.qr(torch.randn(DIM, DIM))[0][:, :16], tmp_path / "moved" / "itq.npz")
    other = load_ames(undisturbed / "last.pt")
    with torch.no_grad():
        other.classifier.bias.add_(1)
    save_ames(other, tmp_path / "moved" / "teacher.pt")
    for setting, name in names.items():
        changed = f"{setting}={tmp_path / 'moved' / name}"
        with pytest.raises(ConfigError, match=rf"other settings:\n  {setting}: \".*, now \".*\"\nhint"):
            run_here(job(here, tmp_path / "run", *words("first"), changed))


@pytest.mark.parametrize(
    "wrong",
    [
        *("store=nowhere", "nn_file=nowhere.parquet", "val_ground_truth=nowhere.json", "min_desc=12"),
        *("teacher=nowhere.pt", "teacher=sift_ames", "itq=nowhere.npz", "source=stars"),
    ],
)
def test_a_job_that_cannot_be_leaves_the_old_run_alone(
    here: Path, undisturbed: Path, tmp_path: Path, wrong: str
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    with pytest.raises(AmesError):
        run_here(job(here, tmp_path / "run", *validated(here), "binary=true", "overwrite=true", wrong))
    kept = [{path.name for path in run.rglob("*")} for run in (undisturbed, tmp_path / "run")]
    assert kept[0] <= kept[1]


def test_the_best_epoch_is_the_one_with_the_best_figure(
    here: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Validation against the evaluation of the saved weights by the verb of that name."""
    from ames_ray.cli.main import main

    words = ["evaluate", f"query={here / 'query'}", f"gallery={here / 'gallery'}"]
    words += [f"ground_truth={here / 'gnd.json'}", "lamb=0", "temp=1", "num_rerank=12", "figure=hard_mAP"]
    with (undisturbed / "epochs.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    for name, row in (
        ("last", rows[-1]),
        ("best", max(rows, key=lambda row: float(row["hard_mAP"]))),
    ):
        output = tmp_path / name
        assert main([*words, f"model={undisturbed / name}.pt", f"output={output}"]) == 0
        (result,) = output.glob("evaluation-*.json")
        figures = json.loads(result.read_bytes())["best"]["figures"]
        assert float(row["hard_mAP"]) == pytest.approx(figures["hard_mAP"], abs=1e-6)


def test_a_student_learns_from_its_teacher(here: Path, undisturbed: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_rotation(torch.linalg.qr(torch.randn(DIM, DIM))[0][:, :16], tmp_path / "itq.npz")
    words = ("binary=true", f"itq={tmp_path / 'itq.npz'}", f"teacher={undisturbed / 'last.pt'}")
    report = run_here(job(here, tmp_path / "run", *words, "epochs=10", "lr=0.005"))
    rows = curve(tmp_path / "run")
    errors = [float(row[CURVE.index("token_mse")]) for row in rows]
    assert np.mean(errors[-5:]) < 0.8 * np.mean(errors[:5])
    assert report.loss > 10 * np.mean(errors[-5:]) * 0.9
    assert load_ames(tmp_path / "run" / "last.pt").options.binary


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_rotation_stays_as_it_was_fitted(here: Path, tmp_path: Path, frozen: bool) -> None:
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(DIM, DIM))[0][:, :16]
    save_rotation(rotation, tmp_path / "itq.npz")
    words = ("binary=true", f"itq={tmp_path / 'itq.npz'}", f"freeze_rotation={frozen}", "epochs=1")
    run_here(job(here, tmp_path / "run", *words))
    found = load_ames(tmp_path / "run" / "last.pt").get_parameter("remap_local.0.W")
    assert torch.equal(found, rotation) == frozen


def test_a_teacher_of_another_width_is_refused(here: Path, undisturbed: Path, tmp_path: Path) -> None:
    words = ("binary=true", f"teacher={undisturbed / 'last.pt'}", "dim=8")
    with pytest.raises(ConfigError, match="the teacher has dim=16, the network in training dim=8"):
        run_here(job(here, tmp_path / "run", *words))


def test_a_loss_that_is_not_finite_names_its_images(here: Path, tmp_path: Path) -> None:
    config = job(here, tmp_path / "run")
    prepare(config)
    parts = make_parts(config)
    with torch.no_grad():
        parts.model.classifier.bias.fill_(torch.inf)
    with pytest.raises(RunError, match="epoch 1, step 0: the loss is") as caught:
        TrainLoop(parts, ALONE, Watching()).run()
    assert "not_finite.json" in str(caught.value)
    saved = json.loads((tmp_path / "run" / "not_finite.json").read_bytes())
    plan = parts.source.plan(0, 0)
    assert saved["triplets"] == [[f"img0-{row}" for row in triplet] for triplet in plan.triplets.tolist()]
    assert Storage.at(tmp_path / "run" / "checkpoints").names() == []


class Clock:
    """Goes on by a second each time that it is looked at."""

    now = 0.0

    def perf_counter(self) -> float:
        self.now += 1
        return self.now


def test_a_slow_disk_is_no_part_of_a_step(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    def fsync(descriptor: int) -> None:
        # TensorBoard's files are written by a thread, which no step waits for.
        if threading.current_thread() is threading.main_thread():
            clock.now += 1000

    config = job(here, tmp_path / "run", "checkpoint_every=3")
    prepare(config)
    monkeypatch.setattr("ames_ray.training.progress.time", clock)
    monkeypatch.setattr(os, "fsync", fsync)
    watching = Watching()
    TrainLoop(make_parts(config), ALONE, watching).run()
    assert clock.now > 4000
    assert [progress.seconds_left for progress in watching.steps] == list(range(9, -1, -1))


def test_training_tells_landmarks_apart(here: Path, tmp_path: Path) -> None:
    report = run_here(job(here, tmp_path / "run", "epochs=40", "lr=0.005", "checkpoint_every=500"))
    assert report.accuracy > 0.8
    assert report.loss < 0.5


def test_too_few_descriptors_are_refused(here: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keeps 12 descriptors"):
        run_here(job(here, tmp_path / "run", "min_desc=12"))


def test_a_student_reads_more_than_it_sees(here: Path, undisturbed: Path, tmp_path: Path) -> None:
    """The teacher sees all that the store keeps, the student a prefix of it."""
    config = job(here, tmp_path / "run", "binary=true", f"teacher={undisturbed / 'last.pt'}")
    parts: TrainParts = make_parts(config)
    assert parts.options.teacher_desc_num == 12
    loop = TrainLoop(parts, ALONE, Watching())
    plans = list(loop._plans())
    assert {(plan.query_count, plan.gallery_count) for plan in plans} == {(12, 12)}
    assert {plan.query_seen for plan in plans} <= set(range(4, 12))
