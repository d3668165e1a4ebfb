"""What a run leaves to go on from: written whole, named by its content, the last two kept."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ames_ray.card import refuse_other

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.files import Storage

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8})-([0-9a-f]{16})\.pt")
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: The epoch of the next step.
        step: The next step within it.
        total: Steps done.
    """

    epoch: int = 0
    step: int = 0
    total: int = 0


class Checkpoints:
    """The folder of the checkpoints of a run.

    Args:
        storage: The folder.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def save(self, position: Position, state: Mapping[str, Any]) -> None:
        """Publish a checkpoint, and delete all but the last two.

        Args:
            position: Where the run stands.
            state: Tensors and plain values, nested as one likes.
        """
        buffer = io.BytesIO()
        torch.save({**state, "position": (position.epoch, position.step, position.total)}, buffer)
        data = buffer.getvalue()
        name = f"step-{position.total:08d}-{_digest(data)}.pt"
        self._storage.publish(name, data)
        for old in self.names()[_KEPT:]:
            self._storage.delete(old)

    def names(self) -> list[str]:
        """The checkpoints that are there, the latest first."""
        return sorted((name for name in self._storage.names() if _NAME.fullmatch(name)), reverse=True)

    def latest(self) -> str | None:
        """Name of the latest whole checkpoint; torn ones are passed over."""
        names = self.names()
        for name in names:
            if _digest(self._storage.read(name)) == name.removesuffix(".pt").rpartition("-")[2]:
                return name
            logger.warning("%s/%s is torn and passed over", self._storage.uri, name)
        if names:
            logger.warning("%s holds no whole checkpoint; the run starts anew", self._storage.uri)
        return None

    def load(self, name: str) -> tuple[Position, dict[str, Any]]:
        """A checkpoint of `save`.

        Raises:
            StoreError: It is not there; another machine may not see this folder.
        """
        state: dict[str, Any] = torch.load(
            io.BytesIO(self._storage.read(name)), map_location="cpu", weights_only=True
        )
        return Position(*state.pop("position")), state


def require_same(saved: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Refuse to go on with other settings than those that a run began with.

    Raises:
        ConfigError: A setting differs.
    """
    refuse_other(
        saved, wanted, f"{where} holds a run", "pass another output=, or overwrite=true to start anew"
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
