"""Searches on a real Ray Tune, their study read by Optuna and its dashboard."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ames_ray.distributed.tune import Batches, search
from ames_ray.tuning.space import Point, Value
from ames_ray.tuning.study import POINT, OpenStudy, open_study, point_key
from ames_ray.tuning.sweep_file import parse_sweep

SPACE = parse_sweep(
    "t", "space: {lamb: {float: [0, 1]}, temp: 1, num_rerank: {choice: [10, 20, 40]}}", "t"
).space
FEW = parse_sweep("t", "space: {lamb: {choice: [0, 1]}, temp: 1, num_rerank: {choice: [1, 2]}}", "t").space
RAISES, NAN = {"lamb": 0.9, "temp": 1, "num_rerank": 10}, {"lamb": 0.8, "temp": 1, "num_rerank": 10}


def figures(point: Mapping[str, Value]) -> dict[str, float]:
    """Highest at λ = 0.3; it fails at two known points."""
    lamb = float(point["lamb"])
    if lamb == RAISES["lamb"]:
        raise ValueError("this point cannot be evaluated")
    return {"medium_mAP": math.nan if lamb == NAN["lamb"] else 1 - abs(lamb - 0.3), "other": lamb}


def opened(folder: Path) -> OpenStudy:
    points: list[Point] = [{**RAISES}, {**NAN}]
    return open_study(folder / "study.journal", "t", SPACE, {}, directions=["maximize"], points=points)


def loaded(folder: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name=None, storage=storage)


@pytest.fixture(scope="module")
def searched(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten trials, then twenty in all."""
    folder = tmp_path_factory.mktemp("tune")
    for trials in (10, 20):
        seen: list[tuple[int, int]] = []
        results = search(
            opened(folder),
            figures,
            ["medium_mAP"],
            trials,
            folder=str(folder / "ray"),
            points_per_trial=5,
            report=lambda done, total, seen=seen: seen.append((done, total)),  # type: ignore[misc]
        )
        assert results is not None
        assert len(results) == 2
        assert seen[-1] == (trials, trials)
    return folder


def test_ten_trials_become_twenty_and_none_is_repeated(searched: Path) -> None:
    trials = loaded(searched).trials
    assert len(trials) == 20
    assert [trial.state.name for trial in trials] == ["FAIL"] * 2 + ["COMPLETE"] * 18
    points = [point_key(trial.user_attrs[POINT]) for trial in trials]
    assert len(set(points)) == 20
    study = opened(searched)
    assert search(study, figures, ["medium_mAP"], 20, folder=str(searched / "ray")) is None


def test_failures_have_their_reason_and_the_best_is_finite(searched: Path) -> None:
    study = opened(searched)
    reasons = [row["reason"] for row in study.rows()[:2]]
    assert reasons == ["ValueError: this point cannot be evaluated", "medium_mAP is nan"]
    best = study.best()
    assert best is not None
    assert best.values[0] == max(trial.value for trial in loaded(searched).trials if trial.value is not None)
    assert best.user_attrs["figures"] == {"medium_mAP": best.values[0], "other": best.params["lamb"]}


def test_ray_tune_leaves_a_line_for_every_point(searched: Path) -> None:
    rows = [row for path in searched.glob("ray/run-*/*/progress.csv") for row in csv.DictReader(path.open())]
    trials = {trial.number: trial for trial in loaded(searched).trials}
    assert sorted(int(row["number"]) for row in rows) == sorted(trials)
    for row in rows:
        trial = trials[int(row["number"])]
        assert float(row["lamb"]) == trial.user_attrs[POINT]["lamb"]
        if trial.value is not None:
            assert float(row["medium_mAP"]) == trial.value
    assert len(list(searched.glob("ray/run-00[12]/*/events.out.tfevents.*"))) == 4


