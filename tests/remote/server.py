"""An S3-compatible server on localhost: moto's, which keeps objects in memory behind the real protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

BUCKET = "bucket"


@dataclass(frozen=True)
class S3Server:
    """Where the server is.

    Attributes:
        host: Host and port.
    """

    host: str

    @property
    def environment(self) -> dict[str, str]:
        """What AWS's own tools and pyarrow read."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """A client of Amazon's own, to look with other eyes than ours."""
        return import_module("boto3").client(
            "s3",
            endpoint_url=f"http://{self.host}",
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server with one empty bucket."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        found = S3Server("{}:{}".format(*server.get_host_and_port()))
        found.client().create_bucket(Bucket=BUCKET)
        yield found
    finally:
        server.stop()


def contents(server: S3Server, prefix: str = "") -> dict[str, bytes]:
    """Every object by its key; the empty ones that stand for folders are left out."""
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {
        key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys if not key.endswith("/")
    }
