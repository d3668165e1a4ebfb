"""Weights in and out."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ames_ray.downloads import CACHE_VARIABLE
from ames_ray.errors import UnsafeFileError, WeightsError
from ames_ray.model.ames import Ames
from ames_ray.model.checkpoints import load_ames, save_ames, weights_file
from ames_ray.model.digest import projection_digest, weights_digest
from ames_ray.model.options import PUBLISHED, AmesOptions
from tests.model.networks import SMALL, SMALL_BINARY, golden, random_model


def _authors_file(path: Path, state: dict[str, torch.Tensor], **beside: Any) -> Path:
    torch.save({"state": state, **beside}, path)
    return path


def _equal(first: Ames, second: Ames) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_laid_out_as_the_published_ones(name: str, tmp_path: Path) -> None:
    model = random_model(PUBLISHED[name])
    loaded = load_ames(_authors_file(tmp_path / f"{name}.pt", model.state_dict()))
    assert loaded.options == PUBLISHED[name]
    assert not loaded.training
    assert _equal(loaded, model)


@pytest.mark.parametrize("name", ["ames_full_precision", "ames_binary"])
def test_names_of_the_authors_are_ours(name: str, tmp_path: Path) -> None:
    state = {k.removeprefix("state."): v for k, v in golden(name).items() if k.startswith("state.")}
    loaded = load_ames(_authors_file(tmp_path / "small.pt", state))
    assert loaded.options == (SMALL_BINARY if name == "ames_binary" else SMALL)
    assert set(loaded.state_dict()) == set(state)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    "options",
    [
        SMALL,
        AmesOptions(24, binary=True, dim=32, heads=4, blocks=2, feedforward=8, backbone="dinov2"),
        replace(SMALL_BINARY, bits=40),
    ],
)
def test_round_trip(suffix: str, options: AmesOptions, tmp_path: Path) -> None:
    model = random_model(options)
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    save_ames(model, first)
    loaded = load_ames(str(first))
    assert loaded.options == options
    assert _equal(loaded, model)
    save_ames(loaded, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [first.name, second.name]


def test_written_in_the_published_layout(tmp_path: Path) -> None:
    save_ames(random_model(SMALL), tmp_path / "mine.pt")
    written = torch.load(tmp_path / "mine.pt", weights_only=True)
    assert set(written["state"]) == {k[6:] for k in golden("ames_full_precision") if k.startswith("state.")}
    with pytest.raises(WeightsError, match=r"end in .safetensors or .pt"):
        save_ames(random_model(SMALL), tmp_path / "mine.bin")


@pytest.mark.parametrize("prefix", ["module.", "module.module."])
def test_known_prefixes(prefix: str, tmp_path: Path) -> None:
    model = random_model(SMALL)
    state = {prefix + name: value for name, value in model.state_dict().items()}
    assert _equal(load_ames(_authors_file(tmp_path / "a.pt", state)), model)


def test_plain_values_beside_the_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = random_model(SMALL)
    path = _authors_file(
        tmp_path / "a.pt", model.state_dict(), map=np.float64(0.7), args=argparse.Namespace(lr=1e-4), epoch=3
    )
    with caplog.at_level(logging.INFO):
        assert _equal(load_ames(path), model)
    needed = len(model.state_dict())
    assert f"matched {needed} of {needed}" in caplog.text


def test_unexpected_weights_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = random_model(SMALL)
    load_ames(_authors_file(tmp_path / "a.pt", {**model.state_dict(), "extra.weight": torch.zeros(1)}))
    assert "extra.weight" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classifier.bias", None, r"matched 60 of 61 weights.*missing: classifier.bias"),
        ("mtc_token", torch.zeros(8), r"matched 60 of 61 weights.*mtc_token is 8 and must be 16"),
        ("decoder.layers.1.norm2.weight", None, r"missing: decoder.layers.1.norm2.weight"),
        ("mtc_token", torch.full((16,), torch.nan), r"mtc_token hold NaN or infinity"),
        ("remap_local.0.weight", None, r"no AMES network; its first entries are mtc_token"),
        ("decoder.layers.0.linear1.weight", None, r"no AMES network"),
        ("decoder.layers.0.linear1.weight", torch.zeros(0, 16), r"no AMES network: model: feedforward=0"),
        ("mtc_token", torch.zeros(16, dtype=torch.int8), r"mtc_token holds int8; wanted are floating-point"),
        ("mtc_token", torch.zeros(16, dtype=torch.complex64), r"mtc_token holds complex64; wanted are"),
    ],
)
def test_incomplete_files(name: str, value: torch.Tensor | None, message: str, tmp_path: Path) -> None:
    state = random_model(SMALL).state_dict()
    if value is None:
        del state[name]
    else:
        state[name] = value
    with pytest.raises(WeightsError, match=message):
        load_ames(_authors_file(tmp_path / "a.pt", state))


def test_a_layer_of_a_large_number_is_not_built(tmp_path: Path) -> None:
    state = random_model(SMALL).state_dict()
    odd = {"decoder.layers.99999.linear1.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"matched 61 of 79 weights; missing: decoder.layers.3."):
        load_ames(_authors_file(tmp_path / "a.pt", {**state, **odd}))


@pytest.mark.parametrize("value", ["x", 2.0, None])
def test_notes_of_another_kind_are_refused(value: object, tmp_path: Path) -> None:
    state = random_model(SMALL).state_dict()
    with pytest.raises(WeightsError, match=r"a.pt notes heads="):
        load_ames(_authors_file(tmp_path / "a.pt", state, options={"heads": value}))


def test_notes_of_another_program_mean_nothing(tmp_path: Path) -> None:
    model = random_model(SMALL)
    save_file(model.state_dict(), tmp_path / "a.safetensors", {"options": "{--lr 1e-4"})
    assert _equal(load_ames(tmp_path / "a.safetensors"), model)


def test_foreign_files(tmp_path: Path) -> None:
    module = tmp_path / "module.pt"
    torch.save(nn.Linear(2, 2), module)
    with pytest.raises(UnsafeFileError, match=r"Linear"):
        load_ames(module)
    other = _authors_file(tmp_path / "other.pt", nn.Linear(2, 2).state_dict())
    with pytest.raises(WeightsError, match=r"no AMES network; its first entries are weight, bias"):
        load_ames(other)
    whole = _authors_file(tmp_path / "whole.pt", random_model(SMALL).state_dict()).read_bytes()
    cut = tmp_path / "cut.pt"
    for size in (2_000, len(whole) // 2, len(whole) - 10):
        cut.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"cut.pt cannot be read: it is damaged"):
            load_ames(cut)
    for name, content in {
        "page.pt": b"<html></html>",
        "empty.pt": b"",
        "page.safetensors": b"<html>",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            load_ames(tmp_path / name)


def test_missing_files_and_published_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=r"nope.pt does not exist") as caught:
        load_ames("nope.pt")
    assert "dinov2_ames_dist" in str(caught.value)
    (tmp_path / "networks").mkdir()
    kept = _authors_file(
        tmp_path / "networks/cvnet_ames.pt", random_model(PUBLISHED["cvnet_ames"]).state_dict()
    )
    assert weights_file("cvnet_ames") == weights_file("cvnet_ames.pt") == kept
    assert load_ames("cvnet_ames").options.backbone == "cvnet"


def test_digests(tmp_path: Path) -> None:
    model = random_model(SMALL_BINARY)
    for suffix in (".pt", ".safetensors"):
        save_ames(model, tmp_path / f"a{suffix}")
        assert weights_digest(load_ames(tmp_path / f"a{suffix}")) == weights_digest(model)
    before = weights_digest(model), projection_digest(model)
    _shift(model, "remap_local.1.bias")
    assert weights_digest(model) != before[0]
    assert projection_digest(model) == before[1]  # the bits depend on the rotation alone
    _shift(model, "remap_local.0.W")
    assert projection_digest(model) != before[1]
    full = random_model(SMALL)
    first = projection_digest(full)
    _shift(full, "remap_local.1.bias")
    assert projection_digest(full) != first


def _shift(model: Ames, name: str) -> None:
    with torch.no_grad():
        model.get_parameter(name).add_(1)
