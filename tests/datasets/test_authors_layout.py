"""Which files of the authors' folder belong together."""

from __future__ import annotations

import subprocess
from pathlib import Path
from string import ascii_lowercase

import pytest

from ames_ray.datasets.authors_layout import find_parts
from ames_ray.errors import StoreError

TWO_LETTERS = [a + b for a in ascii_lowercase[:-1] for b in ascii_lowercase]
"""All endings of this length that `split` gives where it may choose: aa … yz."""


@pytest.mark.parametrize(
    ("there", "before", "missing"),
    [
        (["ab"], "ab", "aa"),
        (["aa", "ac", "ad"], "ac", "ab"),
        ([*(f"a{letter}" for letter in ascii_lowercase), "bb"], "bb", "ba"),
        (["aaa", "aac"], "aac", "aab"),
        (["aa", "zaaa"], "zaaa", "ab"),
        (["zaaa"], "zaaa", "aaaa"),
        ([*TWO_LETTERS, "zaab"], "zaab", "zaaa"),
        ([*TWO_LETTERS, "zb"], "zb", "za"),
        ([*TWO_LETTERS, *(f"z{letter}" for letter in ascii_lowercase), "aab"], "aab", "aaa"),
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
    endings = [*TWO_LETTERS, "zaaa", "zaab"]
    for ending in endings:
        (tmp_path / f"cvnet_x{ending}_local.hdf5").touch()
    (tmp_path / "cvnet_xaa_cls.hdf5").touch()
    wanted = [str(tmp_path / f"cvnet_x{ending}_local.hdf5") for ending in endings]
    assert find_parts(str(tmp_path / "cvnet_local.hdf5")) == wanted


def test_endings_are_those_of_split_that_may_choose_their_length(tmp_path: Path) -> None:
    count = 25 * 26 + 25 * 26**2 + 1  # one of six letters
    (tmp_path / "lines").write_text("\n" * count)
    command = ["split", "-l1", "--additional-suffix=_local.hdf5", "lines", "cvnet_x"]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = find_parts(str(tmp_path / "cvnet_local.hdf5"))
    assert len(found) == count
    assert found[-1] == str(tmp_path / "cvnet_xzzaaaa_local.hdf5")
