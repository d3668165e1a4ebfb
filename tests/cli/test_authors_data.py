"""`evaluate test_dataset=…` on a folder laid out as the authors' is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.evaluation.scores import Shortlist
from ames_ray.model.checkpoints import save_ames
from ames_ray.retrieval.kept import write_shortlist
from tests.retrieval.small import small_model
from tests.retrieval.test_authors_release import Set, data_root, sets, write  # noqa: F401 - fixtures

BUDGET = ["query_desc_num=6", "db_desc_num=6", "num_rerank=[3,8]", "lamb=0.4", "temp=0.3"]


def result(output: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads(next(output.glob("evaluation-*.json")).read_text())
    del document["card"]
    return document


@pytest.mark.parametrize("distractors", ["", "+1m"])
def test_one_word_stands_for_all_files(data_root: Path, tmp_path: Path, distractors: str) -> None:  # noqa: F811
    save_ames(small_model(), tmp_path / "model.pt")
    model = [f"model={tmp_path / 'model.pt'}", *BUDGET]
    words = [f"test_dataset=roxford5k{distractors}", f"data_root={data_root}", *model]
    assert main(["evaluate", *words, f"output={tmp_path / 'short'}"]) == 0
    here = data_root / "roxford5k"
    gallery = [str(here / "dinov2_gallery_local.hdf5")]
    if distractors:
        gallery.append(str(data_root / "revisitop1m" / "dinov2_local.hdf5"))
    files = [
        f"query={here / 'dinov2_query_local.hdf5'}",
        f"gallery=[{','.join(gallery)}]",
        f"ground_truth={here / 'gnd_roxford5k.pkl'}",
        "pooled=cls",
        *([] if distractors else [f"nn_file={here / 'nn_dinov2.pkl'}"]),
    ]
    assert main(["evaluate", *files, *model, f"output={tmp_path / 'long'}"]) == 0
    assert result(tmp_path / "short") == result(tmp_path / "long")


def test_a_ranking_of_the_plain_gallery_is_none_of_the_one_with_distractors(
    data_root: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    theirs = data_root / "roxford5k" / "nn_dinov2.pkl"
    words = ["test_dataset=roxford5k+1m", f"data_root={data_root}", f"output={tmp_path / 'out'}"]
    assert main(["evaluate", *words, f"nn_file={theirs}"]) == 2
    said = capsys.readouterr().err
    distractors = data_root / "revisitop1m" / "dinov2_local.hdf5"
    assert f"the shortlist names no image of {distractors}, in lists of 14: it ranks another" in said
    assert "hint: leave out nn_file=" in said

    # The nearest images alone may lack the distractors, and a ranking of the whole gallery does not.
    shortest, whole = tmp_path / "nn_2.pkl", tmp_path / "nn_whole.pkl"
    write_shortlist(Shortlist(np.array([[1, 2]] * 3), np.full((3, 2), 0.5, np.float32)), str(shortest))
    assert main(["evaluate", *words, f"nn_file={shortest}"]) == 0
    assert f"names no image of {distractors}" in caplog.text
    caplog.clear()
    both = f"gallery=[{data_root / 'roxford5k' / 'dinov2_gallery_local.hdf5'},{distractors}]"
    query = f"query={data_root / 'roxford5k' / 'dinov2_query_local.hdf5'}"
    assert main(["neighbors", query, both, "pooled=cls", "shortlist_size=null", f"output={whole}"]) == 0
    assert main(["evaluate", *words, f"nn_file={whole}"]) == 0
    assert caplog.text == ""


def test_notes_of_every_list_are_said(
    data_root: Path,  # noqa: F811
    sets: dict[str, Set],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "mine_local.hdf5", sets["r1m"].features("records"))
    write(tmp_path / "mine_cls.hdf5", sets["r1m"].pooled)
    here = data_root / "roxford5k"
    gallery = f"gallery=[{here / 'dinov2_gallery_local.hdf5'},{tmp_path / 'mine_local.hdf5'}]"
    truth = f"ground_truth={here / 'gnd_roxford5k.pkl'}"
    words = [f"query={here / 'dinov2_query_local.hdf5'}", gallery, truth, "pooled=cls"]
    assert main(["evaluate", *words, f"output={tmp_path / 'out'}"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(next((tmp_path / "out").glob("evaluation-*.json")).read_bytes())
    for note in ("no list of mine is known: its images are numbered", "3 of 3 queries cropped to their box"):
        assert err.splitlines().count(note) == 1
        assert note not in out
        assert found["global"]["notes"].count(note) == 1


def test_a_folder_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "test_dataset=roxford5k", f"output={tmp_path}"]) == 2
    assert "needs data_root=" in capsys.readouterr().err
    words = ["test_dataset=roxford5k", f"data_root={tmp_path}", "experiment=published_table"]
    assert main(["evaluate", *words, "model=dinov2_ames", f"output={tmp_path / 'out'}"]) == 2
    assert "nn_superglobal.pkl" in capsys.readouterr().err


def test_a_preset_file_stands_for_its_three_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("ensemble: default\nlamb: [0.25]\ntemp: [0.7]\nnum_rerank: [30]\n")
    words = ["query=q", "gallery=g", "ground_truth=gnd.json", "model=m.pt", "output=out"]
    assert main(["config", "evaluate", *words, f"ensemble={tmp_path / 'mine.yaml'}", "temp=0.9"]) == 0
    shown = capsys.readouterr().out
    assert "lamb:\n- 0.25\n" in shown
    assert "temp:\n- 0.9\n" in shown
    assert "num_rerank:\n- 30\n" in shown
    assert main(["config", "evaluate", *words, f"ensemble={tmp_path / 'none.yaml'}"]) == 2
    assert "none.yaml" in capsys.readouterr().err
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff")
    assert main(["config", "evaluate", *words, f"ensemble={tmp_path / 'picture.yaml'}"]) == 2
    assert "a preset file gives lamb, temp, num_rerank" in capsys.readouterr().err
    assert main(["config", "evaluate", *words, "ensemble=~nobody-here/x.yaml"]) == 2
    assert "begins with the home of a user" in capsys.readouterr().err


def test_settings_are_tuned_on_gldv2_val_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "gldv2-test"
    here.mkdir()
    names = ["dinov2_query_local.hdf5", "dinov2_gallery_local.hdf5", "gnd_gldv2-test.pkl", "nn_dinov2.pkl"]
    for name in (*names, "test_query.txt", "test_gallery.txt"):
        (here / name).touch()
    words = [f"data_root={tmp_path}", "model=dinov2_ames", f"output={tmp_path / 'out'}"]
    assert main(["config", "tune", *words]) == 0
    shown = capsys.readouterr().out
    assert "protocol: gldv2-val\n" in shown
    assert f"ground_truth: {here / 'gnd_gldv2-test.pkl'}\n" in shown
    assert f"query: {here / 'dinov2_query_local.hdf5'}\n" in shown
    assert main(["config", "tune", *words, "test_dataset=roxford5k"]) == 2
    assert "gnd_roxford5k.pkl" in capsys.readouterr().err
    # One's own stores are no data set of the authors, wherever they lie.
    own = ["query=q", "gallery=g", "ground_truth=gnd.json"]
    assert main(["config", "tune", *words, *own]) == 2
    assert "data_root=" in capsys.readouterr().err
    assert main(["config", "tune", *words[1:], *own]) == 0
    assert "protocol: null\n" in capsys.readouterr().out
