"""Stores, lists and results in a bucket: the same bytes as in a folder, by the same commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.datasets.registry import DatasetOptions, build_manifest
from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.search.queries import find_queries
from ames_ray.store.reader import Store
from tests.extract_here import extract_here
from tests.photos import make_photos
from tests.remote.server import BUCKET, S3Server, contents

SETTINGS = ["backbone=sift", "topk=20", "shard_rows=3"]


@pytest.fixture(scope="module")
def stores(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in `photos/`, their store in `store/` and in the bucket."""
    folder = tmp_path_factory.mktemp("remote")
    make_photos(folder / "photos", 8, size=96)
    for output in (folder / "store", f"s3://{BUCKET}/store"):
        extract_here([f"images={folder / 'photos'}", f"output={output}", *SETTINGS])
    return folder


def same_as_folder(found: dict[str, bytes], folder: Path) -> bool:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return files == {key.partition("/")[2]: data for key, data in found.items()}


def test_the_bucket_holds_the_bytes_of_the_folder(stores: Path, s3: S3Server) -> None:
    assert same_as_folder(contents(s3, "store/"), stores / "store")


def test_rows_are_read_from_the_bucket(stores: Path) -> None:
    near, far = Store.open(str(stores / "store")), Store.open(f"s3://{BUCKET}/store")
    rows = [7, 0, 3, 3]
    assert np.array_equal(near.read(rows, 5).descriptors, far.read(rows, 5).descriptors)
    assert np.array_equal(near.pooled("global"), far.pooled("global"))
    assert [f.record.image_id for f in near.features(1)] == [f.record.image_id for f in far.features(1)]


