"""The verb that looks at a Ray cluster."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from ames_ray.errors import ResourceError
from ames_ray.extraction.plan import size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.config.cluster import ClusterCheckConfig
    from ames_ray.distributed.cluster import NodeReport

_LARGE = 1_000_000
"""Bytes from which a folder of an upload is worth a word."""


def check(config: ClusterCheckConfig) -> None:
    """Print one line a node; an error names everything that is wrong.

    In a checkout, what a job would upload is said first: no cluster is needed for that.
    """
    from ames_ray.distributed.cluster import inspect

    if Path(".rayignore").is_file():
        # It asks a part of Ray that is not public and may move.
        with suppress(ImportError):
            _show_upload(Path())
    nodes = inspect(config)
    _show(nodes, config.expect)
    problems = [f"{node.address}: {problem}" for node in nodes for problem in node.problems]
    if config.expect is not None and len(nodes) < config.expect:
        problems.insert(0, f"{config.expect} nodes are expected, {len(nodes)} are there")
    if problems:
        raise ResourceError(
            "\n".join(("the cluster is not ready:", *problems)),
            "look at `ray status` and the set-up output of these nodes; wait=600 waits for late ones",
        )


def _show_upload(checkout: Path) -> None:
    from ames_ray.distributed.upload import upload_sizes

    sizes = upload_sizes(checkout)
    largest = [f"{name}/ {size(count)}" for name, count in sizes.most_common() if name and count >= _LARGE]
    folders = f", of that {', '.join(largest[:5])}" if largest else ""
    print(f"`ray job submit --working-dir .` uploads {size(sizes.total())}{folders}", flush=True)  # noqa: T201


def _show(nodes: Sequence[NodeReport], expect: int | None) -> None:
    wanted = "" if expect is None else f" of {expect}"
    table = Table(
        title=f"cluster: {len(nodes)}{wanted} nodes", title_justify="left", title_style="bold", box=None
    )
    for name in ("node", "", "Ray", "Python", "ames-ray"):
        table.add_column(name, no_wrap=True)
    for name in ("CPUs", "GPUs", "objects", "clock", "shared"):
        table.add_column(name, justify="right", no_wrap=True)
    for node in nodes:
        versions = node.software.versions if node.software else {}
        table.add_row(
            node.address,
            "head" if node.head else "",
            *(versions.get(name, "–") for name in ("Ray", "Python", "ames-ray")),
            f"{node.cpus:g}",
            f"{node.gpus:g}",
            size(node.object_store),
            f"{1000 * node.skew:+.0f} ms" if node.software else "–",
            {None: "–", True: "ok", False: "no"}[node.shared],
            style="red" if node.problems else None,
        )
    Console(highlight=False).print(table)
