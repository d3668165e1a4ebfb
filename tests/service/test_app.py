"""The web app, asked over HTTP, against what `Searcher` finds for the same photo."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")
import httpx2 as httpx
from starlette.testclient import TestClient

from ames_ray.config.compose import compose
from ames_ray.config.serve import ServeConfig
from ames_ray.descriptors.reading import describe_picture
from ames_ray.errors import StoreError
from ames_ray.files import Storage, to_json
from ames_ray.search.comparison import MutualComparison
from ames_ray.search.queries import build_query_extractor, find_queries, read_options
from ames_ray.search.searcher import Searcher, SearchOptions
from ames_ray.service import uploads
from ames_ray.service.app import make_app
from ames_ray.service.engine import SearchEngine
from ames_ray.store.meta import JOB
from ames_ray.store.reader import Store
from ames_ray.store.removed import write_removed
from tests.distributed.backbones import POISON
from tests.extract_here import extract_here
from tests.photos import make_photos
from tests.service.server import running

REMOVED = 2


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the store from which a photo was removed."""
    store = tmp_path_factory.mktemp("removed") / "store"
    shutil.copytree(folder / "store", store)
    write_removed(Storage.at(store), [REMOVED])
    return store


@pytest.fixture(scope="module")
def engine(store: Path) -> SearchEngine:
    words = [f"store={store}", "num_results=5", "max_upload_mb=0.5", "max_pixels=200000"]
    return SearchEngine(compose(ServeConfig, words), "cpu")


