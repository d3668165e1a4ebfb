"""Stores of what a database keeps: the scores of raw descriptors, at a tenth or a hundredth of the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.errors import StoreError
from ames_ray.files import OWNER
from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.model.projection import PROJECTION
from ames_ray.retrieval.crew import Crew, Result, Task, threads
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.project import LoadReranker, project_store
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from ames_ray.store.reader import Store
from ames_ray.store.removed import read_removed, write_removed
from ames_ray.types import FloatArray
from tests.end_to_end.test_commands import ames_ray
from tests.model.networks import random_model
from tests.photos import shard_hashes
from tests.store.builders import all_features, make_manifest, make_store

PLAIN = AmesOptions(16, dim=8, blocks=2, feedforward=16)
BINARY = replace(PLAIN, binary=True)
MODELS = pytest.mark.parametrize(
    "options", [PLAIN, BINARY, replace(BINARY, bits=24)], ids=["float16", "bits", "more bits"]
)


def weights(path: Path, options: AmesOptions, seed: int = 0) -> Path:
    save_ames(random_model(options, seed), path)
    return path


def projected(path: Path, options: AmesOptions, store: Store, seed: int = 0) -> Store:
    file = weights(path.with_suffix(".pt"), options, seed)
    return project_store(store, LoadReranker("ames", str(file)), str(path))


def scores(query: Store, gallery: Store, model: Ames) -> FloatArray:
    shortlist = find_neighbors(query, Gallery((gallery,)), "cls", None)
    return score_pairs(
        PairScorer(shortlist, query, Gallery((gallery,)), AmesReranker(model), ScoreOptions())
    ).logits


@MODELS
def test_a_projected_gallery_has_the_scores_of_the_raw_one(options: AmesOptions, tmp_path: Path) -> None:
    raw = make_store(tmp_path / "raw", 23)
    query = make_store(tmp_path / "query", manifest=make_manifest(9, first=200))
    gallery = projected(tmp_path / "projected", options, raw)
    wanted, found = scores(query, raw, random_model(options)), scores(query, gallery, random_model(options))
    assert np.isfinite(wanted).sum() > 100
    assert np.nanstd(wanted) > 0.1
    np.testing.assert_array_equal(found, wanted)
    both = projected(tmp_path / "both", options, query)
    # A float16 query is rounded where the network would not have done so.
    np.testing.assert_allclose(
        scores(both, gallery, random_model(options)), wanted, rtol=0, atol=0 if options.binary else 1e-4
    )


@MODELS
def test_payloads_are_those_of_the_networks_first_layers(options: AmesOptions, tmp_path: Path) -> None:
    raw = make_store(tmp_path / "raw", 23)
    made = projected(tmp_path / "projected", options, raw)
    assert (made.meta.dim, made.meta.codec) == (options.bits or 8, "binary" if options.binary else "float16")
    assert made.meta.settings[PROJECTION] == AmesReranker(random_model(options)).spec.projection_digest
    remap = random_model(options).remap_local
    for before, after in zip(all_features(raw), all_features(made), strict=True):
        assert (before.record, before.reason, before.flag) == (after.record, after.reason, after.flag)
        if before.local is None or after.local is None:
            assert before.local is after.local is None
            continue
        for name in ("xy", "scale", "weight"):
            np.testing.assert_array_equal(getattr(before.local, name), getattr(after.local, name))
        for name in ("cls", "global"):
            np.testing.assert_array_equal(before.pooled[name], after.pooled[name])
        unit = torch.from_numpy(before.local.descriptors)
        unit = unit / unit.norm(dim=1, keepdim=True).clamp_min(1e-12)
        with torch.no_grad():
            textbook = (torch.sign(unit @ remap[0].W) if options.binary else remap(unit)).numpy()
        np.testing.assert_allclose(after.local.descriptors, textbook, rtol=1e-3, atol=1e-3)
    batch = made.read(np.arange(23))
    assert batch.descriptors.dtype == (np.uint8 if options.binary else np.float16)


def test_the_command_of_the_issue_and_a_second_time_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(tmp_path / "raw", 23, format="hdf5")
    model = weights(tmp_path / "model.pt", BINARY)
    for name in ("one", "two"):
        words = [f"model={model}", f"in={tmp_path / 'raw'}", f"out={tmp_path / name}"]
        assert main(["store", "project", *words]) == 0
    assert "at most 6 × 8, binary" in capsys.readouterr().out
    one, two = shard_hashes(tmp_path / "one"), shard_hashes(tmp_path / "two")
    assert {name: value for name, value in one.items() if name != "features.hdf5"} == two
    assert main(["store", "verify", str(tmp_path / "one")]) == 0


def test_a_killed_projection_goes_on_and_other_sources_are_refused(tmp_path: Path) -> None:
    raw = make_store(tmp_path / "raw", 23)
    whole = projected(tmp_path / "whole", PLAIN, raw)
    load = LoadReranker("ames", str(tmp_path / "whole.pt"))

    def killed(done: int, total: int) -> None:
        if 0 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project_store(raw, load, str(tmp_path / "half"), report=killed)
    done = len(list((tmp_path / "half" / "progress").iterdir()))
    assert 0 < done <= whole.meta.shards
    with pytest.raises(StoreError, match="is not finished"):
        Store.open(str(tmp_path / "half"))
    other = make_store(tmp_path / "other", manifest=make_manifest(23, first=50))
    with pytest.raises(StoreError, match="a part of a store made from other files"):
        project_store(other, load, str(tmp_path / "half"))
    told: list[tuple[int, int]] = []
    project_store(raw, load, str(tmp_path / "half"), report=lambda *pair: told.append(pair))
    assert told[0][0] >= 5
    assert told[-1] == (23, 23)
    assert shard_hashes(tmp_path / "half") == shard_hashes(tmp_path / "whole")
    with pytest.raises(StoreError, match="holds a finished store already"):
        project_store(raw, load, str(tmp_path / "half"))


@pytest.mark.parametrize("interrupted", [True, False])
def test_the_workers_end_before_another_run_may_write(tmp_path: Path, interrupted: bool) -> None:
    raw, output = make_store(tmp_path / "raw", 23), tmp_path / "made"
    load = LoadReranker("ames", str(weights(tmp_path / "model.pt", PLAIN)))
    held = []

    @contextmanager
    def hire(make: Callable[[], Callable[[Task], Result]]) -> Iterator[Crew[Task, Result]]:
        try:
            with threads(1)(make) as crew:
                yield crew
        finally:
            held.append((output / OWNER).exists())

    def report(done: int, _: int) -> None:
        if interrupted and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        project_store(raw, load, str(output), hire=hire, report=report)
    assert held == [True]
    assert not (output / OWNER).exists()


def test_what_cannot_be_projected_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    raw = make_store(tmp_path / "raw", 5)
    made = projected(tmp_path / "made", PLAIN, raw)

    def refused(message: str, store: Store, options: AmesOptions) -> None:
        with pytest.raises(StoreError, match=message):
            projected(tmp_path / "out", options, store)
        assert not (tmp_path / "out").exists()

    refused("made is projected already", made, PLAIN)
    refused("raw holds descriptors 16 wide, the model takes 24", raw, replace(PLAIN, descriptor_dim=24))
    refused(
        "raw holds descriptors of test, the model takes those of dinov2",
        raw,
        replace(PLAIN, backbone="dinov2"),
    )
    refused("are both 16 wide", raw, replace(PLAIN, dim=16))
    with pytest.raises(StoreError, match="made was projected by a model with the projection"):
        scores(raw, made, random_model(PLAIN, seed=1))


def test_without_a_cluster_no_store_is_begun(tmp_path: Path) -> None:
    make_store(tmp_path / "raw", 5)
    weights(tmp_path / "model.pt", PLAIN)
    # A process of its own: Ray may be running in this one.
    done = ames_ray(
        tmp_path, "store", "project", "model=model.pt", "in=raw", "out=made", "address=127.0.0.1:9"
    )
    assert done.returncode == 2
    assert "no Ray answers at 127.0.0.1:9" in done.stderr
    assert not (tmp_path / "made").exists()


def test_raw_and_projected_stores_do_not_make_one_gallery(tmp_path: Path) -> None:
    raw = make_store(tmp_path / "raw", 5)
    made = projected(tmp_path / "made", PLAIN, raw)
    with pytest.raises(StoreError, match=r"do not make one gallery: .*projection is not set and"):
        Gallery((raw, made))
    with pytest.raises(StoreError, match="codec is float16 and binary"):
        Gallery((made, projected(tmp_path / "bits", BINARY, raw)))


def test_photos_that_are_gone_stay_gone(tmp_path: Path) -> None:
    raw = make_store(tmp_path / "raw", 5)
    write_removed(raw.storage, [2, 4])
    assert read_removed(projected(tmp_path / "made", PLAIN, raw).storage) == [2, 4]
