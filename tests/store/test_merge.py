from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import StoreError
from ames_ray.store.info import describe_store
from ames_ray.store.merge import merge
from ames_ray.store.reader import Store
from ames_ray.store.removed import write_removed
from ames_ray.store.verify import verify
from ames_ray.types import ImageRecord
from tests.store.builders import all_features, hashes, make_manifest, make_store, same

KILLED = """
import os, sys
from pathlib import Path
from ames_ray.store.merge import merge
from ames_ray.store.reader import Store
replace = Path.replace
def die(path, target):
    if target.name == sys.argv[3]: os._exit(9)
    return replace(path, target)
Path.replace = die
merge([Store.open(sys.argv[1])], sys.argv[2])
"""


@pytest.mark.parametrize("kinds", [("parquet", "parquet"), ("hdf5", "parquet"), ("parquet", "hdf5")])
@pytest.mark.parametrize("codec", ["float16", "binary"])
def test_rows_follow_one_another(kinds: tuple[str, str], codec: str, tmp_path: Path) -> None:
    one = make_store(tmp_path / "one", 13, format=kinds[0], codec=codec)
    two = make_store(
        tmp_path / "two", manifest=make_manifest(9, first=50), format=kinds[1], codec=codec, shard_rows=4
    )
    both = merge([one, two, one], str(tmp_path / "both"))
    assert (both.meta.rows, both.meta.format, both.meta.shard_rows) == (35, kinds[0], 5)
    parts = [*all_features(one), *all_features(two), *all_features(one)]
    for row, (old, new) in enumerate(zip(parts, all_features(both), strict=True)):
        assert new.record == replace(old.record, row=row)
        assert same(replace(old, record=new.record), new)
    assert np.array_equal(both.pooled("cls"), np.concatenate([s.pooled("cls") for s in (one, two, one)]))
    assert verify(both).ok
    assert both.card["config"]["sources"] == [
        {"name": "one", "rows": 13},
        {"name": "two", "rows": 9},
        {"name": "one", "rows": 13},
    ]


def test_a_merge_equals_one_extraction(tmp_path: Path) -> None:
    """Rows that were computed apart give the bytes of rows computed together."""
    whole = make_manifest(20)
    make_store(tmp_path / "whole", manifest=whole)
    halves = [make_store(tmp_path / "a", 20), make_store(tmp_path / "b", manifest=make_manifest(3, first=20))]
    merged = merge(halves[:1], str(tmp_path / "merged"))
    assert merged.meta == Store.open(str(tmp_path / "whole")).meta
    one, two = hashes(tmp_path / "whole"), hashes(tmp_path / "merged")
    others = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
    assert others == {"card.json", "sources.json"}
    assert merge(halves, str(tmp_path / "longer")).meta.rows == 23


def kill_merge(store: Path, output: Path, at: str) -> None:
    """A merge that is killed before this file of it appears."""
    command = [sys.executable, "-c", KILLED, str(store), str(output), at]
    assert subprocess.run(command, check=False).returncode == 9


def test_no_store_is_finished_before_it_names_its_removed_rows(tmp_path: Path) -> None:
    one, both = make_store(tmp_path / "one", 7), tmp_path / "both"
    write_removed(one.storage, [2, 4])
    kill_merge(tmp_path / "one", both, "removed.json")
    with pytest.raises(StoreError, match="is not finished: 2 of 2 shards"):
        Store.open(str(both))
    assert merge([one], str(both)).removed.tolist() == [2, 4]


def test_a_merge_that_goes_on_asks_anew_what_is_removed(tmp_path: Path) -> None:
    one, both = make_store(tmp_path / "one", 7), tmp_path / "both"
    write_removed(one.storage, [2, 4])
    kill_merge(tmp_path / "one", both, "card.json")
    write_removed(one.storage, [])
    assert merge([one], str(both)).removed.tolist() == []


@pytest.mark.parametrize("damage", ["lost shard", "lost list", "cut list", "cut card"])
def test_a_damaged_copy_is_repaired_by_the_command_that_made_it(damage: str, tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "one", 7), make_store(tmp_path / "two", 7)
    both = str(tmp_path / "both")
    merge([one, two], both)
    whole = hashes(tmp_path / "both")
    part, _, name = damage.partition(" ")
    path = (
        tmp_path
        / "both"
        / {"shard": "shards/00001.parquet", "list": "shards.json", "card": "card.json"}[name]
    )
    if part == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match="finished store already"):
        merge([two], both)
    merge([one, two], both)
    assert hashes(tmp_path / "both") == whole


def test_images_of_two_folders(tmp_path: Path) -> None:
    one = make_store(tmp_path / "one", manifest=make_manifest(3, "/data/paris"))
    two = make_store(tmp_path / "two", manifest=make_manifest(3, "/data/r1m"))
    both = merge([one, two], str(tmp_path / "both"))
    assert both.manifest.root == "/data"
    assert [record.uri for record in both.manifest][2:4] == ["/data/paris/a/img2.jpg", "/data/r1m/a/img0.jpg"]


def test_images_of_two_folders_of_a_bucket_keep_the_options_of_its_address(tmp_path: Path) -> None:
    options = "?endpoint_override=localhost:9000&scheme=http"
    stores = [
        make_store(tmp_path / name, manifest=Manifest.from_records([ImageRecord(0, name, "a.jpg")], root))
        for name, root in ((n, f"s3://bucket/{n}{options}") for n in ("paris", "r1m"))
    ]
    both = Store.open(merge(stores, str(tmp_path / "both")).storage.uri)
    assert [r.uri for r in both.manifest] == [f"s3://bucket/{n}/a.jpg{options}" for n in ("paris", "r1m")]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    one = make_store(tmp_path / "one", 5)
    two = make_store(tmp_path / "two", 5, topk=7, settings={"backbone": "other"})
    with pytest.raises(StoreError, match="made with different settings:") as caught:
        merge([one, two], str(tmp_path / "both"))
    assert "\n  topk: 6 in the first, 7 in the other" in caught.value.message
    assert "\n  backbone: test in the first, other in the other" in caught.value.message
    assert not (tmp_path / "both").exists()


def test_a_finished_output_and_unfinished_inputs_are_refused(tmp_path: Path) -> None:
    one = make_store(tmp_path / "one", 13)
    with pytest.raises(StoreError, match="holds a finished store already"):
        merge([one, one], str(tmp_path / "one"))
    (tmp_path / "one" / "progress" / "00001.json").unlink()
    part = Store.open(str(tmp_path / "one"), allow_partial=True)
    with pytest.raises(StoreError, match="lacks shard 1"):
        merge([part, part], str(tmp_path / "both"))


def test_info_counts_what_is_there(tmp_path: Path) -> None:
    store = make_store(tmp_path, 23)
    info = describe_store(store)
    assert (info.finished, info.rows, info.rows_done, info.rows_ok) == (True, 23, 23, 20)
    assert (info.failed, info.flagged) == ({"empty": 1, "truncated": 2}, {"truncated": 4})
    assert info.stored_bytes == sum(path.stat().st_size for path in (tmp_path / "shards").iterdir())
    assert (info.root, info.packed, info.shards) == ("/photos", False, 5)
    store.make_pack()
    (tmp_path / "progress" / "00004.json").unlink()
    part = describe_store(Store.open(str(tmp_path), allow_partial=True))
    assert (part.finished, part.shards_done, part.rows_done) == (False, 4, 20)
