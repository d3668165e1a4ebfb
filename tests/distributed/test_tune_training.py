"""`ames-ray tune sweep=training` on a real Ray, against what the runs themselves have logged."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.tune_training import TuneTrainingConfig
from ames_ray.distributed.tune_training import Runs, early_stopping
from ames_ray.files import Storage
from ames_ray.tuning.runs import run_name
from ames_ray.tuning.study import OpenStudy, open_study
from ames_ray.tuning.training_sweep import parse_training_sweep
from tests.training.landmarks import make_training_folder
from tests.training.runs import Killed, Watching, one_thread, run_here, validated, words

EPOCHS, FACTOR, KEPT = 3, 3, 2
TOO_HIGH = 1e30
SWEEP = """
search: training
figure: hard_mAP
trials: 6
space:
  lr: {float: [0.000001, 1.0e+30], log: true}
  weight_decay: {float: [0, 0.1]}
  min_desc: {int: [2, 8]}
points:
  - {lr: 1.0e+30, weight_decay: 0, min_desc: 4}
  - {lr: 0.000001, weight_decay: 0, min_desc: 8}
  - {lr: 0.02, weight_decay: 0.01, min_desc: 2}
  - {lr: 0.005, weight_decay: 0.01, min_desc: 6}
  - {lr: 0.001, weight_decay: 0.1, min_desc: 2}
"""
OWN = {"lr": 2e-4, "weight_decay": 5e-4, "min_desc": 4}


def settings(here: Path, output: Path, *more: str) -> list[str]:
    asked = (f"sweep={here / 'few.yaml'}", f"epochs={EPOCHS}", f"keep_best={KEPT}", "figure=null", *more)
    return words(here, output, *validated(here), *asked)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_training_folder(tmp_path_factory.mktemp("training"))
    (folder / "few.yaml").write_text(SWEEP)
    return folder


@pytest.fixture(scope="module")
def searched(local_ray: None, here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six trials; the first one finds a run of its own that was cut off."""
    output = tmp_path_factory.mktemp("tuning")
    folder = output / "few"
    first = folder / "runs" / run_name(OWN)
    config = compose(TuneTrainingConfig, settings(here, output, "figure=hard_mAP"))
    with pytest.raises(Killed):
        # Its last checkpoint is that of step 6.
        run_here(config.job(OWN, str(first)), Watching(last=8))
    (output / "begun.csv").write_bytes((first / "log.csv").read_bytes())
    assert main(["tune", *settings(here, output)]) == 0
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def curves(folder: Path) -> list[list[float]]:
    """What the epochs of each trial reached, as its run has logged it."""
    found = []
    for row in table(folder / "trials.csv"):
        epochs = folder / "runs" / row["run"] / "epochs.csv"
        found.append([float(line["hard_mAP"]) for line in table(epochs)] if epochs.exists() else [])
    return found


def result_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
    return values


def test_the_best_is_that_of_the_runs(searched: Path) -> None:
    rows, reached = table(searched / "trials.csv"), curves(searched)
    for row, curve in zip(rows, reached, strict=True):
        if curve:
            assert float(row["hard_mAP"]) == pytest.approx(max(curve), abs=1e-8)
            assert int(row["epoch"]) == 1 + curve.index(max(curve))
    best = result_of(searched)["best"]
    assert best["value"] == pytest.approx(max(max(curve) for curve in reached if curve), abs=1e-8)
    assert [row["run"] for row in rows if float(row["hard_mAP"] or 0) == best["value"]] == [best["run"]]
    assert [float(rows[0][name]) for name in OWN] == list(OWN.values())


def test_its_page_is_the_one_of_the_report(searched: Path, tmp_path: Path) -> None:
    assert main(["report", str(searched), f"output={tmp_path / 'report.html'}"]) == 0
    assert (searched / "report.html").read_bytes() == (tmp_path / "report.html").read_bytes()


def test_bad_runs_end_early_and_good_ones_do_not(searched: Path) -> None:
    """As successive halving says: below the best third of those that were as far, a run ends."""
    seen: list[float] = []
    stopped = 0
    for row, curve in zip(table(searched / "trials.csv"), curves(searched), strict=True):
        if not curve:
            continue
        is_bad = bool(seen and curve[0] < np.percentile(seen, 100 * (1 - 1 / FACTOR)))
        assert (len(curve), row["state"]) == ((1, "stopped") if is_bad else (EPOCHS, "complete"))
        seen.append(curve[0])
        stopped += int(is_bad)
    assert 0 < stopped < len(seen) - 1


