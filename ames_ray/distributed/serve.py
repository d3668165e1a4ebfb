"""An ASGI app on Ray Serve: any number of copies behind one address."""

from __future__ import annotations

import io
import logging
import math
import socket
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from ames_ray.distributed.runtime import connected, size_pool
from ames_ray.distributed.stream import readable
from ames_ray.errors import ResourceError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ames_ray.distributed.runtime import WorkerPool

NAME = "ames-ray"
_OTHER_REQUESTS = 64
"""What a copy may have in hand besides searches: the page and its thumbnails."""
_SLACK_SECONDS = 90
"""The app says itself that it takes too long; this much later Serve would."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where, and how many.

    Attributes:
        host: Address to listen on.
        port: TCP port; 0 for any free one.
        replicas: Copies of the app.
        cpus: CPUs that Ray reserves for a copy.
        gpus: GPUs for a copy; none for 1 where the cluster has any and they are of use.
        wants_gpu: Whether the app can use a GPU.
        max_queued: Searches that a copy takes in; as many requests again wait in front of all copies.
        timeout: Longest time of a search [s].
        retry_seconds: When to come again, for a client that Serve turns away [s].
        address: Address of a Ray cluster; none for RAY_ADDRESS, else a new local Ray.
    """

    host: str
    port: int
    replicas: int
    cpus: float
    gpus: float | None
    wants_gpu: bool
    max_queued: int
    timeout: float
    retry_seconds: int
    address: str | None = None


@contextmanager
def served(build: Callable[[Sequence[int | str]], Any], options: ServeOptions) -> Iterator[int]:
    """The app on Ray Serve for the time of the block; gives the port.

    Args:
        build: Makes the ASGI app of a copy, in its process, from the ids of the GPUs that are its own. It is
            sent there by pickle.
        options: Where, and how many.

    Raises:
        ResourceError: The port is taken, the copies do not fit, or another Ray Serve runs on the cluster.
        RunError: A copy could not be built, or Ray was lost on the way.
    """
    port = _free_port(options.host, options.port)
    from ray import serve

    with ExitStack() as session:
        session.enter_context(connected(options.address, math.ceil(options.replicas * options.cpus)))
        pool = size_pool(options.replicas, options.cpus, options.gpus, wants_gpu=options.wants_gpu)
        logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
        if serve.status().proxies:
            raise ResourceError(
                "Ray Serve runs on this cluster already, and listens where it was told then",
                "`serve shutdown` ends it, with everything on it",
            )
        try:
            _start(build, options, pool, port)
            yield port
        except ray.exceptions.RayError as error:
            # Closed below, the session does not see it.
            raise readable(error) from None
        finally:
            # Ray prints that the controller died while it was asked to end.
            with redirect_stdout(io.StringIO()):
                serve.shutdown()
                session.close()


def require_served() -> None:
    """Find out whether the service that this process started is still there.

    Raises:
        RunError: It has ended, or the node that listens has.
    """
    from ray import serve

    here = ray.get_runtime_context().get_node_id()
    try:
        up = any(node["Alive"] for node in ray.nodes() if node["NodeID"] == here)
        listening = up and bool(serve.status().proxies)
    except ray.exceptions.RayError:
        listening = False
    if not listening:
        raise RunError("Ray Serve has ended, or the node that listens has", "start the service again")


def _start(
    build: Callable[[Sequence[int | str]], Any], options: ServeOptions, pool: WorkerPool, port: int
) -> None:
    """Start Serve and the app on it; returns when every copy answers."""
    from ray import serve
    from ray.serve.config import ProxyLocation

    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options={
            "host": options.host,
            "port": port,
            "request_timeout_s": options.timeout + _SLACK_SECONDS,
        },
        logging_config={"enable_access_log": False},
    )

    def make() -> Any:
        return build(ray.get_gpu_ids())

    deployment = serve.deployment(
        serve.ingress(make)(),
        name=NAME,
        num_replicas=pool.workers,
        max_constructor_retry_count=1,
        max_ongoing_requests=options.max_queued + _OTHER_REQUESTS,
        max_queued_requests=options.max_queued,
        backpressure_config={"retry_after_s": options.retry_seconds},
        ray_actor_options={"num_cpus": pool.cpus, "num_gpus": pool.gpus},
        logging_config={"enable_access_log": False},
    )
    try:
        serve.run(deployment.bind(), name=NAME, route_prefix="/", logging_config={"enable_access_log": False})
    except RuntimeError:
        raise RunError(f"the service could not start: {_reason()}") from None


def _free_port(host: str, port: int) -> int:
    """The port, if nothing listens there; Serve would only say so minutes later, in a log."""
    try:
        (family, kind, _, _, where), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(where)
            return int(tried.getsockname()[1])
    except OSError as error:
        raise ResourceError(
            f"host={host} port={port} cannot be listened on: {error.strerror or error}",
            "pass another port=, or port=0 for any free one",
        ) from None


def _reason() -> str:
    """What a copy said when it could not be built; Serve keeps its whole stack trace."""
    from ray import serve

    application = serve.status().applications.get(NAME)
    deployments = application.deployments.values() if application else ()
    lines = [line.strip() for found in deployments for line in found.message.splitlines() if line.strip()]
    raised = [number for number, line in enumerate(lines) if line.startswith("ames_ray.errors.")]
    if raised:
        hint = [line for line in lines[raised[-1] + 1 :] if line.startswith("hint: ")]
        return "\n".join([lines[raised[-1]].partition(": ")[2], *hint[:1]])
    return lines[-1] if lines else "Ray Serve gave no reason"
