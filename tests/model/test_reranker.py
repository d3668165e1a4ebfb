"""AMES as a re-ranker: rows of a store in, logits out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ames_ray.errors import ConfigError, StoreError
from ames_ray.model import ames_reranker, reranker
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import AmesOptions
from ames_ray.model.padding import LOWEST_LOGIT
from ames_ray.model.reranker import Precision, load_reranker
from ames_ray.types import FeatureBatch
from tests.model.networks import SMALL, SMALL_BINARY, batch, images, random_model

if TYPE_CHECKING:
    from pathlib import Path

    from ames_ray.types import FloatArray

BOTH = pytest.mark.parametrize("options", [SMALL, SMALL_BINARY, replace(SMALL_BINARY, bits=40)])


def _direct(options: AmesOptions, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
    sides = [torch.from_numpy(np.nan_to_num(side.descriptors)) for side in (query, gallery)]
    masks = [torch.from_numpy(~side.valid) for side in (query, gallery)]
    with torch.no_grad():
        logits: FloatArray = random_model(options)(*sides, *masks).numpy()
    return logits


@BOTH
@pytest.mark.parametrize("queries", [1, 2, 4, 12])
@pytest.mark.parametrize("tokens", [1, 40, 60, 10_000])
def test_steps_do_not_change_the_logits(options: AmesOptions, queries: int, tokens: int) -> None:
    query, gallery = batch(queries, 9, 24, seed=1), batch(12, 7, 24, seed=2)
    found = AmesReranker(random_model(options), tokens_per_step=tokens)(query, gallery)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _direct(options, query, gallery), atol=2e-6, rtol=2e-6)


@BOTH
def test_projected_galleries_give_the_same_logits(options: AmesOptions) -> None:
    rerank = AmesReranker(random_model(options))
    query, gallery = batch(1, 9, 24, seed=1), batch(5, 7, 24, seed=2)
    projected = rerank.project(gallery)
    assert projected.descriptors.dtype == (np.uint8 if options.binary else np.float16)
    assert projected.descriptors.shape == (5, 7, options.payload_dim // 8 if options.binary else 16)
    assert not projected.descriptors[~projected.valid].any()
    assert np.array_equal(rerank(query, projected), rerank(query, gallery))
    both = rerank(rerank.project(query), projected)
    np.testing.assert_allclose(both, rerank(query, gallery), atol=0 if options.binary else 1e-3)


@BOTH
def test_float16_stores(options: AmesOptions) -> None:
    rerank = AmesReranker(random_model(options))
    query, gallery = batch(1, 9, 24, seed=1), batch(5, 7, 24, seed=2)
    half = replace(gallery, descriptors=gallery.descriptors.astype(np.float16))
    exact = replace(gallery, descriptors=half.descriptors.astype(np.float32))
    assert np.array_equal(rerank(query, half), rerank(query, exact))


def test_raw_descriptors_as_packed_signs() -> None:
    """The authors' compound releases: the bits are descriptors of D_in = 8 × bytes numbers ±1."""
    rerank = AmesReranker(random_model(SMALL))
    gallery = batch(5, 7, 24, seed=2)
    signs = np.where(gallery.descriptors > 0, 1, -1).astype(np.float32)
    packed = FeatureBatch(gallery.rows, np.packbits(signs > 0, axis=-1), gallery.valid)
    query = batch(1, 9, 24, seed=1)
    assert np.array_equal(rerank(query, packed), rerank(query, replace(gallery, descriptors=signs)))


@BOTH
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_without_descriptors_are_lowest(options: AmesOptions, precision: Precision) -> None:
    rerank = AmesReranker(random_model(options), precision=precision)
    query, gallery = batch(1, 9, 24), batch(4, 7, 24)
    gallery.valid[2] = False
    logits = rerank(query, gallery)
    assert (logits == LOWEST_LOGIT).tolist() == [False, False, True, False]
    nothing = replace(query, valid=np.zeros_like(query.valid))
    assert (rerank(nothing, gallery) == LOWEST_LOGIT).all()
    assert rerank(query, images(gallery, slice(0, 0))).shape == (0,)


