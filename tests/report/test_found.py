"""`ames-ray report` finds out what it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.report.found import Found, find, find_all, page_address


def leave(folder: Path, *names: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")
    return str(folder)


def test_folders_are_told_apart_by_what_lies_in_them(tmp_path: Path) -> None:
    evaluation = leave(tmp_path / "results", "evaluation-1.json", "neighbors-1.parquet")
    assert find(evaluation) == [Found("evaluation", f"{evaluation}/evaluation-1.json")]
    assert find(f"{evaluation}/evaluation-1.json") == find(evaluation)
    search = leave(tmp_path / "tuning" / "ensemble", "result.json", "trials.csv")
    assert find(search) == find(f"{search}/result.json") == [Found("tuning", search)]
    assert find(str(tmp_path / "tuning")) == [Found("tuning", search)]
    run = leave(tmp_path / "runs" / "a", "log.csv")
    assert find(run) == find(f"{run}/log.csv") == [Found("training", run)]


def test_runs_in_one_folder_are_drawn_over_each_other(tmp_path: Path) -> None:
    a, b = (leave(tmp_path / "runs" / name, "log.csv") for name in "ab")
    both = [Found("training", a), Found("training", b)]
    assert find(str(tmp_path / "runs")) == both
    assert find_all([a, b]) == both
    assert page_address(both) == f"{tmp_path}/runs/report.html"
    assert page_address(both[:1]) == f"{a}/report.html"
    assert page_address([Found("evaluation", "/x/evaluation-1.json")]) == "/x/evaluation-1.html"


def test_several_things_are_listed_and_nothing_is_said_so(tmp_path: Path) -> None:
    folder = leave(tmp_path / "tuning", "evaluation-1.json")
    search = leave(tmp_path / "tuning" / "exact", "result.json")
    with pytest.raises(ConfigError, match="several things") as caught:
        find(folder)
    assert f"evaluation: {folder}/evaluation-1.json" in caught.value.message
    assert f"tuning: {search}" in caught.value.message
    with pytest.raises(DatasetError, match="holds nothing to report"):
        find(leave(tmp_path / "empty"))
    with pytest.raises(DatasetError, match="holds nothing to report"):
        find(str(tmp_path / "not there"))


def test_only_training_runs_share_a_page(tmp_path: Path) -> None:
    run, search = leave(tmp_path / "a", "log.csv"), leave(tmp_path / "b", "result.json")
    with pytest.raises(ConfigError, match="only training runs"):
        find_all([run, search])
