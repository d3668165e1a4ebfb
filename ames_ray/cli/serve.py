"""The verb that answers searches over HTTP: serve."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ames_ray.errors import ResourceError
from ames_ray.retrieval.pooled import pooled_width
from ames_ray.store.reader import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    from ames_ray.config.serve import ServeConfig
    from ames_ray.distributed.serve import ServeOptions

_LOOK_SECONDS = 5
_NEEDED = {"fastapi": "fastapi", "python_multipart": "python-multipart"}


def serve(config: ServeConfig) -> None:
    """Answer searches until Ctrl-C or SIGTERM.

    Raises:
        RunError: The service ended for another reason.
    """
    _require_packages()
    # The replicas would find out as well, half a minute later.
    store = Store.open(config.store)
    pooled_width((store,), config.pooled)
    if not config.is_local:
        print(  # noqa: T201
            f"warning: host={config.host} lets everybody who reaches this machine search {config.store} "
            "and see its photos; there is no password",
            file=sys.stderr,
        )
    from ames_ray.distributed.serve import require_served, served

    try:
        with served(_builder(config), _options(config, store)) as port:
            host = f"[{config.host}]" if ":" in config.host else config.host
            print(f"ready: http://{host}:{port}/  (Ctrl-C ends it)", flush=True)  # noqa: T201
            while True:
                time.sleep(_LOOK_SECONDS)
                require_served()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)  # noqa: T201


def _require_packages() -> None:
    missing = [name for module, name in _NEEDED.items() if find_spec(module) is None]
    if missing:
        raise ResourceError(
            f"`ames-ray serve` needs {' and '.join(missing)}", "pip install 'ames-ray[serve]'"
        )


def _builder(config: ServeConfig) -> Callable[[Sequence[int | str]], FastAPI]:
    """What a replica runs to become a service."""

    def build(assigned: Sequence[int | str]) -> FastAPI:
        from ames_ray.extraction.device import choose_device
        from ames_ray.service.app import make_app
        from ames_ray.service.engine import SearchEngine

        return make_app(SearchEngine(config, choose_device(config.device, assigned)))

    return build


def _options(config: ServeConfig, store: Store) -> ServeOptions:
    from ames_ray.distributed.serve import ServeOptions
    from ames_ray.service.problems import RETRY_SECONDS

    network = config.model is not None or store.meta.settings.get("backbone") != "sift"
    return ServeOptions(
        host=config.host,
        port=config.port,
        replicas=config.num_replicas,
        cpus=config.cpus_per_replica,
        gpus=config.gpus_per_replica,
        wants_gpu=config.device != "cpu" and network,
        max_queued=config.max_queued,
        timeout=config.timeout,
        retry_seconds=RETRY_SECONDS,
        address=config.address,
    )
