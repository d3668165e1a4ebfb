"""`ames-ray search` as users type it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.files import Storage
from ames_ray.store.reader import Store
from ames_ray.store.removed import write_removed
from tests.search.small import make_store, turned


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    make_store(folder)
    turned(folder / "photos" / "coffee_280x210.png", folder / "me.png")
    return folder


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_one_photo(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "search",
        str(folder / "me.png"),
        f"store={folder / 'store'}",
        f"output={tmp_path}",
        "num_results=5",
    ]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "coffee_280x210.png" in printed
    assert f"{tmp_path}/index.html" in printed
    found = lines(tmp_path)
    assert [line["rank"] for line in found] == [1, 2, 3, 4, 5]
    assert found[0]["image"] == "coffee_280x210.png"
    assert found[0]["uri"] == str(folder / "photos" / "coffee_280x210.png")
    page = (tmp_path / "index.html").read_bytes()
    assert main(words) == 0
    assert (tmp_path / "index.html").read_bytes() == page


def test_a_folder_with_bad_photos(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "a.jpg").write_bytes(b"<html>404</html>")
    (queries / "b.png").write_bytes((folder / "me.png").read_bytes())
    words = [f"query={queries}", f"store={folder / 'store'}", f"output={tmp_path / 'page'}"]
    assert main(["search", *words]) == 3
    errors = capsys.readouterr().err
    assert "a.jpg: not_an_image: the content is no picture" in errors
    assert "1 of 2 query photos could not be used" in errors
    found = lines(tmp_path / "page")
    assert found[0] == {"query": "a.jpg", "reason": "not_an_image"}
    assert found[1]["image"] == "coffee_280x210.png"


def test_a_reranker_without_weights(folder: Path, tmp_path: Path) -> None:
    words = [str(folder / "me.png"), f"store={folder / 'store'}", f"output={tmp_path}"]
    assert main(["search", *words, "reranker=mutual", "model=0.7"]) == 0
    assert lines(tmp_path)[0]["image"] == "coffee_280x210.png"
    assert b"mutual nearest neighbours of the local descriptors" in (tmp_path / "index.html").read_bytes()


def test_a_store_whose_job_is_damaged_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "store", tmp_path / "store")
    (tmp_path / "store" / "job.json").write_text("{")
    assert main(["search", str(folder / "me.png"), f"store={tmp_path / 'store'}", f"output={tmp_path}"]) == 2
    assert f"{tmp_path}/store/job.json cannot be read, it is damaged" in capsys.readouterr().err


def test_ground_truth_judges(folder: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in (folder / "photos").iterdir())
    truth = {"qimlist": ["me"], "imlist": names, "gnd": [{"easy": [1], "hard": [], "junk": [2]}]}
    (tmp_path / "gnd.json").write_text(json.dumps(truth))
    words = [str(folder / "me.png"), f"store={folder / 'store'}", f"output={tmp_path}", "num_results=100"]
    assert main(["search", *words, f"ground_truth={tmp_path / 'gnd.json'}"]) == 0
    verdicts = {line["row"]: line["verdict"] for line in lines(tmp_path)}
    assert verdicts == {row: {1: "positive", 2: "junk"}.get(row, "negative") for row in range(len(names))}


def test_queries_of_equal_names_are_told_apart_by_their_folders(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in (folder / "photos").iterdir())
    shown = {"one": "coffee_280x210.png", "two": "astronaut_161x231.png"}
    for place, name in [*shown.items(), ("three", "coffee_280x210.png")]:
        (tmp_path / "queries" / place).mkdir(parents=True)
        shutil.copy(folder / "photos" / name, tmp_path / "queries" / place / "q.png")
    gnd = [{"easy": [names.index(name)], "hard": [], "junk": []} for name in shown.values()]
    truth = {"qimlist": ["jpg/one/q", "jpg/two/q"], "imlist": names, "gnd": gnd}
    (tmp_path / "gnd.json").write_text(json.dumps(truth))
    words = [
        f"store={folder / 'store'}",
        f"output={tmp_path}",
        "num_results=1",
        f"ground_truth={tmp_path}/gnd.json",
    ]
    assert main(["search", f"query={tmp_path / 'queries'}", *words]) == 0
    found = {str(line["query"]): line.get("verdict") for line in lines(tmp_path)}
    assert found == {"one/q.png": "positive", "three/q.png": None, "two/q.png": "positive"}
    assert "1 of 3 photos are no queries of" in capsys.readouterr().err
    assert main(["search", f"query={tmp_path / 'queries' / 'two' / 'q.png'}", *words]) == 0
    assert lines(tmp_path)[0]["verdict"] == "positive"


def test_the_ground_truth_of_another_gallery_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in (folder / "photos").iterdir())
    words = ["search", str(folder / "me.png"), f"store={folder / 'store'}", f"output={tmp_path / 'page'}"]
    gnd = {"qimlist": ["me"], "gnd": [{"easy": [1], "hard": [], "junk": []}]}
    for changes, message in (
        ({"imlist": names[::-1]}, f"is {names[0]}, row 0 of {tmp_path / 'gnd.json'} is {names[-1]}"),
        ({"gnd": [{"easy": [50], "hard": [], "junk": []}]}, "names gallery row 50"),
    ):
        (tmp_path / "gnd.json").write_text(json.dumps({**gnd, **changes}))
        assert main([*words, f"ground_truth={tmp_path / 'gnd.json'}"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_several_queries_are_a_line_each(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [record.image_id for record in Store.open(str(folder / "store")).manifest]
    right, itself = names.index("coffee_280x210.png"), names.index("astronaut_161x231.png")
    gnd = [{"easy": [], "hard": [], "junk": [itself]}, {"easy": [right], "hard": [], "junk": []}]
    (tmp_path / "gnd.json").write_text(
        json.dumps({"qimlist": ["astronaut", "me"], "imlist": names, "gnd": gnd})
    )
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "me.png").write_bytes((folder / "me.png").read_bytes())
    (queries / "astronaut.png").write_bytes((folder / "photos" / names[itself]).read_bytes())
    words = [str(queries), f"store={folder / 'store'}", f"output={tmp_path}"]
    assert main(["search", *words, f"ground_truth={tmp_path / 'gnd.json'}"]) == 0
    title, head, astronaut, me, *_ = capsys.readouterr().out.splitlines()
    assert title.strip() == "the first result of each query"
    assert "first right" in head
    assert astronaut.split()[0] == "astronaut.png"
    assert names[itself] not in astronaut
    assert astronaut.split()[-3:] == ["–", "→", "–"]
    assert me.split()[:2] == ["me.png", "coffee_280x210.png"]
    assert me.split()[-1] == "1"


def test_removed_photos_are_not_found(folder: Path, tmp_path: Path) -> None:
    words = ["search", str(folder / "me.png"), f"store={folder / 'store'}", f"output={tmp_path}"]
    assert main(words) == 0
    best = lines(tmp_path)[0]
    storage = Storage.at(folder / "store")
    write_removed(storage, [int(str(best["row"]))])
    assert main(words) == 0
    storage.delete("removed.json")
    assert best["image"] not in {line["image"] for line in lines(tmp_path)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["store=nowhere"], "is no store"),
        (["pooled=cls"], "has no global descriptor 'cls'"),
        (["model=nothing.pt"], "nothing.pt"),
        (["lamb=2"], "lamb=2"),
        (["bbox=[1,2]"], "bbox"),
        (["gallery=x"], "write store=x"),
    ],
)
def test_mistakes_are_named(
    folder: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["search", str(folder / "me.png"), f"store={folder / 'store'}", f"output={tmp_path / 'page'}"]
    assert main([*given, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
