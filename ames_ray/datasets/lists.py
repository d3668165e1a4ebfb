"""Text lists in the authors' form: one image a line, `path[,label][,width,height]`."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, cast

from ames_ray.datasets.paths import is_picture
from ames_ray.errors import DatasetError
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ames_ray.files import Storage

_FORM = "a line is path[,label][,width,height]; quote a path that has commas and no picture suffix"


def list_lines(storage: Storage, name: str) -> Iterator[bytes]:
    """The lines of a file, one after another: a list of any length needs the memory of a line."""
    with storage.open(name) as file:
        # pyarrow's own files give bytes, not lines.
        yield from file if storage.local is not None else io.BufferedReader(cast("io.RawIOBase", file))


def read_list(lines: Iterable[bytes], name: str, split: str | None = None) -> Iterator[ImageRecord]:
    """The lines of a list as records; every line is one row, in order, duplicates too.

    A path may contain commas: unquoted it ends with its last picture suffix (`c,d.jpg,100,200` is the picture
    `c,d.jpg`), quoted it is taken as CSV has it.

    Args:
        lines: The file's lines, UTF-8 with or without a byte order mark; empty ones at its end do not count.
        name: Name of the list, for messages.
        split: Split to give each record.

    Raises:
        DatasetError: A line is not of that form; says which.
    """
    for row, line in enumerate(_texts(lines, name)):
        path, label, width, height = _fields(line, f"{name}, line {row + 1}")
        yield ImageRecord(row, path, path, split, None, label, width, height)


def _texts(lines: Iterable[bytes], name: str) -> Iterator[str]:
    empty = 0
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise DatasetError(
                f"{name}, line {number} is not UTF-8", "convert the list, for example with iconv"
            ) from None
        if not text:
            empty += 1
            continue
        yield from [""] * empty
        empty = 0
        yield text


def _fields(line: str, where: str) -> tuple[str, str | None, int | None, int | None]:
    if not line:
        raise DatasetError(f"{where} is empty", "remove it: ground truth refers to images by their line")
    path, *rest = _quoted(line, where) if line.startswith('"') else _plain(line)
    if len(rest) > 3 or not path:
        raise DatasetError(f"{where} has {1 + len(rest)} fields: {line}", _FORM)
    label = rest.pop(0) if len(rest) in {1, 3} else None
    width, height = (_side(text, where) for text in rest) if rest else (None, None)
    return path, label, width, height


def _quoted(line: str, where: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True, skipinitialspace=True))
    except csv.Error as error:
        raise DatasetError(f"{where} is not CSV ({error}): {line}", _FORM) from None


def _plain(line: str) -> list[str]:
    fields = line.split(",")
    ends = [i + 1 for i, field in enumerate(fields) if is_picture(field.strip())]
    end = ends[-1] if ends else 1
    return [",".join(fields[:end]).strip(), *(field.strip() for field in fields[end:])]


def _side(text: str, where: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise DatasetError(f"{where}: {text!r} is no width or height", _FORM)
    return int(text)
