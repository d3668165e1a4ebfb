"""The folder of a run: what lies in it, and whether every worker sees it."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from ames_ray.errors import RunError, StoreError
from ames_ray.store.meta import META
from ames_ray.training.checkpoint import Checkpoints, require_same
from ames_ray.training.log import EPOCHS, STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ames_ray.files import Storage
    from ames_ray.training.group import Group

CHECKPOINTS = "checkpoints"
CARD = "card.json"
NOT_FINITE = "not_finite.json"
ENDINGS = (".pt", ".safetensors")
DETECTOR = "detector.pt"
_PROBE = "probe"
_WEIGHTS = tuple(f"{name}{ending}" for name in ("last", "best") for ending in ENDINGS)
_LOGS = (STEPS, EPOCHS)

NETWORK_RUN = (*_WEIGHTS, CARD, NOT_FINITE, *_LOGS)
"""What a run of `train` writes beside its checkpoints and what TensorBoard reads."""
DETECTOR_RUN = (DETECTOR, CARD, *_LOGS)
"""The same of `train_detector`."""


def run_files(output: Storage, names: Sequence[str]) -> list[str]:
    """The checkpoints in a folder, and `names`, which its run writes beside them."""
    return [*_checkpoints(output), *names]


def clear_run(output: Storage, names: Sequence[str]) -> None:
    """Delete `run_files`, so that the next run starts anew; whatever else lies there stays."""
    for name in run_files(output, names):
        output.delete(name)


def clear_checkpoints(output: Storage) -> None:
    """Delete what a run would go on from."""
    for name in _checkpoints(output):
        output.delete(name)


def clear_weights(output: Storage) -> None:
    """Delete the last and the best network of a run."""
    for name in _WEIGHTS:
        output.delete(name)


def require_no_store(output: Storage) -> None:
    """Refuse a folder with a store in it: a run would put its card in the place of the store's.

    Raises:
        StoreError: There is one.
    """
    if output.exists(META):
        raise StoreError(
            f"{output.uri} holds a store, and a run would replace its card", "pass another output="
        )


def require_same_card(output: Storage, settings: Mapping[str, Any]) -> None:
    """Refuse to replace what a finished run with other settings has left, its checkpoints deleted since.

    Raises:
        ConfigError: A setting differs.
    """
    if output.exists(CARD):
        card = {}
        with suppress(ValueError):
            card = json.loads(output.read(CARD))
        require_same(card.get("settings", {}), settings, output.uri)


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


def _checkpoints(output: Storage) -> list[str]:
    return [f"{CHECKPOINTS}/{name}" for name in Checkpoints(output.child(CHECKPOINTS)).names()]
