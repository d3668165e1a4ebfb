from __future__ import annotations

from pathlib import Path

import pytest

from tests.search.small import make_store, turned


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos/`, their `store/`, and `me.png`, a query that shows the coffee from elsewhere."""
    folder = tmp_path_factory.mktemp("service")
    make_store(folder)
    turned(folder / "photos" / "coffee_280x210.png", folder / "me.png")
    return folder
