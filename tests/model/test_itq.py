"""Files with the rotation of a binary network."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ames_ray.errors import UnsafeFileError, WeightsError
from ames_ray.model.itq import load_rotation, save_rotation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rotation() -> torch.Tensor:
    return torch.randn(24, 16)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_round_trip(suffix: str, rotation: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / f"itq{suffix}"
    save_rotation(rotation, path)
    first = path.read_bytes()
    assert torch.equal(load_rotation(path, 24, 16), rotation)
    save_rotation(rotation, path)
    assert path.read_bytes() == first


def test_other_layouts(rotation: torch.Tensor, tmp_path: Path) -> None:
    torch.save(rotation, tmp_path / "plain.pt")
    torch.save({"W": rotation.double(), "mean": torch.zeros(24)}, tmp_path / "dictionary.pt")
    np.savez(tmp_path / "turned.npz", arr_0=rotation.numpy().T, bits=np.int64(16))
    for name in ("plain.pt", "dictionary.pt", "turned.npz"):
        found = load_rotation(tmp_path / name, 24, 16)
        assert found.dtype == torch.float32
        assert torch.equal(found, rotation)
    torch.save(rotation.bfloat16(), tmp_path / "short.pt")
    assert torch.equal(load_rotation(tmp_path / "short.pt", 24, 16), rotation.bfloat16().float())


def test_plain_notes_beside_the_matrix_do_no_harm(tmp_path: Path) -> None:
    rotation = torch.rand(24, 16)
    notes = {"args": argparse.Namespace(bits=16), "loss": np.float64(0.5)}
    torch.save({"W": rotation, **notes}, tmp_path / "itq.pt")
    assert torch.equal(load_rotation(tmp_path / "itq.pt", 24, 16), rotation)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"W": np.zeros((32, 16))}, r"holds 0 matrices of shape \(24, 16\); it holds W \(32, 16\)"),
        ({"a": np.zeros((24, 16)), "b": np.zeros((16, 24))}, r"holds 2 matrices"),
        ({"W": np.full((24, 16), np.nan)}, r"'W' holds NaN"),
        ({}, r"it holds nothing"),
        ({"W": np.array([{}])}, r"cannot be read as an ITQ file"),
    ],
)
def test_files_that_do_not_fit(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "itq.npz", **content)
    with pytest.raises(WeightsError, match=message):
        load_rotation(tmp_path / "itq.npz", 24, 16)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_missing_and_foreign(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"does not exist\nhint: .*24-wide descriptors.*D16.npz"):
        load_rotation(tmp_path / f"itq{suffix}", 24, 16)
    (tmp_path / f"itq{suffix}").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="cannot be read as an ITQ file"):
        load_rotation(tmp_path / f"itq{suffix}", 24, 16)
    with pytest.raises(WeightsError, match=r"end in .npz or .pt"):
        save_rotation(torch.zeros(24, 16), tmp_path / "itq.txt")


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def test_a_file_that_would_run_code_is_called_unsafe(tmp_path: Path) -> None:
    torch.save({"W": _Evil(tmp_path / "it ran")}, tmp_path / "itq.pt")
    with pytest.raises(UnsafeFileError, match=r"itq\.pt is not only numbers: it would create .*mkdir"):
        load_rotation(tmp_path / "itq.pt", 24, 16)
    assert not (tmp_path / "it ran").exists()