def test_commands_take_stores_in_the_bucket(
    stores: Path, s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = f"s3://{BUCKET}/store"
    assert main(["store", "info", remote]) == 0
    assert "8 of 8" in capsys.readouterr().out
    assert main(["store", "verify", remote]) == 0
    assert "3 of 3" in capsys.readouterr().out
    assert main(["store", "export", remote, f"output={tmp_path / 'far_local.hdf5'}"]) == 0
    assert main(["store", "export", str(stores / "store"), f"output={tmp_path / 'near_local.hdf5'}"]) == 0
    with h5py.File(tmp_path / "far_local.hdf5") as far, h5py.File(tmp_path / "near_local.hdf5") as near:
        assert np.array_equal(far["features"][:], near["features"][:])
    stores_of = [f"query={remote}", f"gallery={remote}", "shortlist_size=4"]
    assert main(["neighbors", *stores_of, f"output=s3://{BUCKET}/nn.parquet"]) == 0
    local = [f"query={stores / 'store'}", f"gallery={stores / 'store'}", "shortlist_size=4"]
    assert main(["neighbors", *local, f"output={tmp_path / 'nn.parquet'}"]) == 0
    assert contents(s3, "nn.parquet")["nn.parquet"] == (tmp_path / "nn.parquet").read_bytes()


@pytest.mark.parametrize("name", ["again.parquet", "again.pkl"])
def test_a_result_in_the_bucket_is_replaced_and_a_file_of_somebody_else_is_not(
    stores: Path, s3: S3Server, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [f"query=s3://{BUCKET}/store", f"gallery=s3://{BUCKET}/store"]
    command = ["neighbors", *pair, f"output=s3://{BUCKET}/{name}"]
    assert main([*command, "shortlist_size=4"]) == 0
    made = contents(s3, name)[name]
    assert main([*command, "shortlist_size=3"]) == 0
    assert contents(s3, name)[name] != made
    s3.client().put_object(Bucket=BUCKET, Key=name, Body=b"notes")
    assert main(command) == 2
    assert f"output=s3://{BUCKET}/{name} would be lost" in capsys.readouterr().err
    assert contents(s3, name)[name] == b"notes"


def test_a_damaged_object_is_found(stores: Path, s3: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    for key, data in contents(s3, "store/").items():
        s3.client().put_object(Bucket=BUCKET, Key=key.replace("store/", "damaged/", 1), Body=data)
    key = "damaged/shards/00001.parquet"
    changed = bytearray(contents(s3, key)[key])
    changed[len(changed) // 2] ^= 1
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=bytes(changed))
    assert main(["store", "verify", f"s3://{BUCKET}/damaged"]) == 2
    assert "00001.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("moment", ["put", "mark", "card"])
def test_a_killed_run_leaves_what_counts_and_goes_on(moment: str, stores: Path, s3: S3Server) -> None:
    """Killed before the second shard is put, before its mark is, and before the card that ends the store."""
    name = {"put": "00001.parquet", "mark": "00001.json", "card": "card.json"}[moment]
    code = f"""
import os, sys
from ames_ray import files
from tests.extract_here import extract_here
put = files._put
def die(filesystem, source, target):
    if target.endswith("{name}"): os._exit(9)
    put(filesystem, source, target)
files._put = die
extract_here(sys.argv[1:])
"""
    words = [f"images={stores / 'photos'}", f"output=s3://{BUCKET}/killed-{moment}", *SETTINGS]
    assert subprocess.run([sys.executable, "-c", code, *words], check=False).returncode == 9
    left = Store.open(f"s3://{BUCKET}/killed-{moment}", allow_partial=True)
    assert sorted(left.summaries) == {"put": [0], "mark": [0], "card": [0, 1, 2]}[moment]
    extract_here(words)
    assert same_as_folder(contents(s3, f"killed-{moment}/"), stores / "store")


def test_the_authors_files_may_lie_in_the_bucket(
    stores: Path, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = ["store", "export", str(stores / "store"), f"output={tmp_path / 'sift_gallery_local.hdf5'}"]
    assert main(export) == 0
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    folder = Storage.at(f"s3://{BUCKET}/authors?endpoint_override={s3.host}&scheme=http")
    for path in tmp_path.iterdir():
        folder.publish(path.name, path.read_bytes())
    near = Store.open(str(tmp_path / "sift_gallery_local.hdf5"))
    far = Store.open(folder.address("sift_gallery_local.hdf5"))
    assert far.meta == near.meta
    rows = [7, 0, 3, 3]
    assert np.array_equal(near.read(rows, 5).descriptors, far.read(rows, 5).descriptors)
    assert np.array_equal(near.pooled("global"), far.pooled("global"))
    assert [r.image_id for r in far.manifest] == [r.image_id for r in near.manifest]
    assert far.manifest.root == folder.uri


def test_what_is_named_is_an_address_that_works(
    stores: Path, s3: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    folder = Storage.at(f"s3://{BUCKET}/named?endpoint_override={s3.host}&scheme=http")
    export = ["store", "export", str(stores / "store"), f"output={folder.address('x_local.hdf5')}"]
    assert main(export) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == 3
    for address in written:
        place, name = Storage.of_file(address)
        assert place.exists(name)
    assert main(export) == 2
    assert f"{folder.address('x_local.hdf5')} exists" in " ".join(capsys.readouterr().err.split())
    folder.publish("meta.json", b"{")
    with pytest.raises(StoreError) as caught:
        Store.open(folder.uri)
    assert caught.value.message.startswith(f"{folder.address('meta.json')} is damaged")


def test_lists_may_lie_in_a_bucket_whose_address_has_options(
    stores: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    folder = Storage.at(f"s3://{BUCKET}/lists?endpoint_override={s3.host}&scheme=http")
    names = [f"photo{number}.jpg" for number in range(3)]
    for name in names:
        folder.publish(name, (stores / "photos" / name).read_bytes())
    folder.publish("list.txt", "\n".join(names).encode())
    manifest = build_manifest(DatasetOptions("list", list_file=folder.address("list.txt")))
    assert (manifest.root, [record.image_id for record in manifest]) == (folder.uri, names)
    manifest.write(folder, "list.parquet")
    again = build_manifest(DatasetOptions("list", list_file=folder.address("list.parquet")))
    assert (again.digest, list(again)) == (manifest.digest, list(manifest))
    for name in ("list.txt", "list.parquet"):
        assert main(["check", "dataset=list", f"list_file={folder.address(name)}", "deep=true"]) == 0
        assert "3, read and decoded" in capsys.readouterr().out

    folder.publish("bad.txt", b"photo0.jpg\n\nphoto1.jpg\n")
    problems = {"bad.txt": ", line 2 is empty", "no.txt": " does not exist", "no.parquet": ""}
    for name, problem in problems.items():
        assert main(["check", "dataset=list", f"list_file={folder.address(name)}"]) == 2
        assert f"{folder.address(name)}{problem}" in " ".join(capsys.readouterr().err.split())

    folder.publish("revisitop1m/revisitop1m.txt", b"0/a.jpg\n")
    folder.publish("some.csv", b"id\nabcd\n")
    for options, path in (
        (DatasetOptions("r1m", data_root=folder.uri), "revisitop1m/jpg/0/a.jpg"),
        (
            DatasetOptions(
                "gldv2_index", split="gallery", data_root=folder.uri, list_file=folder.address("some.csv")
            ),
            "gldv2/index/a/b/c/abcd.jpg",
        ),
    ):
        assert [record.uri for record in build_manifest(options)] == [folder.address(path)]


def test_a_photo_in_a_bucket_whose_address_has_options_is_searched_with(s3: S3Server) -> None:
    address = f"s3://{BUCKET}/mine/me.jpg?endpoint_override={s3.host}&scheme=http"
    (record,) = find_queries(address)
    assert (record.image_id, record.uri) == ("me.jpg", address)


def test_photos_may_lie_in_the_bucket(stores: Path, s3: S3Server) -> None:
    storage = Storage.at(f"s3://{BUCKET}/photos")
    for path in (stores / "photos").iterdir():
        storage.publish(path.name, path.read_bytes())
    extract_here([f"images=s3://{BUCKET}/photos", f"output=s3://{BUCKET}/from-bucket", *SETTINGS])
    far, near = Store.open(f"s3://{BUCKET}/from-bucket"), Store.open(str(stores / "store"))
    assert [r.image_id for r in far.manifest] == [r.image_id for r in near.manifest]
    assert np.array_equal(far.read(range(8)).descriptors, near.read(range(8)).descriptors)
