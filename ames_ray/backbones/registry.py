"""Backbones by name. A new one is one line here and one module."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

from ames_ray.backbones.base import NetworkBackbone
from ames_ray.errors import ConfigError, UnsafeFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.backbones.base import Backbone

_HERE = "ames_ray.backbones"

BACKBONES = {
    "dinov2": f"{_HERE}.dinov2:base",
    "dinov2_vits14_reg": f"{_HERE}.dinov2:small",
    "dinov2_vitb14_reg": f"{_HERE}.dinov2:base",
    "dinov2_vitl14_reg": f"{_HERE}.dinov2:large",
    "dinov2_vitg14_reg": f"{_HERE}.dinov2:giant",
    "cvnet": f"{_HERE}.cvnet:resnet101",
    "hf": f"{_HERE}.huggingface:vision_transformer",
    "sift": f"{_HERE}.sift:root_sift",
    "blank": f"{_HERE}.blank:blank",
}
"""Name to "module:function"; the function takes what `weights=` says, or none, and reads no weights yet."""

_WITHOUT_TORCH = frozenset({"sift", "blank"})
"""Names of picture backbones: to ask the others would import torch."""

HUGGING_FACE = "hf:"
"""What follows this prefix is a Hugging Face id or a folder."""


def find_backbone(name: str, weights: str | None = None) -> Backbone:
    """The backbone of that name; its module is imported now, its weights are not read.

    Args:
        name: A name of `BACKBONES`, `hf:<Hugging Face id or folder>`, or `<module>:<function>` for a function
            of one's own like those of `BACKBONES`.
        weights: A weights file, folder or Hugging Face id; none for the published weights.

    Raises:
        ConfigError: There is no such backbone, or it has no use for `weights`.
        WeightsError: The configuration of a Hugging Face model cannot be had.
    """
    if name.startswith(HUGGING_FACE):
        if weights is not None:
            raise ConfigError(
                f"backbone={name} names its weights already, but weights={weights} was given as well",
                "drop one of the two",
            )
        name, weights = "hf", name.removeprefix(HUGGING_FACE)
    if name not in BACKBONES and ":" not in name:
        close = difflib.get_close_matches(name, BACKBONES, n=1)
        known = f"known: {', '.join(BACKBONES)}, hf:<id or folder>, <module>:<function>"
        raise ConfigError(
            f"there is no backbone '{name}'", f"did you mean {close[0]}? {known}" if close else known
        )
    return _load(BACKBONES.get(name, name))(weights)


def uses_network(name: str, weights: str | None = None) -> bool:
    """Whether a GPU helps a backbone; arguments and errors are those of `find_backbone`."""
    if name in _WITHOUT_TORCH:
        return False
    if name in BACKBONES or name.startswith(HUGGING_FACE):
        return True
    return isinstance(find_backbone(name, weights), NetworkBackbone)


def require_named(recorded: str, where: str) -> str:
    """A backbone that a store recorded, which nobody has named: one of ours, or a Hugging Face model.

    Raises:
        UnsafeFileError: It is a function of somebody's own, which runs only where a user names it.
    """
    if recorded in BACKBONES or recorded.startswith(HUGGING_FACE):
        return recorded
    raise UnsafeFileError(
        f"{where} was made with backbone={recorded}, which is code from outside ames-ray",
        f"where you trust it, pass backbone={recorded if ':' in recorded else '<module>:<function>'}",
    )


def _load(name: str) -> Callable[[str | None], Backbone]:
    module, _, function = name.partition(":")
    try:
        make: Callable[[str | None], Backbone] = getattr(import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(
            f"backbone={name} cannot be imported: {error}", "is it on the PYTHONPATH?"
        ) from None
    return make
