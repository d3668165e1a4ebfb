"""Weights from files: read safely, matched exactly.

Nothing in a file can run code: only tensors, plain containers and a few inert types are read. Every weight
that the network needs must be there with its shape, or nothing is loaded.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import logging
import pickle
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch

from ames_ray.errors import UnsafeFileError, WeightsError, first_line
from ames_ray.files import sha256_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

PREFIXES = ("module.", "encoder_q.", "_orig_mod.")
"""Put in front of every name by `DataParallel`, by momentum contrast and by `torch.compile`."""
_NAMED = 3
_ZIP = b"PK"
# Plain values that training scripts store beside the weights; none of them runs code when it is rebuilt.
_INERT: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.float64(0).__reduce__()[0],
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
]


def require_file(path: str, purpose: str, hint: str) -> Path:
    """The path, if such a file exists.

    Raises:
        WeightsError: It is missing, or is a folder.
    """
    found = Path(path).expanduser()
    if not found.is_file():
        what = "is a folder, not a file" if found.is_dir() else "does not exist"
        raise WeightsError(f"{purpose}: {path} {what}", hint)
    return found


def read_state(
    path: Path, under: str | None = None, *, purpose: str = "weights", hint: str | None = None
) -> dict[str, torch.Tensor]:
    """Tensors by name from a `.safetensors` or torch file.

    Args:
        path: The file.
        under: Entry that holds the state dict; a file that is a state dict itself is taken as it is.
        purpose: What the file is for, for messages.
        hint: What to do about one of another kind.

    Raises:
        UnsafeFileError: The file holds types that could run code.
        WeightsError: It is no weights file, or has no state dict.
    """
    try:
        loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{purpose}: {path} cannot be read: {first_line(error)}", hint) from None
    if under is not None and isinstance(loaded, dict) and under in loaded:
        loaded = loaded[under]
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not weights by name")
    state = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    if not state:
        entries = ", ".join(map(str, list(loaded)[:_NAMED])) or "nothing"
        wanted = f" or an entry '{under}'" if under else ""
        raise WeightsError(f"{path} holds no tensors by name{wanted}; it holds {entries}")
    return strip_prefixes(state, path)


def strip_prefixes(state: Mapping[str, torch.Tensor], where: Path | str) -> dict[str, torch.Tensor]:
    """The same tensors under the names without `PREFIXES`.

    Raises:
        WeightsError: Two tensors get one name.
    """
    stripped: dict[str, torch.Tensor] = {}
    for full_name, value in state.items():
        name = full_name
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        if name in stripped:
            raise WeightsError(f"{where} holds '{name}' twice, with and without one of {', '.join(PREFIXES)}")
        stripped[name] = value
    return stripped


def load_exactly(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], where: Path | str, hint: str | None = None
) -> None:
    """Put `state` into `module` as float32; parameters on the meta device are replaced.

    Args:
        module: The network.
        state: Tensors by the module's names.
        where: File that they came from, for messages.
        hint: What to do where they do not match.

    Raises:
        WeightsError: A weight is missing, has another shape or holds numbers of another kind; nothing is
            loaded then.
    """
    needed = module.state_dict()
    _refuse_kinds(needed, state, where, hint)
    missing = [name for name in needed if name not in state]
    misfits = [
        (name, state[name].shape, needed[name].shape)
        for name in needed
        if name in state and state[name].shape != needed[name].shape
    ]
    require_matched(module, missing, misfits, where, hint)
    warn_unexpected([name for name in state if name not in needed], where)
    module.load_state_dict({name: _as_float32(state[name]) for name in needed}, strict=True, assign=True)
    logger.info("%s: matched %d of %d weights", where, len(needed), len(needed))


def require_matched(
    module: torch.nn.Module,
    missing: Sequence[str],
    misfits: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    where: Path | str,
    hint: str | None = None,
) -> None:
    """Refuse weights of which one is missing or has another shape.

    Args:
        module: The network that needs them.
        missing: Names of weights that `where` lacks.
        misfits: Name, shape found, shape needed.
        where: File or model that they come from.
        hint: What to do about it.

    Raises:
        WeightsError: How many matched, and the first names that did not.
    """
    if not missing and not misfits:
        return
    needed = len(module.state_dict())
    parts = [f"{where}: matched {needed - len(missing) - len(misfits)} of {needed} weights"]
    if missing:
        parts.append(f"missing: {_first(missing)}")
    if misfits:
        shapes = [f"{name} is {_shape(found)} and must be {_shape(need)}" for name, found, need in misfits]
        parts.append(_first(shapes))
    raise WeightsError("; ".join(parts), hint)


def load_tensors(file: Path | bytes, name: str, hint: str) -> Any:
    """What a torch file holds, where that is tensors, plain containers and inert types.

    Args:
        file: The file, or its content.
        name: What messages call it.
        hint: What to do about a file that holds more.

    Raises:
        UnsafeFileError: It holds types that could run code.
        ValueError: It is damaged or of another kind.
        OSError: It cannot be opened.
    """
    try:
        with torch.serialization.safe_globals(_INERT):
            return torch.load(_opened(file), map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # In an archive that was cut torch looks for its end before its beginning.
        raise ValueError(_fault(file)) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises anything
        types = _unsafe_types(file) if isinstance(error, pickle.UnpicklingError) else []
        if types:
            message = f"{name} is not only numbers: it would create {', '.join(types)}"
            raise UnsafeFileError(message, hint) from None
        # Torch's own words advise to read it unsafely.
        raise ValueError(_fault(file)) from None


def sha256_files(files: Sequence[Path]) -> str:
    """SHA-256 of a file; of several, that of the lines "hash  name" that `sha256sum` prints for them."""
    hashes = [sha256_file(file) for file in files]
    if len(hashes) == 1:
        return hashes[0]
    lines = "".join(f"{value}  {file.name}\n" for value, file in zip(hashes, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def warn_unexpected(names: Sequence[str], where: Path | str) -> None:
    """Say in the log which tensors of a file were not used."""
    if names:
        logger.warning("%s: %d unexpected entries ignored: %s", where, len(names), _first(names))


def _refuse_kinds(
    needed: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    where: Path | str,
    hint: str | None,
) -> None:
    """Refuse whole and complex numbers in place of real ones: a quantised network needs its own reader."""
    for name, value in needed.items():
        if name in state and value.is_floating_point() and not state[name].is_floating_point():
            kind = str(state[name].dtype).removeprefix("torch.")
            raise WeightsError(f"{where}: {name} holds {kind}; wanted are floating-point numbers", hint)


def _first(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _shape(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides)) or "a scalar"


def _as_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"it is damaged, or no safetensors file: {first_line(error)}") from None


def _read_torch(path: Path) -> Any:
    alone = "torch.save(model.state_dict(), FILE)"
    hint = f"where you trust it, open it once yourself and save its weights alone: {alone}"
    return load_tensors(path, str(path), hint)


def _unsafe_types(file: Path | bytes) -> list[str]:
    """Names of the types that the safe reader refuses; empty where there are none."""
    try:
        with torch.serialization.safe_globals(_INERT):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(_opened(file)))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        return []


def _fault(file: Path | bytes) -> str:
    """What is wrong with a file that torch cannot read, as its first bytes tell."""
    if isinstance(file, bytes):
        start = file[: len(_ZIP)]
    else:
        with file.open("rb") as content:
            start = content.read(len(_ZIP))
    if not start:
        return "it is empty"
    if start == _ZIP:
        return "it is damaged, or an archive of another kind"
    return "it was not written by torch.save, or is damaged"


def _opened(file: Path | bytes) -> Path | IO[bytes]:
    return io.BytesIO(file) if isinstance(file, bytes) else file
