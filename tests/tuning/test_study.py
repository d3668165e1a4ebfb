"""Studies that are killed, cut, changed and gone on with."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from ames_ray.errors import ConfigError
from ames_ray.tuning.front import on_front
from ames_ray.tuning.journal import mend
from ames_ray.tuning.space import Point
from ames_ray.tuning.study import FIGURES, POINT, REASON, OpenStudy, open_study, point_key
from ames_ray.tuning.sweep_file import parse_sweep

ROOT = Path(__file__).resolve().parents[2]
SPACE = parse_sweep(
    "t", "space: {lamb: {float: [0, 1]}, temp: {float: [0.01, 10], log: true}, num_rerank: 5}", "t"
).space
POINTS: tuple[Point, ...] = ({"lamb": 0.5, "temp": 0.2}, {"lamb": 0.35, "temp": 0.1, "num_rerank": 5})
RECIPE = {"figure": "medium_mAP", "answers": {"net 600 600": "abc"}}


def opened(folder: Path, seed: int = 1) -> OpenStudy:
    path = folder / "study.journal"
    return open_study(path, "t", SPACE, RECIPE, directions=["maximize"], points=POINTS, seed=seed)


def ask(study: OpenStudy, count: int) -> list[optuna.Trial]:
    trials = []
    for _ in range(count):
        trials.append(study.study.ask())
        trials[-1].set_user_attr(POINT, study.space.suggest(trials[-1]))
    return trials


def answer(study: OpenStudy, trials: list[optuna.Trial]) -> None:
    for trial in trials:
        value = -abs(trial.params["lamb"] - 0.3)
        trial.set_user_attr(FIGURES, {"medium_mAP": value})
        study.study.tell(trial, value)


def loaded(folder: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name=None, storage=storage)


def test_the_published_points_come_first_and_once(tmp_path: Path) -> None:
    study = opened(tmp_path)
    first = ask(study, 1)
    answer(study, first)
    again = opened(tmp_path)
    second, third = ask(again, 2)
    assert first[0].user_attrs[POINT] == {"lamb": 0.5, "temp": 0.2, "num_rerank": 5}
    assert second.user_attrs[POINT] == {"lamb": 0.35, "temp": 0.1, "num_rerank": 5}
    assert third.params["lamb"] not in (0.5, 0.35)


def test_going_on_repeats_no_point_and_loses_none(tmp_path: Path) -> None:
    for count in (3, 4, 5):
        study = opened(tmp_path)
        answer(study, ask(study, count))
    trials = loaded(tmp_path).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 12
    assert len({point_key(trial.user_attrs[POINT]) for trial in trials}) == 12


def test_trials_that_were_cut_off_are_closed_and_their_points_tried_again(tmp_path: Path) -> None:
    study = opened(tmp_path)
    answer(study, ask(study, 1))
    ask(study, 2)
    again = opened(tmp_path)
    assert again.notes == (
        "2 trials were cut off by the end of the last run; they are closed and tried again",
    )
    assert again.counts() == {"answered": 1, "known": 0, "stopped": 0, "failed": 0, "cut_off": 2}
    (trial,) = ask(again, 1)
    assert trial.user_attrs[POINT]["lamb"] == 0.35
    assert not [t for t in loaded(tmp_path).trials[:3] if t.state.name == "RUNNING"]


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_end_is_put_aside(tmp_path: Path, cut: int) -> None:
    study = opened(tmp_path)
    answer(study, ask(study, 4))
    path = tmp_path / "study.journal"
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    (tmp_path / "study.journal.lock").symlink_to("nobody")

    again = opened(tmp_path)
    assert "study.journal.torn" in again.notes[0]
    torn = (tmp_path / "study.journal.torn").read_bytes()
    whole = data[:-cut].rpartition(b"\n")
    assert torn == whole[2]
    answer(again, ask(again, 4))
    trials = loaded(tmp_path).trials
    assert sum(trial.state.name == "COMPLETE" for trial in trials) in (7, 8)
    assert not [trial for trial in trials if trial.state.name == "RUNNING"]


def test_a_whole_journal_is_left_alone(tmp_path: Path) -> None:
    answer(study := opened(tmp_path), ask(study, 2))
    before = (tmp_path / "study.journal").read_bytes()
    assert mend(tmp_path / "study.journal") is None
    assert (tmp_path / "study.journal").read_bytes() == before


def test_rubbish_in_the_middle_is_put_aside_with_all_behind_it(tmp_path: Path) -> None:
    answer(study := opened(tmp_path), ask(study, 3))
    path = tmp_path / "study.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-4], b"\0\0\0\n", *lines[-4:]]))
    again = opened(tmp_path)
    assert again.notes
    assert (tmp_path / "study.journal.torn").read_bytes() == b"".join([b"\0\0\0\n", *lines[-4:]])
    assert again.best() is not None


def test_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    opened(tmp_path)
    other = parse_sweep("t", "space: {lamb: {float: [0, 0.9]}, temp: 1, num_rerank: 5}", "t").space
    recipe = {**RECIPE, "answers": {"net 600 600": "def"}}
    with pytest.raises(ConfigError) as caught:
        open_study(tmp_path / "study.journal", "t", other, recipe, directions=["maximize"])
    lines = caught.value.message.splitlines()[1:]
    assert [line.strip() for line in lines] == [
        'answers.net 600 600: "abc", now "def"',
        "space.lamb.float: [0.0, 1.0], now [0.0, 0.9]",
        'space.temp.choice: "not there", now [1]',
        'space.temp.float: [0.01, 10.0], now "not there"',
        'space.temp.log: true, now "not there"',
    ]
    assert opened(tmp_path).counts()["answered"] == 0


def test_the_best_is_finite_and_failures_have_reasons(tmp_path: Path) -> None:
    study = opened(tmp_path)
    first, second, third = ask(study, 3)
    first.set_user_attr(REASON, "medium_mAP is nan")
    study.study.tell(first, state=optuna.trial.TrialState.FAIL)
    for trial, value in ((second, math.inf), (third, 0.25)):
        trial.set_user_attr(FIGURES, {"medium_mAP": value})
        study.study.tell(trial, value)
    best = study.best()
    assert best is not None
    assert best.number == third.number
    assert [row["state"] for row in study.rows()] == ["failed", "complete", "complete"]
    assert study.rows()[0]["reason"] == "medium_mAP is nan"
    again = opened(tmp_path)
    assert again.counts()["failed"] == 1
    assert len(again.answered()) == 3


def test_equal_points_have_equal_keys() -> None:
    assert point_key({"a": 1, "b": "x"}) == point_key({"b": "x", "a": 1.0})
    assert point_key({"a": 1}) != point_key({"a": 2})


def test_the_front_is_that_of_pairwise_comparison() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(0, 4, (int(rng.integers(0, 12)), 3)).astype(float)
        if len(values):
            values[rng.integers(len(values)), 0] = rng.choice([np.nan, 1.0])
        signed = values * [-1, 1, 1]

        def beaten(row: int, signed: np.ndarray = signed) -> bool:
            for other in range(len(signed)):
                better = (signed[other] <= signed[row]).all()
                if better and ((signed[other] < signed[row]).any() or other < row):
                    return True
            return not np.isfinite(signed[row]).all()

        expected = [not beaten(row) for row in range(len(values))]
        assert on_front(values.tolist(), ["maximize", "minimize", "minimize"]).tolist() == expected


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.tuning.test_study import answer, ask, opened
study = opened(Path(sys.argv[1]))
for number in range(6 - len(study.answered())):
    trials = ask(study, 1)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    answer(study, trials)
"""


def test_a_search_that_is_killed_again_and_again_ends(tmp_path: Path) -> None:
    codes = []
    for _ in range(8):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
        codes.append(done.returncode)
        if done.returncode == 0:
            break
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert codes[-1] == 0
    trials = loaded(tmp_path).trials
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len(complete) == 6
    assert len({point_key(trial.user_attrs[POINT]) for trial in complete}) == 6
    assert {trial.state.name for trial in trials} == {"COMPLETE", "FAIL"}
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]
