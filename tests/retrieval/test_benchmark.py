from __future__ import annotations

import json
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ames_ray.errors import AmesError, DatasetError, UnsafeFileError
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from tests.store.builders import make_manifest, make_store

GND: list[dict[str, Any]] = [
    {"easy": [1, 2], "hard": [4], "junk": [0]},
    {"easy": [3], "hard": [], "junk": np.array([5, 6])},
]
FILE: dict[str, Any] = {
    "imlist": [f"img{10 + n}" for n in range(8)],
    "qimlist": ["img50", "img51"],
    "gnd": GND,
}
_KEYS = ("gnd", "easy", "hard", "junk", "ok", "imlist", "qimlist")


def written(path: Path, content: Any) -> str:
    if path.suffix == ".json":
        path.write_text(json.dumps(content, default=lambda array: array.tolist()))
    else:
        path.write_bytes(pickle.dumps(content))
    return str(path)


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery((make_store(tmp_path_factory.mktemp("q"), manifest=make_manifest(2, first=50)),))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return Gallery((make_store(tmp_path_factory.mktemp("g"), manifest=make_manifest(8, first=10)),))


@pytest.mark.parametrize("name", ["gnd.pkl", "gnd.json"])
def test_a_benchmark_knows_its_images(tmp_path: Path, name: str, query: Gallery, gallery: Gallery) -> None:
    found = Benchmark.read(written(tmp_path / name, FILE))
    assert found.protocol.name == "revisited"
    assert found.figure == "medium_mAP"
    assert found.list_length(100) is None
    assert found.last == 6
    found.check(query, gallery)


def test_a_digest_tells_other_positives_and_not_another_form(tmp_path: Path) -> None:
    same = {Benchmark.read(written(tmp_path / name, FILE)).digest for name in ("gnd.pkl", "gnd.json")}
    assert len(same) == 1
    swapped = [{**entry, "easy": entry["hard"], "hard": entry["easy"]} for entry in GND]
    assert Benchmark.read(written(tmp_path / "b.json", {**FILE, "gnd": swapped})).digest not in same


def test_distractors_may_follow(tmp_path: Path, query: Gallery, gallery: Gallery) -> None:
    extra = make_store(tmp_path / "r1m", manifest=make_manifest(4, first=90))
    Benchmark.read(written(tmp_path / "gnd.pkl", FILE)).check(query, Gallery((*gallery.stores, extra)))


def test_folders_and_endings_of_names_do_not_matter(tmp_path: Path, query: Gallery, gallery: Gallery) -> None:
    named = {**FILE, "imlist": [f"jpg/{name}.jpg" for name in FILE["imlist"]]}
    Benchmark.read(written(tmp_path / "gnd.pkl", named)).check(query, gallery)


def test_stores_of_other_images_are_refused_by_name(tmp_path: Path, query: Gallery, gallery: Gallery) -> None:
    names = list(FILE["imlist"])
    names[3], names[4] = names[4], names[3]
    swapped = Benchmark.read(written(tmp_path / "a.pkl", {**FILE, "imlist": names}))
    with pytest.raises(DatasetError, match=r"row 3 of .* is img13, row 3 of .*a.pkl is img14"):
        swapped.check(query, gallery)
    longer = Benchmark.read(written(tmp_path / "b.pkl", {**FILE, "imlist": [*FILE["imlist"], "img18"]}))
    with pytest.raises(DatasetError, match=r"row 8 of .* is nothing, row 8 of .*b.pkl is img18"):
        longer.check(query, gallery)
    other = Benchmark.read(written(tmp_path / "c.pkl", {**FILE, "qimlist": ["img51", "img50"]}))
    with pytest.raises(DatasetError, match=r"row 0 of .* is img50, row 0 of .*c.pkl is img51"):
        other.check(query, gallery)
    with pytest.raises(DatasetError, match="8 queries, the ground truth 2"):
        Benchmark.read(written(tmp_path / "d.pkl", FILE)).check(gallery, gallery)
    beyond = Benchmark.read(written(tmp_path / "e.json", {"gnd": [[1], [30]]}))
    with pytest.raises(DatasetError, match=r"names gallery row 30, .* has 8 rows"):
        beyond.check(query, gallery)


def test_gldv2_val_takes_the_public_queries_of_a_longer_list(tmp_path: Path, gallery: Gallery) -> None:
    queries = Gallery((make_store(tmp_path / "q", manifest=make_manifest(400, first=1000), shard_rows=100),))
    truth = written(tmp_path / "gnd.json", {"gnd": [[n % 8] for n in range(400)]})
    val, test = Benchmark.read(truth, "gldv2-val"), Benchmark.read(truth)
    assert (val.figure, test.figure) == ("val_mAP@100", "public_mAP@100")
    assert (val.list_length(20), val.list_length(300)) == (100, 300)
    val.check(queries, gallery)
    test.check(queries, gallery)
    shortlist = find_neighbors(queries.stores[0], gallery, "cls", 3)
    assert len(val.queries_of(shortlist)) == 379
    assert len(test.queries_of(shortlist)) == 400

    names = [f"img{1000 + n}" for n in range(400)]
    truth = written(tmp_path / "named.json", {"gnd": [[n % 8] for n in range(400)], "qimlist": names})
    val, test = Benchmark.read(truth, "gldv2-val"), Benchmark.read(truth)
    public = Gallery((make_store(tmp_path / "p", manifest=make_manifest(379, first=1000), shard_rows=100),))
    val.check(public, gallery)
    val.check(queries, gallery)
    with pytest.raises(DatasetError, match="379 queries, the ground truth 400"):
        test.check(public, gallery)
    others = Gallery((make_store(tmp_path / "o", manifest=make_manifest(379, first=1001), shard_rows=100),))
    with pytest.raises(DatasetError, match=r"row 0 of .* is img1001, row 0 of .*named\.json is img1000"):
        val.check(others, gallery)


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.sampled_from(["a", "easy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON, st.sampled_from([None, "revisited", "gldv2-test", "gldv2-val"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused_in_words(tmp_path: Path, content: Any, protocol: str | None) -> None:
    path = written(tmp_path / "any.json", content)
    with suppress(AmesError):
        assert Benchmark.read(path, protocol).protocol.queries > 0


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.pkl does not exist"):
        Benchmark.read(str(tmp_path / "nowhere.pkl"))
    marker = tmp_path / "it ran"
    with pytest.raises(UnsafeFileError, match="mkdir"):
        Benchmark.read(written(tmp_path / "evil.pkl", {"gnd": [_Evil(marker)]}))
    assert not marker.exists()
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DatasetError, match=r"bad\.json is not JSON"):
        Benchmark.read(str(tmp_path / "bad.json"))
    for content in ({"gnd": [3]}, {"gnd": [[[1, 2], [3]]]}, 5, {"gnd": [[1]], "imlist": 5}):
        with pytest.raises(DatasetError, match=r"bad\.json is no ground truth: "):
            Benchmark.read(written(tmp_path / "bad.json", content))
    with pytest.raises(DatasetError, match="has no list 'ok'"):
        Benchmark.read(written(tmp_path / "gnd.pkl", FILE), "gldv2-test")
    with pytest.raises(DatasetError, match="names 3 queries in qimlist, but has lists for 2"):
        Benchmark.read(written(tmp_path / "gnd.pkl", {**FILE, "qimlist": [*FILE["qimlist"], "img52"]}))