def test_a_run_that_was_cut_off_goes_on_from_its_checkpoint(searched: Path) -> None:
    begun = table(searched.parent / "begun.csv")
    ended = table(searched / "runs" / run_name(OWN) / "log.csv")
    # Rates are of the clock: equal ones are of the same step.
    assert len(begun) == 6
    assert ended[:6] == begun
    assert len(ended) == 15


def test_a_run_whose_loss_is_not_finite_is_marked(searched: Path) -> None:
    rows = table(searched / "trials.csv")
    (failed,) = [row for row in rows if row["state"] == "failed"]
    assert float(failed["lr"]) == TOO_HIGH
    assert "the loss is" in failed["reason"]
    assert result_of(searched)["counts"]["failed"] == 1


def test_only_best_and_last_of_the_best_runs_stay(searched: Path) -> None:
    rows = [row for row in table(searched / "trials.csv") if row["state"] != "failed"]
    kept = {row["run"] for row in sorted(rows, key=lambda row: -float(row["hard_mAP"]))[:KEPT]}
    networks = {path.relative_to(searched / "runs") for path in searched.glob("runs/**/*.pt")}
    assert networks == {Path(run) / name for run in kept for name in ("best.pt", "last.pt")}
    assert len(list(searched.glob("runs/*/epochs.csv"))) == len(rows)


def test_the_study_is_optunas(searched: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(searched / "study.journal")))
    study = optuna.load_study(study_name=None, storage=storage)
    states = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}
    rows = table(searched / "trials.csv")
    assert [trial.state.name for trial in study.trials] == [states[row["state"]] for row in rows]
    for trial, curve in zip(study.trials, curves(searched), strict=True):
        assert list(trial.intermediate_values.values()) == pytest.approx(curve, abs=1e-8)


