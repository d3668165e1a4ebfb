from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from ames_ray.errors import ConfigError, ImageError
from ames_ray.report.contact_sheet import SheetItem, contact_sheet
from ames_ray.types import ImageFeatures, ImageRecord, LocalFeatures
from tests.photos import GOLDEN_PHOTOS


def items(count: int, name: str = "folder/photo") -> list[SheetItem]:
    generator = np.random.default_rng(0)
    return [
        SheetItem(
            f"{name}{number}",
            generator.integers(0, 256, (60 + number, 80, 3), dtype=np.uint8),
            generator.uniform(0, 60, (30, 2)).astype(np.float32),
            np.linspace(1, 0, 30, dtype=np.float32),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("name", ["sheet.png", "sheet.jpg", "deep/folder/sheet.JPEG"])
def test_writes_a_picture_that_others_read(tmp_path: Path, name: str) -> None:
    contact_sheet(items(5), tmp_path / name, columns=3, title="Title")
    with Image.open(tmp_path / name) as page:
        assert page.format == ("PNG" if name.endswith("png") else "JPEG")
        assert page.size[0] > page.size[1]
    assert [p.name for p in (tmp_path / name).parent.iterdir()] == [Path(name).name]


@pytest.mark.parametrize(("count", "columns", "across", "down"), [(1, 4, 1, 1), (4, 4, 4, 1), (5, 4, 4, 2)])
def test_the_grid_grows_with_the_pictures(
    tmp_path: Path, count: int, columns: int, across: int, down: int
) -> None:
    sizes = []
    for number in (1, count):
        contact_sheet(items(number), tmp_path / "sheet.png", columns=columns, title="Title")
        with Image.open(tmp_path / "sheet.png") as page:
            sizes.append(page.size)
    assert sizes[1][0] - sizes[0][0] == (across - 1) * 384
    assert sizes[1][1] - sizes[0][1] == (down - 1) * 352


def test_same_items_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        contact_sheet(items(3), tmp_path / name, columns=2, title="Title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_names_and_title_are_shown(tmp_path: Path) -> None:
    pages = []
    for title, name in (("Title", "a"), ("Other", "a"), ("Title", "b")):
        contact_sheet(items(1, name), tmp_path / "sheet.png", columns=1, title=title)
        pages.append(np.asarray(Image.open(tmp_path / "sheet.png")).astype(int))
    title_differs, name_differs = np.abs(pages[0] - pages[1]).sum(2), np.abs(pages[0] - pages[2]).sum(2)
    assert title_differs[:76].any()
    assert not title_differs[116:].any()
    assert name_differs[386:].any()
    assert not name_differs[:386].any()


def test_greek_and_cyrillic_names_are_not_boxes(tmp_path: Path) -> None:
    shown = []
    for name in ("Ж", "λ", "é"):
        contact_sheet(items(1, name), tmp_path / "sheet.png", columns=1, title="Title")
        shown.append((tmp_path / "sheet.png").read_bytes())
    assert len(set(shown)) == 3


def test_long_names_stay_inside_their_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    original = ImageDraw.ImageDraw.text

    def spy(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *rest: object) -> None:
        drawn.append(text)
        original(self, xy, text, *rest)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    for name in ("some/long/folders/that/fill/the/whole/width/of/it/photo", "x" * 200):
        contact_sheet(items(1, name), tmp_path / "sheet.png", columns=1, title="Title")
    names = [text for text in drawn if text.startswith("…")]
    assert names[0].startswith("…/")
    assert names[0].endswith("/it/photo0")
    assert set(names[1][1:-1]) == {"x"}
    assert len(names[1]) < 60


def test_the_picture_is_read_again_for_its_features(tmp_path: Path) -> None:
    path = GOLDEN_PHOTOS / "coffee_280x210.png"
    local = LocalFeatures(
        np.array([[140, 105]], np.float32),
        np.zeros(1, np.int8),
        np.ones(1, np.float32),
        np.zeros((1, 4), np.float32),
    )
    item = SheetItem.of(ImageFeatures(ImageRecord(0, "coffee", str(path)), local))
    expected = cv2.imread(str(path))
    assert expected is not None
    assert np.array_equal(item.pixels, expected)
    assert (item.name, len(item.weight)) == ("coffee", 1)
    without = SheetItem.of(ImageFeatures(ImageRecord(0, "coffee", str(path)), reason="no_features"))
    assert len(without.weight) == 0
    contact_sheet([item, without], tmp_path / "sheet.png", columns=2, title="Title")


def test_a_picture_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="missing"):
        SheetItem.of(ImageFeatures(ImageRecord(0, "gone", str(tmp_path / "gone.jpg"))))


@pytest.mark.parametrize(
    ("name", "count", "columns", "message"),
    [
        ("sheet.gif", 1, 1, r"sheet\.gif must end in"),
        ("sheet", 1, 1, "must end"),
        ("sheet.png", 0, 1, "got 0 and 1"),
        ("sheet.png", 1, 0, "got 1 and 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    tmp_path: Path, name: str, count: int, columns: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        contact_sheet(items(count), tmp_path / name, columns=columns, title="Title")
    assert not list(tmp_path.iterdir())
