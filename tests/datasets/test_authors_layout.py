"""Which files of the authors' folder belong together."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase

import pytest

from ames_ray.datasets.authors_layout import find_parts
from ames_ray.errors import StoreError


@pytest.mark.parametrize(
    ("there", "before", "missing"),
    [
        (["ab"], "ab", "aa"),
        (["aa", "ac", "ad"], "ac", "ab"),
        ([*(f"a{letter}" for letter in ascii_lowercase), "bb"], "bb", "ba"),
        (["aaa", "aac"], "aac", "aab"),
    ],
)
def test_a_chunk_that_is_missing_between_others_is_named(
    tmp_path: Path, there: list[str], before: str, missing: str
) -> None:
    """Nothing else would tell where no list lies beside: the rows behind the gap would move up."""
    for ending in there:
        (tmp_path / f"cvnet_x{ending}_local.hdf5").touch()
    said = f"cvnet_x{before}_local.hdf5 is there, cvnet_x{missing}_local.hdf5 is not"
    with pytest.raises(StoreError, match=said):
        find_parts(str(tmp_path / "cvnet_local.hdf5"))


def test_chunks_are_read_in_the_order_in_which_they_were_cut(tmp_path: Path) -> None:
    # As `split` names them that is not told how many letters to use.
    endings = [a + b for a in ascii_lowercase[:-1] for b in ascii_lowercase] + ["zaaa", "zaab"]
    for ending in endings:
        (tmp_path / f"cvnet_x{ending}_local.hdf5").touch()
    (tmp_path / "cvnet_xaa_cls.hdf5").touch()
    wanted = [str(tmp_path / f"cvnet_x{ending}_local.hdf5") for ending in endings]
    assert find_parts(str(tmp_path / "cvnet_local.hdf5")) == wanted
