"""Photos that were removed, as every verb that reads rows sees them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.evaluation.score_files import load_shortlist
from ames_ray.evaluation.scores import Shortlist
from ames_ray.files import Storage
from ames_ray.model.checkpoints import save_ames
from ames_ray.retrieval.gallery import Gallery
from ames_ray.store.merge import merge
from ames_ray.store.reader import Store
from ames_ray.store.removed import read_removed, write_removed
from ames_ray.types import AnyArray
from tests.retrieval.small import small_model
from tests.store.builders import make_manifest, make_store

REMOVED = [2, 6, 11]
"""Row 3 of every 7 is a failed one; these are not."""
ROWS = 18


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", ROWS)
    write_removed(Storage.at(tmp_path / "store"), REMOVED)
    save_ames(small_model(), tmp_path / "model.pt")
    return tmp_path / "store"


def test_a_store_of_which_nothing_was_removed_gets_no_list_of_it(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    write_removed(storage, [])
    assert list(tmp_path.iterdir()) == []
    write_removed(storage, [4])
    write_removed(storage, [])  # it came back
    assert read_removed(storage) == []


def neighbors(store: Path, *words: str) -> Shortlist:
    output = store.parent / "nn.parquet"
    given = [f"query={store}", f"gallery={store}", f"output={output}", "pooled=cls", *words]
    assert main(["neighbors", *given]) == 0
    return load_shortlist(str(output))


def hide(store: Path, rows: list[int]) -> None:
    write_removed(Storage.at(store), rows)


@pytest.mark.parametrize("words", [(), ("index=ivf",)])
def test_neighbors_find_none_of_them_and_say_so(
    words: tuple[str, ...], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = neighbors(store, *words)
    assert not np.isin(REMOVED, found.rows).any()
    assert (found.rows[REMOVED] == -1).all()
    assert (found.rows[0] >= 0).sum() == Store.open(str(store)).searchable
    assert "failed or were removed" in capsys.readouterr().out
    hide(store, [])
    assert np.isin(REMOVED, neighbors(store, *words).rows).all()
    assert "removed" not in capsys.readouterr().out


def test_an_older_shortlist_is_not_scored(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hide(store, [])
    neighbors(store, "shortlist_size=4")
    words = [f"query={store}", f"gallery={store}", f"nn_file={store.parent / 'nn.parquet'}"]
    words += [f"model={store.parent / 'model.pt'}", f"output={store.parent / 'scores.parquet'}"]
    assert main(["score", *words]) == 0
    hide(store, REMOVED)
    assert main(["score", *words]) == 2
    assert "query row 2, whose photo was removed" in capsys.readouterr().err
    neighbors(store, "shortlist_size=4")
    assert main(["score", *words]) == 0


def test_evaluation_notices_what_was_removed_in_between(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = {"gnd": [{"easy": [row], "hard": [], "junk": []} for row in range(ROWS)]}
    (store.parent / "gnd.json").write_text(json.dumps(truth))
    words = [f"query={store}", f"gallery={store}", f"ground_truth={store.parent / 'gnd.json'}", "pooled=cls"]
    failed = int((~Store.open(str(store)).ok).sum())
    for rows in ([], REMOVED, []):
        hide(store, rows)
        # One folder, which keeps the neighbours of every run.
        assert main(["evaluate", *words, f"output={store.parent / 'results'}"]) == 0
        lost = failed + len(rows)
        out = capsys.readouterr().out
        assert f"medium: {lost} positives are not in the rankings" in out
        for what in ("queries", "gallery images"):
            assert f"note: {lost} of {ROWS} {what} have no descriptors: they failed, or were removed" in out
    assert len(list((store.parent / "results").glob("neighbors-*"))) == 2


def test_a_projection_is_fitted_on_the_others_alone(store: Path) -> None:
    gallery = Gallery.open([str(store)])
    usable = set(np.flatnonzero(gallery.ok).tolist())
    assert usable == set(np.flatnonzero(gallery.stores[0].ok).tolist()) - set(REMOVED)
    files = []
    for name, rows in (("hidden", REMOVED), ("all", [])):
        hide(store, rows)
        files.append(store.parent / f"{name}.npz")
        assert main(["itq", f"store={store}", "bits=8", f"output={files[-1]}"]) == 0
    cards = [json.loads(Path(f"{file}.card.json").read_text())["result"] for file in files]
    assert cards[1]["images"] - cards[0]["images"] == len(REMOVED)
    assert files[0].read_bytes() != files[1].read_bytes()


def test_copies_keep_them_removed(store: Path) -> None:
    model, projected = store.parent / "model.pt", store.parent / "projected"
    assert main(["store", "project", f"model={model}", f"in={store}", f"out={projected}"]) == 0
    assert read_removed(Storage.at(projected)) == REMOVED
    assert not np.isin(REMOVED, neighbors(projected).rows).any()
    other = make_store(store.parent / "other", manifest=make_manifest(7, first=100))
    joined = merge([other, Store.open(str(store)), other], str(store.parent / "joined"))
    assert read_removed(joined.storage) == [7 + row for row in REMOVED]
    several = Gallery((other, Store.open(str(store))))
    assert several.removed.tolist() == [7 + row for row in REMOVED]
    assert joined.searchable == 2 * other.searchable + Store.open(str(store)).searchable


@pytest.mark.parametrize("layout", ["plain", "compound", "packed"])
def test_an_export_holds_nothing_of_them(layout: str, store: Path) -> None:
    """Their rows are those of images that gave no features; the others are as if nothing was removed."""
    files = {}
    for name, rows in (("all", []), ("hidden", REMOVED)):
        hide(store, rows)
        folder = store.parent / f"{layout}-{name}"
        folder.mkdir()
        words = [f"layout={layout}", f"output={folder / 'x_local.hdf5'}"]
        assert main(["store", "export", str(store), *words]) == 0
        files[name] = {path.name: path for path in sorted(folder.iterdir())}
    others = np.setdiff1d(np.arange(ROWS), REMOVED)
    (failed,) = np.flatnonzero(~Store.open(str(store)).ok)[:1]
    assert list(files["all"]) == list(files["hidden"])
    for name in files["all"]:
        before, after = (rows_of(files[kind][name]) for kind in ("all", "hidden"))
        assert before.keys() == after.keys()
        for key, values in after.items():
            assert len(values) == ROWS
            assert np.array_equal(values[others], before[key][others])
            for row in REMOVED:
                assert values[row].tobytes() == values[failed].tobytes()


def rows_of(path: Path) -> dict[str, AnyArray]:
    if path.suffix == ".pt":
        return {"raw": np.fromfile(path, "<f4").reshape(ROWS, -1)}
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def test_an_imported_export_has_them_as_failed_rows(store: Path) -> None:
    exported, names = store.parent / "x_local.hdf5", store.parent / "names.txt"
    assert main(["store", "export", str(store), f"output={exported}"]) == 0
    names.write_text("".join(f"img{row}.jpg\n" for row in range(ROWS)))
    words = [f"inputs=[{exported}]", f"list_file={names}", f"data_root={store.parent}"]
    words += [f"globals={{cls: {store.parent / 'x_cls.hdf5'}}}", f"output={store.parent / 'again'}"]
    assert main(["store", "import", *words]) == 0
    assert not Store.open(str(store.parent / "again")).ok[REMOVED].any()


def test_they_are_counted(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "info", str(store)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "removed" in line]
    assert line.split() == ["removed", "3,", "not", "found", "any", "more"]
    hide(store, [])
    assert main(["store", "info", str(store)]) == 0
    assert "removed" not in capsys.readouterr().out


def test_what_a_search_can_find_is_counted(store: Path) -> None:
    opened = Store.open(str(store))
    for rows in ([], REMOVED, [3, 4], list(range(ROWS))):
        hide(store, rows)
        opened = Store.open(str(store))
        wanted = [row for row in range(ROWS) if opened.ok[row] and row not in rows]
        assert Store.open(str(store)).searchable == len(wanted)
