from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ames_ray.errors import StoreError
from ames_ray.store.meta import StoreMeta
from ames_ray.store.reader import Store
from tests.store.builders import make_manifest, make_meta, make_store

META = make_meta(make_manifest(23))


def test_json_round_trip() -> None:
    assert StoreMeta.from_json(META.to_json()) == META
    assert META.to_json() == StoreMeta.from_json(META.to_json()).to_json()


def test_shards_cover_all_rows_once() -> None:
    assert META.shards == 5
    ranges = [META.shard_range(shard) for shard in range(META.shards)]
    assert ranges == [(0, 5), (5, 10), (10, 15), (15, 20), (20, 23)]
    with pytest.raises(StoreError, match="no shard 5; the store has 5"):
        META.shard_range(5)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: d | {"topk": "many"}, "topk is 'many'"),
        (lambda d: d | {"topk": True}, "topk is True"),
        (lambda d: d | {"pooled": {"cls": 1.5}}, "pooled is"),
        (lambda d: {k: v for k, v in d.items() if k != "dim"}, "missing fields dim"),
        (lambda d: d | {"colour": "red"}, "unknown or missing fields colour"),
        (lambda d: d | {"version": 9}, "store version 9"),
        (lambda d: d | {"codec": "int4"}, "codec is 'int4'; allowed: float32, float16, binary"),
        (lambda d: d | {"shard_rows": 0}, "shard_rows is 0"),
        (lambda d: [d], "no JSON object"),
    ],
)
def test_a_damaged_meta_is_named(damage: Any, said: str, tmp_path: Path) -> None:
    make_store(tmp_path)
    path = tmp_path / "meta.json"
    path.write_text(json.dumps(damage(json.loads(path.read_bytes()))))
    with pytest.raises(StoreError, match=said):
        Store.open(str(tmp_path))


def test_a_cut_meta_is_named(tmp_path: Path) -> None:
    make_store(tmp_path)
    path = tmp_path / "meta.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"meta\.json is damaged"):
        Store.open(str(tmp_path))


def test_differences_are_lines_for_people() -> None:
    other = replace(META, topk=600, settings={**META.settings, "read": {"truncated": "keep"}, "imsize": 770})
    assert META.differences(META) == []
    assert META.differences(other) == [
        "imsize: not set in the store, 770 now",
        "read.truncated: fail in the store, keep now",
        "topk: 6 in the store, 600 now",
    ]


def test_a_longer_list_is_no_difference_and_a_shorter_one_is() -> None:
    assert META.differences(replace(META, rows=24, manifest_digest="other")) == []
    assert any(line.startswith("rows: 23") for line in META.differences(replace(META, rows=22)))
    assert any("image list" in line for line in META.differences(replace(META, manifest_digest="other")))


@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
def test_row_bytes_forecast_the_file(kind: str, codec: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, 20, format=kind, codec=codec, topk=400, dim=128, shard_rows=20)
    stored = sum(summary.bytes for summary in store.summaries.values())
    payload = 20 * store.meta.row_bytes
    assert payload <= stored <= payload * 1.02 + 60_000
