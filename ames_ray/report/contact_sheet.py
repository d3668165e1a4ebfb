"""A contact sheet: pictures with their local features, names and counts, on one page."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ames_ray.errors import ConfigError
from ames_ray.files import Storage
from ames_ray.images.read import decode, read_bytes
from ames_ray.report.thumbnail import palette, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.types import FloatArray, ImageFeatures, Pixels

_TILE, _PICTURE, _CAPTION = 360, 270, 58
_GAP, _MARGIN, _HEADER = 24, 40, 76
_ROUND = 12
_PAGE, _CARD = (15, 17, 21), (27, 31, 38)
_BRIGHT, _QUIET = (236, 239, 244), (140, 150, 165)
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MAX_PIXELS = 1 << 28


@dataclass(frozen=True, slots=True, eq=False)
class SheetItem:
    """One picture of a contact sheet.

    Attributes:
        name: Shown below it.
        pixels: (H, W, 3) uint8 BGR, the whole picture.
        xy: (N, 2) x and y of each feature in pixels of the picture.
        weight: (N,) detector weights, descending.
    """

    name: str
    pixels: Pixels
    xy: FloatArray = field(default_factory=lambda: np.empty((0, 2), np.float32))
    weight: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    @classmethod
    def of(cls, features: ImageFeatures) -> Self:
        """The picture that the features were extracted from, read again from its address.

        Raises:
            ImageError: It cannot be read any more.
        """
        record, local = features.record, features.local
        pixels = decode(read_bytes(record.uri), max_pixels=_MAX_PIXELS, truncated="keep").pixels
        if local is None:
            return cls(record.image_id, pixels)
        return cls(record.image_id, pixels, local.xy, local.weight)


def contact_sheet(items: Sequence[SheetItem], output: Path, *, columns: int, title: str) -> None:
    """Write the pictures, their features drawn on them, as one PNG or JPEG file.

    Same items, same bytes. The file appears whole or not at all.

    Args:
        items: Pictures in reading order.
        output: File to write; its ending chooses the format.
        columns: Pictures in a row, at least 1.
        title: Heading of the page.

    Raises:
        ConfigError: The ending is not .png, .jpg or .jpeg, there is no picture, or `columns` is below 1.
    """
    kind = _FORMATS.get(output.suffix.lower())
    if kind is None:
        raise ConfigError(f"output: {output.name} must end in {', '.join(_FORMATS)}")
    if not items or columns < 1:
        raise ConfigError(f"a contact sheet needs pictures and columns; got {len(items)} and {columns}")
    columns = min(columns, len(items))
    rows = math.ceil(len(items) / columns)
    width = 2 * _MARGIN + columns * _TILE + (columns - 1) * _GAP
    height = _MARGIN + _HEADER + rows * (_PICTURE + _CAPTION + _GAP) - _GAP + _MARGIN
    page = Image.new("RGB", (width, height), _PAGE)
    _draw_header(page, title, len(items), sum(len(item.weight) for item in items))
    for number, item in enumerate(items):
        left = _MARGIN + number % columns * (_TILE + _GAP)
        top = _MARGIN + _HEADER + number // columns * (_PICTURE + _CAPTION + _GAP)
        page.paste(_tile(item), (left, top), _rounded(_TILE, _PICTURE + _CAPTION))
    data = io.BytesIO()
    page.save(data, kind, quality=92)
    Storage.at(output.parent).publish(output.name, data.getvalue())


def _draw_header(page: Image.Image, title: str, pictures: int, features: int) -> None:
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), _fitted(title, 26, page.width - 2 * _MARGIN), _BRIGHT, _font(26), "lt")
    subtitle = f"{pictures:,} pictures, {features:,} features"
    draw.text((_MARGIN, _MARGIN + 50), subtitle, _QUIET, _font(15), "ls")
    if features and page.width > 2 * _MARGIN + _TILE:
        _draw_legend(page, page.width - _MARGIN, _MARGIN + 50)


def _draw_legend(page: Image.Image, right: int, baseline: int) -> None:
    draw, font = ImageDraw.Draw(page), _font(15)
    colours = palette(160)[:, ::-1]
    bar = Image.fromarray(np.ascontiguousarray(np.broadcast_to(colours, (8, 160, 3))))
    draw.text((right, baseline), "stronger", _QUIET, font, "rs")
    right -= round(font.getlength("stronger")) + 10 + bar.width
    page.paste(bar, (right, baseline - 9), _rounded(*bar.size))
    draw.text((right - 10, baseline), "weaker", _QUIET, font, "rs")


def _tile(item: SheetItem) -> Image.Image:
    picture = thumbnail(item.pixels, item.xy, _TILE, _PICTURE)
    tile = Image.new("RGB", (_TILE, _PICTURE + _CAPTION), _CARD)
    tile.paste(Image.fromarray(np.ascontiguousarray(picture[..., ::-1])))
    draw = ImageDraw.Draw(tile)
    rows, columns = item.pixels.shape[:2]
    draw.text((14, _PICTURE + 25), _fitted(item.name, 16, _TILE - 28), _BRIGHT, _font(16), "ls")
    draw.text((14, _PICTURE + 46), f"{columns} × {rows}", _QUIET, _font(13), "ls")
    draw.text((_TILE - 14, _PICTURE + 46), f"{len(item.weight):,} features", _QUIET, _font(13), "rs")
    return tile


def _rounded(width: int, height: int) -> Image.Image:
    """A mask with round corners, drawn large and shrunk so that they are smooth."""
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *mask.size), 4 * min(_ROUND, height // 2), 255)
    return mask.resize((width, height), Image.Resampling.BOX)


def _fitted(text: str, size: int, width: int) -> str:
    """The text, folders and then letters cut from its beginning: the end of a path tells pictures apart."""
    font = _font(size)
    short = text
    while font.getlength(short) > width and len(text) > 1:
        _, slash, rest = text.partition("/")
        text = rest if slash else text[1:]
        short = f"…/{text}" if slash else f"…{text}"
    return short


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib carries this face, so a sheet looks the same on every machine, Greek and Cyrillic names too.
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib", name="matplotlib")
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"), size)
