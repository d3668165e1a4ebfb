from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ames_ray.errors import StoreError
from ames_ray.store.codec import decode, encode
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures
from tests.store.builders import make_features, make_manifest, make_meta, same

META = make_meta(make_manifest(8))
RECORD = ImageRecord(5, "img5", "/photos/a/img5.jpg")


@st.composite
def rows(draw: st.DrawFn, width: Literal[16, 32]) -> ImageFeatures:
    """A row whose descriptors are of float`width`."""
    count = draw(st.integers(0, META.topk))
    finite = {"allow_nan": False, "allow_infinity": False}
    values = draw(hnp.arrays(f"f{width // 8}", (count, META.dim), elements=st.floats(width=width, **finite)))
    singles = st.floats(width=32, **finite)
    local = LocalFeatures(
        draw(hnp.arrays("f4", (count, 2), elements=singles)),
        draw(hnp.arrays("i1", count)),
        draw(hnp.arrays("f4", count, elements=singles)),
        values.astype(np.float32),
    )
    pooled = {name: draw(hnp.arrays("f4", dim, elements=singles)) for name, dim in META.pooled.items()}
    flag = draw(st.sampled_from([None, "truncated"]))
    if draw(st.integers(0, 4)) == 0:
        return ImageFeatures(RECORD, width=3, height=4, reason="empty", flag=flag)
    return ImageFeatures(RECORD, local, pooled, draw(st.integers(0, 99_999)), 4, flag=flag)


@settings(max_examples=40, deadline=None)
@given(items=st.lists(rows(16), max_size=4))
def test_float16_rows_come_back(items: list[ImageFeatures]) -> None:
    block = encode(items, ["x"] * len(items), META)
    back = decode(block, [item.record for item in items], META)
    assert all(same(a, b) for a, b in zip(items, back, strict=True))


@settings(max_examples=40, deadline=None)
@given(items=st.lists(rows(32), max_size=4))
def test_float32_rows_come_back(items: list[ImageFeatures]) -> None:
    meta = replace(META, codec="float32")
    block = encode(items, ["x"] * len(items), meta)
    back = decode(block, [item.record for item in items], meta)
    assert all(same(a, b) for a, b in zip(items, back, strict=True))


@settings(max_examples=40, deadline=None)
@given(items=st.lists(rows(32), min_size=1, max_size=3))
def test_binary_keeps_signs_most_significant_first(items: list[ImageFeatures]) -> None:
    meta = replace(META, codec="binary")
    block = encode(items, ["x"] * len(items), meta)
    for index, (item, back) in enumerate(zip(items, decode(block, [RECORD] * len(items), meta), strict=True)):
        if item.local is None or back.local is None:
            assert (item.local is None) == (back.local is None)
            continue
        signs = np.where(item.local.descriptors > 0, 1, -1)
        assert np.array_equal(back.local.descriptors, signs)
        for feature, packed in enumerate(block.arrays["descriptors"][index, : len(item.local)]):
            for bit in range(meta.dim):
                assert (packed[bit // 8] >> (7 - bit % 8) & 1) == (signs[feature, bit] == 1)


@pytest.mark.parametrize("codec", ["float32", "float16", "binary"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_their_row(codec: str, value: float) -> None:
    meta = replace(META, codec=codec)
    item = make_features(RECORD, meta)
    assert item.local is not None
    item.local.descriptors[2, 3] = value
    with pytest.raises(StoreError, match=r"row 5 \(img5\): descriptors hold values that are not finite"):
        encode([item], ["x"], meta)


@pytest.mark.parametrize("name", ["xy", "weight", "global"])
def test_every_array_must_be_finite(name: str) -> None:
    item = make_features(RECORD, META)
    array = item.pooled[name] if name in item.pooled else getattr(item.local, name)
    array.flat[0] = np.nan
    with pytest.raises(StoreError, match=r"row 5 \(img5\)"):
        encode([item], ["x"], META)


def test_a_value_too_large_for_float16_is_told() -> None:
    item = make_features(RECORD, META)
    assert item.local is not None
    item.local.descriptors[0, 0] = 70_000
    with pytest.raises(StoreError, match="descriptors reach 70000, too large for float16") as caught:
        encode([item], ["x"], META)
    assert caught.value.hint == "use codec=float32"


def test_rows_that_do_not_fit_are_refused() -> None:
    item = make_features(RECORD, META)
    with pytest.raises(StoreError, match=r"row 5.* has 5 local descriptors; the store holds topk=4"):
        encode([item], ["x"], replace(META, topk=4))
    with pytest.raises(StoreError, match=r"needed are \(5, 8\)"):
        encode([item], ["x"], replace(META, dim=8))
    with pytest.raises(StoreError, match="has the global descriptors"):
        encode([item], ["x"], replace(META, pooled={"cls": 3}))
    with pytest.raises(StoreError, match="needs local descriptors or a reason"):
        encode([ImageFeatures(RECORD)], ["x"], META)
    with pytest.raises(StoreError, match="cannot be called weights"):
        encode([item], ["x"], replace(META, pooled={"weights": 3}))
