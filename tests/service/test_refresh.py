"""A service that goes on while its store changes underneath."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.config.options import dataset_options, extractor_options
from ames_ray.config.serve import ServeConfig
from ames_ray.datasets.continued import continued
from ames_ray.datasets.registry import build_manifest
from ames_ray.descriptors.extractor import build_extractor
from ames_ray.files import Storage
from ames_ray.service.app import make_app
from ames_ray.service.engine import SearchEngine
from ames_ray.store.meta import CARD
from ames_ray.store.reader import Store
from ames_ray.store.removed import write_removed
from tests.extract_here import fill_store


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A folder of photos with its store, to be changed."""
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.copytree(folder / "store", tmp_path / "store")
    return tmp_path


def add(own: Path, photo: Path) -> int:
    """What `ames-ray extract` does after a photo was added; returns its row."""
    shutil.copyfile(photo, own / "photos" / photo.name)
    words = [f"images={own / 'photos'}", f"output={own / 'store'}", "shard_rows=4", "topk=120"]
    job = compose(ExtractConfig, words)
    found = continued(Store.open(str(own / "store")).manifest, build_manifest(dataset_options(job)))
    fill_store(job, found.manifest, build_extractor(extractor_options(job), "cpu"))
    return len(found.manifest) - 1


def config_of(own: Path, refresh_every: float = 0) -> ServeConfig:
    return compose(
        ServeConfig, [f"store={own / 'store'}", "num_results=20", f"refresh_every={refresh_every}"]
    )


def test_added_and_removed_photos_are_seen_at_the_next_request(own: Path, folder: Path) -> None:
    engine = SearchEngine(config_of(own), "cpu")
    photo = (folder / "me.png").read_bytes()
    with TestClient(make_app(engine), "http://localhost") as client:
        before = client.get("/health").json()
        assert client.get(f"/thumbnail/{before['rows']}").status_code == 404
        row = add(own, folder / "me.png")
        found = client.post("/search", content=photo).json()["results"]
        assert (found[0]["row"], found[0]["image"]) == (row, "me.png")
        assert client.get(f"/thumbnail/{row}").status_code == 200
        after = client.get("/health").json()
        assert (after["images"], after["rows"]) == (before["images"] + 1, before["rows"] + 1)

        write_removed(Storage.at(own / "store"), [row])
        assert client.get("/health").json()["images"] == before["images"]
        found = client.post("/search", content=photo).json()["results"]
        assert row not in {hit["row"] for hit in found}
        assert client.get(f"/thumbnail/{row}").status_code == 404


def test_the_store_is_looked_at_once_in_a_while(own: Path, folder: Path) -> None:
    now = 100.0
    engine = SearchEngine(config_of(own, 5), "cpu", lambda: now)

    def found() -> list[Any]:
        return [hit["row"] for hit in engine.search((folder / "me.png").read_bytes()).lines()]

    before = found()
    row = add(own, folder / "me.png")
    now = 104.9
    assert found() == before
    now = 105.0
    assert found()[0] == row
    write_removed(Storage.at(own / "store"), [row])
    now = 109.9
    assert found()[0] == row
    now = 110.0
    assert found() == before


def test_a_store_that_is_being_written_is_served_as_it_was(own: Path, folder: Path) -> None:
    engine = SearchEngine(config_of(own), "cpu")
    opened = engine.store
    photo = (folder / "me.png").read_bytes()
    usual = engine.search(photo).lines()
    assert engine.store is opened
    card = (own / "store" / CARD).read_bytes()
    (own / "store" / CARD).unlink()
    write_removed(Storage.at(own / "store"), [int(usual[0]["row"])])
    assert engine.search(photo).lines() == usual
    (own / "store" / CARD).write_bytes(card)
    assert engine.search(photo).lines() != usual
    assert engine.store is not opened


def test_a_store_that_became_something_else_is_reported_and_the_old_one_kept(
    own: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = SearchEngine(config_of(own), "cpu")
    opened = engine.store
    (own / "store" / "shards.json").write_text("[]")
    engine.refresh()
    engine.refresh()
    assert engine.store is opened
    assert [record.getMessage().count("served as it was") for record in caplog.records] == [1]