@pytest.fixture(scope="module")
def client(engine: SearchEngine) -> Iterator[TestClient]:
    with TestClient(make_app(engine), "http://localhost:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def photo(folder: Path) -> bytes:
    return (folder / "me.png").read_bytes()


def refused(response: Any, status: int, reason: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    found = response.json()
    assert (found["status"], found["reason"]) == (status, reason)
    assert found["detail"]
    assert "Traceback" not in response.text


def test_a_form_and_plain_bytes_give_what_the_searcher_gives(
    client: TestClient, engine: SearchEngine, folder: Path, photo: bytes
) -> None:
    store = Store.open(engine.config.store)
    searcher = Searcher(store, MutualComparison(), SearchOptions(num_results=5))
    extractor = build_query_extractor(store, "cpu")
    query = describe_picture(find_queries(str(folder / "me.png"))[0], extractor, read_options(store))
    expected = searcher([query])[0].lines()
    plain = client.post("/search", content=photo)
    form = client.post("/search", files={"image": ("../../etc/passwd", photo, "text/html")})
    assert plain.status_code == form.status_code == 200
    assert plain.json() == form.json()
    results = plain.json()["results"]
    keys = ("rank", "row", "image", "similarity", "score", "before", "moved")
    assert [{key: hit[key] for key in keys} for hit in results] == [
        {key: line[key] for key in keys} for line in expected
    ]
    assert results[0]["image"] == "coffee_280x210.png"
    assert all(hit["why"] is None for hit in results)
    assert REMOVED not in {hit["row"] for hit in results}


def test_numbers_and_box_of_a_request_count_for_it_alone(
    client: TestClient, engine: SearchEngine, photo: bytes
) -> None:
    usual = client.post("/search", content=photo).json()
    longer = client.post("/search?num_results=8&num_rerank=3", content=photo).json()["results"]
    assert len(longer) == 8
    assert [hit["score"] is None for hit in longer] == [False] * 3 + [True] * 5
    assert [hit["moved"] for hit in longer[3:]] == [0] * 5
    boxed = client.post("/search?why=true&bbox=0,0,140,210", content=photo).json()
    assert boxed["query"]["width"] == usual["query"]["width"] == 280
    direct = engine.search(photo, (0, 0, 140, 210))
    assert boxed["results"][0]["score"] == direct.hits[0].score
    inside = [m["query"][0] <= 140 for hit in boxed["results"] for m in hit["why"]["matches"]]
    assert inside
    assert all(inside)
    assert client.post("/search", content=photo).json() == usual


def test_why_says_places_inside_both_pictures(client: TestClient, engine: SearchEngine, photo: bytes) -> None:
    answer = client.post("/search?why=true&num_rerank=2", content=photo).json()
    first, last = answer["results"][0]["why"], answer["results"][-1]["why"]
    assert last is None
    assert (first["width"], first["height"]) == (280, 210)
    assert first["count"] == answer["results"][0]["score"] >= len(first["matches"]) > 10
    agreement = engine.search(photo).hits[0].agreement
    assert agreement is not None
    for field, places in (("query", agreement.query_xy), ("image", agreement.image_xy)):
        told = np.array([match[field] for match in first["matches"]])
        np.testing.assert_allclose(told, places, atol=0.01)
        assert (told >= 0).all()
        assert (told < (280, 210)).all()
    strengths = [match["strength"] for match in first["matches"]]
    assert strengths == sorted(strengths, reverse=True)


def test_bad_photos_are_refused_with_their_reason(client: TestClient, photo: bytes) -> None:
    refused(client.post("/search"), 400, "empty")
    refused(client.post("/search", content=b"<html>404</html>"), 415, "not_an_image")
    refused(client.post("/search", files={"image": ("photo.png", b"GIF")}), 415, "not_an_image")
    refused(client.post("/search", content=photo[: len(photo) // 2]), 422, "truncated")
    refused(client.post("/search?bbox=900,900,950,950", content=photo), 422, "empty_crop")
    flat = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    refused(client.post("/search", content=flat), 422, "no_features")
    huge = cv2.imencode(".png", np.zeros((1000, 1000), np.uint8))[1].tobytes()
    refused(client.post("/search", content=huge), 413, "too_many_pixels")


def test_a_photo_on_which_the_network_fails_is_refused_and_the_next_one_is_searched(tmp_path: Path) -> None:
    backbone = "tests.distributed.backbones:raising"
    make_photos(tmp_path / "photos", 3)
    extract_here([f"images={tmp_path / 'photos'}", f"output={tmp_path / 'store'}", f"backbone={backbone}"])
    # As the command leaves it.
    Storage.at(tmp_path / "store").publish(JOB, to_json({"backbone": backbone}))
    pixels = np.full((64, 64, 3), 90, np.uint8)
    good = cv2.imencode(".png", pixels)[1].tobytes()
    pixels[0, 0] = POISON
    bad = cv2.imencode(".png", pixels)[1].tobytes()
    words = [f"store={tmp_path / 'store'}", f"backbone={backbone}"]
    engine = SearchEngine(compose(ServeConfig, words), "cpu")
    with TestClient(make_app(engine), "http://localhost:8000", raise_server_exceptions=False) as client:
        refused(client.post("/search", content=bad), 422, "network_failed")
        assert len(client.post("/search", content=good).json()["results"]) == 3


def test_bad_requests_are_refused(client: TestClient, photo: bytes) -> None:
    for words in (
        "num_results=0",
        "num_results=1001",
        "num_rerank=-1",
        "num_rerank=x",
        "bbox=1,2,3",
        "why=2",
    ):
        refused(client.post(f"/search?{words}", content=photo), 422, "bad_parameter")
    form = {"content-type": "multipart/form-data"}
    refused(client.post("/search", content=photo, headers=form), 400, "bad_request")
    both = [("image", ("a.png", photo)), ("image", ("b.png", photo))]
    refused(client.post("/search", files=both), 400, "bad_request")
    note = {"note": (None, "no file")}
    refused(client.post("/search", files=note), 400, "no_file")
    refused(client.get("/search"), 405, "method_not_allowed")
    refused(client.get("/nothing"), 404, "not_found")


def test_long_uploads_are_cut_off(client: TestClient) -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while read < 64 << 20:
            read += 1 << 16
            yield bytes(1 << 16)

    refused(client.post("/search", content=bytes(500_001)), 413, "upload_too_large")
    refused(client.post("/search", files={"image": ("a.png", bytes(500_001))}), 413, "upload_too_large")
    refused(client.post("/search", files={"image": ("a.png", bytes(900_000))}), 413, "upload_too_large")
    refused(client.post("/search", content=endless()), 413, "upload_too_large")
    assert read >= 500_000


def test_thumbnails(client: TestClient, engine: SearchEngine, folder: Path) -> None:
    row = engine.store.meta.rows - 1
    response = client.get(f"/thumbnail/{row}")
    assert response.headers["content-type"] == "image/webp"
    pixels = cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR)
    source = cv2.imread(engine.store.manifest.record(row).uri)
    assert pixels is not None
    assert source is not None
    assert pixels.shape == source.shape
    assert np.abs(pixels.astype(int) - source).mean() < 12
    for missing in (row + 1, 10**30, REMOVED):
        refused(client.get(f"/thumbnail/{missing}"), 404, "missing")
    for bad in ("-1", "x", "..%2f..%2fetc%2fpasswd"):
        assert client.get(f"/thumbnail/{bad}").status_code in {404, 422}
    path = Path(engine.store.manifest.record(0).uri)
    moved = path.rename(folder / "away")
    refused(client.get("/thumbnail/0"), 404, "missing")
    moved.rename(path)
    assert client.get("/thumbnail/0").status_code == 200


def test_a_full_line_turns_away_and_recovers(engine: SearchEngine, photo: bytes) -> None:
    """One client holds the only place by sending slowly; the next is told when to come again."""
    narrow = SearchEngine(engine.config.model_copy(update={"max_queued": 1}), "cpu")
    with running(make_app(narrow)) as port, socket.create_connection(("127.0.0.1", port), 60) as slow:
        head = f"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
        slow.sendall(head.encode() + photo[:100])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            # The empty search takes no photo's time; it is refused as empty until the slow one has its place.
            while (second := client.post("/search")).status_code == 400:
                time.sleep(0.02)
            refused(second, 503, "too_busy")
            assert int(second.headers["retry-after"]) > 0
            assert client.get("/health").status_code == 200
            slow.sendall(photo[100:])
            assert slow.recv(15) == b"HTTP/1.1 200 OK"
            while (third := client.post("/search", content=photo)).status_code == 503:
                time.sleep(0.02)
            assert third.status_code == 200


def test_slow_searches_and_slow_uploads_end(
    engine: SearchEngine, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = SearchEngine(engine.config.model_copy(update={"timeout": 1e-4}), "cpu")
    monkeypatch.setattr(uploads, "UPLOAD_SECONDS", 0.2)
    with running(make_app(hasty)) as port, socket.create_connection(("127.0.0.1", port), 60) as slow:
        response = httpx.post(f"http://127.0.0.1:{port}/search", content=photo, timeout=60)
        refused(response, 503, "too_slow")
        assert "retry-after" in response.headers
        slow.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        assert slow.recv(16) == b"HTTP/1.1 408 Req"


def test_health_page_and_headers(client: TestClient, engine: SearchEngine) -> None:
    health = client.get("/health").json()
    rows = engine.store.meta.rows
    assert (health["status"], health["rows"], health["images"]) == ("ok", rows, rows - 1)
    assert (health["max_upload_mb"], health["max_pixels"], health["backbone"]) == (0.5, 200_000, "sift")
    for path in ("/", "/page.css", "/page.js"):
        response = client.get(path)
        assert response.status_code == 200
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        text = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
    for path in ("/docs", "/redoc"):
        refused(client.get(path), 404, "not_found")


def test_on_localhost_only_names_of_this_machine_are_answered(
    engine: SearchEngine, client: TestClient
) -> None:
    refused(client.get("/thumbnail/0", headers={"host": "rebound.example"}), 400, "unknown_host")
    assert client.get("/health", headers={"host": "[::1]:8000"}).status_code == 200
    assert client.get("/health", headers={"host": "127.0.0.1:9"}).status_code == 200
    refused(client.get("/health", headers={"host": "127.0.0.2:8000"}), 400, "unknown_host")
    there = SearchEngine(engine.config.model_copy(update={"host": "127.0.0.2"}), "cpu")
    with TestClient(make_app(there), "http://127.0.0.2:8000") as other:
        assert other.get("/health").status_code == 200
    engine_for_all = engine.config.model_copy(update={"host": "0.0.0.0"})
    assert engine.config.is_local
    assert not engine_for_all.is_local


def test_an_unexpected_error_shows_nothing_of_itself(engine: SearchEngine, photo: bytes) -> None:
    broken = SearchEngine(engine.config, "cpu")
    broken.store.__dict__["manifest"] = None
    with TestClient(make_app(broken), "http://localhost", raise_server_exceptions=False) as client:
        response = client.get("/thumbnail/0")
        refused(response, 500, "internal_error")
        assert "NoneType" not in response.text


def test_a_store_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store"):
        SearchEngine(compose(ServeConfig, [f"store={tmp_path}"]), "cpu")
