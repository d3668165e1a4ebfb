"""Pickles of numpy 1 and 2 are read, and nothing in a pickle ever runs."""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.datasets.safe_pickle import loads_pickle
from ames_ray.errors import DatasetError, UnsafeFileError
from tests.datasets.data.make_numpy1_pickle import CONTENT

DATA = Path(__file__).parent / "data"


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert type(found) is type(expected)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickles_of_numpy_1(protocol: int) -> None:
    path = DATA / f"numpy_1.26.4_protocol_{protocol}.pkl"
    assert b"numpy.core" in path.read_bytes()
    assert_same(loads_pickle(path.read_bytes(), path.name), CONTENT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_this_numpy(protocol: int) -> None:
    assert_same(loads_pickle(pickle.dumps(CONTENT, protocol), "gnd.pkl"), CONTENT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers(protocol: int) -> None:
    value = {
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "bytes": b"\xff\0",
        "ordered": {"b": 1, "a": 2},
        "none": None,
    }
    ordered = value | {"ordered": collections.OrderedDict(b=1, a=2)}
    assert loads_pickle(pickle.dumps(ordered, protocol), "x") == value


def test_a_pickle_of_python_2() -> None:
    """Texts there are byte strings, and so is the content of arrays."""
    text = (
        b"(dp0\nS'imlist'\np1\n(lp2\nS'all_souls_000013'\np3\nasS'junk'\np4\n"
        b"cnumpy.core.multiarray\n_reconstruct\np5\n(cnumpy\nndarray\np6\n(I0\ntp7\nS'b'\np8\ntp9\nRp10\n"
        b"(I1\n(I2\ntp11\ncnumpy\ndtype\np12\n(S'i2'\np13\nI0\nI1\ntp14\nRp15\n"
        b"(I3\nS'<'\np16\nNNNI-1\nI-1\nI0\ntp17\nbI00\nS'\\x07\\x00\\xff\\x00'\np18\ntp19\nbs."
    )
    assert_same(
        loads_pickle(text, "x"), {"imlist": ["all_souls_000013"], "junk": np.array([7, 255], np.int16)}
    )


class _Harm:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["os.system", "subprocess", "eval", "open", "getattr", "numpy.load", "exec"])
def test_harmful_calls_never_run(tmp_path: Path, kind: str, protocol: int) -> None:
    mark = tmp_path / "ran"
    harm = {
        "os.system": _Harm(os.system, f"touch {mark}"),
        "subprocess": _Harm(subprocess.check_call, ["touch", str(mark)]),
        "eval": _Harm(eval, f"open({str(mark)!r}, 'w')"),
        "exec": _Harm(exec, f"open({str(mark)!r}, 'w')"),
        "open": _Harm(open, str(mark), "w"),
        "getattr": _Harm(getattr, "x", "upper"),
        "numpy.load": _Harm(np.load, str(mark)),
    }[kind]
    data = pickle.dumps({"imlist": ["a"], "gnd": [harm]}, protocol)
    with pytest.raises(UnsafeFileError, match=r"gnd\.pkl wants .*, which might run code"):
        loads_pickle(data, "gnd.pkl")
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        b"cos\nsystem\n.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"\x80\x04\x8c\x12ames_ray.datasets.\x8c\x0bsafe_pickle\x93.",
    ],
)
def test_every_way_to_a_name_is_guarded(text: bytes) -> None:
    with pytest.raises(UnsafeFileError):
        loads_pickle(text, "x")


def _forged(dtype: bytes, state: bytes, shape: bytes, content: bytes) -> bytes:
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
        + shape
        + b"cnumpy\ndtype\n(S'"
        + dtype
        + b"'\nI0\nI1\ntR"
        + state
        + b"bI00\n"
        + content
        + b"tb."
    )


PLAIN = b"(I3\nS'<'\nNNNI-1\nI-1\nI0\nt"


@pytest.mark.parametrize(
    "data",
    [
        # An object array whose dtype claims to be plain bytes: numpy itself would follow them as pointers.
        _forged(b"O8", b"(I3\nS'|'\nNNNI-1\nI-1\nI0\nt", b"(I1\nt", b"S'AAAAAAAA'\n"),
        # More objects than the list has, a shape larger than memory, one larger than the bytes, records.
        _forged(b"O8", PLAIN, b"(I900\nt", b"(lI1\na"),
        _forged(b"i8", PLAIN, b"(L99999999999999999999L\nt", b"S'AAAAAAAA'\n"),
        _forged(b"i8", PLAIN, b"(I2\nt", b"S'AAAAAAAA'\n"),
        _forged(b"V8", PLAIN, b"(I1\nt", b"S'AAAAAAAA'\n"),
        # A state for something that is only called.
        b"cbuiltins\nset\n}S'__call__'\nI1\nsb.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
    ],
)
def test_forged_content_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError):
        loads_pickle(data, "x")


@given(st.sampled_from([2, 4, 5]), st.data())
def test_damaged_pickles_raise_our_errors_only(protocol: int, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps(CONTENT, protocol))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        loads_pickle(bytes(whole[: data.draw(st.integers(0, len(whole)))]), "x")
    except (DatasetError, UnsafeFileError) as error:
        assert "x" in str(error)  # noqa: PT017 - most damage raises, some reads as another value
