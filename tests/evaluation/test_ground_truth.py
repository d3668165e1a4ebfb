"""Ground truth in every container that people keep it in."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.evaluate import evaluate
from ames_ray.evaluation.gldv2 import gldv2
from ames_ray.evaluation.ground_truth import GroundTruth, image_rows
from ames_ray.evaluation.revisited import revisited

from . import golden

if TYPE_CHECKING:
    from collections.abc import Callable


def object_array(values: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


CONTAINERS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "int64": lambda values: np.array(values, np.int64),
    "uint16": lambda values: np.array(values, np.uint16),
    "float64": lambda values: np.array(values, np.float64),
    "column": lambda values: np.array(values, np.int32).reshape(-1, 1),
    "object": object_array,
    "numpy scalars": lambda values: [np.int32(value) for value in values],
    "array of arrays": lambda values: object_array([np.array([value]) for value in values]),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_every_container_gives_the_golden_figures(container: Callable[[list[int]], Any]) -> None:
    plain = golden.figures("revisited")["gnd"]
    gnd = [{name: container(values) for name, values in entry.items()} for entry in plain]
    shortlist, _ = golden.revisited_scores()
    expected = evaluate(revisited(GroundTruth.from_gnd(plain)), shortlist)
    assert evaluate(revisited(GroundTruth.from_gnd(gnd)), shortlist).to_json() == expected.to_json()
    assert round(100 * expected.figures["hard_mAP"], 3) == golden.figures("revisited")["global_only"]["H_map"]


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_lists_are_joined_and_never_added(container: Callable[[list[int]], Any]) -> None:
    entry = {name: container(v) for name, v in (("easy", [10, 20, 30]), ("hard", [5]), ("junk", [1, 2, 3]))}
    hard = revisited(GroundTruth.from_gnd([entry]), ["hard"]).setups[0]
    assert hard.ignored[0].tolist() == [1, 2, 3, 10, 20, 30]
    assert hard.positives[0].tolist() == [5]


@pytest.mark.parametrize("empty", [None, [], (), np.array([]), np.empty(0, object), np.empty((0, 1))])
def test_empty_lists(empty: Any) -> None:
    rows = image_rows(empty, "junk")
    assert rows.dtype == np.int64
    assert rows.shape == (0,)


@given(st.lists(st.integers(0, 10**6)))
def test_rows_are_sorted_and_unique(values: list[int]) -> None:
    assert image_rows(values, "easy").tolist() == sorted(set(values))


@pytest.mark.parametrize(
    "wrong", [[-1], [0.5], [np.nan], [np.inf], ["a"], [True, False], np.array([1e300]), [None, -2]]
)
def test_refuses_what_is_not_a_row(wrong: Any) -> None:
    with pytest.raises(DatasetError, match="easy of query 1"):
        GroundTruth({"easy": [[0], wrong]})


@pytest.mark.parametrize(
    "data",
    [
        [[3, 1], [], [2]],
        {"ok": [[3, 1], [], [2]]},
        {"gnd": [[3, 1], [], [2]]},
        {"gnd": [{"ok": [3, 1]}, {"ok": []}, {"ok": [2]}], "imlist": ["a", "b", "c", "d"]},
        {"gnd": [{"ok": ["d", "b"]}, {"ok": []}, {"ok": ("c",)}], "imlist": ["a", "b", "c", "d"]},
        {"ok": [["d", "b"], [], [2]], "imlist": ["a", "b", "c", "d"]},
        {"gnd": [{"ok": [3, 1], "junk": []}, {"ok": [], "junk": []}, {"ok": [2], "junk": []}]},
        pickle.loads(pickle.dumps({"gnd": np.array([[3, 1], [], [2]], object)})),
    ],
)
def test_forms_of_the_list_of_positives(data: Any) -> None:
    truth = GroundTruth.from_gnd(data)
    assert [rows.tolist() for rows in truth.of("ok")] == [[1, 3], [], [2]]
    assert len(truth) == len(gldv2(truth, public=1).setups[0].positives) == 3


def test_names_of_images_may_stand_for_their_rows() -> None:
    assert GroundTruth.from_gnd(golden.figures("revisited")).of("easy")[2].tolist() == [19]
    hand_written = '{"imlist": ["x.jpg", "y.jpg"], "gnd": [{"easy": ["y.jpg"], "hard": [0], "junk": []}]}'
    assert GroundTruth.from_gnd(json.loads(hand_written)).of("easy")[0].tolist() == [1]
    doubled = {"imlist": ["a", "b", "a"], "gnd": [["b"], [2, 0]]}
    assert [rows.tolist() for rows in GroundTruth.from_gnd(doubled).of("ok")] == [[1], [0, 2]]


def test_junk_is_no_secret_where_the_measure_knows_none() -> None:
    notes = gldv2(GroundTruth.from_gnd([{"ok": [1], "junk": [2, 3]}])).notes()
    assert notes[0] == "2 images are junk in the ground truth; mAP@100 of GLDv2 leaves no image out"
    assert not any("junk" in note for note in gldv2(GroundTruth.from_gnd([{"ok": [1], "junk": []}])).notes())


def test_says_what_is_wrong() -> None:
    good = {"easy": [1], "hard": [], "junk": []}
    cases: list[tuple[Any, str]] = [
        ([good, {"easy": [1], "hard": []}], r"gnd\[1\] has no junk; it has easy, hard"),
        ([{"positives": [1]}], r"gnd\[0\] has no easy, hard, junk, ok; it has positives"),
        ([{"easy": [1]}, good], r"gnd\[1\] has no"),
        ({"imlist": ["a"], "gnd": [{"ok": [1]}]}, "ok of query 0 names image 1, but imlist has 1 images"),
        ({"imlist": ["a"], "gnd": [{"ok": ["b"]}]}, r"gnd\[0\].ok names 'b', which is not in imlist"),
        (
            {"imlist": ["a", "b", "a"], "gnd": [{"ok": ["b", "a"]}]},
            "names 'a', which imlist has in the rows 0, 2",
        ),
        ({"imlist": ["a"], "ok": [["a"], ["b"]]}, r"ok\[1\] names 'b', which is not in imlist"),
        ({"easy": [[1]], "hard": []}, "1 easy, 0 hard lists"),
        ({"query": 1}, r"has the lists \(none\)"),
        ([], r"\(none\)"),
    ]
    for data, message in cases:
        with pytest.raises(DatasetError, match=message):
            GroundTruth.from_gnd(data)
    with pytest.raises(DatasetError, match="no list 'easy'; it has ok"):
        revisited(GroundTruth.from_gnd([[1]]))
    with pytest.raises(DatasetError, match="no list 'ok'"):
        gldv2(GroundTruth.from_gnd([good]))
    for setups in ([], ["Hard"], ["hard", "hard"]):
        with pytest.raises(ConfigError, match="allowed are easy, medium, hard"):
            revisited(GroundTruth.from_gnd([good]), setups)
    with pytest.raises(ConfigError, match="split=train: allowed are test, val"):
        gldv2(GroundTruth.from_gnd([[1]]), "train")