def test_the_dashboard_shows_the_study(searched: Path) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = "from optuna_dashboard._cli import main; main()"
    journal = str(searched / "study.journal")
    process = subprocess.Popen(
        [sys.executable, "-c", command, journal, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        studies = _get(port, "/api/studies")["study_summaries"]
        assert [study["study_name"] for study in studies] == ["t"]
        shown = _get(port, f"/api/studies/{studies[0]['study_id']}?after=0")
        assert len(shown["trials"]) == 20
        assert {trial["state"] for trial in shown["trials"]} == {"Complete", "Fail"}
    finally:
        process.terminate()
        process.wait()


def _get(port: int, path: str) -> dict[str, list[dict[str, object]]]:
    """The answer, as soon as the server is up."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
                found: dict[str, list[dict[str, object]]] = json.load(response)
                return found
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(path)


def test_known_points_are_answered_without_work(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.journal", "t", FEW, {}, directions=["maximize"])
    batches = Batches(study, ["medium_mAP"], 30, 5)
    asked: list[str] = []
    for number in range(30):
        config = batches.suggest(f"batch{number}")
        if not isinstance(config, dict):
            break
        for trial, point in config["points"].items():
            asked.append(point_key(point))
            result = {"number": int(trial), "failed": "", **point, **figures({**point, "lamb": 0.3})}
            batches.on_trial_result(f"batch{number}", result)
            batches.on_trial_result(f"batch{number}", result)
        batches.on_trial_complete(f"batch{number}", result)
    assert set(asked) <= {point_key({"lamb": a, "temp": 1, "num_rerank": b}) for a in (0, 1) for b in (1, 2)}
    counts = study.counts()
    assert counts["answered"] == 30
    assert counts["known"] >= 30 - len(asked) > 0
    assert all(trial.state.name == "COMPLETE" for trial in study.study.trials)


@pytest.mark.usefixtures("local_ray")
def test_a_worker_that_dies_once_costs_no_point(tmp_path: Path) -> None:
    named: list[Point] = [{"lamb": lamb, "temp": 1, "num_rerank": 10} for lamb in (0.1, 0.2, 0.3)]

    def dies_once(point: Mapping[str, Value]) -> dict[str, float]:
        died = tmp_path / "died"
        if point["lamb"] == 0.2 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"medium_mAP": float(point["lamb"])}

    study = open_study(tmp_path / "study.journal", "t", SPACE, {}, directions=["maximize"], points=named)
    search(study, dies_once, ["medium_mAP"], 3, folder=str(tmp_path / "ray"), points_per_trial=3)
    assert (tmp_path / "died").exists()
    trials = loaded(tmp_path).trials
    assert [(trial.state.name, trial.value) for trial in trials] == [
        ("COMPLETE", point["lamb"]) for point in named
    ]


def test_points_whose_worker_died_are_marked(tmp_path: Path) -> None:
    study = opened(tmp_path)
    batches = Batches(study, ["medium_mAP"], 3, 3)
    config = batches.suggest("a")
    assert isinstance(config, dict)
    number, point = next(iter(config["points"].items()))
    answer = {"number": int(number), "failed": "", **point, "medium_mAP": 0.5}
    batches.on_trial_result("a", answer)
    batches.on_trial_complete("a", None, error=True)
    assert batches.suggest("b") == "FINISHED"
    rows = study.rows()
    assert [row["state"] for row in rows] == ["complete", "failed", "failed"]
    assert {row["reason"] for row in rows[1:]} == {"its worker ended without an answer"}


def test_several_objectives_are_told_together(tmp_path: Path) -> None:
    directions = ["maximize", "minimize"]
    study = open_study(tmp_path / "study.journal", "t", SPACE, {}, directions=directions)
    batches = Batches(study, ["medium_mAP", "other"], 2, 2)
    config = batches.suggest("a")
    assert isinstance(config, dict)
    for number, point in config["points"].items():
        batches.on_trial_result("a", {"number": int(number), "failed": "", **point, **figures(point)})
    batches.on_trial_complete("a", {"number": int(number)})
    assert [trial.values for trial in study.study.trials] == [
        list(figures(trial.user_attrs[POINT]).values()) for trial in study.study.trials
    ]


def deadly(point: Mapping[str, Value]) -> dict[str, float]:
    """Ends its process at one point."""
    if point["lamb"] == 0.5:
        os._exit(1)
    return {"medium_mAP": float(point["lamb"])}


@pytest.mark.faults
@pytest.mark.usefixtures("local_ray")
def test_a_point_that_ends_its_worker_is_marked_and_the_search_goes_on(tmp_path: Path) -> None:
    space = parse_sweep("t", "space: {lamb: {float: [0, 1]}, temp: 1, num_rerank: 5}", "t").space
    points: list[dict[str, Value]] = [{"lamb": 0.5}]
    study = open_study(tmp_path / "study.journal", "t", space, {}, directions=["maximize"], points=points)
    search(study, deadly, ["medium_mAP"], 9, folder=str(tmp_path / "ray"), points_per_trial=3)
    rows = study.rows()
    assert len(rows) == 9
    assert rows[0]["reason"] == "its worker ended without an answer"
    assert sum(row["state"] == "complete" for row in rows) == 6
    best = study.best()
    assert best is not None
    assert best.values[0] > 0
