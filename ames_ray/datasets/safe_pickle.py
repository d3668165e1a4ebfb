"""Reads pickled containers and numpy arrays, and nothing that could run code.

The published ground truth comes as pickle files, and a pickle may call any function. Here every name in the
file is looked up in a short table of our own makers. Arrays are rebuilt from their shape, a simple dtype and
their bytes, since a forged dtype could make numpy's own loader follow wild pointers.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ames_ray.errors import DatasetError, UnsafeFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ames_ray.types import AnyArray

_KINDS = "biufcSUO"


def loads_pickle(data: bytes, name: str) -> Any:
    """Content of a pickle: numbers, texts, lists, tuples, dicts, sets and numpy arrays.

    Args:
        data: The file's bytes, written by any Python and by numpy 1 or 2.
        name: Its name, for messages.

    Raises:
        DatasetError: It is damaged.
        UnsafeFileError: It names anything else, which might run code.
    """
    try:
        return _plain(_Reader(io.BytesIO(data), name).load())
    except UnsafeFileError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged pickles raise whatever their wreckage leads to
        raise DatasetError(
            f"{name} cannot be read as a pickle: {type(error).__name__}: {error}",
            "the file is damaged or of another kind; fetch it again",
        ) from None


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, name: str) -> None:
        # latin1 is what keeps texts and arrays of Python 2 readable.
        super().__init__(file, encoding="latin1")
        self._name = name

    def find_class(self, module: str, name: str) -> _Maker:
        family = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        maker = _MAKERS.get(f"{family}.{name}")
        if maker is None:
            raise UnsafeFileError(
                f"{self._name} wants {module}.{name}, which might run code",
                "only plain containers and numpy arrays are read; ask its author for such a file",
            )
        return _Maker(maker)


class _Maker:
    """A function that a pickle may call, and can do nothing else with."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a pickle may not change what it calls")


class _Dtype:
    """A numpy dtype in the making: its name, then its byte order; the rest of its state is not believed."""

    def __init__(self, name: str, *_: Any) -> None:
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in _KINDS:
            raise ValueError(f"arrays of {name} are not read")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A numpy array in the making."""

    def __init__(self, *_: Any) -> None:
        self.value: AnyArray = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if dtype.dtype.kind != "O":
            data = content.encode("latin1") if isinstance(content, str) else content
            self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")
            return
        flat = np.empty(len(content), object)
        for index, item in enumerate(content):
            flat[index] = _plain(item)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _plain(value: Any) -> Any:
    """The value with its arrays finished."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _from_buffer(data: bytes, dtype: _Dtype, shape: Sequence[int], order: Literal["C", "F"]) -> AnyArray:
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order).copy(order)


def _scalar(dtype: _Dtype, data: bytes | str) -> Any:
    content = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(content, dtype.dtype, count=1)[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in {encoding} are not read")
    return text.encode("latin1")


_MAKERS: dict[str, Any] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _encode,
    "builtins.bytes": lambda: b"",
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "collections.OrderedDict": dict,
}
"""What a name in a pickle becomes: makers of ours, none of which runs anything."""
