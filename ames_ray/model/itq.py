"""Files with the rotation that binarises descriptors: `itq_dinov2_D128.npz` or `.pt`.

The rotation (ITQ: iterative quantisation) starts the training of a binary network; a trained network has its
own in the checkpoint.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ames_ray.backbones.weights import load_tensors
from ames_ray.errors import WeightsError, first_line
from ames_ray.files import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.types import AnyArray, FloatArray

_HINT = "fetch the file again from its authors, or make one with `ames-ray itq`"


def load_rotation(path: Path | str, descriptor_dim: int, bits: int = 128) -> torch.Tensor:
    """The rotation of an ITQ file.

    Args:
        path: `.npz` file, or `.pt` file with a tensor or a dictionary of tensors.
        descriptor_dim: Width of a raw descriptor.
        bits: Signs of a descriptor.

    Returns:
        (descriptor_dim, bits) float32; a file that holds it transposed is turned.

    Raises:
        WeightsError: The file is missing or foreign, or does not hold exactly one matrix of this shape.
        UnsafeFileError: It would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"ITQ file {path} does not exist",
            f"a binary network for {descriptor_dim}-wide descriptors starts from itq_<backbone>_D{bits}.npz",
        )
    arrays = _read(path)
    wanted = {(descriptor_dim, bits), (bits, descriptor_dim)}
    fitting = {n: a for n, a in arrays.items() if a.shape in wanted and np.issubdtype(a.dtype, np.floating)}
    if len(fitting) != 1:
        found = ", ".join(f"{n} {a.shape}" for n, a in list(arrays.items())[:6]) or "nothing"
        raise WeightsError(
            f"{path} holds {len(fitting)} matrices of shape ({descriptor_dim}, {bits}); it holds {found}",
            "pass the ITQ file of the model's backbone",
        )
    ((name, rotation),) = fitting.items()
    if not np.isfinite(rotation).all():
        raise WeightsError(f"{path}: '{name}' holds NaN or infinity")
    turned = rotation if rotation.shape == (descriptor_dim, bits) else rotation.T
    return torch.from_numpy(np.array(turned, np.float32))


def save_rotation(rotation: torch.Tensor | FloatArray, path: Path | str) -> None:
    """Write a (descriptor_dim, bits) rotation as an ITQ file, `.npz` or `.pt` by its suffix.

    Raises:
        WeightsError: The suffix is another.
    """
    path = Path(path)
    tensor = torch.as_tensor(rotation).detach().float().cpu().contiguous()
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, W=tensor.numpy())
    elif path.suffix == ".pt":
        torch.save({"W": tensor}, buffer)
    else:
        raise WeightsError(f"{path}: ITQ files end in .npz or .pt")
    Storage.at(path.parent).publish(path.name, buffer.getvalue())


def _read_npz(path: Path) -> Mapping[str, AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - damaged files raise whatever their wreckage leads to
        # Numpy's own words advise to read it unsafely.
        raise ValueError("it is damaged, or no .npz file of numbers alone") from None


def _read(path: Path) -> Mapping[str, AnyArray]:
    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        loaded = load_tensors(path, str(path), _HINT)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as an ITQ file: {first_line(error)}", _HINT) from None
    entries = loaded if isinstance(loaded, dict) else {"tensor": loaded}
    tensors = {str(n): t.detach() for n, t in entries.items() if isinstance(t, torch.Tensor)}
    # Numpy has no bfloat16.
    return {n: (t.float() if t.is_floating_point() else t).numpy() for n, t in tensors.items()}
