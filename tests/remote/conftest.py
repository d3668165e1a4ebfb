from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.remote.server import S3Server, running_s3


@pytest.fixture(scope="package")
def s3() -> Iterator[S3Server]:
    """A server that this process and its children use by the variables of Amazon's tools."""
    with running_s3() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
