"""Sweep files: what is taken, and the message for everything else."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from ames_ray.errors import ConfigError
from ames_ray.tuning.sweep_file import Sweep, parse_sweep

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "sweeps"
BASE = "lamb: {float: [0, 1]}\n  temp: {float: [0.01, 10], log: true}\n  num_rerank: {int: [1, 50]}\n"
MODELS = f"model: {{choice: [a, b]}}\n  {BASE}"


def parsed(space: str = BASE, rest: str = "") -> Sweep:
    return parse_sweep("own", f"{rest}\nspace:\n  {space}", "own.yaml")


@pytest.mark.parametrize("name", ["ensemble", "exact", "budget"])
def test_the_files_of_the_package_are_sweeps(name: str) -> None:
    sweep = parse_sweep(name, (FOLDER / f"{name}.yaml").read_bytes(), name)
    assert sweep.search == ("exact" if name == "exact" else "optuna")


def test_all_kinds_and_a_condition_are_searched() -> None:
    sweep = parsed(
        "model: {choice: [a, b]}\n"
        "  db_desc_num: {choice: [100, 600]}\n"
        "  query_desc_num: {choice: [50, 100], when: {model: a, db_desc_num: [100]}, else: 600}\n"
        "  lamb: 0.3\n"
        "  temp: {float: [0.01, 10], log: true}\n"
        "  num_rerank: {int: [10, 1600], log: true}\n",
        "figure: hard_mP@10\ntrials: 7\nminimise: bytes_an_image",
    )
    assert (sweep.figure, sweep.trials, sweep.minimise) == ("hard_mP@10", 7, ("bytes_an_image",))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    seen = set()
    for _ in range(60):
        trial = study.ask()
        point = sweep.space.suggest(trial)
        searched = point["model"] == "a" and point["db_desc_num"] == 100
        assert ("query_desc_num" in trial.params) == searched
        assert point["query_desc_num"] in ((50, 100) if searched else (600,))
        assert point["lamb"] == 0.3
        assert 0.01 <= float(point["temp"]) <= 10
        assert 10 <= int(point["num_rerank"]) <= 1600
        sweep.space.check(point, "point")
        seen.add((point["model"], point["db_desc_num"], point["query_desc_num"]))
    assert seen == {("a", 100, 50), ("a", 100, 100), ("a", 600, 600), ("b", 100, 600), ("b", 600, 600)}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("lamb: {float: [0, 2]}\n  temp: 1\n  num_rerank: 4", "space.lamb: 2.0 is out of range"),
        ("lamb: {float: [1, 0]}\n  temp: 1\n  num_rerank: 4", "space.lamb.float=[1, 0]"),
        ("lamb: {float: 0}\n  temp: 1\n  num_rerank: 4", "space.lamb.float=0"),
        ("lamb: {int: [0, 1]}\n  temp: 1\n  num_rerank: 4", "space.lamb.int: allowed for lamb"),
        ("lamb: {}\n  temp: 1\n  num_rerank: 4", "space.lamb: one of float, int and choice"),
        ("lamb: {float: [0, 1], choice: [1]}\n  temp: 1\n  num_rerank: 4", "space.lamb: one of"),
        ("lamb: 1\n  temp: {float: [0, 1], log: true}\n  num_rerank: 4", "space.temp.float=[0, 1]: with log"),
        ("lamb: 1\n  temp: {choice: [1], log: true}\n  num_rerank: 4", "space.temp.log=True"),
        ("lamb: 1\n  temp: .inf\n  num_rerank: 4", "space.temp: inf is out of range"),
        ("lamb: 1\n  temp: .nan\n  num_rerank: 4", "space.temp: nan is out of range"),
        ("lamb: 1\n  temp: 1\n  num_rerank: {int: [0.5, 4]}", "space.num_rerank.int=[0.5, 4]"),
        ("lamb: 1\n  temp: 1\n  num_rerank: 4.5", "space.num_rerank: 4.5 is out of range"),
        ("lamb: 1\n  temp: 1\n  num_rerank: many", "space.num_rerank='many'"),
        ("lamb: 1\n  temp: 1", "space lacks num_rerank"),
        ("lamb: 1\n  temp: 1\n  num_rerank: 4\n  lambda: 3", "space.lambda: there is no such key"),
        ("lamb: {floats: [0, 1]}\n  temp: 1\n  num_rerank: 4", "space.lamb.floats: there is no such key"),
        (f"{BASE}  db_desc_num: {{int: [1, 5]}}", "space.db_desc_num.int: allowed for db_desc_num is choice"),
        (f"{BASE}  db_desc_num: {{choice: [5, 5]}}", "space.db_desc_num.choice=[5, 5]: name each"),
        (f"{BASE}  db_desc_num: {{choice: [0]}}", "space.db_desc_num: 0 is out of range"),
        (f"{BASE}  db_desc_num: {{choice: [5], when: {{model: a}}}}", "`when` and `else` belong together"),
        (f"{BASE}  db_desc_num: {{choice: [5], when: {{model: a}}, else: 1}}", "when.model: no parameter"),
        (f"{BASE}  db_desc_num: {{choice: [5], when: {{lamb: 1}}, else: 1}}", "when.lamb: a condition needs"),
        (f"{MODELS}  db_desc_num: {{choice: [5], when: {{model: a}}, else: null}}", "db_desc_num.else: None"),
        (f"{MODELS}  db_desc_num: {{choice: [5], when: {{model: a}}, else: [1]}}", "db_desc_num.else: [1]"),
        (f"{BASE}  model: {{choice: [1, 2]}}", "space.model=1: model is a name"),
        (f"{BASE}  - 3", "own.yaml is not YAML"),
    ],
)
def test_the_message_names_the_key(space: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(space)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("trails: 3", "own.yaml.trails: there is no such key"),
        ("trials: 0", "trials=0"),
        ("trials: true", "trials=True"),
        ("search: random", "search=random"),
        ("figure: [a]", "figure=['a']"),
        ("minimise: [cost]", "minimise=cost"),
        ("points: 3", "points=3"),
        ("points: [{lamb: 1}]", "points[0] lacks temp"),
        ("points: [{lamb: 1, temp: 100, num_rerank: 5}]", "points[0].temp=100"),
        ("points: [{lamb: 1, temp: 1, num_rerank: 5.5}]", "points[0].num_rerank=5.5"),
        ("points: [{lamb: 1, temp: 1, num_rerank: 5, gamma: 1}]", "points[0].gamma"),
        ("points: [{lamb: null, temp: 1, num_rerank: 5}]", "points[0].lamb: None is neither"),
        ("points: [{lamb: 1, temp: 1, num_rerank: .nan}]", "points[0].num_rerank=nan"),
        ("points: [{lamb: 1, temp: 1, num_rerank: true}]", "points[0].num_rerank: True is neither"),
        ("search: exact\nminimise: [bytes_an_image]", "minimise: of use with search: optuna"),
        ("search: exact\ntrials: 5", "trials: of use with search: optuna"),
    ],
)
def test_so_does_that_of_the_other_keys(rest: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(rest=rest)
    assert message in caught.value.message


def test_a_space_is_cut_at_a_largest_k() -> None:
    assert parsed().space.with_highest("num_rerank", 7)["num_rerank"].high == 7
    listed = parsed("lamb: 1\n  temp: 1\n  num_rerank: {choice: [5, 50]}").space
    assert listed.with_highest("num_rerank", 49)["num_rerank"].values == (5,)
    with pytest.raises(ConfigError, match="no value up to that"):
        listed.with_highest("num_rerank", 4)


UNDER_CONDITIONS = (
    f"{MODELS}"
    "  db_desc_num: {choice: [50, 100], when: {model: a}, else: 600}\n"
    "  query_desc_num: {choice: [50], when: {model: a}, else: 600}\n"
)


def test_a_point_may_leave_out_what_its_others_decide() -> None:
    rest = "points: [{model: b, lamb: 0, temp: 1, num_rerank: 5}]"
    (point,) = parsed(UNDER_CONDITIONS, rest).points
    assert (point["db_desc_num"], point["query_desc_num"]) == (600, 600)
    named = rest.replace("model: b", "model: a, db_desc_num: 100")
    (point,) = parsed(UNDER_CONDITIONS, named).points
    assert (point["db_desc_num"], point["query_desc_num"]) == (100, 50)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("model: a", "points[0] lacks db_desc_num"),
        ("model: a, db_desc_num: 600", "points[0].db_desc_num=600: not in"),
        ("model: b, db_desc_num: 100", "points[0].db_desc_num=100: it is 600 there"),
    ],
)
def test_a_point_fulfils_the_conditions(named: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(UNDER_CONDITIONS, f"points: [{{{named}, lamb: 0, temp: 1, num_rerank: 5}}]")
    assert message in caught.value.message


def test_points_beyond_a_largest_k_are_tried_there() -> None:
    constant = parsed(
        "lamb: {float: [0, 1]}\n  temp: 1\n  num_rerank: 100", "points: [{lamb: 0}, {lamb: 1, temp: 1}]"
    )
    assert [point["num_rerank"] for point in constant.with_largest(200).points] == [100, 100]
    conditional = parsed(
        "model: {choice: [a, b]}\n  lamb: 1\n  temp: 1\n"
        "  num_rerank: {choice: [10, 50], when: {model: a}, else: 400}",
        "points: [{model: a, num_rerank: 50}, {model: a, num_rerank: 10}, {model: b}]",
    )
    smaller = conditional.with_largest(40)
    assert smaller.largest == 40
    assert [point["num_rerank"] for point in smaller.points] == [10, 10, 40]
    for point in smaller.points:
        smaller.space.check(point, "point")


def test_values_over_a_range_hold_its_ends() -> None:
    space = parsed("lamb: 1\n  temp: {float: [0.01, 10], log: true}\n  num_rerank: {int: [1, 4]}").space
    temps = space["temp"].spread(20)
    assert (len(temps), temps[0], temps[-1]) == (20, 0.01, 10)
    assert space["num_rerank"].spread(8) == (1, 2, 3, 4)
    assert space["lamb"].spread(101) == (1,)
