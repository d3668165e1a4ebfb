"""Whether a cluster is there, told within seconds: Ray itself tries a dead address for many minutes."""

from __future__ import annotations

import logging
import os
import socket

from ames_ray.errors import ResourceError

_CONNECT_SECONDS = 5.0
_HINT = "start one with `ray start --head`, or name one by address=HOST:PORT or RAY_ADDRESS"


def require_cluster(address: str) -> None:
    """Refuse the address of a cluster that does not run, or not any more.

    Args:
        address: `HOST:PORT`; or `auto` for RAY_ADDRESS, else for the last Ray of this machine, whose address
            Ray keeps in a file that outlives it.

    Raises:
        ResourceError: Nothing listens there.
    """
    try:  # Ray has no public name for it
        from ray._private.services import canonicalize_bootstrap_address
    except ImportError:
        return
    named = os.environ.get("RAY_ADDRESS") or address if address == "auto" else address
    if "://" in named:  # for Ray's client, which gives up by itself
        return
    # As `ray.init` does: of several that run here Ray names them all.
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        found = canonicalize_bootstrap_address(named)
    except ConnectionError:
        raise ResourceError("no Ray runs on this machine", _HINT) from None
    except ValueError:  # of another form: Ray says so at once
        return
    if found is None:
        return
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        where = f"{found}, where the last one of this machine ran" if named == "auto" else named
        raise ResourceError(f"no Ray answers at {where} ({error.strerror or error})", _HINT) from None
