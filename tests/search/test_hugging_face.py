"""Searching a store that a Hugging Face model made, wherever its weights lie now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTModel

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.extract import ExtractConfig
from ames_ray.files import Storage, to_json
from ames_ray.store.meta import JOB
from tests.search.small import make_store


def model(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ViTModel(ViTConfig(**sizes, image_size=40, patch_size=8)).eval().save_pretrained(folder)
    return folder


def test_its_weights_are_those_of_the_job_or_those_that_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, moved = model(tmp_path / "vit"), tmp_path / "moved"
    words = [f"backbone=hf:{weights}", "imsize=96"]
    store = make_store(tmp_path, 2, *words)
    photo = tmp_path / "photos" / "coffee_280x210.png"
    search = ["search", str(photo), f"store={store}", f"output={tmp_path / 'page'}"]

    def first() -> str:
        line = (tmp_path / "page" / "results.jsonl").read_text().splitlines()[0]
        found: str = json.loads(line)["image"]
        return found

    # A merged or projected store says no more than the type of the model.
    assert main(search) == 2
    errors = capsys.readouterr().err
    assert "does not say which hf:vit made it" in errors
    assert "pass weights=<Hugging Face id or folder>" in errors
    assert main([*search, f"weights={weights}"]) == 0
    assert first() == photo.name

    job = compose(ExtractConfig, [f"images={photo.parent}", f"output={store}", *words])
    Storage.at(store).publish(JOB, to_json(job.model_dump()))
    assert main(search) == 0
    shutil.move(weights, moved)
    assert main([*search, f"weights={moved}"]) == 0
    assert first() == photo.name
    assert main([*search, f"weights={model(tmp_path / 'other', 1)}"]) == 2
    assert "a query cannot be described as" in capsys.readouterr().err
