"""Sweeps of training before anything starts: what is taken, what comes first, what is refused."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import yaml

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from ames_ray.config.train import DECIDE_NOTHING, RECIPE, TrainConfig
from ames_ray.config.tune import TuneConfig
from ames_ray.config.tune_training import TuneTrainingConfig
from ames_ray.errors import ConfigError
from ames_ray.tuning.runs import Curve, best_rows, beyond, copy_answer
from ames_ray.tuning.space import Space
from ames_ray.tuning.study import POINT, OpenStudy, open_study
from ames_ray.tuning.training_sweep import OPTIONS, parse_training_sweep

JOB = ("store=s", "nn_file=n", "val_query=q", "val_gallery=g", "val_ground_truth=t", "output=o")


def config(*more: str) -> TuneTrainingConfig:
    return compose(TuneTrainingConfig, [*JOB, *more])


def own(tmp_path: Path, space: str, rest: str = "") -> str:
    path = tmp_path / "own.yaml"
    path.write_text(f"search: training\n{rest}\nspace:\n  {space}\n")
    return f"sweep={path}"


def test_a_sweep_of_training_has_the_settings_of_training(tmp_path: Path) -> None:
    verb = VERBS["tune"]
    assert verb.load_config(["output=o", "sweep=training"]) is TuneTrainingConfig
    assert verb.load_config([own(tmp_path, "lr: {choice: [0.1, 0.2]}")]) is TuneTrainingConfig
    assert verb.load_config(["sweep=exact"]) is TuneConfig
    assert verb.load_config() is TuneConfig


def test_the_jobs_own_settings_are_the_first_point() -> None:
    published = config().read_sweep()
    assert published.points[0] == {
        "lr": 2e-4,
        "weight_decay": 5e-4,
        "num_neighbors": 300,
        "min_desc": 10,
    }
    small = compose(TrainConfig, ["recipe=small", "store=s", "nn_file=n", "output=o", "weight_decay=0.01"])
    (point,) = config("recipe=small", "weight_decay=0.01").read_sweep().points
    assert point == {name: getattr(small, name) for name in published.points[0]}
    assert point["weight_decay"] == 0.01


def test_beta_is_searched_with_a_teacher_alone() -> None:
    assert "beta" not in config().read_sweep().space
    taught = config("teacher=t.pt", "binary=true").read_sweep()
    assert taught.points[0]["beta"] == 10
    assert config("teacher=t.pt").job({"beta": 3.0}, "r").beta == 3


def test_fewest_descriptors_stay_below_most(tmp_path: Path) -> None:
    assert config("max_desc=50").read_sweep().space["min_desc"].high == 49
    sweep = own(tmp_path, "min_desc: {int: [2, 60]}", "points: [{min_desc: 60}]")
    assert [point["min_desc"] for point in config(sweep, "max_desc=50").read_sweep().points] == [10, 49]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("lamb: {float: [0, 1]}", "own.yaml: space.lamb: there is no such key"),
        ("epochs: {int: [1, 3]}", "own.yaml: space.epochs: there is no such key"),
        ("lr: {float: [0, 1]}", "lr=0.0: "),
        ("lr: {int: [1, 2]}", "space.lr.int: allowed for lr is float or choice"),
        ("min_desc: {choice: [10, 500]}", "min_desc=500: it must be below max_desc=400"),
        ("initialisation: {choice: [identity, random]}", "initialisation=random: "),
        ("dim: {choice: [64.5, 128]}", "space.dim: 64.5 is out of range"),
    ],
)
def test_what_train_would_refuse_is_refused_before_anything_starts(
    tmp_path: Path, space: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config(own(tmp_path, space), "max_desc=400") if "500" not in space else _refused(tmp_path, space)
    assert message in caught.value.message


def _refused(tmp_path: Path, space: str) -> None:
    # With max_desc in the space too, min_desc is not cut below it.
    config(own(tmp_path, f"{space}\n  max_desc: {{choice: [400]}}"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["val_query=null", "val_gallery=null", "val_ground_truth=null"], "needs val_query=, val_gallery="),
        (["output=s3://bucket/tuning"], "a study is a file that is appended to"),
        (["sweep=exact"], "a sweep of training has `training`"),
        (["sweep=nothing"], "there is no such sweep"),
        (["min_workers=1"], "tune has no setting 'min_workers'"),
    ],
)
def test_jobs_that_cannot_be_searched_are_refused(more: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*more)
    assert message in caught.value.message


def test_the_other_sweeps_say_where_training_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *JOB]) == 2
    assert "ames-ray tune sweep=training" in capsys.readouterr().err
    assert main(["tune", "sweep=training", "--help"]) == 0
    out = capsys.readouterr().out
    assert "usage: ames-ray tune sweep=training store=…" in out
    assert "  grace_period=1 " in out


def test_train_takes_the_recipe_of_a_point(tmp_path: Path) -> None:
    job = config("recipe=small", "epochs=7", "clip_norm=1", "seed=3")
    recipe = job.recipe_of({"lr": 0.003, "min_desc": 20})
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"recipe": "own", **recipe}))
    trained = compose(TrainConfig, ["store=s", "nn_file=n", "output=o", f"recipe={path}", "blocks=4"])
    wanted = job.job({"lr": 0.003, "min_desc": 20}, "o").model_copy(update={"blocks": 4})
    for name in RECIPE:
        assert getattr(trained, name) == getattr(wanted, name), name
    path.write_text("dim: 3")
    with pytest.raises(ConfigError, match="cannot be used: 'lr'"):
        compose(TrainConfig, ["store=s", "nn_file=n", "output=o", f"recipe={path}"])


def test_a_recipe_holds_all_that_decides_the_weights_files_aside() -> None:
    files = {"store", "nn_file", "itq", "teacher", "figure"}
    decide = (
        {name for name in TrainConfig.model_fields if not name.startswith("val_")} - DECIDE_NOTHING - files
    )
    assert decide == set(RECIPE)
    assert set(OPTIONS) < decide


def study(folder: Path) -> OpenStudy:
    space: Space = parse_training_sweep("t", "search: training\nspace: {lr: {float: [0, 1]}}", "t").space
    return open_study(folder / "study.journal", "t", space, {}, directions=["maximize"])


def test_a_trial_ends_as_its_curve_does(tmp_path: Path) -> None:
    opened = study(tmp_path)
    nan = float("nan")
    runs = [("whole", [0.2, 0.5, 0.5]), ("early", [0.9, 0.1]), ("odd", [nan, 0.3, nan]), ("none", [nan] * 3)]
    for name, values in runs:
        trial = opened.study.ask()
        trial.set_user_attr(POINT, opened.space.suggest(trial))
        curve = Curve("mAP", 3)
        for epoch, value in enumerate(values, 1):
            assert curve.add(epoch, {"mAP": value, "loss": 1.0 * epoch}, trial)
            assert not curve.add(epoch, {"mAP": 1.0}, trial)
        curve.tell(opened.study, trial, name)
    known = list(opened.known().values())
    for one in known[:2]:
        copy_answer(opened.study, opened.study.ask(), one)
    assert [trial.state.name for trial in opened.study.trials] == [
        *("COMPLETE", "PRUNED", "COMPLETE", "FAIL"),
        *("COMPLETE", "PRUNED"),
    ]
    answered = [opened.study.trials[number] for number in range(4)]
    assert [trial.user_attrs.get("figures", {}).get("epoch") for trial in answered] == [2, 1, 2, None]
    assert opened.study.trials[0].value == 0.5
    assert opened.study.trials[4].intermediate_values == {1: 0.2, 2: 0.5, 3: 0.5}
    assert opened.study.trials[3].user_attrs["reason"] == "mAP is not finite"


def test_the_best_runs_are_kept() -> None:
    rows = [
        {"state": state, "known": known, "run": run, "mAP": value}
        for state, known, run, value in [
            ("complete", False, "a", 0.4),
            ("stopped", False, "b", 0.6),
            ("failed", False, "c", None),
            ("complete", False, "d", 0.6),
            ("stopped", True, "b", 0.6),
        ]
    ]
    assert [row["run"] for row in best_rows(rows, "mAP")] == ["b", "d", "a"]
    assert beyond(rows, "mAP", 2) == ["a", "c"]
    assert beyond(rows, "mAP", None) == ["c"]
    # A trial that waited for the end of its twin has the twin's run, which is kept once.
    assert beyond([*rows, rows[1]], "mAP", 2) == ["a", "c"]


def test_a_point_that_was_cut_off_is_tried_again(tmp_path: Path) -> None:
    opened = study(tmp_path)
    trial = opened.study.ask()
    point = opened.space.suggest(trial)
    trial.set_user_attr(POINT, point)
    again = study(tmp_path)
    assert again.counts()["cut_off"] == 1
    trial = again.study.ask()
    assert trial.user_attrs[POINT] == point == again.space.suggest(trial)
    assert [t.state for t in again.study.trials] == [
        optuna.trial.TrialState.FAIL,
        optuna.trial.TrialState.RUNNING,
    ]
