"""The authors' text lists, with everything that people write into them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.datasets.lists import read_list
from ames_ray.datasets.manifest import Manifest
from ames_ray.errors import DatasetError


def _read(text: str) -> list[tuple[str, str | None, int | None, int | None]]:
    records = list(read_list(io.BytesIO(text.encode()), "list.txt"))
    assert [record.row for record in records] == list(range(len(records)))
    return [(record.uri, record.label, record.width, record.height) for record in records]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.jpg", ("a.jpg", None, None, None)),
        ("jpg/a.jpg,5", ("jpg/a.jpg", "5", None, None)),
        ("a.jpg,640,480", ("a.jpg", None, 640, 480)),
        ("a.jpg,notre dame,640,480", ("a.jpg", "notre dame", 640, 480)),
        ("a.jpg, 5, 640, 480 ", ("a.jpg", "5", 640, 480)),
        ("c,d.jpg", ("c,d.jpg", None, None, None)),
        ("c,d.jpg,100,200", ("c,d.jpg", None, 100, 200)),
        ("c, d.JPG,7,100,200", ("c, d.JPG", "7", 100, 200)),
        ("1,2,3.png", ("1,2,3.png", None, None, None)),
        ("1.png,2,3,4", ("1.png", "2", 3, 4)),
        ('"c,d.jpg",100,200', ("c,d.jpg", None, 100, 200)),
        ('"c,d.jpg"', ("c,d.jpg", None, None, None)),
        ('"a ""b"", c",7', ('a "b", c', "7", None, None)),
        ('"a.jpg",100,200', ("a.jpg", None, 100, 200)),
        ("without_suffix", ("without_suffix", None, None, None)),
        ("without_suffix,7,640,480", ("without_suffix", "7", 640, 480)),
        ("Köln 東京.jpg,1", ("Köln 東京.jpg", "1", None, None)),
        ("a b.jpg", ("a b.jpg", None, None, None)),
    ],
)
def test_lines(line: str, expected: tuple[str, str | None, int | None, int | None]) -> None:
    assert _read(line) == [expected]


def test_every_line_is_a_row_duplicates_too() -> None:
    text = "﻿a.jpg\r\nb.jpg,3\r\na.jpg\r\n\r\n\n"
    assert [path for path, *_ in _read(text)] == ["a.jpg", "b.jpg", "a.jpg"]
    manifest = Manifest.from_records(read_list(io.BytesIO(text.encode()), "list.txt", "gallery"), "/r")
    assert [record.uri for record in manifest] == ["/r/a.jpg", "/r/b.jpg", "/r/a.jpg"]
    assert {record.split for record in manifest} == {"gallery"}
    assert manifest.notes == ("1 duplicate path",)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1)))
def test_what_a_csv_writer_quotes_is_read(names: list[str]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([f"{name}.jpg", 640, 480] for name in names)
    text = buffer.getvalue().replace('"640"', "640").replace('"480"', "480")
    assert _read(text) == [(f"{name}.jpg", None, 640, 480) for name in names]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\n\nb.jpg", "list.txt, line 2 is empty"),
        ("a.jpg\nb.jpg,1,2,3,4", "list.txt, line 2 has 5 fields: b.jpg,1,2,3,4"),
        ("a.jpg,640,tall", "list.txt, line 1: 'tall' is no width or height"),
        ("a.jpg,640,0", "line 1: '0' is no width or height"),
        ("a.jpg,-1,5", "line 1: '-1' is no width or height"),
        ('"a.jpg,1', "line 1 is not CSV"),
        ('"a"x.jpg', "line 1 is not CSV"),
        (",640,480", "line 1 has 3 fields"),
    ],
)
def test_bad_lines_are_named(text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        _read(text)


def test_other_encodings_are_named() -> None:
    with pytest.raises(DatasetError, match="line 3 is not UTF-8"):
        list(read_list(io.BytesIO("a.jpg\nb.jpg\ncafé.jpg".encode("latin1")), "list.txt"))


def test_an_empty_list_has_no_rows() -> None:
    assert _read("") == _read("\n \n") == []
