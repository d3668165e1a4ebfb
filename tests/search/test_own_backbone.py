"""Searching a store of a backbone of one's own: its code runs where the user names it, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.files import Storage, to_json
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.store.meta import JOB
from tests.model.networks import random_model
from tests.search.small import make_store

OWN = "backbone=tests.search.own:colours"


def test_any_store_of_it_is_searched_by_naming_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, model = make_store(tmp_path, 3, OWN), tmp_path / "model.pt"
    photo = tmp_path / "photos" / "coffee_280x210.png"
    save_ames(random_model(AmesOptions(3, dim=8, blocks=1, feedforward=8)), model)
    words = [f"images={photo.parent}", f"output={store}", OWN]
    Storage.at(store).publish(JOB, to_json(compose(ExtractConfig, words).model_dump()))
    project = ["store", "project", f"in={store}", f"model={model}"]
    assert main([*project, f"out={tmp_path / 'projected'}"]) == 0
    assert main(["store", "merge", f"stores=[{store},{store}]", f"output={tmp_path / 'merged'}"]) == 0
    for name, code, more in (
        ("store", "tests.search.own:colours", []),
        ("merged", "<module>:<function>", []),
        ("projected", "<module>:<function>", [f"model={model}"]),
    ):
        page = tmp_path / f"{name}_page"
        search = ["search", str(photo), f"store={tmp_path / name}", f"output={page}", *more]
        assert main(search) == 2
        errors = capsys.readouterr().err
        assert "which is code from outside ames-ray" in errors
        assert f"pass backbone={code}" in errors
        assert not page.exists()
        assert main([*search, OWN]) == 0
        first = json.loads((page / "results.jsonl").read_text().splitlines()[0])
        assert (first["image"], round(first["similarity"], 3)) == (photo.name, 1)


def test_another_backbone_than_that_of_the_store_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path, 1, OWN)
    words = ["search", str(tmp_path / "photos" / "photo0.jpg"), f"store={store}", f"output={tmp_path / 'p'}"]
    assert main([*words, "backbone=sift"]) == 2
    assert "backbone is colours in the store and sift here" in capsys.readouterr().err
