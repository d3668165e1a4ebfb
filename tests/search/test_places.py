"""Places of any rows, against the features that were stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ames_ray.search.places import find_places
from ames_ray.store.reader import Store
from tests.search.small import make_store


@pytest.mark.parametrize("form", ["parquet", "hdf5"])
def test_places_are_those_of_the_features(form: str, tmp_path: Path) -> None:
    store = Store.open(str(make_store(tmp_path, 9, f"format={form}")))
    features = {f.record.row: f for shard in range(store.meta.shards) for f in store.features(shard)}
    found = find_places(store, np.array([7, 0, 5, 7]))
    assert set(found) == {0, 5, 7}
    for row, places in found.items():
        local = features[row].local
        assert local is not None
        np.testing.assert_array_equal(places.xy[: len(local)], local.xy)
        assert (places.width, places.height) == (features[row].width, features[row].height)
