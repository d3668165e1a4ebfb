"""What `ray job submit --working-dir .` uploads, before it does."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ALWAYS_LEFT_OUT = [".git", ".venv", "venv", "__pycache__"]
"""Folders that Ray leaves out of itself."""


def upload_sizes(checkout: Path) -> Counter[str]:
    """Bytes that Ray would pack, by folder at the top of a checkout; an empty name for the files beside them.

    Its packages are not compressed, so their size is this sum and a little for the names of files.
    """
    # Ray has no public function for it; this one is what its own packing goes by.
    from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

    checkout = checkout.absolute()
    sizes: Counter[str] = Counter()

    def add(path: Path) -> None:
        if path.is_file():
            folder, *names = path.relative_to(checkout).parts
            sizes[folder if names else ""] += path.stat().st_size

    _dir_travel(
        checkout,
        [_get_excludes(checkout, _ALWAYS_LEFT_OUT)],
        add,
        include_gitignore=True,
        logger=logging.getLogger(__name__),
    )
    return sizes
