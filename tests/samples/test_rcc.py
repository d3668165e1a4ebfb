"""The golden files were made by Qt's own compiler, `rcc 5.15.8 --binary`, from the files in EXPECTED."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.errors import AmesError, DatasetError, UnsafeFileError
from ames_ray.samples.rcc import read_rcc

HERE = Path(__file__).parent
GOLDEN = sorted(HERE.glob("qt5_*.rcc"))
EXPECTED = {
    "samples/plain.txt": b"too short to gain from compression",
    "samples/text.txt": b"AMES re-ranks a shortlist. " * 200,
    "samples/sub/été 画.txt": "names are UTF-16: été 画".encode(),
    "samples/sub/empty.txt": b"",
    "samples/sub/zeros.bin": bytes(5000),
}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_reads_what_qt_wrote(path: Path) -> None:
    assert dict(read_rcc(path.read_bytes(), path.name)) == EXPECTED


def test_all_format_versions_are_covered() -> None:
    assert [path.stem for path in GOLDEN] == ["qt5_v1_zlib", "qt5_v2_zlib", "qt5_v3_zlib", "qt5_v3_zstd"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_every_cut_is_refused_and_named(path: Path) -> None:
    data = path.read_bytes()
    # The tree comes last, so a file that lost its end lost the nodes that the walk needs.
    for size in range(0, len(data) - 14, 7):
        with pytest.raises(DatasetError, match=r"broken\.rcc"):
            list(read_rcc(data[:size], "broken.rcc"))


@settings(max_examples=300, deadline=None)
@given(
    path=st.sampled_from(GOLDEN),
    edits=st.lists(st.tuples(st.integers(4, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_spoiled_file_ends_in_an_error_or_in_files(path: Path, edits: list[tuple[int, int]]) -> None:
    data = bytearray(path.read_bytes())
    for position, value in edits:
        data[position % len(data)] = value
    # Any other exception, such as struct.error or MemoryError, fails the test.
    with suppress(AmesError):
        for name, _ in read_rcc(bytes(data), "spoiled.rcc"):
            assert not Path(name).is_absolute()
            assert ".." not in Path(name).parts


def made(*, name: str = "a", flags: int = 0, payload: bytes = b"x", root: tuple[int, int] = (1, 1)) -> bytes:
    """A resource file of version 1 with one entry below the root."""
    names = struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    tree = struct.pack(">IH2I", 0, 2, *root)
    tree += struct.pack(">IHII", 0, flags, 0, 0)
    payloads = struct.pack(">I", len(payload)) + payload
    head = struct.pack(">4s4I", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(payloads))
    return head + tree + payloads + names


def test_the_maker_of_bad_files_makes_good_ones_too() -> None:
    assert list(read_rcc(made(), "m")) == [("a", b"x")]


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "a\\b", "a\0b"])
def test_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UnsafeFileError, match="holds the file name"):
        list(read_rcc(made(name=name), "evil.rcc"))


def test_a_folder_that_holds_itself_is_refused() -> None:
    with pytest.raises(DatasetError, match="back to itself"):
        list(read_rcc(made(root=(1, 0)), "loop.rcc"))


def test_a_folder_of_four_billion_files_is_refused_at_once() -> None:
    with pytest.raises(DatasetError, match="is pointed at"):
        list(read_rcc(made(root=(0xFFFFFFFF, 1)), "wide.rcc"))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = struct.pack(">I", 0xFFFFFFF0) + b"\x78\x9c"
    with pytest.raises(UnsafeFileError, match="256 MiB"):
        list(read_rcc(made(flags=1, payload=bomb), "bomb.rcc"))


def test_a_size_that_is_not_kept_is_refused() -> None:
    lying = struct.pack(">I", 10) + zlib.compress(bytes(100_000))
    with pytest.raises(DatasetError, match="another size"):
        list(read_rcc(made(flags=1, payload=lying), "lying.rcc"))


def test_another_kind_of_file_is_named() -> None:
    with pytest.raises(DatasetError, match=r"photo\.rcc is not a Qt resource file"):
        list(read_rcc(b"\x89PNG\r\n\x1a\n" + bytes(100), "photo.rcc"))
    with pytest.raises(DatasetError, match="version 9"):
        list(read_rcc(b"qres" + struct.pack(">4I", 9, 20, 20, 20), "new.rcc"))
