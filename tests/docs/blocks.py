"""Code blocks of the pages, in the order in which a reader would try them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^\n]*?) -->\n+)?^```(?P<language>[\w{}]*)\n(?P<text>.*?)^```", re.M | re.S
)
_GIVEN = "<!-- given: store/ -->"


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: What stands behind the fence; `sh` and `python` blocks are run.
        text: The lines.
        note: The comment in front of it, as "not run: REASON" or "may exit with 3: REASON", or nothing.
    """

    language: str
    text: str
    note: str

    @property
    def not_run(self) -> bool:
        return self.note.startswith("not run: ") and len(self.note) > len("not run: ")

    @property
    def file(self) -> str | None:
        """Name of the file that a Python block is to be put into, by its first line."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found.group(1) if self.language == "python" and found else None


def pages() -> list[str]:
    """README, CONTRIBUTING and docs/, the generated reference aside."""
    found = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in {"reference.md", "index.md"})
    return ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in found)]


def starts_with_a_store(page: str) -> bool:
    """Whether a page takes it for granted that `store/` holds the photos."""
    return _GIVEN in (ROOT / page).read_text()


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    found = _BLOCK.finditer((ROOT / page).read_text())
    return [Block(block["language"], block["text"], block["note"] or "") for block in found]