@pytest.mark.filterwarnings("error")
def test_mapped_rows(tmp_path: Path) -> None:
    query, gallery = batch(1, 9, 24, seed=1), batch(4, 7, 24, seed=2)
    np.save(tmp_path / "rows.npy", gallery.descriptors)
    mapped = replace(gallery, descriptors=np.load(tmp_path / "rows.npy", mmap_mode="r"))
    rerank = AmesReranker(random_model(SMALL))
    assert np.array_equal(rerank(query, mapped), rerank(query, gallery))


def test_descriptors_as_wide_as_payloads_are_not_projected() -> None:
    with pytest.raises(StoreError, match="both 16 wide"):
        AmesReranker(random_model(replace(SMALL, descriptor_dim=16))).project(batch(1, 4, 16))


def test_projection_does_not_depend_on_the_precision() -> None:
    source = batch(3, 7, 24)
    exact, short = (AmesReranker(random_model(SMALL_BINARY), precision=p) for p in ("float32", "bfloat16"))
    assert np.array_equal(exact.project(source).descriptors, short.project(source).descriptors)
    assert exact.spec == short.spec
    assert np.isfinite(short(images(source, slice(0, 1)), source)).all()


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_descriptors_that_are_not_numbers_are_named(options: AmesOptions, value: float) -> None:
    rerank = AmesReranker(random_model(options))
    query, gallery = batch(1, 9, 24), batch(4, 7, 24, first_row=40)
    gallery.descriptors[2, 0, 5] = value
    with pytest.raises(StoreError, match="score of gallery row 42 is not a number"):
        rerank(query, gallery)
    with pytest.raises(StoreError, match=r"row 42: .*NaN or infinity"):
        rerank.project(gallery)


@BOTH
@pytest.mark.parametrize(("width", "kind"), [(32, np.float32), (8, np.uint8), (1, np.uint8)])
def test_descriptors_of_another_backbone_are_refused(options: AmesOptions, width: int, kind: type) -> None:
    gallery = FeatureBatch(np.arange(2), np.ones((2, 3, width), kind), np.ones((2, 3), bool))
    with pytest.raises(StoreError, match="the model takes"):
        AmesReranker(random_model(options))(batch(1, 9, 24), gallery)


@pytest.mark.parametrize("options", [SMALL, SMALL_BINARY])
def test_payloads_of_another_kind_of_model_are_refused(options: AmesOptions) -> None:
    other = AmesReranker(random_model(SMALL if options.binary else SMALL_BINARY))
    with pytest.raises(StoreError, match="project the store with the model that scores it"):
        AmesReranker(random_model(options))(batch(1, 9, 24), other.project(batch(2, 5, 24)))


def test_uneven_shares_are_refused() -> None:
    with pytest.raises(StoreError, match="2 queries do not share 3 gallery images evenly"):
        AmesReranker(random_model(SMALL))(batch(2, 4, 24), batch(3, 4, 24))


def test_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_ames(random_model(SMALL), tmp_path / "mine.pt")
    ames = load_reranker("ames", str(tmp_path / "mine.pt"))
    query, gallery = batch(1, 9, 24), batch(4, 7, 24)
    assert np.array_equal(ames(query, gallery), AmesReranker(random_model(SMALL))(query, gallery))
    assert ames.spec.name == "ames"
    with pytest.raises(ConfigError, match="reranker=sames: there is no such re-ranker"):
        load_reranker("sames", "x.pt")
    monkeypatch.setitem(reranker.RERANKERS, "successor", f"{ames_reranker.__name__}:load")
    assert load_reranker("successor", str(tmp_path / "mine.pt")).spec == ames.spec
