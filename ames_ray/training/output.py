"""The folder of a run: what lies in it, and whether every worker sees it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import torch

from ames_ray.errors import RunError
from ames_ray.training.log import EPOCHS, STEPS

if TYPE_CHECKING:
    from ames_ray.files import Storage
    from ames_ray.training.group import Group

CHECKPOINTS = "checkpoints"
CARD = "card.json"
NOT_FINITE = "not_finite.json"
ENDINGS = (".pt", ".safetensors")
_PROBE = "probe"
_WEIGHTS = tuple(f"{name}{ending}" for name in ("last", "best") for ending in ENDINGS)


def clear_run(output: Storage) -> None:
    """Delete the run in a folder, so that the next one starts anew."""
    clear_checkpoints(output)
    clear_weights(output)
    for name in (CARD, NOT_FINITE, STEPS, EPOCHS):
        output.delete(name)


def clear_checkpoints(output: Storage) -> None:
    """Delete what a run would go on from."""
    checkpoints = output.child(CHECKPOINTS)
    for name in checkpoints.names():
        checkpoints.delete(name)


def clear_weights(output: Storage) -> None:
    """Delete the last and the best network of a run."""
    for name in _WEIGHTS:
        output.delete(name)


def require_shared(output: Storage, group: Group) -> None:
    """Refuse a folder that only some workers see, before hours of work go into it.

    Raises:
        RunError: The first worker's file is not there for another one.
    """
    if group.world == 1:
        return
    word = group.from_first(secrets.token_hex(8))
    if group.rank == 0:
        output.publish(_PROBE, word.encode())
    group.wait()
    seen = output.exists(_PROBE) and output.read(_PROBE) == word.encode()
    blind = int(group.sum(torch.tensor(float(not seen), device=group.device)).item())
    if group.rank == 0:
        output.delete(_PROBE)
    if blind:
        raise RunError(
            f"{blind} of {group.world} workers do not see {output.uri}, where checkpoints are kept",
            "pass an output= that every machine sees: a shared disk or s3://",
        )
