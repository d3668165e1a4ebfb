"""AMES weights in and out: the published files as they are, our own in the same layout or as safetensors."""

from __future__ import annotations

import io
import json
import pickle
import re
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ames_ray.backbones.weights import load_exactly, read_state, require_file
from ames_ray.downloads import published
from ames_ray.errors import ConfigError, WeightsError
from ames_ray.files import Storage
from ames_ray.model.ames import Ames
from ames_ray.model.options import BUNDLED, PUBLISHED, AmesOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATE = "state"
_OPTIONS = "options"
_UNSEEN: dict[str, Any] = {"heads": int, "backbone": str | None}
"""Options that the shapes of weights do not tell, and their types."""
_NAMES = (*BUNDLED, *PUBLISHED)
_HINT = f"pass a file of the authors or of ames-ray, or one of {', '.join(_NAMES)}"
_PACKAGED = Path(__file__).parents[1] / "data"
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.")


def load_ames(source: str | Path, purpose: str = "AMES weights") -> Ames:
    """A network with trained weights, in evaluation mode, float32, on the CPU.

    Args:
        source: A file of `save_ames` or of the authors; a name of `BUNDLED`; or a key of `PUBLISHED`, with or
            without `.pt`, whose file is fetched once and kept.
        purpose: What they are for, for messages.

    Raises:
        WeightsError: The file is missing or no AMES network; a weight is missing, has another shape or is not
            finite. Weights that the network does not have are ignored with a warning.
        UnsafeFileError: The file would run code.
        DownloadError: A published file cannot be fetched.
    """
    path = weights_file(source, purpose)
    state = read_state(path, under=_STATE, purpose=purpose, hint=_HINT)
    try:
        options = _options(path, state)
    except ConfigError as error:
        raise WeightsError(f"{path} holds no AMES network: {error.message}", _HINT) from None
    model = Ames(options)
    load_exactly(model, state, path)
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: {', '.join(broken[:3])} hold NaN or infinity")
    return model.eval()


def save_ames(model: Ames, path: str | Path) -> None:
    """Write the weights, whole or not at all; equal weights give equal bytes.

    Args:
        model: The network.
        path: Ending in `.safetensors`, or in `.pt` for the layout of the published files.

    Raises:
        WeightsError: Another ending.
    """
    path = Path(path)
    state = {name: value.detach().float().cpu().contiguous() for name, value in model.state_dict().items()}
    options = asdict(model.options)
    if path.suffix == ".safetensors":
        from safetensors.torch import save

        data = save(state, metadata={_OPTIONS: json.dumps(options, sort_keys=True)})
    elif path.suffix == ".pt":
        buffer = io.BytesIO()
        torch.save({_STATE: state, _OPTIONS: options}, buffer)
        data = buffer.getvalue()
    else:
        raise WeightsError(f"{path}: weights files end in .safetensors or .pt")
    Storage.at(path.parent).publish(path.name, data)


def weights_file(source: str | Path, purpose: str = "AMES weights") -> Path:
    """The local file of `source`, fetched where it is the name of published weights.

    Raises:
        WeightsError: There is no such file and no such name.
        DownloadError: It cannot be fetched.
    """
    name = str(source).removesuffix(".pt")
    if Path(source).is_file():
        return Path(source)
    if name in BUNDLED:
        return _PACKAGED / f"{name}.safetensors"
    if name in PUBLISHED:
        return published(f"networks/{name}.pt")
    return require_file(str(source), purpose, f"pass a file, or one of {', '.join(_NAMES)}")


def _options(path: Path, state: Mapping[str, torch.Tensor]) -> AmesOptions:
    """Sizes as the shapes tell them; what shapes do not tell comes from the file's own notes, if any."""
    binary = "remap_local.0.W" in state
    remap = state.get("remap_local.0.W" if binary else "remap_local.0.weight")
    hidden = state.get("decoder.layers.0.linear1.weight")
    if remap is None or hidden is None or remap.ndim != 2 or hidden.ndim != 2:
        raise WeightsError(
            f"{path} holds no AMES network; its first entries are {', '.join(list(state)[:3])}",
            _HINT,
        )
    descriptor_dim, payload_dim = remap.shape if binary else remap.shape[::-1]
    options = AmesOptions(
        descriptor_dim,
        binary=binary,
        dim=hidden.shape[1],
        bits=payload_dim if binary else None,
        blocks=len({found[1] for name in state if (found := _LAYER.match(name))}),
        feedforward=hidden.shape[0],
        **_notes(path),
    )
    known = PUBLISHED.get(path.stem)
    if known is not None and replace(options, backbone=known.backbone) == known:
        return known
    return options


def _notes(path: Path) -> dict[str, Any]:
    """The options that the shapes do not tell, as `save_ames` wrote them; empty for the authors' files.

    Raises:
        WeightsError: They are not as `save_ames` writes them.
    """
    found: Any = None
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        # What another program wrote there need not be JSON.
        with safe_open(path, "pt") as file, suppress(ValueError):
            found = json.loads((file.metadata() or {}).get(_OPTIONS, "null"))
    else:
        # A file that holds more than weights and plain values is not one of ours.
        with suppress(pickle.UnpicklingError):
            found = torch.load(path, map_location="cpu", weights_only=True).get(_OPTIONS)
    notes = {name: found[name] for name in _UNSEEN if name in found} if isinstance(found, dict) else {}
    odd = [name for name, value in notes.items() if not isinstance(value, _UNSEEN[name])]
    if odd:
        raise WeightsError(f"{path} notes {odd[0]}={notes[odd[0]]!r}, which `save_ames` never does", _HINT)
    return notes