def test_again_it_does_nothing_and_its_command_trains_the_best(
    here: Path, searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {path.name: path.read_bytes() for path in searched.iterdir() if path.is_file()}
    assert main(["tune", *settings(here, searched.parent)]) == 0
    assert {path.name: path.read_bytes() for path in searched.iterdir() if path.is_file()} == kept
    out = capsys.readouterr().out
    command = shlex.split(out.partition("use it: ")[2])
    assert command[:2] == ["ames-ray", "train"]
    with one_thread():
        assert main([*command[1:-1], f"output={tmp_path}"]) == 0
    reached = [float(row["hard_mAP"]) for row in table(tmp_path / "epochs.csv")]
    best = result_of(searched)["best"]
    assert max(reached) == pytest.approx(best["value"], abs=1e-6)
    card = json.loads((tmp_path / "card.json").read_bytes())
    assert {name: card["config"][name] for name in OWN} == {name: best[name] for name in OWN}


def test_another_space_is_refused_with_what_differs(
    here: Path, searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.yaml").write_text(SWEEP.replace("[0, 0.1]", "[0, 0.2]"))
    other = [f"sweep={tmp_path / 'few.yaml'}", "seed=3"]
    assert main(["tune", *settings(here, searched.parent), *other]) == 2
    err = capsys.readouterr().err
    assert "space.weight_decay.float: [0.0, 0.1], now [0.0, 0.2]" in err
    assert "settings.seed: 0, now 3" in err


def test_the_figure_of_a_file_also_decides_which_network_of_a_run_is_its_best(searched: Path) -> None:
    result = result_of(searched)
    assert result["figure"] == "hard_mAP"
    card = json.loads((searched / "runs" / result["best"]["run"] / "card.json").read_bytes())
    assert card["result"]["figure"] == "hard_mAP"
    assert card["result"]["best"] == pytest.approx(result["best"]["value"], abs=1e-6)
    assert card["result"]["best_epoch"] == result["best"]["epoch"]


def test_a_figure_that_validation_does_not_measure_is_refused_before_a_run_begins(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("search: training\nfigure: hard_mP@10\nspace: {lr: 0.001}\n")
    assert main(["tune", *settings(here, tmp_path, f"sweep={own}")]) == 2
    assert "figure=hard_mP@10: allowed are easy_mAP, medium_mAP, hard_mAP" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


@pytest.mark.usefixtures("local_ray")
def test_a_run_takes_no_gpu_that_was_not_reserved_for_it(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = settings(here, tmp_path, "trials=1", "device=cuda", "gpus_per_worker=0")
    assert main(["tune", *words]) == 2
    assert "device=cuda, but no GPU was reserved for the worker" in capsys.readouterr().err


def asking(here: Path, folder: Path, space: str, missing: int) -> tuple[Runs, OpenStudy]:
    """What Ray Tune asks, and the study behind it."""
    sweep = parse_training_sweep("t", f"search: training\nspace: {space}", "t")
    opened = open_study(folder / "study.journal", "t", sweep.space, {}, directions=["maximize"])
    config = compose(TuneTrainingConfig, settings(here, folder))
    return Runs(opened, config, "hard_mAP", missing, Storage.at(folder / "runs")), opened


def test_a_point_that_is_known_or_under_way_is_not_started_again(here: Path, tmp_path: Path) -> None:
    runs, opened = asking(here, tmp_path, "{lr: 0.001}", 4)
    runs.suggest("a")
    runs._to_ask = 2  # the fourth is asked when the first ones have ended
    assert runs.suggest("b") == "FINISHED"
    for epoch in range(1, EPOCHS + 1):
        runs.on_trial_result("a", {"epoch": epoch, "hard_mAP": 0.1 * epoch, "loss": 1.0, "failed": ""})
    runs.on_trial_complete("a", {"epoch": EPOCHS, "hard_mAP": 0.3, "loss": 1.0, "failed": ""})
    assert runs.missing == 1
    runs._to_ask = 1
    assert runs.suggest("c") == "FINISHED"
    assert [trial.value for trial in opened.study.trials] == pytest.approx([0.3] * 4)
    assert runs.missing == 0


def test_a_run_whose_worker_died_for_good_is_marked(here: Path, tmp_path: Path) -> None:
    runs, opened = asking(here, tmp_path, "{lr: {float: [0.001, 0.01]}}", 2)
    for name in "ab":
        assert isinstance(runs.suggest(name), dict)
    runs.on_trial_result("a", {"epoch": 1, "hard_mAP": 0.5, "loss": 1.0, "failed": ""})
    runs.on_trial_complete("a", {"epoch": 1, "hard_mAP": 0.5, "loss": 1.0, "failed": ""}, error=True)
    runs.on_trial_complete("b", None, error=True)
    reasons = [trial.user_attrs["reason"] for trial in opened.study.trials]
    assert reasons == ["its worker ended without an answer"] * 2
    assert [trial.state.name for trial in opened.study.trials] == ["FAIL"] * 2


def test_a_point_that_failed_and_is_tried_again_keeps_its_files(here: Path, tmp_path: Path) -> None:
    runs, _ = asking(here, tmp_path, "{lr: {choice: [0.001, 0.002]}}", 40)
    first, ended = runs.suggest("a"), {"epoch": EPOCHS, "hard_mAP": 0.5, "loss": 1.0, "failed": ""}
    assert isinstance(first, dict)
    runs.on_trial_complete("a", None, error=True)
    asked = {name: runs.suggest(name) for name in "bc"}
    (again,) = [name for name, found in asked.items() if found == first]
    (other,) = set("bc") - {again}
    folder = tmp_path / "runs" / run_name(first["point"])
    files = [folder / "checkpoints" / "step-00000002-0123456789abcdef.pt", folder / "last.pt"]
    (folder / "checkpoints").mkdir(parents=True)
    for path in files:
        path.touch()
    runs.on_trial_complete(other, ended)
    assert all(path.exists() for path in files)
    runs.on_trial_complete(again, ended)
    assert not files[0].exists()


def test_early_stopping_knows_what_earlier_calls_reached(here: Path, tmp_path: Path) -> None:
    runs, opened = asking(here, tmp_path, "{lr: {float: [0.001, 0.01]}}", 3)
    config = compose(TuneTrainingConfig, settings(here, tmp_path))

    def decided(value: float) -> str:
        scheduler = early_stopping(opened, config, "hard_mAP")
        trial = SimpleNamespace(trial_id="new")
        scheduler.on_trial_add(None, trial)
        return str(scheduler.on_trial_result(None, trial, {"epoch": 1, "hard_mAP": value}))

    assert decided(0.1) == "CONTINUE"
    for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7)):
        runs.suggest(name)
        result = {"epoch": 1, "hard_mAP": value, "loss": 1.0, "failed": ""}
        runs.on_trial_complete(name, result)
    # A third of them is at 0.633 or above.
    assert decided(0.63) == "STOP"
    assert decided(0.64) == "CONTINUE"
