"""Shortlists and pair scores: their checks, their order, their files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import DatasetError, StoreError
from ames_ray.evaluation import score_files
from ames_ray.evaluation.score_files import load_pair_scores, load_shortlist, save_scores
from ames_ray.evaluation.scores import PairScores, Shortlist, ranking_rows

nan, inf = float("nan"), float("inf")


def pair_scores(rows: Any, logits: Any, **others: Any) -> PairScores:
    return PairScores(np.array(rows), np.array(logits), "f00d", 600, 100, **others)


def test_images_without_a_similarity_go_last_wherever_a_sorter_put_them() -> None:
    shortlist = Shortlist(np.array([[7, 5, 3, -1, 2, 9]]), np.array([[nan, 0.9, inf, 0.8, 0.7, 0.1]]))
    assert shortlist.rows.tolist() == [[5, 2, 9, 7, 3, -1]]
    np.testing.assert_array_equal(
        shortlist.similarities, np.array([[0.9, 0.7, 0.1, nan, inf, 0.8]], np.float32)
    )
    assert shortlist.rows.dtype == np.int64


@given(st.lists(st.sampled_from([0.1, 0.5, nan]), max_size=8))
def test_the_order_of_all_others_is_kept(values: list[float]) -> None:
    rows = np.arange(len(values))[None]
    shortlist = Shortlist(rows, np.array([values], np.float32).reshape(rows.shape))
    good = [row for row, value in enumerate(values) if value == value]
    assert shortlist.rows[0].tolist() == good + [row for row in range(len(values)) if row not in good]


def test_authors_neighbour_array() -> None:
    neighbours = np.array([[[0.9, 0.5], [0.8, 0.1]], [[4, 2], [0, 3]]], np.float32)
    shortlist = Shortlist.from_neighbours(neighbours)
    assert shortlist.rows.tolist() == [[4, 2], [0, 3]]
    np.testing.assert_array_equal(shortlist.similarities, neighbours[0])
    with pytest.raises(DatasetError, match=r"neighbours have shape \(2, 2\)"):
        Shortlist.from_neighbours(neighbours[0])


def test_logits_are_found_by_image() -> None:
    scores = pair_scores([[4, -1, 9, 2], [1, 0, -1, -1]], [[0.4, 7.0, nan, 0.2], [0.1, 0.0, 7.0, 7.0]])
    logits, scored = scores.of(0, np.array([2, 9, 4, 3, 10]))
    np.testing.assert_array_equal(logits, np.array([0.2, nan, 0.4, nan, nan], np.float32))
    assert scored.tolist() == [True, True, True, False, False]
    empty = pair_scores(np.empty((1, 0), np.int64), np.empty((1, 0)))
    assert empty.of(0, np.array([1]))[1].tolist() == [False]


def test_checks() -> None:
    rows = np.array([[1, 2]])
    with pytest.raises(DatasetError, match=r"similarities have shape \(2,\), rows \(1, 2\)"):
        Shortlist(rows, np.zeros(2, np.float32))
    with pytest.raises(DatasetError, match=r"logits have shape"):
        pair_scores(rows, [[1.0]])
    with pytest.raises(DatasetError, match="pair scores of query 1 hold image 5 more than once"):
        pair_scores([[1, -1, -1], [5, 2, 5]], np.zeros((2, 3)))
    for wrong in (np.zeros((1, 2)), np.arange(3), np.array([["a"]])):
        with pytest.raises(DatasetError, match="allowed are integers of shape"):
            ranking_rows(wrong)


def test_refuses_scores_of_other_images() -> None:
    shortlist = Shortlist(np.array([[1, 2]]), np.array([[0.9, 0.8]]), "q" * 64, "g" * 64)
    pair_scores([[1, 2]], [[0.0, 1.0]], query_manifest="q" * 64).check_belongs_to(shortlist)
    with pytest.raises(DatasetError, match="gallery_manifest of the pair scores is hhhhhhhhhhhh…"):
        pair_scores([[1, 2]], [[0.0, 1.0]], gallery_manifest="h" * 64).check_belongs_to(shortlist)
    with pytest.raises(DatasetError, match="pair scores have 2 queries, the shortlist 1"):
        pair_scores([[1], [2]], [[0.0], [1.0]]).check_belongs_to(shortlist)


def test_files_keep_everything(tmp_path: Path) -> None:
    shortlist = Shortlist(
        np.array([[3, 1, -1]]),
        np.array([[0.9, 0.1, nan]]),
        "qm",
        "gm",
        {"index": "flat", "descriptor": "cls"},
    )
    scores = pair_scores([[3, 1]], [[nan, -2.5]], gallery_manifest="gm", settings={"precision": "float32"})
    save_scores(shortlist, str(tmp_path / "deep" / "shortlist.parquet"))
    save_scores(scores, str(tmp_path / "scores.parquet"))
    again = load_shortlist(str(tmp_path / "deep" / "shortlist.parquet"))
    np.testing.assert_array_equal(again.rows, shortlist.rows)
    np.testing.assert_array_equal(again.similarities, shortlist.similarities)
    assert (again.query_manifest, again.gallery_manifest, again.settings) == ("qm", "gm", shortlist.settings)
    scores_again = load_pair_scores(str(tmp_path / "scores.parquet"))
    np.testing.assert_array_equal(scores_again.logits, scores.logits)
    assert (scores_again.model_hash, scores_again.query_desc_num, scores_again.db_desc_num) == (
        "f00d",
        600,
        100,
    )
    assert scores_again.settings == {"precision": "float32"}


def test_files_are_equal_for_equal_content_and_open_elsewhere(tmp_path: Path) -> None:
    for name, settings in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        save_scores(pair_scores([[3, 1]], [[0.5, -2.5]], settings=settings), str(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    lines = [(0, 0, 3, 0.5), (0, 1, 1, -2.5)]
    found = duckdb.sql(f"select * from read_parquet('{tmp_path / 'a'}')")
    assert found.fetchall() == lines
    assert found.columns == ["query", "rank", "row", "logit"]
    assert [str(kind) for kind in found.types] == ["BIGINT", "INTEGER", "BIGINT", "FLOAT"]
    assert list(pd.read_parquet(tmp_path / "a").itertuples(index=False, name=None)) == lines
    metadata = pq.read_schema(tmp_path / "a").metadata
    assert json.loads(metadata[b"ames_ray"])["model_hash"] == "f00d"


def test_long_lists_and_gaps_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_files, "_GROUP_PAIRS", 20)
    g = np.random.default_rng(0)
    rows = np.array([g.permutation(40)[:9] for _ in range(13)])
    rows[g.random(rows.shape) < 0.2] = -1
    rows[4] = -1
    logits = np.where(rows < 0, np.nan, g.standard_normal(rows.shape)).astype(np.float32)
    save_scores(pair_scores(rows, logits), str(tmp_path / "scores"))
    assert pq.ParquetFile(tmp_path / "scores").num_row_groups == 7
    again = load_pair_scores(str(tmp_path / "scores"))
    np.testing.assert_array_equal(again.rows, rows)
    np.testing.assert_array_equal(again.logits, logits)
    for shape in ((0, 5), (3, 0)):
        empty = Shortlist(np.empty(shape, np.int64), np.empty(shape, np.float32))
        save_scores(empty, str(tmp_path / "empty"))
        assert load_shortlist(str(tmp_path / "empty")).rows.shape == shape


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_scores(pair_scores([[3]], [[0.5]]), "here.parquet")
    assert load_pair_scores("here.parquet").rows.tolist() == [[3]]


def test_refuses_other_files(tmp_path: Path) -> None:
    save_scores(Shortlist(np.array([[1]]), np.array([[0.5]])), str(tmp_path / "shortlist"))
    with pytest.raises(DatasetError, match="holds Shortlist, not a PairScores"):
        load_pair_scores(str(tmp_path / "shortlist"))
    (tmp_path / "cut").write_bytes((tmp_path / "shortlist").read_bytes()[:-3])
    (tmp_path / "pickle").write_bytes(pickle.dumps({"rows": [1]}))
    (tmp_path / "empty").write_bytes(b"")
    for name in ("cut", "pickle", "empty"):
        with pytest.raises(DatasetError, match=f"{name} is not a file of scores"):
            load_shortlist(str(tmp_path / name))
    pd.DataFrame({"row": [1, 2]}).to_parquet(tmp_path / "foreign")
    with pytest.raises(DatasetError, match="foreign is not a file of scores"):
        load_shortlist(str(tmp_path / "foreign"))
    data = bytearray((tmp_path / "shortlist").read_bytes())
    data[8] ^= 1
    (tmp_path / "flipped").write_bytes(data)
    with pytest.raises(DatasetError, match="flipped is not a file of scores"):
        load_shortlist(str(tmp_path / "flipped"))
    with pytest.raises(StoreError, match="missing does not exist"):
        load_shortlist(str(tmp_path / "missing"))
