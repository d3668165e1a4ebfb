"""What several files of training tests run under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training.runs import one_thread


@pytest.fixture(scope="module")
def alone() -> Iterator[None]:
    """One thread, for all tests of a module."""
    with one_thread():
        yield
