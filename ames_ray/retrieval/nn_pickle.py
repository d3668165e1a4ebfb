"""The authors' `nn_*.pkl`: a pickled torch tensor (2, Q, K) of global similarities and gallery rows."""

from __future__ import annotations

import io
import pickle
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ames_ray.datasets.safe_pickle import loads_pickle
from ames_ray.errors import DatasetError, UnsafeFileError, first_line
from ames_ray.evaluation.scores import Shortlist

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.types import AnyArray

_SAVED = (b"PK", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
"""How files of `torch.save` begin, and how they did before torch 1.6."""
_HEAD = 26
"""Bytes of a file of ours up to the end of the first name in it."""


def read_neighbors(data: bytes, name: str) -> Shortlist:
    """Read the file without running anything in it.

    Args:
        data: Content of a file of `pickle.dump` or `torch.save` that holds a tensor, or of a numpy array.
        name: Its name, for messages.

    Raises:
        DatasetError: It is damaged, or holds no (2, queries, images) array with whole numbers in the second
            half that its type can tell apart.
        UnsafeFileError: It would run code.
    """
    neighbors = _array(data, name)
    if neighbors.dtype.kind not in "iuf":
        raise DatasetError(f"{name} holds {neighbors.dtype}; wanted are numbers")
    if neighbors.ndim == 3 and len(neighbors) == 2:
        rows = neighbors[1]
        if not np.isfinite(rows).all() or (rows != np.floor(rows)).any() or (rows < -1).any():
            raise DatasetError(
                f"{name}: its second half is to hold gallery rows, but is not of whole numbers from 0 on",
                "the first half holds similarities, the second one rows",
            )
        _refuse_rounded(rows, name)
    return Shortlist.from_neighbours(neighbors)


def _refuse_rounded(rows: AnyArray, name: str) -> None:
    """Refuse rows so high that they may be another's, rounded."""
    if rows.dtype.kind == "f":
        exact = 2 ** (np.finfo(rows.dtype).nmant + 1)
        if rows.max(initial=0) >= exact:
            raise DatasetError(
                f"{name} names gallery row {rows.max():.0f} in {rows.dtype}, which is exact below {exact:,}",
                "make it by `ames-ray neighbors`, or write it in float64",
            )


def write_neighbors(shortlist: Shortlist) -> bytes:
    """The file as `pickle.load` of the authors' programs reads it; equal lists give equal bytes.

    Rows are exact below 2²⁴ in its float32, so longer galleries are written in float64.
    """
    import torch

    exact = np.float32 if shortlist.rows.max(initial=0) < 1 << 24 else np.float64
    both = np.stack([shortlist.similarities.astype(exact), shortlist.rows.astype(exact)])
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(both), buffer)
    return pickle.dumps(_Saved(buffer.getvalue()), protocol=4)


def is_ours(file: IO[bytes]) -> bool:
    """Whether `write_neighbors` made the file: a pickled tensor begins with another call."""
    return file.read(_HEAD).find(b"torch.storage") == _HEAD - len(b"torch.storage")


class _Saved:
    """Pickles as a call of torch's own loader, because a tensor's pickle would hold memory addresses."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        from torch.storage import _load_from_bytes

        return _load_from_bytes, (self._data,)


class _ForeignNameError(Exception):
    """A pickle holds a name that no pickled tensor holds."""


class _TensorReader(pickle.Unpickler):
    """Reads a tensor of `pickle.dump`: its bytes go through torch's safe loader."""

    def find_class(self, module: str, name: str) -> Any:
        from torch._utils import _rebuild_tensor_v2

        allowed = {
            "torch.storage._load_from_bytes": _load_safely,
            "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
            "collections.OrderedDict": dict,
            "_codecs.encode": _old_bytes,
        }
        if f"{module}.{name}" not in allowed:
            raise _ForeignNameError(name)
        return allowed[f"{module}.{name}"]


def _old_bytes(text: str, _: str) -> bytes:
    """What protocol 2 writes for bytes; it never names another encoding."""
    return text.encode("latin1")


def _array(data: bytes, name: str) -> AnyArray:
    import torch

    try:
        content = _load_safely(data) if data.startswith(_SAVED) else _TensorReader(io.BytesIO(data)).load()
        if isinstance(content, torch.Tensor):
            return content.detach().cpu().numpy()
    except _ForeignNameError:
        content = loads_pickle(data, name)
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{name}: {error.message}", error.hint) from None
    except Exception as error:  # noqa: BLE001 - damaged files raise whatever their wreckage leads to
        raise DatasetError(
            f"{name} cannot be read as a tensor: {first_line(error)}",
            "the file is damaged or of another kind; fetch it again, or make it with `ames-ray neighbors`",
        ) from None
    if not isinstance(content, np.ndarray):
        raise DatasetError(
            f"{name} holds a {type(content).__name__}; wanted is a tensor (2, queries, images)"
        )
    return content


def _load_safely(data: bytes) -> Any:
    from ames_ray.backbones.weights import load_tensors

    hint = "fetch the file again from its authors, or make one with `ames-ray neighbors`"
    return load_tensors(data, "the tensor of a neighbours file", hint)
