from __future__ import annotations

import argparse
import hashlib
import io
import logging
import pickle
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ames_ray.backbones import cvnet, dinov2
from ames_ray.backbones.weights import load_exactly, read_state, require_file, sha256_files
from ames_ray.descriptors.detector import load_detector
from ames_ray.errors import UnsafeFileError, WeightsError
from ames_ray.model.checkpoints import load_ames
from ames_ray.model.itq import load_rotation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Net(torch.nn.Module):
    """Two layers: weights and biases, a running mean, a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(3, 4)
        self.bn = torch.nn.BatchNorm1d(4)


def trained() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {k: v.clone() for k, v in Net().state_dict().items()}


def same(net: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    "prefix", ["", "module.", "encoder_q.", "module.encoder_q.", "_orig_mod.", "module._orig_mod."]
)
def test_known_prefixes_are_taken_off(tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"state": {prefix + k: v for k, v in trained().items()}}, tmp_path / "w.pt")
    net = Net()
    with caplog.at_level(logging.INFO, "ames_ray"):
        load_exactly(net, read_state(tmp_path / "w.pt", under="state"), "w.pt")
    assert same(net, trained())
    assert "matched 7 of 7" in caplog.text


def test_another_prefix_matches_nothing_and_is_an_error(tmp_path: Path) -> None:
    torch.save({f"net.{k}": v for k, v in trained().items()}, tmp_path / "w.pt")
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(WeightsError, match=r"w\.pt: matched 0 of 7 weights; missing: .* and 4 more"):
        load_exactly(net, read_state(tmp_path / "w.pt"), tmp_path / "w.pt")
    assert same(net, before)


def test_one_missing_key_is_named() -> None:
    state = trained()
    del state["bn.running_mean"]
    with pytest.raises(WeightsError, match=r"matched 6 of 7 weights; missing: bn\.running_mean"):
        load_exactly(Net(), state, "w.pt")


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(WeightsError, match=r"matched 6 of 7 weights; a\.weight is 4×2 and must be 4×3"):
        load_exactly(Net(), trained() | {"a.weight": torch.zeros(4, 2)}, "w.pt")


def test_an_unexpected_key_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    load_exactly(Net(), trained() | {"head.weight": torch.zeros(1)}, "w.pt")
    assert "w.pt: 1 unexpected entries ignored: head.weight" in caplog.text


def test_a_name_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(1), "module.a.weight": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds 'a\.weight' twice"):
        read_state(tmp_path / "w.pt")


def test_half_precision_becomes_single() -> None:
    net = Net()
    load_exactly(net, {k: v.half() if v.is_floating_point() else v for k, v in trained().items()}, "w.pt")
    assert {v.dtype for v in net.state_dict().values()} == {torch.float32, torch.int64}


def test_weights_fill_the_meta_device() -> None:
    with torch.device("meta"):
        net = Net()
    load_exactly(net, trained(), "w.pt")
    assert same(net, trained())


@pytest.mark.parametrize(
    "extra",
    [
        np.float64(0.7),
        np.float32(0.7),
        np.int64(3),
        np.bool_(True),
        argparse.Namespace(lr=0.1, name="x", parts=[1, (2, None)]),
    ],
)
def test_what_training_scripts_store_beside_the_weights(tmp_path: Path, extra: object) -> None:
    torch.save({"state": trained(), "extra": extra}, tmp_path / "w.pt")
    assert set(read_state(tmp_path / "w.pt", under="state")) == set(trained())


def test_a_pickled_module_is_refused_and_its_types_are_named(tmp_path: Path) -> None:
    torch.save(Net(), tmp_path / "w.pt")
    with pytest.raises(UnsafeFileError, match=r"tests\.backbones\.test_weights\.Net, .*Linear") as caught:
        read_state(tmp_path / "w.pt")
    assert caught.value.hint is not None
    assert "torch.save(model.state_dict(), FILE)" in caught.value.hint


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def test_a_file_with_code_does_not_run_it(tmp_path: Path) -> None:
    torch.save({"state": trained(), "args": Trap(tmp_path / "sprung")}, tmp_path / "w.pt")
    with pytest.raises(UnsafeFileError, match=r"io\.open"):
        read_state(tmp_path / "w.pt", under="state")
    assert not (tmp_path / "sprung").exists()


def test_safetensors(tmp_path: Path) -> None:
    save_file(trained(), tmp_path / "w.safetensors")
    net = Net()
    load_exactly(net, read_state(tmp_path / "w.safetensors"), "w")
    assert same(net, trained())


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 half a file", b"\x80\x02."])
def test_what_is_no_weights_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state(tmp_path / name)


def of_another_kind(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "script":
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    elif kind == "half":
        torch.save(trained(), buffer)
        buffer.truncate(buffer.tell() // 2)
    elif kind == "npz":
        np.savez(buffer, W=np.array([{}]))
    elif kind == "pickle":
        pickle.dump({"state": np.ones(3)}, buffer)
    elif kind != "empty":
        buffer.write(b"\xff\xd8\xff\xe0" + bytes(100) if kind == "photo" else b"hello, this is text")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("load", "start", "hint"),
    [
        (load_ames, "AMES weights: {}", "pass a file of the authors or of ames-ray, or one of sift_ames"),
        (partial(load_ames, purpose="teacher"), "teacher: {}", "pass a file of the authors"),
        (lambda path: load_detector(str(path), 8, "cvnet"), "detector of cvnet: {}", "give the detector"),
        (lambda path: cvnet.resnet101(str(path)).load(), "weights of cvnet: {}", "give the file CVPR2022"),
        (
            lambda path: dinov2.small(str(path)).load(),
            "weights of dinov2_vits14_reg: {}",
            "give the file dinov2",
        ),
        (lambda path: load_rotation(path, 24, 16), "{} cannot be read as an ITQ file", "fetch the file"),
    ],
    ids=["model", "teacher", "detector", "cvnet", "dinov2", "itq"],
)
@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        *((kind, ".pt") for kind in ("photo", "text", "pickle", "script", "half", "empty", "npz")),
        ("text", ".safetensors"),
        ("npz", ".npz"),
    ],
)
def test_a_file_of_another_kind_is_told_without_advice_to_read_it_unsafely(
    tmp_path: Path, load: Callable[[Path], object], start: str, hint: str, kind: str, ending: str
) -> None:
    path = tmp_path / f"w{ending}"
    path.write_bytes(of_another_kind(kind))
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert caught.value.message.startswith(start.format(path))
    assert str(caught.value.hint).startswith(hint)
    for advice in ("weights_only", "allow_pickle", "trust"):
        assert advice not in str(caught.value)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no tensors by name or an entry 'state'; it holds epoch"):
        read_state(tmp_path / "w.pt", under="state")
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds a list"):
        read_state(tmp_path / "w.pt")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"detector: .*nope\.pt does not exist\nhint: do this"):
        require_file(str(tmp_path / "nope.pt"), "detector", "do this")
    with pytest.raises(WeightsError, match="is a folder, not a file"):
        require_file(str(tmp_path), "detector", "do this")


def test_hash_is_what_sha256sum_says(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    assert sha256_files([one]) == hashlib.sha256(b"1").hexdigest()
    lines = f"{hashlib.sha256(b'1').hexdigest()}  one\n{hashlib.sha256(b'2').hexdigest()}  two\n"
    assert sha256_files([one, two]) == hashlib.sha256(lines.encode()).hexdigest()
